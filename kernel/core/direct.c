// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: From device to device
 *
 * Overview: pages in the VRAM of one device go to that of another one without a stop in RAM, where
 * the one that wants them reaches the other's VRAM (reach.c) and can copy from it
 * (&godwit_device_ops.copy_peer). The first step of a migration to VRAM that finds pages of other
 * devices; what it leaves comes home and is taken from there, and both are counted.
 *
 * Left for the way through RAM: pages that the device does not reach; huge pages for which no
 * whole block is free, or that are mapped page by page; all of a client that has pinned or advised
 * memory in VRAM, whose pages are held as they arrive.
 *
 * Locking: as run.c: mmap_lock for reading, no lock of ours across a step.
 */
#include <linux/dax.h>
#include <linux/hugetlb.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "client.h"
#include "device.h"
#include "direct.h"
#include "evict.h"
#include "migrate.h"
#include "mirror.h"
#include "reach.h"
#include "shield.h"
#include "span.h"

/**
 * struct direct_piece - a page that moves, or a huge one.
 */
struct direct_piece {
	/** @from: whose it is. */
	struct godwit_device *from;
	/** @from_frame: its first frame there. */
	unsigned long from_frame;
	/** @frame: where it goes. */
	unsigned long frame;
	/** @index: element of the arrays. */
	unsigned int index;
	/** @pages: 1, or those of a huge page. */
	unsigned int pages;
};

/**
 * struct direct - the pages of one span that move directly.
 */
struct direct {
	/** @span: the span. */
	struct godwit_span *span;
	/** @gdev: where to. */
	struct godwit_device *gdev;
	/** @reserved: frames that may be taken. */
	unsigned long reserved;
	/** @moved: pages. */
	unsigned long moved;
	/** @base: page of the span that element 0 of the arrays is. */
	unsigned int base;
	/** @count: of @pieces. */
	unsigned int count;
	/** @shield: of the huge page that is isolated. */
	struct godwit_shield shield;
	/** @src: as &migrate_vma.src. */
	unsigned long src[GODWIT_BATCH_ROOM(GODWIT_BATCH_PAGES)];
	/** @dst: as &migrate_vma.dst. */
	unsigned long dst[GODWIT_BATCH_ROOM(GODWIT_BATCH_PAGES)];
	/** @pieces: what moves. */
	struct direct_piece pieces[GODWIT_BATCH_PAGES];
};

/**
 * godwit_direct_reaches() - can pages go from one device to another without a stop in RAM?
 * @gdev: where to.
 * @from: where from. It is there.
 */
bool godwit_direct_reaches(struct godwit_device *gdev, struct godwit_device *from)
{
	s64 offset;

	return from != gdev && gdev->ops->copy_peer &&
	       godwit_reach(from, gdev->drm.dev, &offset) != GODWIT_REACH_NONE;
}

/* Room for element @i, an isolated page of another device; LEAVING then. */
static void direct_take(struct direct *direct, unsigned int i, struct page *page,
			unsigned int pages)
{
	struct godwit_device *gdev = direct->gdev, *from = godwit_page_device(page);
	unsigned long from_frame = godwit_page_frame(page), frame;
	struct godwit_client *client = direct->span->mirror->client;
	unsigned int count = pages;
	struct page *vpage;

	if (direct->reserved < pages || !godwit_direct_reaches(gdev, from))
		return;
	/* Not what is held there, nor what only waits for its last reference. */
	if (!godwit_vram_leave(&from->vram, from_frame, pages, true, 0))
		return;
	frame = godwit_vram_take(gdev, client, &count);
	if (frame == GODWIT_NO_FRAME || count != pages) {
		if (frame != GODWIT_NO_FRAME) {
			direct->reserved -= count;
			godwit_vram_release(gdev, frame, count);
		}
		godwit_vram_event(&from->vram, from_frame, pages, GODWIT_FRAME_STAY);
		return;
	}
	direct->reserved -= pages;
	vpage = godwit_pagemap_page(gdev, frame, pages);
	direct->dst[i] = migrate_pfn(page_to_pfn(vpage)) |
			 (pages > 1 ? MIGRATE_PFN_COMPOUND : 0);
	direct->pieces[direct->count++] = (struct direct_piece) {
		.from = from,
		.from_frame = from_frame,
		.frame = frame,
		.index = i,
		.pages = pages,
	};
}

