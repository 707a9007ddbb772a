// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Runs
 *
 * Overview: what moves by one migrate_vma_setup(): consecutive addresses of a span (span.c) in
 * one VMA. godwit_run_start() isolates their pages, in which our own notifier takes the
 * device's translations away, takes frames from the span's reservation, and has the device
 * copy; godwit_run_finish() waits for that, and lets the kernel switch the page tables. Between
 * the two there is time to start another run. What goes home does so by home.c.
 *
 * One page that cannot move does not keep the others: each has its own outcome.
 *
 * Locking: mmap_lock for reading, held by the caller. No lock of ours is held across a step.
 */
#include <linux/migrate.h>
#include <linux/mm.h>

#include "advise.h"
#include "chunk.h"
#include "client.h"
#include "copy.h"
#include "device.h"
#include "lost.h"
#include "migrate.h"
#include "mirror.h"
#include "run.h"
#include "span.h"

/* Frames for elements from @i on, isolated pages or holes: each a page of VRAM of its own. */
static void run_take_small(struct godwit_span *span, unsigned int i, unsigned int pages)
{
	struct godwit_device *gdev = span->mirror->gdev;
	struct godwit_batch *batch = span->batch;
	unsigned int count, done = 0, j;
	unsigned long frame;

	while (done < pages && span->reserved) {
		count = min(pages - done, span->reserved);
		frame = godwit_vram_take(gdev, span->mirror->client, &count);
		if (frame == GODWIT_NO_FRAME)
			break;
		span->reserved -= count;
		memset(&batch->reached[i + done], GODWIT_REACHED_ROOM, count);
		for (j = 0; j < count; j++, done++) {
			struct page *page = migrate_pfn_to_page(batch->src[i + done]);
			struct page *vpage = godwit_pagemap_page(gdev, frame + j, 1);

			batch->dst[i + done] = migrate_pfn(page_to_pfn(vpage));
			godwit_batch_add(batch, i + done, page, gdev, frame + j, 1);
		}
	}
}

/* The pattern of what is lost with a device is no data for another one: that stays. */
static void run_refuse_lost(struct godwit_batch *batch, unsigned int base, unsigned int count)
{
	unsigned int i;

	for (i = base; i < base + count; i++) {
		const struct page *page = migrate_pfn_to_page(batch->src[i]);

		if (page && godwit_lost_has(page))
			batch->src[i] &= ~MIGRATE_PFN_MIGRATE;
	}
}

/*
 * There is no block for a huge page. The kernel could split the one that is isolated, and is not
 * asked to (decision 20).
 */
static void run_divide(struct godwit_span *span)
{
	struct godwit_mirror *mirror = span->mirror;

	godwit_stat_add(mirror->gdev, mirror->client, GODWIT_STAT_HUGE_SPLIT, 1);
	span->batch->divide = true;
}

/* May a huge page be made of a hole? Not where the program has said no to the kernel. */
static bool run_may_be_huge(struct vm_area_struct *vma)
{
#ifdef CONFIG_TRANSPARENT_HUGEPAGE
	/* MADV_NOHUGEPAGE, PR_SET_THP_DISABLE. */
	return !vma_thp_disabled(vma, vma->vm_flags, false);
#else
	return false;
#endif
}

/* A block for element @i, a huge page or a huge hole; or, for a hole, frames for its pages. */
static void run_take_huge(struct godwit_run *run, unsigned int i, unsigned int pages)
{
	struct godwit_span *span = run->span;
	struct godwit_device *gdev = span->mirror->gdev;
	struct page *page = migrate_pfn_to_page(span->batch->src[i]), *vpage;
	bool whole = page || run_may_be_huge(run->args.vma);
	struct godwit_batch *batch = span->batch;
	unsigned int count = pages, done = 0, j;
	unsigned long frame;

	if (span->reserved < pages) {
		/* The kernel cannot split a huge hole unless all its pages are given. */
		if (page && span->reserved)
			run_divide(span);
		return;
	}
	while (done < pages && count) {
		frame = godwit_vram_take(gdev, span->mirror->client, &count);
		if (frame == GODWIT_NO_FRAME)
			return;
		span->reserved -= count;
		/* A whole block may not be left although there are frames enough. */
		if (page && count < pages) {
			run_divide(span);
			godwit_vram_release(gdev, frame, count);
			return;
		}
		memset(&batch->reached[i + done], GODWIT_REACHED_ROOM, count);
		if (count == pages && whole) {
			vpage = godwit_pagemap_page(gdev, frame, count);
			batch->dst[i] = migrate_pfn(page_to_pfn(vpage)) | MIGRATE_PFN_COMPOUND;
			godwit_batch_add(batch, i, page, gdev, frame, count);
			return;
		}
		for (j = 0; j < count; j++, done++) {
			vpage = godwit_pagemap_page(gdev, frame + j, 1);
			batch->dst[i + done] = migrate_pfn(page_to_pfn(vpage));
			godwit_batch_add(batch, i + done, NULL, gdev, frame + j, 1);
		}
		count = min(pages - done, span->reserved);
	}
}

