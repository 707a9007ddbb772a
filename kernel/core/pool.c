// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: RAM that is ready
 *
 * Overview: pages for memory that comes home (room.c), allocated before they are needed. The
 * kernel clears what it allocates (init_on_alloc), which takes as long as the copy that is about
 * to overwrite it, and the CPU that touched the page waits for both. So some are kept: POOL_REST
 * after some were taken, a worker makes up for them, and who takes more than there are allocates
 * as before. The worker waits for the end of migrations that somebody asked for: they allocate
 * while the device copies, and it would take a CPU from one of the two. Faults, one by one, leave
 * it one.
 *
 * Nobody's pages: they belong to no memory cgroup (a migration takes the charge of the page that
 * it moves along), and count as reclaimable. A shrinker gives them back under pressure, and the
 * worker reclaims nothing to get them. There are none before the first page comes home, nor while
 * no render node is open. Only pages of the node that wants them are given out, and none to who
 * has a memory policy (room.c).
 *
 * Locking: &pool_shelf.lock, innermost: nothing is allocated, and no other lock is taken, while it
 * is held. Whoever takes may hold page locks and mmap_lock.
 */
#include <linux/cpuset.h>
#include <linux/gfp.h>
#include <linux/list.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/shrinker.h>
#include <linux/spinlock.h>
#include <linux/topology.h>
#include <linux/vmstat.h>
#include <linux/workqueue.h>

#include "batch.h"
#include "pool.h"

/* From the first page that is taken to the worker. */
#define POOL_REST	msecs_to_jiffies(10)
/* MiB. */
#define POOL_READY_MAX	1024u

static unsigned int pool_ready = 8;

/**
 * struct pool_shelf - pages of one size.
 */
struct pool_shelf {
	/** @lock: protects what follows. Any context of a process. */
	spinlock_t lock;
	/** @folios: by their lru, those that were cleared last first. */
	struct list_head folios;
	/** @count: of @folios. */
	unsigned int count;
	/** @order: of each. */
	unsigned int order;
	/** @taken: how many were given to pages that came home. */
	unsigned long taken;
};

static struct pool_shelf pool_small = {
	.lock = __SPIN_LOCK_UNLOCKED(pool_small.lock),
	.folios = LIST_HEAD_INIT(pool_small.folios),
};

static struct pool_shelf pool_huge = {
	.lock = __SPIN_LOCK_UNLOCKED(pool_huge.lock),
	.folios = LIST_HEAD_INIT(pool_huge.folios),
	.order = ilog2(GODWIT_BATCH_PAGES),
};

static struct pool_shelf *const pool_shelves[] = { &pool_small, &pool_huge };
static struct shrinker *pool_shrinker;
static atomic_t pool_users;
/* When a migration that was asked for last took some. */
static unsigned long pool_asked = INITIAL_JIFFIES;

static void pool_fill(struct work_struct *work);
static DECLARE_DELAYED_WORK(pool_work, pool_fill);

static unsigned int pool_want(const struct pool_shelf *shelf)
{
	unsigned int ready = READ_ONCE(pool_ready);

	return atomic_read(&pool_users) ? ready << (20 - PAGE_SHIFT) >> shelf->order : 0;
}

static void pool_account(struct folio *folio, int sign)
{
	mod_node_page_state(folio_pgdat(folio), NR_KERNEL_MISC_RECLAIMABLE,
			    sign * (long)folio_nr_pages(folio));
}

/* One that may be given to the caller, or any of them. Its lock is held. */
static struct folio *pool_pop(struct pool_shelf *shelf, bool any)
{
	struct folio *folio;

	folio = list_first_entry_or_null(&shelf->folios, struct folio, lru);
	if (!folio)
		return NULL;
	/* For somebody, rather than to be freed. */
	if (!any && (folio_nid(folio) != numa_mem_id() ||
		     !node_isset(folio_nid(folio), cpuset_current_mems_allowed)))
		return NULL;
	list_del(&folio->lru);
	shelf->count--;
	shelf->taken += !any;
	pool_account(folio, -1);
	return folio;
}

/* Gives back what is beyond @keep, or @most of it. */
static unsigned long pool_drop(struct pool_shelf *shelf, unsigned int keep, unsigned long most)
{
	unsigned long dropped = 0;
	struct folio *folio;

	while (dropped < most) {
		spin_lock(&shelf->lock);
		folio = shelf->count > keep ? pool_pop(shelf, true) : NULL;
		spin_unlock(&shelf->lock);
		if (!folio)
			break;
		dropped += folio_nr_pages(folio);
		folio_put(folio);
		cond_resched();
	}
	return dropped;
}

static bool pool_add(struct pool_shelf *shelf)
{
	/* They do not move while they are here. */
	gfp_t gfp = (GFP_HIGHUSER & ~__GFP_RECLAIM) | __GFP_NOWARN | __GFP_NOMEMALLOC;
	struct folio *folio = folio_alloc(gfp, shelf->order);

	if (!folio)
		return false;
	spin_lock(&shelf->lock);
	list_add(&folio->lru, &shelf->folios);
	shelf->count++;
	pool_account(folio, 1);
	spin_unlock(&shelf->lock);
	return true;
}

/* Is it too early for the worker? Then it comes again. */
static bool pool_waits(void)
{
	if (!atomic_read(&pool_users) || !READ_ONCE(pool_ready) ||
	    time_after_eq(jiffies, READ_ONCE(pool_asked) + POOL_REST))
		return false;
	queue_delayed_work(system_dfl_wq, &pool_work, POOL_REST);
	return true;
}

