// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Coming home
 *
 * Overview: pages of VRAM go to RAM, for whatever cause. All ways share two steps: between
 * migrate_*_setup() and migrate_*_pages(), godwit_home_fill() finds RAM for the pages that were
 * isolated and copies them; between migrate_*_pages() and migrate_*_finalize(),
 * godwit_home_settle() records which of them moved. The fault of a CPU on a page of private
 * VRAM is here as well (godwit_home_fault()), eviction is in evict.c, requests are in
 * migrate.c.
 *
 * Locking: the pages are locked and unmapped, and the caller may hold mmap_lock. No lock of
 * ours is held, and none is waited for except &godwit_vram.lock: a CPU fault can happen
 * anywhere. RAM is allocated while pages of VRAM are locked. That cannot deadlock: reclaim does
 * not wait for pages of VRAM, never evicts them, and what it does wait for, our notifier, waits
 * for nothing but accesses of the device.
 *
 * Order: the copy is complete before the kernel switches page tables, and the device lost its
 * translations before the copy began, in the notifier that isolating the page has called.
 */
#include <linux/highmem.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/pagemap.h>

#include "../state/outcome.h"
#include "batch.h"
#include "client.h"
#include "device.h"
#include "event.h"
#include "home.h"
#include "trace.h"

/*
 * Pages around the one that a CPU touched come with it, within an aligned window: the fault
 * costs more than the copies.
 */
#define HOME_WINDOW	(16 * PAGE_SIZE)

/* What a page that was lost with its device is filled with, until its owner is told. */
#define HOME_LOST_BYTE	0xdb

#if GODWIT_CAN_POISON
#define home_tell(page)	memory_failure(page_to_pfn(page), 0)
#else
#define home_tell(page)	\
	pr_err("godwit: page %#lx lost its bytes with its device\n", page_to_pfn(page))
#endif

static struct folio *home_alloc(const struct godwit_home *home, unsigned int order,
				unsigned long addr)
{
	gfp_t gfp = GFP_HIGHUSER_MOVABLE | __GFP_NOWARN;
	struct folio *folio;

	if (order)
		/* Without a VMA the huge page cannot be split: try harder. */
		gfp = home->vma ? GFP_TRANSHUGE_LIGHT : GFP_TRANSHUGE | __GFP_NORETRY;
	else if (home->gentle)
		gfp = (gfp & ~__GFP_DIRECT_RECLAIM) | __GFP_NORETRY;
	else
		gfp |= __GFP_RETRY_MAYFAIL;

	folio = home->vma ? vma_alloc_folio(gfp, order, home->vma, addr) : folio_alloc(gfp, order);
	if (folio)
		__folio_set_locked(folio);
	return folio;
}

/* Gives element @i, LEAVING, a page of RAM to go to; where there is none it stays: false. */
static bool home_room(struct godwit_batch *batch, unsigned int i, struct godwit_device *gdev,
		      unsigned long frame, struct godwit_home *home)
{
	struct folio *folio;

	folio = home_alloc(home, 0, home->addr + (unsigned long)i * PAGE_SIZE);
	if (!folio && home->spare && i == home->spare_index) {
		folio = home->spare;
		home->spare = NULL;
		__folio_set_locked(folio);
	}
	if (!folio) {
		godwit_vram_event(&gdev->vram, frame, 1, GODWIT_FRAME_STAY);
		return false;
	}
	batch->dst[i] = migrate_pfn(folio_pfn(folio));
	batch->reached[i] = GODWIT_REACHED_ROOM;
	godwit_batch_add(batch, i, folio_page(folio, 0), gdev, frame, 1);
	return true;
}

