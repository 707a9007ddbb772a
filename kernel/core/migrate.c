// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Migration
 *
 * Overview: moves a range of addresses to VRAM or home, 2 MiB at a time ("span"). For each
 * span:
 *
 * 1. look at the page table (look.c): what is there, how much has to move. What is found may be
 *    wrong by the time it is used; it decides how much room to make and what reasons to give,
 *    never what is safe.
 * 2. to VRAM: reserve frames, evicting others (evict.c). Nothing is locked yet.
 * 3. take mmap_lock, and for each VMA of the span: migrate_vma_setup() isolates pages; our own
 *    notifier takes the device's translations away in it; frames are taken from the
 *    reservation; the device copies; migrate_vma_pages() and _finalize() switch the page tables.
 *
 * Which memory: anonymous memory. Pages of a private file mapping that were written are
 * anonymous as well, so there the anonymous runs move. File pages and shared memory are never
 * isolated: the kernel would unmap them, let us copy them, and then refuse.
 *
 * One page that cannot move does not keep the others: each page has its own outcome.
 *
 * Locking: mmap_lock for reading, a span at a time. No lock of ours is held across a step.
 */
#include <linux/dax.h>
#include <linux/hugetlb.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include <drm/drm_file.h>

#include "../state/outcome.h"
#include "../state/range.h"
#include "advise.h"
#include "batch.h"
#include "chunk.h"
#include "client.h"
#include "device.h"
#include "event.h"
#include "evict.h"
#include "home.h"
#include "look.h"
#include "migrate.h"
#include "mirror.h"
#include "pin.h"
#include "trace.h"

/**
 * struct migrate_span - one step of a migration.
 */
struct migrate_span {
	/** @mirror: whose. */
	struct godwit_mirror *mirror;
	/** @move: the migration. */
	struct godwit_move *move;
	/** @start: first address. */
	unsigned long start;
	/** @end: address after the last one; within one leaf. */
	unsigned long end;
	/** @batch: element i is page i of the span. */
	struct godwit_batch *batch;
	/** @pfns: as &godwit_look.pfns. */
	unsigned long *pfns;
	/** @holes: bit i: no memory there, whatever else was seen. */
	DECLARE_BITMAP(holes, GODWIT_BATCH_PAGES);
	/** @pinned: bit i: pinned in RAM, by PIN. */
	DECLARE_BITMAP(pinned, GODWIT_BATCH_PAGES);
	/** @work: there may be pages to move. */
	bool work;
	/** @peers: there are pages of other devices. */
	bool peers;
	/** @want: frames that are needed. */
	unsigned long want;
	/** @reserved: frames that we may take. */
	unsigned long reserved;
};

/**
 * godwit_migrate_check_range() - is this a page range of user space?
 * @addr: first byte.
 * @length: bytes.
 */
int godwit_migrate_check_range(u64 addr, u64 length)
{
	return godwit_range_check(addr, length, PAGE_SIZE, TASK_SIZE, GODWIT_MAX_RANGE);
}

static enum godwit_seen span_classify_vram(struct migrate_span *span, struct page *page)
{
	struct godwit_device *gdev = godwit_page_device(page);
	bool here = gdev == span->mirror->gdev;

	/* It is to leave its VRAM. */
	if ((!here || !span->move->to_vram) &&
	    godwit_vram_held(&gdev->vram, godwit_page_frame(page), 1))
		return GODWIT_SEEN_HELD;
	return here ? GODWIT_SEEN_VRAM : GODWIT_SEEN_PEER;
}

static enum godwit_seen span_classify(struct migrate_span *span, unsigned long pfn)
{
	struct page *page;

	if (pfn & HMM_PFN_ERROR)
		return GODWIT_SEEN_ERROR;
	if (!(pfn & HMM_PFN_VALID))
		return GODWIT_SEEN_NOTHING;
	page = hmm_pfn_to_page(pfn);
	if (godwit_page_is_zero(page))
		return GODWIT_SEEN_ZERO;
	if (is_zone_device_page(page)) {
		if (!godwit_is_vram(page))
			return GODWIT_SEEN_ERROR;
		return span_classify_vram(span, page);
	}
	return folio_test_anon(page_folio(page)) ? GODWIT_SEEN_ANON : GODWIT_SEEN_FILE;
}

