/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_LENT_H_
#define _GODWIT_LENT_H_

#include <linux/types.h>

struct godwit_snapshot;

void godwit_lent_add(struct godwit_snapshot *snapshot);
void godwit_lent_remove(struct godwit_snapshot *snapshot);
bool godwit_lent(unsigned long first_pfn, unsigned long last_pfn);

#endif /* _GODWIT_LENT_H_ */