static void home_room_huge(struct godwit_batch *batch, unsigned int i, struct godwit_device *gdev,
			   unsigned long frame, unsigned int pages, struct godwit_home *home)
{
	struct folio *folio;
	unsigned int j;

	folio = home_alloc(home, ilog2(pages), home->addr + (unsigned long)i * PAGE_SIZE);
	if (folio) {
		batch->dst[i] = migrate_pfn(folio_pfn(folio)) | MIGRATE_PFN_COMPOUND;
		memset(&batch->reached[i], GODWIT_REACHED_ROOM, pages);
		godwit_batch_add(batch, i, folio_page(folio, 0), gdev, frame, pages);
		return;
	}
	/*
	 * The kernel splits the folio if its first page gets a small one to go to. Pages that
	 * get none stay, as pages of VRAM.
	 */
	if (!home->vma) {
		godwit_vram_event(&gdev->vram, frame, pages, GODWIT_FRAME_STAY);
		return;
	}
	for (j = 0; j < pages; j++) {
		if (!home_room(batch, i + j, gdev, frame + j, home) && !j) {
			godwit_vram_event(&gdev->vram, frame + 1, pages - 1, GODWIT_FRAME_STAY);
			return;
		}
	}
	godwit_stat_add(gdev, NULL, GODWIT_STAT_HUGE_SPLIT, 1);
}

/* By its frame: a folio that is to be split has one element only until it is. */
static struct folio *home_source(const struct godwit_batch *batch, unsigned int n)
{
	const struct godwit_device *gdev = batch->device[n];

	return page_folio(pfn_to_page(gdev->pagemap.first_pfn + batch->pieces[n].frame));
}

/* Piece @n does not move. */
static void home_forget(struct godwit_batch *batch, unsigned int n)
{
	const struct godwit_copy *piece = &batch->pieces[n];
	struct folio *folio = page_folio(piece->page);

	godwit_vram_event(&batch->device[n]->vram, piece->frame, piece->pages,
			  GODWIT_FRAME_STAY);
	batch->dst[batch->index[n]] = 0;
	folio_unlock(folio);
	folio_put(folio);
}

/* The copy of a piece failed: it stays, or comes without its bytes. */
static void home_lose(struct godwit_batch *batch, unsigned int n, const struct godwit_home *home)
{
	const struct godwit_copy *piece = &batch->pieces[n];
	struct godwit_device *gdev = batch->device[n];
	unsigned int j;

	godwit_stat_add(gdev, NULL, GODWIT_STAT_COPY_ERRORS, 1);
	if (home->poison) {
		/* Never zeros, which could be taken for data; never what was in the page before. */
		for (j = 0; j < piece->pages; j++)
			memset(page_address(piece->page + j), HOME_LOST_BYTE, PAGE_SIZE);
		return;
	}
	home_forget(batch, n);
}

/* Copies pieces [@first, @last), which are of one device. */
static void home_copy(struct godwit_batch *batch, unsigned int first, unsigned int last,
		      const struct godwit_home *home)
{
	struct godwit_device *gdev = batch->device[first];
	unsigned int n;
	int ret;

	ret = gdev->ops->copy_from_vram(gdev, &batch->pieces[first], last - first);
	for (n = first; n < last; n++) {
		if (ret && gdev->ops->copy_from_vram(gdev, &batch->pieces[n], 1))
			home_lose(batch, n, home);
		else
			memset(&batch->reached[batch->index[n]], GODWIT_REACHED_COPY,
			       batch->pieces[n].pages);
	}
}

/*
 * Pinned frames stay, except that the access of a CPU is always served, and that
 * a device which goes away keeps nothing. A huge folio moves as a whole or not.
 */
static bool home_may_take(const struct godwit_home *home, unsigned int i,
			  struct godwit_device *gdev, unsigned long frame, unsigned int pages)
{
	if (home->cause == GODWIT_CAUSE_UNPLUG)
		return true;
	if (home->cause == GODWIT_CAUSE_CPU_FAULT && i <= home->spare_index &&
	    home->spare_index < i + pages)
		return true;
	return !godwit_vram_held(&gdev->vram, frame, pages);
}

/**
 * godwit_home_fill() - RAM for the isolated pages of a batch, and their bytes in it.
 * @batch: &godwit_batch.src as the kernel has set it, no pieces; the rest is set.
 * @count: elements.
 * @home: how.
 */