/* The worker: as many as there are to be, no more and no fewer. */
static void pool_fill(struct work_struct *work)
{
	unsigned int i;

	if (pool_waits())
		return;

	for (i = 0; i < ARRAY_SIZE(pool_shelves); i++) {
		struct pool_shelf *shelf = pool_shelves[i];

		while (READ_ONCE(shelf->count) < pool_want(shelf) && pool_add(shelf)) {
			if (pool_waits())
				return;
			cond_resched();
		}
		pool_drop(shelf, pool_want(shelf), ULONG_MAX);
	}
}

/* Are there to be any? Then there soon will be more. */
static bool pool_serves(bool fault)
{
	if (!READ_ONCE(pool_ready))
		return false;
	if (!fault)
		WRITE_ONCE(pool_asked, jiffies);
	queue_delayed_work(system_dfl_wq, &pool_work, POOL_REST);
	return true;
}

static int pool_ready_set(const char *text, const struct kernel_param *param)
{
	int ret = param_set_uint_minmax(text, param, 0, POOL_READY_MAX);

	/* Set at load time it comes before the module is ready, and before there are pages. */
	if (!ret && THIS_MODULE->state == MODULE_STATE_LIVE)
		mod_delayed_work(system_dfl_wq, &pool_work, 0);
	return ret;
}

static const struct kernel_param_ops pool_ready_ops = {
	.set = pool_ready_set,
	.get = param_get_uint,
};

module_param_cb(ready, &pool_ready_ops, &pool_ready, 0644);
MODULE_PARM_DESC(ready,
		 "MiB of RAM, of each page size, kept ready for pages that come home (default 8, at most 1024, 0 for none)");

/**
 * godwit_pool_take() - take a folio. May be called with page locks held.
 * @order: 0, or that of a huge page.
 * @fault: for a CPU that waits for it, rather than for a migration that somebody asked for.
 *
 * Return: a folio, the caller's, as the allocator gave it; or NULL, and the caller allocates.
 */
struct folio *godwit_pool_take(unsigned int order, bool fault)
{
	struct pool_shelf *shelf = order ? &pool_huge : &pool_small;
	struct folio *folio;

	if (order != shelf->order || !pool_serves(fault))
		return NULL;
	spin_lock(&shelf->lock);
	folio = pool_pop(shelf, false);
	spin_unlock(&shelf->lock);
	return folio;
}

/**
 * godwit_pool_take_pages() - take small pages, as many as there are.
 * @pages: filled from the beginning.
 * @count: the most to take.
 * @fault: as for godwit_pool_take().
 *
 * Return: how many.
 */
unsigned int godwit_pool_take_pages(struct page **pages, unsigned int count, bool fault)
{
	struct folio *folio;
	unsigned int n = 0;

	if (!pool_serves(fault))
		return 0;
	spin_lock(&pool_small.lock);
	while (n < count && (folio = pool_pop(&pool_small, false)))
		pages[n++] = folio_page(folio, 0);
	spin_unlock(&pool_small.lock);
	return n;
}

/**
 * godwit_pool_open() - a render node was opened.
 */
void godwit_pool_open(void)
{
	atomic_inc(&pool_users);
}

/**
 * godwit_pool_close() - it was closed. With the last one, all pages go back.
 */
void godwit_pool_close(void)
{
	if (atomic_dec_and_test(&pool_users))
		mod_delayed_work(system_dfl_wq, &pool_work, 0);
}

/**
 * godwit_pool_show() - how many there are, and how many were of use, for debugfs.
 * @m: of debugfs.
 * @unused: not used.
 */
int godwit_pool_show(struct seq_file *m, void *unused)
{
	unsigned int i;

	seq_puts(m, "order ready want taken\n");
	for (i = 0; i < ARRAY_SIZE(pool_shelves); i++) {
		struct pool_shelf *shelf = pool_shelves[i];

		spin_lock(&shelf->lock);
		seq_printf(m, "%u %u %u %lu\n", shelf->order, shelf->count, pool_want(shelf),
			   shelf->taken);
		spin_unlock(&shelf->lock);
	}
	return 0;
}

static unsigned long pool_count(struct shrinker *shrinker, struct shrink_control *sc)
{
	unsigned long pages = READ_ONCE(pool_small.count);

	pages += (unsigned long)READ_ONCE(pool_huge.count) << pool_huge.order;
	return pages ?: SHRINK_EMPTY;
}

static unsigned long pool_scan(struct shrinker *shrinker, struct shrink_control *sc)
{
	unsigned long dropped = pool_drop(&pool_small, 0, sc->nr_to_scan);

	if (dropped < sc->nr_to_scan)
		dropped += pool_drop(&pool_huge, 0, sc->nr_to_scan - dropped);
	return dropped ?: SHRINK_STOP;
}

/**
 * godwit_pool_init() - when the module is loaded.
 */
int godwit_pool_init(void)
{
	pool_shrinker = shrinker_alloc(0, "godwit-ready");
	if (!pool_shrinker)
		return -ENOMEM;
	pool_shrinker->count_objects = pool_count;
	pool_shrinker->scan_objects = pool_scan;
	shrinker_register(pool_shrinker);
	return 0;
}

/**
 * godwit_pool_fini() - when it is unloaded: nobody takes pages any more.
 */
void godwit_pool_fini(void)
{
	unsigned int i;

	/* The parameter can be written until this has returned, and who writes it may be late. */
	disable_delayed_work_sync(&pool_work);
	shrinker_free(pool_shrinker);
	for (i = 0; i < ARRAY_SIZE(pool_shelves); i++)
		pool_drop(pool_shelves[i], 0, ULONG_MAX);
}
