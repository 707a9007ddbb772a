/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_RANGES_H_
#define _GODWIT_RANGES_H_

#include <linux/rbtree.h>
#include <linux/spinlock.h>
#include <linux/types.h>

struct godwit_export;

/* Protects the exports' ranges, and members of exports. Inside &godwit_chunk.lock; innermost. */
extern spinlock_t godwit_exports_lock;
/* All exports, by their addresses. */
extern struct rb_root_cached godwit_ranges;

/* Whether there is an export at all, of anybody. Without the lock. */
static inline bool godwit_ranges_any(void)
{
	return !RB_EMPTY_ROOT(&godwit_ranges.rb_root);
}

void godwit_ranges_add(struct godwit_export *export);
void godwit_ranges_remove(struct godwit_export *export);
struct godwit_export *godwit_ranges_first(unsigned long start, unsigned long end);
struct godwit_export *godwit_ranges_next(struct godwit_export *export, unsigned long start,
					 unsigned long end);

#endif /* _GODWIT_RANGES_H_ */
