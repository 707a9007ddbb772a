/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_LOST_H_
#define _GODWIT_LOST_H_

struct page;

unsigned int godwit_lost_tell(struct page *first, unsigned int pages);

#endif /* _GODWIT_LOST_H_ */