/* Is there anything for step 3 to do about a page, and does it need a frame? */
static void span_plan(struct migrate_span *span, enum godwit_seen seen)
{
	const struct godwit_move *move = span->move;
	bool skip_empty = move->flags & GODWIT_MIGRATE_SKIP_EMPTY;

	switch (seen) {
	case GODWIT_SEEN_ANON:
		span->work |= move->to_vram;
		span->want += move->to_vram;
		break;
	case GODWIT_SEEN_ZERO:
	case GODWIT_SEEN_NOTHING:
		span->work |= move->to_vram;
		span->want += move->to_vram && !skip_empty;
		break;
	case GODWIT_SEEN_VRAM:
		span->work |= !move->to_vram;
		break;
	case GODWIT_SEEN_PEER:
		span->work |= move->to_vram || !move->only;
		span->want += move->to_vram;
		span->peers = true;
		break;
	default:
		break;
	}
}

/* Step 1. */
static int span_look(struct migrate_span *span)
{
	struct godwit_look look = {
		.start = span->start,
		.end = span->end,
		.pfns = span->pfns,
	};
	unsigned int count = (span->end - span->start) >> PAGE_SHIFT, i;
	int ret;

	span->work = false;
	span->peers = false;
	span->want = 0;
	look.chunk = godwit_chunk_get(span->mirror, span->start);
	if (IS_ERR(look.chunk))
		return PTR_ERR(look.chunk);
	ret = godwit_look(&look);
	if (ret)
		return ret;
	bitmap_zero(span->pinned, GODWIT_BATCH_PAGES);
	if (span->move->to_vram)
		godwit_pin_in_system(span->mirror, span->start, span->end, span->pinned);
	for (i = 0; i < count; i++) {
		span->batch->seen[i] = test_bit(i, span->pinned) ?
				       GODWIT_SEEN_HELD : span_classify(span, span->pfns[i]);
		span_plan(span, span->batch->seen[i]);
	}
	mutex_unlock(&look.chunk->lock);
	return 0;
}

/* Frames for element @i, an isolated page or a hole. */
static void span_take(struct migrate_span *span, unsigned int i, unsigned int pages)
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

static int span_copy(struct migrate_span *span)
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
static void span_abandon(struct migrate_span *span)
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
static void span_hold(struct migrate_span *span, const struct godwit_copy *piece, unsigned int i)
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
static void span_settle(struct migrate_span *span)
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
		span_hold(span, piece, i);
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
static void span_fill(struct migrate_span *span, unsigned int base, unsigned int count)
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
		span_take(span, i, pages);
	}
	godwit_batch_lap(&batch->time_alloc, &since);
	if (batch->nr_pieces && span_copy(span))
		span_abandon(span);
	godwit_batch_lap(&batch->time_copy, &since);
}

