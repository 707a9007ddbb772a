// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Shields
 *
 * Overview: lives with a mistake of the kernel. zap_huge_pmd_folio() takes the migration entry of a
 * huge page of private VRAM for a mapping: where one is zapped (exit, munmap, MADV_DONTNEED), a
 * mapping and a reference are dropped that the page does not have. A fork copies migration entries,
 * so a child that exits is enough, and the page has its owner still.
 *
 * While a folio is isolated it is shielded by references, so that it is never free meanwhile, and
 * what is missing is given back before the kernel looks at its counts (godwit_shield_lower()).
 * While it looks the last reference can go: then the kernel takes the charge and the reverse map
 * from the folio, without which the migration entries of others would stay for ever, and calls
 * godwit_shield_keep(). Whoever migrates the folio holds it still. It gets its reference and its
 * reverse map back, is charged to the root cgroup from then on, and the migration is told.
 *
 * A folio that stays where it is gets its mappings back one by one, and entries are zapped
 * meanwhile: afterwards its count of mappings does not tell how many are missing. So the entries
 * are counted (shield_entries()), with the folio locked, and the counts put right: at once where
 * the migration has the folio locked still, or else by a worker, who has the shield until then.
 *
 * Nothing shields it where the kernel isolates a folio, finds it in use, and lets go of it by
 * itself. What it lacks then is noticed twice. The kernel stops to look for mappings when it has
 * seen as many as it counts: so godwit_shield_begin() puts the counts right, and tells who migrates
 * to leave a folio that is mapped still. And the last reference may go before the last mapping:
 * so godwit_shield_keep() lets nothing go before it has seen that there are no entries
 * (shield_gone()); where it cannot be sure at once, the worker looks.
 *
 * And it may have too many: set_pmd_migration_entry() clears the entry of a page of VRAM for a
 * moment, and zap_pmd_range(), which looks without the lock, takes that for an empty one. So an
 * exit or munmap() leaves an entry behind, which the kernel reports ("bad pmd") and forgets, and
 * with it a mapping and a reference. Such a folio could not move ever again, nor be free: whoever
 * cannot isolate it counts as well (godwit_shield_refused()).
 *
 * Reverse maps: a folio may be mapped although its counts deny it, so nobody can take a reference
 * to its anon_vma in the kernel's way. The page map has one, as long as the frames may be that
 * folio (godwit_pagemap_publish()).
 *
 * Locking: none of ours. The worker takes the lock of the folio and, within it, that of the
 * reverse map for reading and those of page tables, in the order of the kernel. Who may hold any of
 * them only tries (shield_gone()).
 */
#include <linux/delay.h>
#include <linux/leafops.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/pgtable.h>
#include <linux/preempt.h>
#include <linux/rmap.h>
#include <linux/workqueue.h>

#include "../compat/rmap.h"
#include "device.h"
#include "entry.h"
#include "pagemap.h"
#include "shield.h"

/* In &page.zone_device_data: see godwit_shield_keep(). */
#define SHIELD_ZAPPED	((void *)1)

/* References that shield a folio: more than there can be zaps meanwhile. */
#define SHIELD_REFS	0x100000

/* How many entries are looked at where nobody can wait. */
#define SHIELD_LOOKS	64

/* How often the entries are counted at most until nobody has changed them meanwhile. */
#define SHIELD_COUNTS	100

static unsigned int slow_switch;
module_param(slow_switch, uint, 0644);
MODULE_PARM_DESC(slow_switch,
		 "For tests: let huge pages be without a shield, and isolated, this many microseconds longer (default 0)");

static struct workqueue_struct *shield_queue;

/**
 * godwit_shield_init() - the module is loaded.
 */
