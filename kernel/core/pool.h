/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_POOL_H_
#define _GODWIT_POOL_H_

#include <linux/types.h>

struct folio;
struct page;
struct seq_file;

int godwit_pool_init(void);
void godwit_pool_fini(void);

void godwit_pool_open(void);
void godwit_pool_close(void);

struct folio *godwit_pool_take(unsigned int order, bool fault);
unsigned int godwit_pool_take_pages(struct page **pages, unsigned int count, bool fault);

int godwit_pool_show(struct seq_file *m, void *unused);

#endif /* _GODWIT_POOL_H_ */
