// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Room in RAM
 *
 * Overview: pages of RAM for pages that come home (home.c).
 *
 * The kernel clears what it allocates (init_on_alloc) although all of it is about to be
 * overwritten, and lets no module say so. That takes as long as the copy, and is why some pages
 * are kept ready (pool.c), and why RAM is found for one run of a migration while the device
 * copies another.
 *
 * Locking: as in home.c.
 */
#include <linux/gfp.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched.h>

#include "../state/outcome.h"
#include "batch.h"
#include "device.h"
#include "home.h"
#include "pool.h"
#include "room.h"

/* The allocator clears them with its list of this processor locked: not too many at a time. */
#define ROOM_BULK	64u

static gfp_t room_gfp(const struct godwit_home *home)
{
	gfp_t gfp = GFP_HIGHUSER_MOVABLE | __GFP_NOWARN;

	if (home->gentle)
		return (gfp & ~__GFP_DIRECT_RECLAIM) | __GFP_NORETRY;
	return gfp | __GFP_RETRY_MAYFAIL;
}

/* Does somebody want to say which node pages come from? */
static bool room_has_policy(const struct godwit_home *home)
{
#ifdef CONFIG_NUMA
	return current->mempolicy || (home->vma && home->vma->vm_policy);
#else
	return false;
#endif
}

static bool room_for_fault(const struct godwit_home *home)
{
	return home->cause == GODWIT_CAUSE_CPU_FAULT;
}

static struct folio *room_alloc(const struct godwit_home *home, unsigned int order,
				unsigned long addr)
{
	struct folio *folio = room_has_policy(home) ? NULL :
			      godwit_pool_take(order, room_for_fault(home));
	gfp_t gfp = room_gfp(home);

	if (order)
		/* Without a VMA the huge page cannot be split: try harder. */
		gfp = home->vma ? GFP_TRANSHUGE_LIGHT : GFP_TRANSHUGE | __GFP_NORETRY;

	if (!folio)
		folio = home->vma ? vma_alloc_folio(gfp, order, home->vma, addr) :
				    folio_alloc(gfp, order);
	if (folio)
		__folio_set_locked(folio);
	return folio;
}

/* Gives element @i, LEAVING, a page of RAM to go to; where there is none it stays: false. */
static bool room_find(struct godwit_batch *batch, unsigned int i, struct godwit_device *gdev,
		      unsigned long frame, struct godwit_home *home)
{
	struct folio *folio;

	folio = room_alloc(home, 0, home->addr + (unsigned long)i * PAGE_SIZE);
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

/* The same for some elements at once; those that get nothing are tried one by one. */
static void room_bulk(struct godwit_batch *batch, unsigned int i, unsigned int count,
		      struct godwit_device *gdev, unsigned long frame, struct godwit_home *home)
{
	/* Zeros until they are set: room for as many pointers. */
	struct page **pages = (struct page **)&batch->dst[i];
	unsigned int got = 0, j;

	static_assert(sizeof(*pages) == sizeof(*batch->dst));
	if (count > 1) {
		godwit_pool_take_pages(pages, count, room_for_fault(home));
		got = alloc_pages_bulk(room_gfp(home), count, pages);
	}
	for (j = 0; j < got; j++) {
		struct page *page = pages[j];

		__folio_set_locked(page_folio(page));
		batch->dst[i + j] = migrate_pfn(page_to_pfn(page));
		batch->reached[i + j] = GODWIT_REACHED_ROOM;
		godwit_batch_add(batch, i + j, page, gdev, frame + j, 1);
	}
	for (; j < count; j++)
		room_find(batch, i + j, gdev, frame + j, home);
}

/**
 * godwit_rooms() - find RAM for small pages.
 * @batch: the batch; pieces are added to it.
 * @i: the first element.
 * @count: how many; their frames, LEAVING, follow each other. Those that get no RAM stay.
 * @gdev: whose frames.
 * @frame: the first.
 * @home: how they come home.
 */
void godwit_rooms(struct godwit_batch *batch, unsigned int i, unsigned int count,
		  struct godwit_device *gdev, unsigned long frame, struct godwit_home *home)
{
	unsigned int done = 0, most;

	if (room_has_policy(home)) {
		for (; done < count; done++)
			room_find(batch, i + done, gdev, frame + done, home);
		return;
	}
	for (; done < count; done += most) {
		most = min(count - done, ROOM_BULK);
		room_bulk(batch, i + done, most, gdev, frame + done, home);
	}
}

/*
 * There is no huge page for one: how many of its pages need a small one each? None: it stays, and
 * is split before it is isolated the next time.
 *
 * A page that a CPU has touched cannot be, for the reference that the fault has. There the first
 * gets one, with which the kernel splits the entry. It does not split the folio, since that has
 * more references than an isolated one, puts all back, and the access is repeated, of a page that
 * has an entry of its own and that can come home by itself. See touch_may_split() for what must not
 * happen meanwhile.
 */
static unsigned int room_few(const struct godwit_home *home)
{
	return home->vma && room_for_fault(home) ? 1 : 0;
}

/**
 * godwit_room_huge() - find RAM for a huge page, or for its pages.
 * @batch: the batch; pieces are added to it.
 * @i: its element.
 * @gdev: whose frames.
 * @frame: the first, LEAVING.
 * @pages: how many.
 * @home: how it comes home.
 */
void godwit_room_huge(struct godwit_batch *batch, unsigned int i, struct godwit_device *gdev,
		      unsigned long frame, unsigned int pages, struct godwit_home *home)
{
	struct folio *folio;
	unsigned int few, j;

	folio = room_alloc(home, ilog2(pages), home->addr + (unsigned long)i * PAGE_SIZE);
	if (folio) {
		batch->dst[i] = migrate_pfn(folio_pfn(folio)) | MIGRATE_PFN_COMPOUND;
		memset(&batch->reached[i], GODWIT_REACHED_ROOM, pages);
		godwit_batch_add(batch, i, folio_page(folio, 0), gdev, frame, pages);
		return;
	}
	few = room_few(home);
	batch->divide |= home->vma && !few;
	/* Pages that get none stay, as pages of VRAM; without the first one all do. */
	for (j = 0; j < few; j++)
		if (!room_find(batch, i + j, gdev, frame + j, home) && !j)
			few = 1;
	if (few < pages)
		godwit_vram_event(&gdev->vram, frame + few, pages - few, GODWIT_FRAME_STAY);
	if (home->vma)
		godwit_stat_add(gdev, NULL, GODWIT_STAT_HUGE_SPLIT, 1);
}
