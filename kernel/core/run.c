// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Runs
 *
 * Overview: what moves by one migrate_vma_setup(): consecutive addresses of a span (span.c) in
 * one VMA. Isolates their pages, in which our own notifier takes the device's translations
 * away, takes frames from the span's reservation, has the device copy, and lets the kernel
 * switch the page tables. What goes home does so by home.c.
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
#include "device.h"
#include "home.h"
#include "migrate.h"
#include "mirror.h"
#include "run.h"
#include "span.h"

/* Frames for element @i, an isolated page or a hole. */
static void run_take(struct godwit_span *span, unsigned int i, unsigned int pages)
{
	struct godwit_device *gdev = span->mirror->gdev;
	struct page *page = migrate_pfn_to_page(span->batch->src[i]), *vpage;
	unsigned int count = pages, j;
	unsigned long frame;

	memset(&span->batch->reached[i], GODWIT_REACHED_SETUP, pages);
	if (span->reserved < pages && !page)
		/* The kernel cannot split a huge hole unless all its pages are given. */
		return;
	for (j = 0; j < pages; j += count) {
		if (!span->reserved)
			return;
		/* A whole block may not be left although there are frames enough. */
		count = span->reserved < pages ? 1 : pages - j;
		frame = godwit_vram_take(gdev, span->mirror->client, &count);
		if (frame == GODWIT_NO_FRAME)
			return;
		span->reserved -= count;
		vpage = godwit_pagemap_page(gdev, frame, count);
		span->batch->dst[i + j] = migrate_pfn(page_to_pfn(vpage)) |
					  (count > 1 ? MIGRATE_PFN_COMPOUND : 0);
		memset(&span->batch->reached[i + j], GODWIT_REACHED_ROOM, count);
		godwit_batch_add(span->batch, i + j, page ? page + j : NULL, gdev,
				 frame, count);
		if (count < pages && !j)
			godwit_stat_add(gdev, span->mirror->client, GODWIT_STAT_HUGE_SPLIT, 1);
	}
}

static int run_copy(struct godwit_span *span)
{
	struct godwit_device *gdev = span->mirror->gdev;
	const struct godwit_device_ops *ops = gdev->ops;
	struct godwit_batch *batch = span->batch;
	unsigned int n, first = 0;
	int ret = 0;

	/* Runs of pages that have bytes; between them those that begin as zeros. */
	for (n = 0; n < batch->nr_pieces && !ret; n++) {
		if (batch->pieces[n].page)
			continue;
		if (n > first)
			ret = ops->copy_to_vram(gdev, &batch->pieces[first], n - first);
		if (!ret)
			ret = ops->clear(gdev, batch->pieces[n].frame, batch->pieces[n].pages);
		first = n + 1;
	}
	if (!ret && n > first)
		ret = ops->copy_to_vram(gdev, &batch->pieces[first], n - first);
	return ret;
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
static void run_hold(struct godwit_span *span, const struct godwit_copy *piece, unsigned int i)
{
	struct godwit_mirror *mirror = span->mirror;
	unsigned long addr = span->start + (unsigned long)i * PAGE_SIZE;
	struct godwit_chunk *chunk = xa_load(&mirror->chunks, addr / GODWIT_CHUNK_SIZE);
	unsigned int j;

	if (!atomic_long_read(&mirror->client->pinned))
		return;
	mutex_lock(&chunk->lock);
	for (j = 0; j < piece->pages; j++)
		if (godwit_advice_locked(chunk, addr + j * PAGE_SIZE) & GODWIT_ADVISED_PINNED)
			godwit_vram_advise(&mirror->gdev->vram, mirror->client, piece->frame + j,
					   1, true);
	mutex_unlock(&chunk->lock);
}

/* Records what moved, before finalize lets the pages go. */
static void run_settle(struct godwit_span *span)
{
	struct godwit_mirror *mirror = span->mirror;
	struct godwit_batch *batch = span->batch;
	unsigned long moved = 0, huge = 0;
	unsigned int n;

	for (n = 0; n < batch->nr_pieces; n++) {
		const struct godwit_copy *piece = &batch->pieces[n];
		unsigned int i = batch->index[n];

		memset(&batch->reached[i], GODWIT_REACHED_COPY, piece->pages);
		if (!(batch->src[i] & MIGRATE_PFN_MIGRATE))
			continue;
		memset(&batch->reached[i], GODWIT_REACHED_MOVED, piece->pages);
		godwit_vram_event(&mirror->gdev->vram, piece->frame, piece->pages,
				  GODWIT_FRAME_PUBLISH);
		run_hold(span, piece, i);
		moved += piece->pages;
		if (piece->pages > 1) {
			huge++;
			span->move->moved_huge += piece->pages;
		}
	}
	godwit_stat_add(mirror->gdev, mirror->client, GODWIT_STAT_PAGES_TO_VRAM, moved);
	godwit_stat_add(mirror->gdev, mirror->client, GODWIT_STAT_HUGE_TO_VRAM, huge);
}

/* Between setup and pages, to VRAM. */
static void run_fill(struct godwit_span *span, unsigned int base, unsigned int count)
{
	struct godwit_batch *batch = span->batch;
	u64 since = ktime_get_ns();
	unsigned int i, pages;

	batch->nr_pieces = 0;
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
		run_take(span, i, pages);
	}
	godwit_batch_lap(&batch->time_alloc, &since);
	if (batch->nr_pieces && run_copy(span))
		run_abandon(span);
	godwit_batch_lap(&batch->time_copy, &since);
}

