// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Ranges that are exported
 *
 * Overview: finds the exports that a move or a notifier is about among all that there are. A
 * process that registers its buffers with a network card has thousands, and moves know addresses,
 * so they are in one tree by address. It has those of all processes: what it finds may be another
 * one's at the same address, which whoever looks passes over.
 *
 * Locking: godwit_exports_lock, which is taken in notifiers. Nothing is inside it.
 */
#include <linux/interval_tree.h>
#include <linux/lockdep.h>

#include "export.h"
#include "mirror.h"
#include "ranges.h"

DEFINE_SPINLOCK(godwit_exports_lock);
struct rb_root_cached godwit_ranges = RB_ROOT_CACHED;

static struct godwit_export *ranges_export(struct interval_tree_node *node)
{
	return node ? container_of(node, struct godwit_export, range) : NULL;
}

/**
 * godwit_ranges_add() - from here on moves and notifiers find it.
 * @export: its addresses are set.
 */
void godwit_ranges_add(struct godwit_export *export)
{
	lockdep_assert_held(&godwit_exports_lock);
	export->range.start = export->start;
	export->range.last = export->end - 1;
	interval_tree_insert(&export->range, &godwit_ranges);
	WRITE_ONCE(export->mirror->nr_exports, export->mirror->nr_exports + 1);
}

/**
 * godwit_ranges_remove() - nobody finds it any more.
 * @export: was added.
 */
void godwit_ranges_remove(struct godwit_export *export)
{
	lockdep_assert_held(&godwit_exports_lock);
	interval_tree_remove(&export->range, &godwit_ranges);
	WRITE_ONCE(export->mirror->nr_exports, export->mirror->nr_exports - 1);
}

/**
 * godwit_ranges_first() - the first export that has some of these addresses.
 * @start: first address.
 * @end: address after the last one.
 *
 * Return: of whatever address space, or NULL.
 */
struct godwit_export *godwit_ranges_first(unsigned long start, unsigned long end)
{
	lockdep_assert_held(&godwit_exports_lock);
	return ranges_export(interval_tree_iter_first(&godwit_ranges, start, end - 1));
}

/**
 * godwit_ranges_next() - the next one.
 * @export: the one before, which is still in the tree.
 * @start: as for godwit_ranges_first().
 * @end: as for godwit_ranges_first().
 */
struct godwit_export *godwit_ranges_next(struct godwit_export *export, unsigned long start,
					 unsigned long end)
{
	lockdep_assert_held(&godwit_exports_lock);
	return ranges_export(interval_tree_iter_next(&export->range, start, end - 1));
}