static struct folio *direct_source(const struct direct_piece *piece)
{
	return page_folio(pfn_to_page(piece->from->pagemap.first_pfn + piece->from_frame));
}

/* Copies what is to move; what cannot be copied stays. */
static void direct_copy(struct direct *direct)
{
	bool zapped = direct->shield.folio && godwit_shield_zapped(direct->shield.folio);
	struct godwit_device *gdev = direct->gdev;
	bool counted = false;
	unsigned int n;

	for (n = 0; n < direct->count; n++) {
		struct direct_piece *piece = &direct->pieces[n];
		struct folio *folio = page_folio(migrate_pfn_to_page(direct->dst[piece->index]));
		int ret;

		ret = gdev->ops->copy_peer(gdev, piece->frame, piece->from, piece->from_frame,
					   piece->pages);
		if (ret)
			godwit_stat_add(gdev, NULL, GODWIT_STAT_COPY_ERRORS, 1);
		if (!ret && !(zapped && piece->pages > 1)) {
			counted |= piece->pages > 1;
			continue;
		}
		godwit_vram_event(&piece->from->vram, piece->from_frame, piece->pages,
				  GODWIT_FRAME_STAY);
		direct->dst[piece->index] = 0;
		folio_unlock(folio);
		folio_put(folio);
	}
	if (counted)
		godwit_shield_lower(&direct->shield);
}

/* Records what moved, before finalize lets the pages go. */
static void direct_settle(struct direct *direct)
{
	struct godwit_mirror *mirror = direct->span->mirror;
	unsigned int n;

	godwit_shield_raise(&direct->shield);
	for (n = 0; n < direct->count; n++) {
		const struct direct_piece *piece = &direct->pieces[n];
		unsigned int i = piece->index;

		if (!direct->dst[i])
			continue;
		if (godwit_shield_zapped(direct_source(piece))) {
			direct->src[i] &= ~MIGRATE_PFN_MIGRATE;
			godwit_shield_return(direct_source(piece),
					     page_folio(migrate_pfn_to_page(direct->dst[i])));
		}
		if (!(direct->src[i] & MIGRATE_PFN_MIGRATE)) {
			godwit_vram_event(&piece->from->vram, piece->from_frame, piece->pages,
					  GODWIT_FRAME_STAY);
			continue;
		}
		godwit_vram_event(&direct->gdev->vram, piece->frame, piece->pages,
				  GODWIT_FRAME_PUBLISH);
		direct->moved += piece->pages;
		bitmap_set(direct->span->moved, direct->base + i, piece->pages);
		if (piece->pages == 1)
			continue;
		direct->shield.moved = true;
		godwit_pagemap_publish(migrate_pfn_to_page(direct->dst[i]));
		godwit_stat_add(mirror->gdev, mirror->client, GODWIT_STAT_HUGE_TO_VRAM, 1);
	}
}