/**
 * godwit_run() - isolate, copy and switch what is in a run of addresses.
 * @span: the span that they are in, looked at, its frames reserved.
 * @vma: the VMA that they are in.
 * @start: first address.
 * @end: address after the last one.
 * @home: how, where they go home.
 */
int godwit_run(struct godwit_span *span, struct vm_area_struct *vma, unsigned long start,
	       unsigned long end, struct godwit_home *home)
{
	unsigned int base = (start - span->start) >> PAGE_SHIFT;
	struct godwit_batch *batch = span->batch;
	struct migrate_vma args = {
		.vma = vma,
		.start = start,
		.end = end,
		.src = batch->src + base,
		.dst = batch->dst + base,
		.pgmap_owner = godwit_pagemap_owner_cookie(),
	};
	u64 since = ktime_get_ns();
	int ret;

	if (!span->work)
		return 0;
	if (span->move->to_vram)
		args.flags = MIGRATE_VMA_SELECT_SYSTEM;
	else
		args.flags = MIGRATE_VMA_SELECT_DEVICE_PRIVATE | MIGRATE_VMA_SELECT_DEVICE_COHERENT;
	if (!(span->move->flags & GODWIT_MIGRATE_SMALL) && godwit_device_huge(span->mirror->gdev))
		args.flags |= MIGRATE_VMA_SELECT_COMPOUND;

	ret = migrate_vma_setup(&args);
	if (ret)
		return ret;
	godwit_batch_lap(&batch->time_setup, &since);

	if (span->move->to_vram) {
		run_fill(span, base, args.npages);
		since = ktime_get_ns();
		migrate_vma_pages(&args);
		run_settle(span);
	} else {
		home->vma = vma;
		home->addr = span->start;
		batch->nr_pieces = 0;
		/* Elements outside of the run are zero: it is as if they were not there. */
		godwit_home_fill(batch, base + args.npages, home);
		since = ktime_get_ns();
		migrate_vma_pages(&args);
		godwit_home_settle(batch, home);
	}
	migrate_vma_finalize(&args);
	godwit_batch_lap(&batch->time_finish, &since);
	/* The next run of the span must not find these again. */
	memset(args.src, 0, args.npages * sizeof(*args.src));
	memset(args.dst, 0, args.npages * sizeof(*args.dst));
	return 0;
}