/* Gives up all pages that were to move: what was taken is freed by finalize, or here. */
static void run_abandon(struct godwit_span *span)
{
	struct godwit_batch *batch = span->batch;
	unsigned int n;

	godwit_stat_add(span->mirror->gdev, span->mirror->client, GODWIT_STAT_COPY_ERRORS, 1);
	for (n = 0; n < batch->nr_pieces; n++) {
		unsigned int i = batch->index[n];
		struct folio *folio = page_folio(migrate_pfn_to_page(batch->dst[i]));

		batch->dst[i] = 0;
		folio_unlock(folio);
		folio_put(folio);
	}
	batch->nr_pieces = 0;
}

/* Holds those of the pages that moved which are advised to be pinned. */
static void run_hold(struct godwit_span *span)
{
	struct godwit_mirror *mirror = span->mirror;
	struct godwit_batch *batch = span->batch;
	struct godwit_chunk *chunk = xa_load(&mirror->chunks, span->start / GODWIT_CHUNK_SIZE);
	unsigned int n, j;

	if (!atomic_long_read(&mirror->client->pinned))
		return;
	mutex_lock(&chunk->lock);
	for (n = 0; n < batch->nr_pieces; n++) {
		const struct godwit_copy *piece = &batch->pieces[n];
		unsigned int i = batch->index[n];

		if (!(batch->src[i] & MIGRATE_PFN_MIGRATE))
			continue;
		for (j = 0; j < piece->pages; j++)
			if (godwit_advice_locked(chunk, span->start + (i + j) * PAGE_SIZE) &
			    GODWIT_ADVISED_PINNED)
				godwit_vram_advise(&mirror->gdev->vram, mirror->client,
						   piece->frame + j, 1, true);
	}
	mutex_unlock(&chunk->lock);
}

/* Consecutive frames are published together. */
static void run_publish(struct godwit_span *span, unsigned long *frame, unsigned int *count,
			const struct godwit_copy *piece)
{
	if (piece && *frame + *count == piece->frame) {
		*count += piece->pages;
		return;
	}
	if (*count)
		godwit_vram_event(&span->mirror->gdev->vram, *frame, *count,
				  GODWIT_FRAME_PUBLISH);
	*frame = piece ? piece->frame : 0;
	*count = piece ? piece->pages : 0;
}

/* Records what moved, before finalize lets the pages go. */
static void run_settle(struct godwit_span *span)
{
	struct godwit_mirror *mirror = span->mirror;
	struct godwit_batch *batch = span->batch;
	unsigned long moved = 0, huge = 0, frame = 0;
	unsigned int n, count = 0;

	for (n = 0; n < batch->nr_pieces; n++) {
		const struct godwit_copy *piece = &batch->pieces[n];
		unsigned int i = batch->index[n];

		if (!(batch->src[i] & MIGRATE_PFN_MIGRATE)) {
			godwit_batch_reach(batch, i, piece->pages, GODWIT_REACHED_COPY);
			continue;
		}
		godwit_batch_reach(batch, i, piece->pages, GODWIT_REACHED_MOVED);
		run_publish(span, &frame, &count, piece);
		moved += piece->pages;
		if (piece->pages > 1) {
			godwit_pagemap_publish(migrate_pfn_to_page(batch->dst[i]));
			huge++;
			span->moved_huge += piece->pages;
		}
	}
	run_publish(span, &frame, &count, NULL);
	run_hold(span);
	godwit_stat_add(mirror->gdev, mirror->client, GODWIT_STAT_PAGES_TO_VRAM, moved);
	godwit_stat_add(mirror->gdev, mirror->client, GODWIT_STAT_HUGE_TO_VRAM, huge);
}

/* Is element @i a small page that goes to VRAM? */
static bool run_wants_small(const struct godwit_span *span, unsigned int i)
{
	unsigned long src = span->batch->src[i];

	if ((src & (MIGRATE_PFN_MIGRATE | MIGRATE_PFN_COMPOUND)) != MIGRATE_PFN_MIGRATE)
		return false;
	return migrate_pfn_to_page(src) || !(span->move->flags & GODWIT_MIGRATE_SKIP_EMPTY);
}