static void direct_run(struct direct *direct, struct vm_area_struct *vma, unsigned long start,
		       unsigned long end)
{
	struct migrate_vma args = {
		.vma = vma,
		.start = start,
		.end = end,
		.src = direct->src,
		.dst = direct->dst,
		.pgmap_owner = godwit_pagemap_owner_cookie(),
		.flags = MIGRATE_VMA_SELECT_DEVICE_PRIVATE | MIGRATE_VMA_SELECT_DEVICE_COHERENT,
	};
	unsigned int i, pages;

	if (godwit_device_huge(direct->gdev) &&
	    !(direct->span->move->flags & GODWIT_MIGRATE_SMALL))
		args.flags |= MIGRATE_VMA_SELECT_COMPOUND;
	memset(direct->src, 0, sizeof(direct->src));
	memset(direct->dst, 0, sizeof(direct->dst));
	direct->count = 0;
	direct->base = (start - direct->span->start) >> PAGE_SHIFT;
	if (godwit_batch_isolate(&args))
		return;
	for (i = 0; i < args.npages; i += pages) {
		struct page *page = migrate_pfn_to_page(args.src[i]);

		pages = 1;
		if (!page || !(args.src[i] & MIGRATE_PFN_MIGRATE) || !godwit_is_vram(page))
			continue;
		if (args.src[i] & MIGRATE_PFN_COMPOUND) {
			pages = folio_nr_pages(page_folio(page));
			if (!godwit_shield_begin(&direct->shield, page_folio(page)))
				continue;
		}
		direct_take(direct, i, page, pages);
	}
	direct_copy(direct);
	migrate_vma_pages(&args);
	direct_settle(direct);
	migrate_vma_finalize(&args);
	godwit_shield_end(&direct->shield, false);
}

static int direct_walk(struct direct *direct)
{
	struct godwit_span *span = direct->span;
	struct mm_struct *mm = span->mirror->mm;
	struct vm_area_struct *vma;
	unsigned long pos, next;

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	for (pos = span->start; pos < span->end; pos = next) {
		vma = find_vma(mm, pos);
		if (!vma || vma->vm_start >= span->end)
			break;
		pos = max(pos, vma->vm_start);
		next = min(span->end, vma->vm_end);
		/* Anonymous pages of file mappings take the other way. */
		if ((vma->vm_flags & VM_READ) && vma_is_anonymous(vma) &&
		    !is_vm_hugetlb_page(vma) && !(vma->vm_flags & VM_SPECIAL))
			direct_run(direct, vma, pos, next);
	}
	mmap_read_unlock(mm);
	return 0;
}

/* Frames that the pages of other devices need. */
static unsigned long direct_want(const struct godwit_span *span)
{
	unsigned int count = (span->end - span->start) >> PAGE_SHIFT, i;
	unsigned long want = 0;

	for (i = 0; i < count; i++)
		want += span->batch->seen[i] == GODWIT_SEEN_PEER;
	return want;
}

/**
 * godwit_direct() - move pages of other devices to the VRAM of ours, where it reaches them.
 * @span: looked at; to VRAM. &godwit_span.moved is added to.
 */
int godwit_direct(struct godwit_span *span)
{
	struct godwit_mirror *mirror = span->mirror;
	struct godwit_device *gdev = mirror->gdev;
	struct direct *direct;
	int ret;

	/*
	 * Pages that are to be held arrive by run.c, and those of a huge folio that is to be split
	 * are isolated alone there.
	 */
	if (!span->direct || span->split || atomic_long_read(&mirror->client->pinned))
		return 0;
	direct = kvzalloc_obj(*direct, GFP_KERNEL);
	if (!direct)
		return -ENOMEM;
	direct->span = span;
	direct->gdev = gdev;
	direct->reserved = godwit_evict_reserve(gdev, direct_want(span),
						!(span->move->flags & GODWIT_MIGRATE_NO_EVICT));
	ret = direct_walk(direct);
	godwit_vram_unreserve(&gdev->vram, direct->reserved);
	godwit_stat_add(gdev, mirror->client, GODWIT_STAT_PAGES_TO_VRAM, direct->moved);
	godwit_stat_add(gdev, mirror->client, GODWIT_STAT_PEER_FETCHES, direct->moved);
	godwit_stat_add(gdev, mirror->client, GODWIT_STAT_PEER_BYTES_DIRECT,
			(s64)direct->moved << PAGE_SHIFT);
	kvfree(direct);
	return ret;
}