/* Isolates, copies and switches one run of addresses of one VMA. */
static int span_run(struct migrate_span *span, struct vm_area_struct *vma, unsigned long start,
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
		span_fill(span, base, args.npages);
		since = ktime_get_ns();
		migrate_vma_pages(&args);
		span_settle(span);
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

static void span_mark(struct migrate_span *span, unsigned long start, unsigned long end,
		      enum godwit_seen seen)
{
	memset(&span->batch->seen[(start - span->start) >> PAGE_SHIFT], seen,
	       (end - start) >> PAGE_SHIFT);
}

static void span_hole(struct migrate_span *span, unsigned long start, unsigned long end)
{
	bitmap_set(span->holes, (start - span->start) >> PAGE_SHIFT, (end - start) >> PAGE_SHIFT);
}

static void span_shared(struct migrate_span *span, unsigned long start, unsigned long end)
{
	if (span->move->to_vram)
		span_mark(span, start, end, GODWIT_SEEN_FILE);
}

/* In a private file mapping only the pages that were written are anonymous. */
static void span_private_file(struct migrate_span *span, struct vm_area_struct *vma,
			      unsigned long start, unsigned long end, struct godwit_home *home)
{
	unsigned long pos, next;

	for (pos = start; pos < end; pos = next) {
		unsigned int i = (pos - span->start) >> PAGE_SHIFT;
		u8 seen = span->batch->seen[i];

		next = pos + PAGE_SIZE;
		while (next < end && span->batch->seen[++i] == seen)
			next += PAGE_SIZE;
		if (seen == GODWIT_SEEN_NOTHING && span->move->to_vram)
			span_mark(span, pos, next, GODWIT_SEEN_FILE);
		else if (seen == GODWIT_SEEN_ANON || seen == GODWIT_SEEN_VRAM ||
			 seen == GODWIT_SEEN_PEER)
			span_run(span, vma, pos, next, home);
	}
}

/* Step 3, for the part of the span that is in one VMA. */
static void span_vma(struct migrate_span *span, struct vm_area_struct *vma, unsigned long start,
		     unsigned long end, struct godwit_home *home)
{
	if (!(vma->vm_flags & VM_READ))
		span_hole(span, start, end);
	else if (is_vm_hugetlb_page(vma) || (vma->vm_flags & VM_SPECIAL) || vma_is_dax(vma))
		span_mark(span, start, end, GODWIT_SEEN_ERROR);
	else if (vma_is_anonymous(vma))
		span_run(span, vma, start, end, home);
	else if (vma->vm_flags & VM_SHARED)
		span_shared(span, start, end);
	else
		span_private_file(span, vma, start, end, home);
}

static int span_vmas(struct migrate_span *span, struct godwit_home *home)
{
	struct mm_struct *mm = span->mirror->mm;
	unsigned long pos = span->start, next;
	struct vm_area_struct *vma;

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	for (; pos < span->end; pos = next) {
		vma = find_vma(mm, pos);
		if (!vma || vma->vm_start >= span->end) {
			span_hole(span, pos, span->end);
			break;
		}
		if (vma->vm_start > pos)
			span_hole(span, pos, vma->vm_start);
		pos = max(pos, vma->vm_start);
		next = min(span->end, vma->vm_end);
		span_vma(span, vma, pos, next, home);
	}
	mmap_read_unlock(mm);
	return 0;
}

/* Counts what became of each page, and tells the caller. */
static int span_report(struct migrate_span *span)
{
	unsigned int count = (span->end - span->start) >> PAGE_SHIFT, i;
	struct godwit_move *move = span->move;
	struct godwit_batch *batch = span->batch;
	unsigned long stayed = 0;

	for (i = 0; i < count; i++) {
		unsigned int outcome = godwit_outcome(batch->seen[i], batch->reached[i],
						      move->to_vram);

		if (test_bit(i, span->holes) && outcome != GODWIT_OUTCOME_MOVED)
			outcome = GODWIT_STAY_HOLE;
		if (outcome == GODWIT_OUTCOME_MOVED) {
			move->moved++;
			outcome = GODWIT_STAY_NONE;
		} else if (outcome == GODWIT_OUTCOME_ALREADY) {
			move->already++;
			outcome = GODWIT_STAY_NONE;
		} else {
			move->stayed[outcome]++;
			stayed++;
		}
		/* What was seen is no longer needed. */
		batch->seen[i] = outcome;
	}
	godwit_stat_add(span->mirror->gdev, span->mirror->client, GODWIT_STAT_PAGES_STAYED, stayed);
	if (move->reasons) {
		if (copy_to_user(move->reasons, batch->seen, count))
			return -EFAULT;
		move->reasons += count;
	}
	return 0;
}

static int span_home(struct migrate_span *span)
{
	struct godwit_home home = { .cause = span->move->cause, .only = span->move->only };
	int ret = span_vmas(span, &home);

	span->move->moved_huge += home.moved_huge;
	return ret;
}

static int span_vram(struct migrate_span *span)
{
	struct godwit_device *gdev = span->mirror->gdev;
	bool evict = !(span->move->flags & GODWIT_MIGRATE_NO_EVICT);
	u64 since = ktime_get_ns();
	int ret;

	span->reserved = godwit_evict_reserve(gdev, span->want, evict);
	godwit_batch_lap(&span->batch->time_alloc, &since);
	ret = span_vmas(span, NULL);
	godwit_vram_unreserve(&gdev->vram, span->reserved);
	span->reserved = 0;
	return ret;
}

/* Pages of other devices come home first; the next step takes them from there. */
static int span_fetch(struct migrate_span *span)
{
	struct godwit_move fetch = { .cause = GODWIT_CAUSE_PEER };
	struct godwit_mirror *mirror = span->mirror;
	int ret;

	ret = godwit_migrate_range(mirror, span->start, span->end, &fetch);
	godwit_stat_add(mirror->gdev, mirror->client, GODWIT_STAT_PEER_FETCHES, fetch.moved);
	return ret ?: span_look(span);
}

static int span_migrate(struct migrate_span *span)
{
	struct godwit_move *move = span->move;
	struct godwit_mirror *mirror = span->mirror;
	unsigned long before = move->moved;
	int ret;

	godwit_batch_reset(span->batch);
	bitmap_zero(span->holes, GODWIT_BATCH_PAGES);
	ret = span_look(span);
	if (!ret && span->peers && move->to_vram)
		ret = span_fetch(span);
	if (ret)
		return ret;
	/* Also where there is no work: it tells holes from memory that cannot move. */
	ret = move->to_vram ? span_vram(span) : span_home(span);
	if (!ret)
		ret = span_report(span);
	trace_godwit_migrate(mirror, move->cause, span->start, span->end - span->start,
			     move->to_vram, move->moved - before);
	godwit_event_moved(mirror->client, mirror->id, move->cause, span->start,
			   span->end - span->start,
			   move->to_vram ? GODWIT_PLACE_SYSTEM : GODWIT_PLACE_VRAM,
			   move->to_vram ? GODWIT_PLACE_VRAM : GODWIT_PLACE_SYSTEM,
			   move->moved - before);
	return ret;
}

static struct migrate_span *span_alloc(struct godwit_mirror *mirror, struct godwit_move *move)
{
	struct migrate_span *span = kzalloc_obj(*span);

	if (!span)
		return NULL;
	span->mirror = mirror;
	span->move = move;
	span->batch = godwit_batch_alloc(GODWIT_BATCH_PAGES, GFP_KERNEL);
	span->pfns = kvcalloc(GODWIT_BATCH_PAGES, sizeof(*span->pfns), GFP_KERNEL);
	if (span->batch && span->pfns)
		return span;
	godwit_batch_free(span->batch);
	kvfree(span->pfns);
	kfree(span);
	return NULL;
}

static void span_free(struct migrate_span *span)
{
	godwit_batch_free(span->batch);
	kvfree(span->pfns);
	kfree(span);
}

/**
 * godwit_migrate_range() - move a range.
 * @mirror: whose.
 * @start: first address, a multiple of the page size.
 * @end: address after the last one, a multiple of the page size.
 * @move: where, why, and what became of it.
 *
 * Return: 0 also where nothing moved. -EINTR, a signal. -ESRCH, the address space has ended.
 * -EBUSY, the range changed for a whole second. -EFAULT, &godwit_move.reasons. -ENOMEM.
 */
int godwit_migrate_range(struct godwit_mirror *mirror, unsigned long start, unsigned long end,
			 struct godwit_move *move)
{
	struct migrate_span *span;
	int ret = 0;

	if (!mmget_not_zero(mirror->mm))
		return -ESRCH;
	span = span_alloc(mirror, move);
	if (!span) {
		mmput(mirror->mm);
		return -ENOMEM;
	}
	for (span->start = start; span->start < end && !ret; span->start = span->end) {
		if (signal_pending(current)) {
			ret = -EINTR;
			break;
		}
		span->end = godwit_span_end(span->start, end, GODWIT_LEAF_SIZE);
		ret = span_migrate(span);
		cond_resched();
	}
	move->time_setup += span->batch->time_setup;
	move->time_alloc += span->batch->time_alloc;
	move->time_copy += span->batch->time_copy;
	move->time_finish += span->batch->time_finish;
	span_free(span);
	mmput(mirror->mm);
	return ret;
}

static void migrate_answer(struct drm_godwit_migrate *args, const struct godwit_move *move)
{
	unsigned int i;

	args->moved = move->moved;
	args->moved_huge = move->moved_huge;
	args->already = move->already;
	for (i = 0; i < GODWIT_STAY_SLOTS; i++)
		args->stayed[i] = move->stayed[i];
	args->time_setup_ns = move->time_setup;
	args->time_alloc_ns = move->time_alloc;
	args->time_copy_ns = move->time_copy;
	args->time_finish_ns = move->time_finish;
}

/**
 * godwit_migrate_ioctl() - DRM_IOCTL_GODWIT_MIGRATE.
 * @drm: the device.
 * @data: &struct drm_godwit_migrate.
 * @file: the client.
 */
int godwit_migrate_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	const u32 all_flags = GODWIT_MIGRATE_NO_EVICT | GODWIT_MIGRATE_SMALL |
			      GODWIT_MIGRATE_SKIP_EMPTY;
	struct drm_godwit_migrate *args = data;
	struct godwit_move move = {
		.cause = GODWIT_CAUSE_PREFETCH,
		.to_vram = args->to == GODWIT_PLACE_VRAM,
		.flags = args->flags,
		.reasons = u64_to_user_ptr(args->reasons),
	};
	struct godwit_mirror *mirror;
	int ret;

	migrate_answer(args, &move);
	if (args->reserved[0] || args->reserved[1] || (args->flags & ~all_flags))
		return -EINVAL;
	if (args->to != GODWIT_PLACE_VRAM && args->to != GODWIT_PLACE_SYSTEM)
		return -EINVAL;
	ret = godwit_migrate_check_range(args->addr, args->length);
	if (ret)
		return ret;
	if (args->reasons ? args->reasons_size < args->length >> PAGE_SHIFT : args->reasons_size)
		return -EINVAL;
	if (move.to_vram && !godwit_device_migrates(to_godwit(drm)))
		return -EOPNOTSUPP;

	mirror = godwit_mirror_get(file->driver_priv);
	if (IS_ERR(mirror))
		return PTR_ERR(mirror);
	ret = godwit_migrate_range(mirror, args->addr, args->addr + args->length, &move);
	godwit_mirror_put(mirror);
	migrate_answer(args, &move);
	return ret;
}
