/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_LOST_H_
#define _GODWIT_LOST_H_

#include <linux/types.h>

struct page;

void godwit_lost_hold(struct page *first, unsigned int pages);
bool godwit_lost_any(void);
bool godwit_lost_has(const struct page *page);
unsigned int godwit_lost_tell(struct page *first, unsigned int pages);

#endif /* _GODWIT_LOST_H_ */
