// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Coming home
 *
 * Overview: pages of VRAM go to RAM, for whatever cause. All ways share two steps: between
 * migrate_*_setup() and migrate_*_pages(), godwit_home_fill() finds RAM for the pages that were
 * isolated and has them copied, and godwit_home_wait() waits for that; between
 * migrate_*_pages() and migrate_*_finalize(), godwit_home_settle() records which of them moved.
 * The touch of a CPU is in touch.c, eviction in evict.c, requests are in run.c.
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
#include "copy.h"
#include "device.h"
#include "drain.h"
#include "event.h"
#include "export.h"
#include "home.h"
#include "lost.h"
#include "room.h"
#include "trace.h"

/* What a page that was lost with its device is filled with, until its owner is told. */
#define HOME_LOST_BYTE	0xdb

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

/**
 * godwit_home_cancel() - nothing moves after all.
 * @batch: as godwit_home_wait() left it.
 */
void godwit_home_cancel(struct godwit_batch *batch)
{
	unsigned int n;

	for (n = 0; n < batch->nr_pieces; n++)
		if (batch->dst[batch->index[n]])
			home_forget(batch, n);
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

/* Waits for all copies that are under way. */
static void home_wait(struct godwit_batch *batch, const struct godwit_home *home)
{
	unsigned int i, n;
	int ret;

	for (i = 0; i < batch->nr_transfers; i++) {
		const struct godwit_transfer *transfer = &batch->transfers[i];

		ret = godwit_copy_wait(batch->device[transfer->first], transfer->fence);
		for (n = transfer->first; n < transfer->last; n++) {
			if (ret && godwit_copy(batch->device[n], &batch->pieces[n], 1, false))
				home_lose(batch, n, home);
			else
				godwit_batch_reach(batch, batch->index[n], batch->pieces[n].pages,
						   GODWIT_REACHED_COPY);
		}
	}
	batch->nr_transfers = 0;
}

/*
 * Held frames stay, except that the access of a CPU is always served, that a device which goes
 * away keeps nothing, and one which sleeps only what is pinned. A huge folio moves as a whole or
 * not.
 */
static u16 home_takes_held(const struct godwit_home *home, unsigned int i, unsigned int pages)
{
	if (home->cause == GODWIT_CAUSE_UNPLUG)
		return U16_MAX;
	if (home->cause == GODWIT_CAUSE_CPU_FAULT && i <= home->spare_index &&
	    home->spare_index < i + pages)
		return U16_MAX;
	return home->advised ? GODWIT_HOLD_ADVICE : 0;
}

/*
 * How many elements from @i on are small pages of consecutive frames. The one that a CPU touched
 * is always alone.
 */
static unsigned int home_run(const struct godwit_batch *batch, unsigned int i, unsigned int count,
			     const struct godwit_device *gdev, unsigned long frame,
			     const struct godwit_home *home)
{
	const unsigned long flags = MIGRATE_PFN_VALID | MIGRATE_PFN_MIGRATE | MIGRATE_PFN_COMPOUND;
	unsigned long pfn = batch->src[i] >> MIGRATE_PFN_SHIFT;
	unsigned int n = 1;

	if (home_takes_held(home, i, 1) && home->cause == GODWIT_CAUSE_CPU_FAULT)
		return 1;
	for (; i + n < count && frame + n < gdev->vram.nr_frames; n++) {
		unsigned long src = batch->src[i + n];

		if ((src & flags) != (MIGRATE_PFN_VALID | MIGRATE_PFN_MIGRATE) ||
		    src >> MIGRATE_PFN_SHIFT != pfn + n)
			break;
		if (home->cause == GODWIT_CAUSE_CPU_FAULT && i + n == home->spare_index)
			break;
	}
	return n;
}

/**
 * godwit_home_fill() - RAM for the isolated pages of a batch; their bytes are on the way.
 * @batch: &godwit_batch.src as the kernel has set it, no pieces; the rest is set.
 * @count: elements.
 * @home: how; for godwit_home_wait(), which must follow.
 */
void godwit_home_fill(struct godwit_batch *batch, unsigned int count, struct godwit_home *home)
{
	u64 since = ktime_get_ns();
	unsigned int i, n, pages;

	for (i = 0; i < count; i += pages) {
		struct page *page = migrate_pfn_to_page(batch->src[i]);
		struct godwit_device *gdev;
		unsigned long frame;
		bool huge;

		pages = 1;
		if (!page || !(batch->src[i] & MIGRATE_PFN_MIGRATE) || !godwit_is_vram(page))
			continue;
		gdev = godwit_page_device(page);
		frame = godwit_page_frame(page);
		huge = batch->src[i] & MIGRATE_PFN_COMPOUND;
		pages = huge ? folio_nr_pages(page_folio(page)) :
			       home_run(batch, i, count, gdev, frame, home);
		/* Also what stays: it must not lose what it lacks to zaps (shield.c). */
		if (huge && !godwit_shield_begin(&batch->shield, page_folio(page)))
			continue;
		if (gdev == home->except || (home->only && home->only != gdev))
			continue;
		n = godwit_vram_leave(&gdev->vram, frame, pages, huge,
				      home_takes_held(home, i, pages));
		if (!n) {
			/* It is not ours to move: all that is left to do is to let go of it. */
			pages = huge ? pages : 1;
			continue;
		}
		pages = n;
		memset(&batch->reached[i], GODWIT_REACHED_SETUP, pages);
		if (huge)
			godwit_room_huge(batch, i, gdev, frame, pages, home);
		else
			godwit_rooms(batch, i, pages, gdev, frame, home);
	}
	godwit_batch_lap(&batch->time_alloc, &since);

	while (batch->submitted < batch->nr_pieces) {
		if (batch->nr_transfers == GODWIT_BATCH_TRANSFERS)
			home_wait(batch, home);
		godwit_batch_submit(batch, false);
	}
	godwit_batch_lap(&batch->time_copy, &since);
}

/**
 * godwit_home_wait() - wait until the bytes are there.
 * @batch: as godwit_home_fill() left it. What could not be copied stays.
 * @home: how.
 */
void godwit_home_wait(struct godwit_batch *batch, const struct godwit_home *home)
{
	struct folio *huge = batch->shield.folio;
	bool zapped = huge && godwit_shield_zapped(huge), counted = false;
	u64 since = ktime_get_ns();
	unsigned int n;

	home_wait(batch, home);
	for (n = 0; huge && n < batch->nr_pieces; n++) {
		if (!batch->dst[batch->index[n]] || home_source(batch, n) != huge)
			continue;
		if (zapped)
			home_forget(batch, n);
		else if (batch->pieces[n].pages > 1 || home->cause != GODWIT_CAUSE_CPU_FAULT)
			counted = true;
	}
	if (counted)
		godwit_shield_lower(&batch->shield);
	godwit_batch_lap(&batch->time_copy, &since);
}

/**
 * struct home_left - consecutive frames whose pages have moved.
 */
struct home_left {
	/** @gdev: whose. */
	struct godwit_device *gdev;
	/** @frame: the first. */
	unsigned long frame;
	/** @pages: how many. */
	unsigned int pages;
	/** @huge: they were one folio. */
	bool huge;
};

/* Counts them, for whoever they were accounted to, and begins anew. */
static void home_account(struct home_left *left, enum drm_godwit_cause cause)
{
	struct godwit_device *gdev = left->gdev;

	while (left->pages) {
		unsigned int count = left->pages;
		struct godwit_client *owner = godwit_vram_left(gdev, left->frame, &count);

		left->frame += count;
		left->pages -= count;
		if (!owner)
			continue;
		godwit_stat_add(gdev, owner, GODWIT_STAT_PAGES_HOME, count);
		if (cause == GODWIT_CAUSE_EVICTION)
			godwit_stat_add(gdev, owner, GODWIT_STAT_PAGES_EVICTED, count);
		if (left->huge)
			godwit_stat_add(gdev, owner, GODWIT_STAT_HUGE_HOME, 1);
		godwit_client_put_many(owner, count);
	}
}

/* One more piece has moved. */
static void home_leave(struct home_left *left, struct godwit_device *gdev,
		       const struct godwit_copy *piece, enum drm_godwit_cause cause)
{
	bool huge = piece->pages > 1;

	if (!huge && !left->huge && left->pages && left->gdev == gdev &&
	    left->frame + left->pages == piece->frame) {
		left->pages++;
		return;
	}
	home_account(left, cause);
	*left = (struct home_left) {
		.gdev = gdev,
		.frame = piece->frame,
		.pages = piece->pages,
		.huge = huge,
	};
}

/* Piece @n has moved to a page that has none of its bytes. */
static bool home_is_lost(const struct godwit_batch *batch, unsigned int n,
			 const struct godwit_home *home)
{
	unsigned int i = batch->index[n];

	return home->poison && batch->reached[i] == GODWIT_REACHED_ROOM &&
	       (batch->src[i] & MIGRATE_PFN_MIGRATE);
}

/**
 * godwit_home_settle() - record which pages moved, before the kernel lets go of them.
 * @batch: as godwit_home_fill() left it, after migrate_vma_pages() or migrate_device_pages().
 * @home: as godwit_home_fill() left it; counters are added to.
 *
 * The frames stay LEAVING until finalize drops the last reference to their folios, but are
 * accounted to nobody from here on. What is lost is referenced until godwit_home_poison().
 */
void godwit_home_settle(struct godwit_batch *batch, struct godwit_home *home)
{
	struct home_left left = { };
	unsigned int n;

	godwit_shield_raise(&batch->shield);
	for (n = 0; n < batch->nr_pieces; n++) {
		const struct godwit_copy *piece = &batch->pieces[n];
		struct godwit_device *gdev = batch->device[n];
		unsigned int i = batch->index[n];

		if (!batch->dst[i]) {
			home->stayed += piece->pages;
			continue;
		}
		if (godwit_shield_zapped(home_source(batch, n))) {
			batch->src[i] &= ~MIGRATE_PFN_MIGRATE;
			godwit_shield_return(home_source(batch, n), page_folio(piece->page));
		}
		if (!(batch->src[i] & MIGRATE_PFN_MIGRATE)) {
			godwit_vram_event(&gdev->vram, piece->frame, piece->pages,
					  GODWIT_FRAME_STAY);
			home->stayed += piece->pages;
			continue;
		}
		home->moved += piece->pages;
		/* Its owners may unmap it meanwhile, and then it would be anybody's. */
		if (home_is_lost(batch, n, home))
			godwit_lost_hold(piece->page, piece->pages);
		if (piece->pages > 1) {
			home->moved_huge += piece->pages;
			batch->shield.moved = true;
		}
		if (batch->reached[i] == GODWIT_REACHED_COPY)
			godwit_batch_reach(batch, i, piece->pages, GODWIT_REACHED_MOVED);
		home_leave(&left, gdev, piece, home->cause);
	}
	home_account(&left, home->cause);
}

/**
 * godwit_home_end() - the migration is over.
 * @batch: after finalize.
 * @home: how.
 */
void godwit_home_end(struct godwit_batch *batch, const struct godwit_home *home)
{
	/* The kernel lets the page that a CPU touched locked. */
	godwit_shield_end(&batch->shield, home->cause == GODWIT_CAUSE_CPU_FAULT);
}

/**
 * godwit_home_poison() - tell the owners of pages that came home without their bytes.
 * @batch: after finalize, of a &struct godwit_home with @poison.
 * @home: how.
 */
void godwit_home_poison(struct godwit_batch *batch, const struct godwit_home *home)
{
	bool drained = false;
	unsigned int n;

	for (n = 0; n < batch->nr_pieces; n++) {
		const struct godwit_copy *piece = &batch->pieces[n];

		if (!home_is_lost(batch, n, home))
			continue;
		/* What was just mapped is in lists, and would be let go of to drain those. */
		if (!drained)
			godwit_drain_all();
		drained = true;
		godwit_stat_add(batch->device[n], NULL, GODWIT_STAT_PAGES_POISONED,
				godwit_lost_tell(piece->page, piece->pages));
	}
}