int godwit_shield_init(void)
{
	shield_queue = alloc_workqueue("godwit-shield", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	return shield_queue ? 0 : -ENOMEM;
}

/**
 * godwit_shield_fini() - the module is unloaded. Waits for the worker.
 */
void godwit_shield_fini(void)
{
	destroy_workqueue(shield_queue);
}

/* Where an entry for the whole folio would be in a VMA of its reverse map, or NULL. */
static pmd_t *shield_pmd(struct folio *folio, struct vm_area_struct *vma)
{
	unsigned long first = godwit_vma_anon_pgoff(vma), addr;

	if (folio->index < first)
		return NULL;
	addr = vma->vm_start + ((folio->index - first) << PAGE_SHIFT);
	if (addr >= vma->vm_end || vma->vm_end - addr < PMD_SIZE || !IS_ALIGNED(addr, PMD_SIZE))
		return NULL;
	return godwit_pmd_at(vma->vm_mm, addr);
}

static bool shield_entry(struct folio *folio, struct vm_area_struct *vma)
{
	pmd_t *pmd = shield_pmd(folio, vma);
	spinlock_t *lock; /* of the page table */
	bool is;

	if (!pmd)
		return false;
	lock = pmd_lock(vma->vm_mm, pmd);
	is = pmd_is_device_private_entry(*pmd) && pmd_to_softleaf_folio(*pmd) == folio;
	spin_unlock(lock);
	return is;
}

/* How many such entries there are. The VMAs keep their page tables while the map is locked. */
static int shield_entries(struct folio *folio, struct anon_vma *anon)
{
	struct rb_node *node;
	int count = 0;

	down_read(&anon->root->rwsem);
	for (node = rb_first_cached(&anon->rb_root); node; node = rb_next(node))
		count += shield_entry(folio, rb_entry(node, struct anon_vma_chain, rb)->vma);
	up_read(&anon->root->rwsem);
	return count;
}

/*
 * Is it sure that nothing maps a folio whose last reference is gone? Any context: whoever has
 * dropped the reference may have the lock of a page table, and the reverse map. The worker can wait
 * for both.
 */
static bool shield_gone(struct folio *folio, struct anon_vma *anon)
{
	unsigned int looks = 0, locked = 0;
	struct rb_node *node;
	bool gone = true;

	if (READ_ONCE(godwit_page_device(folio_page(folio, 0))->pagemap.shield_worker) == current)
		return !shield_entries(folio, anon) && !folio_ref_count(folio);
	if (!down_read_trylock(&anon->root->rwsem))
		return false;
	for (node = rb_first_cached(&anon->rb_root); node && gone; node = rb_next(node)) {
		struct vm_area_struct *vma = rb_entry(node, struct anon_vma_chain, rb)->vma;
		pmd_t *pmd = shield_pmd(folio, vma), entry;

		gone = looks++ < SHIELD_LOOKS;
		if (!pmd)
			continue;
		entry = pmdp_get_lockless(pmd);
		if (pmd_is_valid_softleaf(entry) &&
		    softleaf_to_pfn(softleaf_from_pmd(entry)) == folio_pfn(folio))
			gone = false;
		/* Whoever zaps one has the lock until its reference is gone as well. */
		smp_rmb();
		locked += spin_is_locked(pmd_lockptr(vma->vm_mm, pmd));
	}
	up_read(&anon->root->rwsem);
	/* One of the locks may be our caller's. */
	return gone && locked <= (preemptible() ? 0 : 1) && !folio_ref_count(folio);
}

/*
 * An entry and its count change together, but not all entries at the same time: what was counted
 * holds if it comes out twice, and the folio says the same before, between and after. False where
 * others change them all the time.
 */
static bool shield_count(struct folio *folio, struct anon_vma *anon, int *missing)
{
	unsigned int n;

	for (n = 0; n < SHIELD_COUNTS; n++) {
		int before = folio_entire_mapcount(folio), first, between, second;

		first = shield_entries(folio, anon);
		between = folio_entire_mapcount(folio);
		second = shield_entries(folio, anon);
		*missing = first - between;
		if (first == second && before == between &&
		    between == folio_entire_mapcount(folio))
			return true;
		cond_resched();
	}
	return false;
}

/* The caller has a reference. */
static void shield_mend(struct folio *folio, int missing)
{
	if (missing)
		godwit_folio_mend(folio, missing);
	if (missing > 0)
		folio_ref_add(folio, missing);
	else if (missing < 0)
		folio_put_refs(folio, -missing);
}

/**
 * godwit_shield_recount() - let a folio have the mappings and references that it should.
 * @folio: locked and referenced by the caller, mapped perhaps, but not isolated. Any folio; only
 *	huge ones of private VRAM can lack any, or have too many.
 */
void godwit_shield_recount(struct folio *folio)
{
	struct anon_vma *anon = godwit_anon_vma(folio);
	int missing;

	if (anon && folio_test_large(folio) && folio_is_device_private(folio) &&
	    shield_count(folio, anon, &missing))
		shield_mend(folio, missing);
}

/**
 * godwit_shield_refused() - a folio could not be isolated.
 * @page: its first page; it may be free by now, or not huge.
 */
void godwit_shield_refused(struct page *page)
{
	struct folio *folio = page_folio(page);

	if (!folio_test_large(folio) || !folio_try_get(folio))
		return;
	/* Whoever has it locked does the same, or moves it. */
	if (folio_trylock(folio)) {
		godwit_shield_recount(folio);
		folio_unlock(folio);
	}
	folio_put(folio);
}

/**
 * godwit_shield_work() - look after folios that stayed, or whose last reference went too early.
 * @work: &godwit_pagemap.shield_work.
 */
void godwit_shield_work(struct work_struct *work)
{
	struct godwit_pagemap *pagemap = container_of(work, struct godwit_pagemap, shield_work);
	unsigned long blocks = range_len(&pagemap->map.range) / SZ_2M, block;

	WRITE_ONCE(pagemap->shield_worker, current);
	for_each_set_bit(block, pagemap->shielded, blocks) {
		unsigned long pfn = pagemap->first_pfn + block * GODWIT_BLOCK_FRAMES;
		struct folio *folio = page_folio(pfn_to_page(pfn));

		clear_bit(block, pagemap->shielded);
		folio_lock(folio);
		godwit_shield_recount(folio);
		/* Whoever locks it next must not find it in use; one is tolerated. */
		folio_put_refs(folio, SHIELD_REFS - 1);
		folio_unlock(folio);
		folio_put(folio);
		cond_resched();
	}
	WRITE_ONCE(pagemap->shield_worker, NULL);
}

/* The worker will look after a folio, and lower its shield. Any context. */
static void shield_later(struct folio *folio)
{
	struct page *page = folio_page(folio, 0);
	struct godwit_pagemap *pagemap = &godwit_page_device(page)->pagemap;

	/* It will already: then the folio has a shield more than it needs. */
	if (test_and_set_bit(godwit_page_frame(page) / GODWIT_BLOCK_FRAMES, pagemap->shielded))
		folio_put_refs(folio, SHIELD_REFS);
	queue_work(shield_queue, &pagemap->shield_work);
}

static void shield_slow(void)
{
	if (READ_ONCE(slow_switch))
		fsleep(READ_ONCE(slow_switch));
}

/* Not to be overwritten by godwit_shield_keep(). */
static void shield_up(struct godwit_shield *shield)
{
	while (folio_ref_count(shield->folio) <= 0 ||
	       !folio_ref_add_unless_zero(shield->folio, SHIELD_REFS))
		cpu_relax();
	shield->up = true;
}

/**
 * godwit_shield_begin() - a migration has isolated a folio.
 * @shield: without a folio. A batch is of one block of addresses, so there can be one only.
 * @folio: locked, and as far as the kernel knows all its mappings are migration entries. Ignored
 *	unless it is a huge one of private VRAM.
 *
 * Return: whether it may move. Otherwise something maps it still.
 */
bool godwit_shield_begin(struct godwit_shield *shield, struct folio *folio)
{
	struct anon_vma *anon;
	int missing;

	if (!folio_test_large(folio) || !folio_is_device_private(folio))
		return true;
	WARN_ON_ONCE(shield->folio);
	shield->folio = folio;
	shield->moved = false;
	shield_up(shield);

	anon = godwit_anon_vma(folio);
	if (!anon)
		return true;
	if (!shield_count(folio, anon, &missing))
		return false;
	shield_mend(folio, missing);
	return !folio_mapped(folio);
}

/**
 * godwit_shield_lower() - the kernel is about to count the references of the folio.
 * @shield: may be without a folio. Freed where nobody else holds it, which the migration does.
 */
void godwit_shield_lower(struct godwit_shield *shield)
{
	if (!shield->up)
		return;
	shield->up = false;
	shield_mend(shield->folio, godwit_folio_missing(shield->folio));
	folio_put_refs(shield->folio, SHIELD_REFS);
	shield_slow();
}

/**
 * godwit_shield_raise() - it has counted, and the folio is isolated still.
 * @shield: may be without a folio, and may be up.
 */
void godwit_shield_raise(struct godwit_shield *shield)
{
	if (!shield->folio)
		return;
	shield_slow();
	if (shield->up)
		return;
	/* The kernel has split it: its pages have entries of their own, which are no problem. */
	if (!folio_test_large(shield->folio))
		shield->folio = NULL;
	else
		shield_up(shield);
}

/**
 * godwit_shield_end() - the migration is over.
 * @shield: up, or without a folio; is without one then.
 * @locked: if it has not moved, the caller has it locked still.
 */
void godwit_shield_end(struct godwit_shield *shield, bool locked)
{
	struct folio *folio = shield->folio;

	if (!shield->up)
		return;
	if (!shield->moved && !locked && godwit_anon_vma(folio)) {
		shield_later(folio);
	} else {
		if (shield->moved)
			shield_mend(folio, godwit_folio_missing(folio));
		else
			godwit_shield_recount(folio);
		folio_put_refs(folio, SHIELD_REFS);
	}
	*shield = (struct godwit_shield) { };
}

/* A folio without a reference gets @refs, and what the kernel has taken from it already. */
static void shield_revive(struct folio *folio, struct address_space *mapping, int refs)
{
	/* Our caller's caller gives these back as soon as we return. */
	percpu_ref_get_many(&page_pgmap(folio_page(folio, 0))->ref, folio_nr_pages(folio));
	folio->mapping = mapping;
	godwit_folio_recharge(folio, NULL);
	/* Pairs with godwit_shield_zapped(). */
	smp_wmb();
	/* Others may have dropped theirs meanwhile. */
	folio_ref_add(folio, refs);
}

/**
 * godwit_shield_keep() - the last reference to a folio is gone. Any context.
 * @folio: the folio.
 *
 * Return: whether it must not go, because somebody migrates it, or may map it. It has a reference
 * again then.
 */
bool godwit_shield_keep(struct folio *folio)
{
	struct page *page = folio_page(folio, 0);
	struct godwit_pagemap *pagemap = &godwit_page_device(page)->pagemap;
	struct address_space *mapping;
	struct anon_vma *anon;
	int missing;

	if (!folio_test_large(folio) || !pagemap->mappings)
		return false;
	mapping = pagemap->mappings[godwit_page_frame(page) / GODWIT_BLOCK_FRAMES];
	anon = godwit_mapping_anon_vma(mapping);
	missing = godwit_folio_missing(folio);
	if (missing) {
		godwit_folio_mend(folio, missing);
		page->zone_device_data = SHIELD_ZAPPED;
		shield_revive(folio, mapping, missing);
		return true;
	}
	if (!anon || shield_gone(folio, anon))
		return false;
	shield_revive(folio, mapping, SHIELD_REFS);
	shield_later(folio);
	return true;
}

/**
 * godwit_shield_zapped() - did a folio lose its last reference while it was being migrated?
 * @folio: of private VRAM, locked by the caller, who migrates it.
 *
 * If so, what it moved to may lack its reverse map: the folio must stay. The answer is given once.
 */
bool godwit_shield_zapped(struct folio *folio)
{
	struct page *page = folio_page(folio, 0);

	if (!folio_test_large(folio))
		return false;
	/* The zap is at godwit_shield_keep(), with a spinlock held. */
	while (folio_ref_count(folio) <= 0)
		cpu_relax();
	/* Pairs with godwit_shield_keep(). */
	smp_rmb();
	return xchg(&page->zone_device_data, NULL) == SHIELD_ZAPPED;
}

/**
 * godwit_shield_return() - a zapped folio stays after all.
 * @folio: the folio.
 * @heir: where it was to go to. The kernel's finalize will free it.
 */
void godwit_shield_return(struct folio *folio, struct folio *heir)
{
	godwit_folio_recharge(folio, heir);
	/* Inherited as well, and nothing that a free page may have. */
	folio_clear_active(heir);
	folio_clear_unevictable(heir);
}
