/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_DIRECT_H_
#define _GODWIT_DIRECT_H_

#include <linux/types.h>

struct godwit_device;
struct godwit_span;

bool godwit_direct_reaches(struct godwit_device *gdev, struct godwit_device *from);
int godwit_direct(struct godwit_span *span);

#endif /* _GODWIT_DIRECT_H_ */