/* Between setup and pages, to VRAM. */
static void run_fill(struct godwit_run *run, unsigned int base, unsigned int count)
{
	struct godwit_span *span = run->span;
	struct godwit_batch *batch = span->batch;
	u64 since = ktime_get_ns();
	unsigned int i, pages;

	if (godwit_lost_any())
		run_refuse_lost(batch, base, count);
	for (i = base; i < base + count; i += pages) {
		pages = 1;
		if (!(batch->src[i] & MIGRATE_PFN_MIGRATE))
			continue;
		if (batch->src[i] & MIGRATE_PFN_COMPOUND)
			pages = GODWIT_BATCH_PAGES;
		if (!migrate_pfn_to_page(batch->src[i]) &&
		    (span->move->flags & GODWIT_MIGRATE_SKIP_EMPTY)) {
			memset(&batch->reached[i], GODWIT_REACHED_NOTHING, pages);
			memset(&batch->seen[i], GODWIT_SEEN_EMPTY, pages);
			continue;
		}
		if (pages == 1)
			while (i + pages < base + count && run_wants_small(span, i + pages))
				pages++;
		memset(&batch->reached[i], GODWIT_REACHED_SETUP, pages);
		if (batch->src[i] & MIGRATE_PFN_COMPOUND)
			run_take_huge(run, i, pages);
		else
			run_take_small(span, i, pages);
	}
	for (i = 0; i < batch->nr_pieces && !run->holes; i++)
		run->holes = !batch->pieces[i].page;
	godwit_batch_lap(&batch->time_alloc, &since);
	if (batch->nr_pieces)
		godwit_batch_submit(batch, true);
	godwit_batch_lap(&batch->time_copy, &since);
}

/* Before the kernel switches page tables. */
static void run_wait(struct godwit_span *span)
{
	struct godwit_batch *batch = span->batch;
	u64 since = ktime_get_ns();

	if (batch->nr_transfers &&
	    godwit_copy_wait(span->mirror->gdev, batch->transfers[0].fence))
		run_abandon(span);
	batch->nr_transfers = 0;
	godwit_batch_lap(&batch->time_copy, &since);
}

/**
 * godwit_run_start() - isolate what is in a run of addresses, and have it copied.
 * @run: to be set.
 * @span: the span that they are in, looked at, its frames reserved, no other run of it under way.
 * @vma: the VMA that they are in.
 * @start: first address.
 * @end: address after the last one.
 *
 * Return: true, and godwit_run_finish() must follow before mmap_lock is dropped; or there is
 * nothing to do.
 */
bool godwit_run_start(struct godwit_run *run, struct godwit_span *span,
		      struct vm_area_struct *vma, unsigned long start, unsigned long end)
{
	unsigned int base = (start - span->start) >> PAGE_SHIFT;
	const struct godwit_move *move = span->move;
	struct godwit_batch *batch = span->batch;
	u64 since = ktime_get_ns();

	if (!span->work)
		return false;
	run->span = span;
	run->args = (struct migrate_vma) {
		.vma = vma,
		.start = start,
		.end = end,
		.src = batch->src + base,
		.dst = batch->dst + base,
		.pgmap_owner = godwit_pagemap_owner_cookie(),
		.flags = move->to_vram ? MIGRATE_VMA_SELECT_SYSTEM :
					 MIGRATE_VMA_SELECT_DEVICE_PRIVATE |
					 MIGRATE_VMA_SELECT_DEVICE_COHERENT,
	};
	if (!(move->flags & GODWIT_MIGRATE_SMALL) && !span->divide &&
	    godwit_device_huge(span->mirror->gdev))
		run->args.flags |= MIGRATE_VMA_SELECT_COMPOUND;

	if (godwit_batch_isolate(&run->args))
		return false;
	godwit_batch_lap(&batch->time_setup, &since);

	godwit_batch_begin(batch);
	run->holes = false;
	if (move->to_vram) {
		run_fill(run, base, run->args.npages);
		return true;
	}
	run->home = (struct godwit_home) {
		.cause = move->cause,
		.only = move->only,
		.except = move->except,
		.vma = vma,
		.addr = span->start,
	};
	/* Elements outside of the run are zero: it is as if they were not there. */
	godwit_home_fill(batch, base + run->args.npages, &run->home);
	return true;
}

/**
 * godwit_run_finish() - wait for the copies, and have the kernel switch to them.
 * @run: started. On any thread, as long as somebody holds mmap_lock: see &godwit_run.holes.
 */
void godwit_run_finish(struct godwit_run *run)
{
	struct godwit_span *span = run->span;
	struct migrate_vma *args = &run->args;
	u64 since;

	if (span->move->to_vram)
		run_wait(span);
	else
		godwit_home_wait(span->batch, &run->home);
	since = ktime_get_ns();
	migrate_vma_pages(args);
	if (span->move->to_vram) {
		run_settle(span);
	} else {
		godwit_home_settle(span->batch, &run->home);
		span->moved_huge += run->home.moved_huge;
	}
	migrate_vma_finalize(args);
	godwit_home_end(span->batch, &run->home);
	/* The next run of the span must not find these again. */
	memset(args->src, 0, args->npages * sizeof(*args->src));
	memset(args->dst, 0, args->npages * sizeof(*args->dst));
	godwit_batch_lap(&span->batch->time_finish, &since);
}
