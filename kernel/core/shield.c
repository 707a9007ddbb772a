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
 * Locking: none of ours. The worker takes the lock of the folio and, within it, that of the
 * reverse map for reading and those of page tables, in the order of the kernel.
 */
#include <linux/delay.h>
#include <linux/leafops.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/pgtable.h>
#include <linux/rmap.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "../compat/rmap.h"
#include "device.h"
#include "pagemap.h"
#include "shield.h"

/* In &page.zone_device_data: see godwit_shield_keep(). */
#define SHIELD_ZAPPED	((void *)1)

/* References that shield a folio: more than there can be zaps meanwhile. */
#define SHIELD_REFS	0x100000

/* How often the entries are counted at most until nobody has changed them meanwhile. */
#define SHIELD_COUNTS	100

static unsigned int slow_switch;
module_param(slow_switch, uint, 0644);
MODULE_PARM_DESC(slow_switch,
		 "For tests: let huge pages be without a shield, and isolated, this many microseconds longer (default 0)");

/**
 * struct shield_check - a folio that stayed, for the worker.
 */
struct shield_check {
	/** @work: in shield_queue. */
	struct work_struct work;
	/** @folio: shielded. */
	struct folio *folio;
	/** @anon: its reverse map, with a reference. */
	struct anon_vma *anon;
};

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

/* Is there an entry for the whole folio in a VMA of its reverse map? */
static bool shield_entry(struct folio *folio, struct vm_area_struct *vma)
{
	unsigned long first = godwit_vma_anon_pgoff(vma), addr;
	struct mm_struct *mm = vma->vm_mm;
	spinlock_t *lock; /* of the page table */
	pgd_t *pgd;
	p4d_t *p4d;
	pud_t *pud;
	pmd_t *pmd;
	bool is;

	if (folio->index < first)
		return false;
	addr = vma->vm_start + ((folio->index - first) << PAGE_SHIFT);
	if (addr >= vma->vm_end || vma->vm_end - addr < PMD_SIZE || !IS_ALIGNED(addr, PMD_SIZE))
		return false;

	pgd = pgd_offset(mm, addr);
	if (!pgd_present(*pgd))
		return false;
	p4d = p4d_offset(pgd, addr);
	if (!p4d_present(*p4d))
		return false;
	pud = pud_offset(p4d, addr);
	if (!pud_present(*pud) || pud_leaf(*pud))
		return false;
	pmd = pmd_offset(pud, addr);
	lock = pmd_lock(mm, pmd);
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
 * An entry and its count change together, but not all entries at the same time: what was counted
 * holds if it comes out twice, and the folio says the same before, between and after.
 */
static int shield_missing(struct folio *folio, struct anon_vma *anon)
{
	unsigned int n;

	for (n = 0; n < SHIELD_COUNTS; n++) {
		int before = folio_entire_mapcount(folio), first, between, second;

		first = shield_entries(folio, anon);
		between = folio_entire_mapcount(folio);
		second = shield_entries(folio, anon);
		if (first == second && before == between &&
		    between == folio_entire_mapcount(folio))
			return first - between;
		cond_resched();
	}
	return 0;
}

static void shield_mend(struct folio *folio, int missing)
{
	if (missing <= 0)
		return;
	godwit_folio_mend(folio, missing);
	folio_ref_add(folio, missing);
}

/**
 * godwit_shield_recount() - give a folio the mappings and references that it should have.
 * @folio: locked and referenced by the caller, mapped perhaps, but not isolated. Any folio; only
 *	huge ones of private VRAM can lack any. Its reverse map stays meanwhile: the caller has
 *	mmap_lock of somebody who maps it, or a reference.
 */
void godwit_shield_recount(struct folio *folio)
{
	struct anon_vma *anon = godwit_anon_vma(folio);

	if (anon && folio_test_large(folio) && folio_is_device_private(folio))
		shield_mend(folio, shield_missing(folio, anon));
}

static void shield_work(struct work_struct *work)
{
	struct shield_check *check = container_of(work, struct shield_check, work);

	folio_lock(check->folio);
	godwit_shield_recount(check->folio);
	folio_unlock(check->folio);
	folio_put_refs(check->folio, SHIELD_REFS);
	godwit_anon_vma_put(check->anon);
	kfree(check);
}

/* The folio stays; it is not locked any more. */
static void shield_later(struct folio *folio)
{
	struct anon_vma *anon = godwit_anon_vma(folio);
	struct shield_check *check = kzalloc_obj(*check, GFP_KERNEL | __GFP_NOFAIL);

	INIT_WORK(&check->work, shield_work);
	check->folio = folio;
	check->anon = anon;
	/* It is in use: see godwit_shield_end(). */
	atomic_inc(&anon->refcount);
	queue_work(shield_queue, &check->work);
}

static void shield_slow(void)
{
	if (READ_ONCE(slow_switch))
		fsleep(READ_ONCE(slow_switch));
}

/* Not to be overwritten by godwit_shield_keep(). */
static void shield_up(struct godwit_shield *shield)
{
	while (!folio_ref_add_unless_zero(shield->folio, SHIELD_REFS))
		cpu_relax();
	shield->up = true;
}

/**
 * godwit_shield_begin() - a migration has isolated a folio.
 * @shield: without a folio. A batch is of one block of addresses, so there can be one only.
 * @folio: locked, and all its mappings are migration entries. Ignored unless it is a huge one of
 *	private VRAM.
 */
void godwit_shield_begin(struct godwit_shield *shield, struct folio *folio)
{
	if (!folio_test_large(folio) || !folio_is_device_private(folio))
		return;
	WARN_ON_ONCE(shield->folio);
	shield->folio = folio;
	shield->moved = false;
	shield_up(shield);
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
 *
 * The reverse map of the folio is in use: the caller has mmap_lock of somebody who maps it, or a
 * reference.
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

/**
 * godwit_shield_keep() - the last reference to a folio is gone. Any context.
 * @folio: the folio.
 *
 * Return: whether it must not go, because somebody migrates it. It has a reference again then.
 */
bool godwit_shield_keep(struct folio *folio)
{
	struct page *page = folio_page(folio, 0);
	struct godwit_pagemap *pagemap = &godwit_page_device(page)->pagemap;
	int missing = folio_test_large(folio) ? godwit_folio_missing(folio) : 0;

	if (!missing)
		return false;
	godwit_folio_mend(folio, missing);
	/* Our caller gives these back as soon as we return. */
	percpu_ref_get_many(&page_pgmap(page)->ref, folio_nr_pages(folio));
	folio->mapping = pagemap->mappings[godwit_page_frame(page) / GODWIT_BLOCK_FRAMES];
	godwit_folio_recharge(folio, NULL);
	page->zone_device_data = SHIELD_ZAPPED;
	/* Pairs with godwit_shield_zapped(). */
	smp_wmb();
	folio_set_count(folio, missing);
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
	while (!folio_ref_count(folio))
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