void godwit_home_fill(struct godwit_batch *batch, unsigned int count, struct godwit_home *home)
{
	u64 since = ktime_get_ns();
	unsigned int i, n, first = 0, pages;

	for (i = 0; i < count; i += pages) {
		struct page *page = migrate_pfn_to_page(batch->src[i]);
		struct godwit_device *gdev;

		pages = 1;
		if (!page || !(batch->src[i] & MIGRATE_PFN_MIGRATE) || !godwit_is_vram(page))
			continue;
		if (batch->src[i] & MIGRATE_PFN_COMPOUND)
			pages = folio_nr_pages(page_folio(page));
		gdev = godwit_page_device(page);
		if (home->only && home->only != gdev)
			continue;
		if (!home_may_take(home, i, gdev, godwit_page_frame(page), pages))
			continue;
		/* Where it is not ours to move, all that is left to do is to let go of it. */
		if (!godwit_vram_leave(&gdev->vram, godwit_page_frame(page), pages))
			continue;
		memset(&batch->reached[i], GODWIT_REACHED_SETUP, pages);
		if (pages > 1)
			home_room_huge(batch, i, gdev, godwit_page_frame(page), pages, home);
		else
			home_room(batch, i, gdev, godwit_page_frame(page), home);
	}
	godwit_batch_lap(&batch->time_alloc, &since);

	for (n = 1; n <= batch->nr_pieces; n++) {
		if (n < batch->nr_pieces && batch->device[n] == batch->device[first])
			continue;
		home_copy(batch, first, n, home);
		first = n;
	}
	for (n = 0; n < batch->nr_pieces; n++)
		if (batch->dst[batch->index[n]] &&
		    godwit_pagemap_zapped(home_source(batch, n)))
			home_forget(batch, n);
	godwit_batch_lap(&batch->time_copy, &since);
}

static void home_account(struct godwit_device *gdev, struct godwit_client *owner,
			 enum drm_godwit_cause cause, unsigned int pages)
{
	godwit_stat_add(gdev, owner, GODWIT_STAT_PAGES_HOME, pages);
	if (cause == GODWIT_CAUSE_EVICTION)
		godwit_stat_add(gdev, owner, GODWIT_STAT_PAGES_EVICTED, pages);
	if (pages > 1)
		godwit_stat_add(gdev, owner, GODWIT_STAT_HUGE_HOME, 1);
}

/**
 * godwit_home_settle() - record which pages moved, before the kernel lets go of them.
 * @batch: as godwit_home_fill() left it, after migrate_vma_pages() or migrate_device_pages().
 * @home: as godwit_home_fill() left it; counters are added to.
 */
void godwit_home_settle(struct godwit_batch *batch, struct godwit_home *home)
{
	unsigned int n;

	for (n = 0; n < batch->nr_pieces; n++) {
		const struct godwit_copy *piece = &batch->pieces[n];
		struct godwit_device *gdev = batch->device[n];
		unsigned int i = batch->index[n];
		struct godwit_client *owner;

		if (!batch->dst[i]) {
			home->stayed += piece->pages;
			continue;
		}
		/* What it took over may not be whole: finalize drops it, and what it came from. */
		if (godwit_pagemap_zapped(home_source(batch, n)))
			batch->src[i] &= ~MIGRATE_PFN_MIGRATE;
		if (!(batch->src[i] & MIGRATE_PFN_MIGRATE)) {
			godwit_vram_event(&gdev->vram, piece->frame, piece->pages,
					  GODWIT_FRAME_STAY);
			home->stayed += piece->pages;
			continue;
		}
		home->moved += piece->pages;
		if (piece->pages > 1)
			home->moved_huge += piece->pages;
		if (batch->reached[i] == GODWIT_REACHED_COPY)
			memset(&batch->reached[i], GODWIT_REACHED_MOVED, piece->pages);
		/* The frame stays LEAVING until finalize drops the last reference to its folio. */
		owner = godwit_vram_owner_get(&gdev->vram, piece->frame);
		if (!owner)
			continue;
		home_account(gdev, owner, home->cause, piece->pages);
		godwit_client_put(owner);
	}
}

/**
 * godwit_home_poison() - tell the owners of pages that came home without their bytes.
 * @batch: after finalize, of a &struct godwit_home with @poison.
 */
void godwit_home_poison(struct godwit_batch *batch)
{
	unsigned int n, j;

	for (n = 0; n < batch->nr_pieces; n++) {
		const struct godwit_copy *piece = &batch->pieces[n];
		unsigned int i = batch->index[n];

		if (batch->reached[i] != GODWIT_REACHED_ROOM ||
		    !(batch->src[i] & MIGRATE_PFN_MIGRATE))
			continue;
		for (j = 0; j < piece->pages; j++)
			home_tell(piece->page + j);
		godwit_stat_add(batch->device[n], NULL, GODWIT_STAT_PAGES_POISONED,
				piece->pages);
	}
}

/* Which addresses come home with the page that was touched. */
static void home_window(const struct vm_fault *vmf, unsigned long *start, unsigned long *end)
{
	unsigned long size = HOME_WINDOW;

	/* Without a pte the whole huge page is one entry. */
	if (!vmf->pte)
		size = folio_size(page_folio(vmf->page));
	*start = max(ALIGN_DOWN(vmf->address, size), vmf->vma->vm_start);
	*end = min(ALIGN_DOWN(vmf->address, size) + size, vmf->vma->vm_end);
}

static vm_fault_t home_fault(struct vm_fault *vmf, struct godwit_batch *batch,
			     struct migrate_vma *args, struct godwit_home *home)
{
	u64 since = ktime_get_ns();
	unsigned int at;

	args->src = batch->src;
	args->dst = batch->dst;
	if (migrate_vma_setup(args))
		return VM_FAULT_SIGBUS;
	godwit_batch_lap(&batch->time_setup, &since);
	godwit_home_fill(batch, args->npages, home);
	since = ktime_get_ns();
	migrate_vma_pages(args);
	godwit_home_settle(batch, home);
	migrate_vma_finalize(args);
	godwit_batch_lap(&batch->time_finish, &since);

	/*
	 * A page that could not be isolated (somebody else holds it, or is faster) is no error:
	 * the access is repeated. A page that the device cannot give us is.
	 */
	at = vmf->pte ? home->spare_index : 0;
	return batch->reached[at] == GODWIT_REACHED_ROOM ? VM_FAULT_SIGBUS : 0;
}

/**
 * godwit_home_fault() - a CPU touched a page of private VRAM.
 * @vmf: with mmap_lock held for reading, and &vm_fault.page locked and referenced.
 */
vm_fault_t godwit_home_fault(struct vm_fault *vmf)
{
	struct godwit_device *gdev = godwit_page_device(vmf->page);
	struct migrate_vma args = {
		.vma = vmf->vma,
		.pgmap_owner = godwit_pagemap_owner_cookie(),
		.flags = MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
		.fault_page = vmf->page,
	};
	struct godwit_home home = {
		.cause = GODWIT_CAUSE_CPU_FAULT,
		.only = gdev,
		.vma = vmf->vma,
		.gentle = true,
	};
	struct godwit_client *owner;
	struct godwit_batch *batch;
	vm_fault_t ret;

	home_window(vmf, &args.start, &args.end);
	if (!vmf->pte && folio_test_large(page_folio(vmf->page)))
		args.flags |= MIGRATE_VMA_SELECT_COMPOUND;
	home.addr = args.start;
	home.spare_index = vmf->pte ? (vmf->address - args.start) >> PAGE_SHIFT : 0;

	/* Before anything is isolated: what this takes cannot be in our way. */
	batch = godwit_batch_alloc((args.end - args.start) >> PAGE_SHIFT, GFP_KERNEL);
	home.spare = vma_alloc_folio(GFP_HIGHUSER_MOVABLE, 0, vmf->vma, vmf->address);
	if (!batch || !home.spare) {
		ret = VM_FAULT_OOM;
		goto out;
	}

	owner = godwit_vram_owner_get(&gdev->vram, godwit_page_frame(vmf->page));
	godwit_stat_add(gdev, owner, GODWIT_STAT_CPU_FAULTS, 1);
	ret = home_fault(vmf, batch, &args, &home);
	trace_godwit_home(gdev, home.cause, args.start, args.end - args.start, home.moved,
			  home.stayed);
	godwit_event_moved(owner, 0, home.cause, args.start, args.end - args.start,
			   GODWIT_PLACE_VRAM, GODWIT_PLACE_SYSTEM, home.moved);
	if (owner)
		godwit_client_put(owner);
out:
	if (home.spare)
		folio_put(home.spare);
	godwit_batch_free(batch);
	return ret;
}
