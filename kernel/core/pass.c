// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Passes
 *
 * Overview: spans (span.c) that follow each other are migrated together, in three steps:
 *
 * 1. look at the page table: what is there, how much has to move.
 * 2. to VRAM: reserve frames, evicting others (evict.c). Nothing is locked yet.
 * 3. take mmap_lock, and for each VMA of each span isolate, copy and switch its pages (run.c).
 *    While the device copies one run, the next is isolated and finds its room; where there are
 *    many small pages, a worker switches them meanwhile. Isolating is never the worker's: the
 *    kernel flushes the TLB for each page, which is cheap only where the process runs.
 *
 * Which memory: anonymous memory. Pages of a private file mapping that were written are
 * anonymous as well, so there the anonymous runs move. File pages and shared memory are never
 * isolated: the kernel would unmap them, let us copy them, and then refuse. Nor is what KSM may
 * merge: its thread reads merged pages wherever they are, and those that it is about to merge have
 * no reverse map for a moment, so that isolating one would leave its migration entry behind. Nor
 * what userfaultfd protects: in VRAM the kernel would not tell it what is written or used (look.c).
 *
 * Locking: mmap_lock for reading, in step 3; where somebody waits for it, it is dropped between
 * two spans. No lock of ours is held across a step. Pages of GODWIT_PASS_RUNS runs are locked
 * at a time.
 */
#include <linux/dax.h>
#include <linux/delay.h>
#include <linux/hugetlb.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/workqueue.h>

#include "../compat/userfaultfd.h"
#include "../state/outcome.h"
#include "../state/range.h"
#include "batch.h"
#include "client.h"
#include "device.h"
#include "direct.h"
#include "drain.h"
#include "event.h"
#include "evict.h"
#include "look.h"
#include "migrate.h"
#include "mirror.h"
#include "pass.h"
#include "ptable.h"
#include "span.h"
#include "trace.h"

#define PASS_PAUSE_US		100
/* Small pages that make it worth to have somebody else finish a run. */
#define PASS_HELP_PIECES	64

/* Finishes the oldest run, unless somebody else does, and waits for that. */
static void pass_land(struct godwit_pass *pass)
{
	struct godwit_run *run = &pass->runs[pass->first];

	if (!run->handed || cancel_work(&run->work))
		godwit_run_finish(run);
	else
		flush_work(&run->work);
	pass->first = (pass->first + 1) % GODWIT_PASS_RUNS;
	pass->flying--;
}

static void pass_land_all(struct godwit_pass *pass)
{
	while (pass->flying)
		pass_land(pass);
}

static void pass_help(struct work_struct *work)
{
	godwit_run_finish(container_of(work, struct godwit_run, work));
}

/*
 * The device copies one run, and a worker may switch the page tables of another, while the next is
 * being prepared. The worker uses the mmap_lock that we hold; we do not drop it before it is done.
 */
static void pass_run(struct godwit_pass *pass, struct godwit_span *span,
		     struct vm_area_struct *vma, unsigned long start, unsigned long end)
{
	unsigned int next = (pass->first + pass->flying) % GODWIT_PASS_RUNS;
	unsigned int last = (next + GODWIT_PASS_RUNS - 1) % GODWIT_PASS_RUNS;
	struct godwit_run *run;

	/*
	 * Runs of one span share its arrays. And where the kernel has to split a folio it waits for
	 * its lock: not while we hold others, for which somebody else may wait likewise.
	 */
	if (span->split || (pass->flying && pass->runs[last].span == span))
		pass_land_all(pass);
	if (pass->flying == GODWIT_PASS_RUNS)
		pass_land(pass);
	run = &pass->runs[next];
	if (!godwit_run_start(run, span, vma, start, end))
		return;
	pass->flying++;
	run->handed = span->batch->nr_pieces >= PASS_HELP_PIECES && !run->holes &&
		      pass->walked < pass->count;
	if (run->handed)
		queue_work(system_dfl_wq, &run->work);
}

/* KSM or userfaultfd looks after it: what is in RAM stays there. */
static void pass_watched(struct godwit_span *span, unsigned long start, unsigned long end)
{
	unsigned long pos;

	for (pos = start; pos < end; pos += PAGE_SIZE) {
		u8 *seen = &span->batch->seen[(pos - span->start) >> PAGE_SHIFT];

		if (*seen == GODWIT_SEEN_NOTHING || *seen == GODWIT_SEEN_ANON ||
		    *seen == GODWIT_SEEN_ZERO)
			*seen = GODWIT_SEEN_FILE;
	}
}

static void pass_shared(struct godwit_span *span, unsigned long start, unsigned long end)
{
	if (span->move->to_vram)
		godwit_span_mark(span, start, end, GODWIT_SEEN_FILE);
}

/*
 * Where 2 MiB of a file are a huge page, khugepaged and MADV_COLLAPSE look whether they could be
 * mapped as one, and warn of a page of a device among them that is present.
 */
static bool pass_may_collapse(struct godwit_pass *pass, struct vm_area_struct *vma,
			      unsigned long addr)
{
	return pass->mirror->gdev->desc.kind == GODWIT_VRAM_COHERENT &&
	       thp_vma_suitable_order(vma, addr, HPAGE_PMD_ORDER);
}

/* In a private file mapping only the pages that were written are anonymous. */
static void pass_private_file(struct godwit_pass *pass, struct godwit_span *span,
			      struct vm_area_struct *vma, unsigned long start, unsigned long end)
{
	bool stay = span->move->to_vram && pass_may_collapse(pass, vma, start);
	unsigned long pos, next;

	for (pos = start; pos < end; pos = next) {
		unsigned int i = (pos - span->start) >> PAGE_SHIFT;
		u8 seen = span->batch->seen[i];

		next = pos + PAGE_SIZE;
		while (next < end && span->batch->seen[++i] == seen)
			next += PAGE_SIZE;
		if ((seen == GODWIT_SEEN_NOTHING && span->move->to_vram) ||
		    (seen == GODWIT_SEEN_ANON && stay))
			godwit_span_mark(span, pos, next, GODWIT_SEEN_FILE);
		else if (seen == GODWIT_SEEN_ANON || seen == GODWIT_SEEN_VRAM ||
			 seen == GODWIT_SEEN_PEER)
			pass_run(pass, span, vma, pos, next);
	}
}

/* Step 3, for the part of the span that is in one VMA. */
static void pass_in_vma(struct godwit_pass *pass, struct godwit_span *span,
			struct vm_area_struct *vma, unsigned long start, unsigned long end)
{
	if (!(vma->vm_flags & VM_READ))
		godwit_span_hole(span, start, end);
	else if (is_vm_hugetlb_page(vma) || (vma->vm_flags & VM_SPECIAL) || vma_is_dax(vma) ||
		 godwit_vma_is_secret(vma))
		godwit_span_mark(span, start, end, GODWIT_SEEN_ERROR);
	else if (span->move->to_vram && ((vma->vm_flags & VM_MERGEABLE) ||
					 godwit_vma_protects(vma)))
		pass_watched(span, start, end);
	else if (vma_is_anonymous(vma))
		pass_run(pass, span, vma, start, end);
	else if (vma->vm_flags & VM_SHARED)
		pass_shared(span, start, end);
	else
		pass_private_file(pass, span, vma, start, end);
}

static void pass_in_span(struct godwit_pass *pass, struct godwit_span *span)
{
	unsigned long pos = span->start, next;
	struct vm_area_struct *vma;

	for (; pos < span->end; pos = next) {
		vma = find_vma(pass->mirror->mm, pos);
		if (!vma || vma->vm_start >= span->end) {
			godwit_span_hole(span, pos, span->end);
			break;
		}
		if (vma->vm_start > pos)
			godwit_span_hole(span, pos, vma->vm_start);
		pos = max(pos, vma->vm_start);
		next = min(span->end, vma->vm_end);
		pass_in_vma(pass, span, vma, pos, next);
	}
}

/* Step 3. Lets those pass who wait for mmap_lock, between two spans. */
static int pass_walk(struct godwit_pass *pass)
{
	struct mm_struct *mm = pass->mirror->mm;

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	while (pass->walked < pass->count) {
		pass_in_span(pass, pass->spans[pass->walked++]);
		if (task_sigpending(current))
			break;
		cond_resched();
		if (!mmap_lock_is_contended(mm) || pass->walked == pass->count)
			continue;
		pass_land_all(pass);
		mmap_read_unlock(mm);
		if (mmap_read_lock_killable(mm))
			return -EINTR;
	}
	pass_land_all(pass);
	mmap_read_unlock(mm);
	return 0;
}

/* Pages of other devices come from there, or else home first; the next step takes them then. */
static int pass_fetch(struct godwit_span *span)
{
	struct godwit_mirror *mirror = span->mirror;
	struct godwit_move fetch = { .cause = GODWIT_CAUSE_PEER, .except = mirror->gdev };
	int ret;

	ret = godwit_direct(span) ?: godwit_span_look(span);
	if (ret || !span->peers)
		return ret;
	ret = godwit_migrate_range(mirror, span->start, span->end, &fetch);
	godwit_stat_add(mirror->gdev, mirror->client, GODWIT_STAT_PEER_FETCHES, fetch.moved);
	godwit_stat_add(mirror->gdev, mirror->client, GODWIT_STAT_PEER_BYTES_STAGED,
			(s64)fetch.moved << PAGE_SHIFT);
	return ret ?: godwit_span_look(span);
}

static int pass_look_at(struct godwit_span *span)
{
	int ret = godwit_span_look(span);

	if (!ret && span->peers && span->move->to_vram)
		ret = pass_fetch(span);
	return ret;
}

/*
 * How many spans at a time. Others must be left frames to reserve, and blocks to evict: what is
 * promised is neither. Where little is free they go one by one: what is evicted for one may be
 * what the next needs.
 */
static unsigned int pass_most(const struct godwit_pass *pass)
{
	unsigned long available;

	if (!pass->move->to_vram)
		return pass->size;
	available = godwit_vram_available(&pass->mirror->gdev->vram);
	return clamp(available / 2 / GODWIT_BATCH_PAGES, 1, pass->size);
}

/* Step 1: as many spans as there is room for. */
static int pass_look(struct godwit_pass *pass, unsigned long start, unsigned long end)
{
	unsigned int most = pass_most(pass);
	unsigned long pos = start;
	int ret = 0;

	pass->walked = 0;
	for (pass->count = 0; pass->count < most && pos < end && !ret; pass->count++) {
		struct godwit_span *span = pass->spans[pass->count];

		span->start = pos;
		span->end = godwit_span_end(pos, end, GODWIT_LEAF_SIZE);
		span->divide = false;
		godwit_batch_reset(span->batch);
		bitmap_zero(span->holes, GODWIT_BATCH_PAGES);
		bitmap_zero(span->moved, GODWIT_BATCH_PAGES);
		ret = pass_look_at(span);
		if (ret)
			break;
		pos = span->end;
	}
	/* Those before the one that cannot be looked at are migrated; then it is its turn. */
	return pass->count ? 0 : ret;
}

static void pass_reserve_one(struct godwit_pass *pass, struct godwit_span *span)
{
	bool evict = !(pass->move->flags & GODWIT_MIGRATE_NO_EVICT);

	span->reserved = godwit_evict_reserve(pass->mirror->gdev, span->want, evict);
}

/* Step 2: frames for all spans; for the first one alone where they are not to be had at once. */
static void pass_reserve(struct godwit_pass *pass)
{
	struct godwit_device *gdev = pass->mirror->gdev;
	unsigned long want = 0, got;
	u64 since = ktime_get_ns();
	unsigned int i;

	for (i = 0; i < pass->count; i++)
		want += pass->spans[i]->want;
	got = godwit_vram_reserve(&gdev->vram, want);
	if (got < want) {
		godwit_vram_unreserve(&gdev->vram, got);
		pass->count = 1;
		pass_reserve_one(pass, pass->spans[0]);
	} else {
		for (i = 0; i < pass->count; i++)
			pass->spans[i]->reserved = pass->spans[i]->want;
	}
	godwit_batch_lap(&pass->spans[0]->batch->time_alloc, &since);
}

static void pass_unreserve(struct godwit_pass *pass)
{
	unsigned long left = 0;
	unsigned int i;

	for (i = 0; i < pass->count; i++) {
		left += pass->spans[i]->reserved;
		pass->spans[i]->reserved = 0;
	}
	godwit_vram_unreserve(&pass->mirror->gdev->vram, left);
}

/* All steps once more, for one span: some of its pages were busy for a moment. */
static int pass_again(struct godwit_pass *pass, struct godwit_span *span)
{
	struct godwit_device *gdev = pass->mirror->gdev;
	struct mm_struct *mm = pass->mirror->mm;
	bool to_vram = pass->move->to_vram;
	int ret;

	godwit_span_again(span);
	ret = pass_look_at(span);
	if (ret)
		return ret;
	if (to_vram)
		pass_reserve_one(pass, span);
	ret = mmap_read_lock_killable(mm);
	if (!ret) {
		pass_in_span(pass, span);
		pass_land_all(pass);
		mmap_read_unlock(mm);
	}
	if (to_vram)
		godwit_vram_unreserve(&gdev->vram, span->reserved);
	span->reserved = 0;
	return ret;
}

/* Before another try. Pages of VRAM are in the lists of mlock() alone. */
static void pass_pause(struct godwit_move *move)
{
	if (move->drained) {
		usleep_range(PASS_PAUSE_US, 2 * PASS_PAUSE_US);
	} else {
		move->drained = true;
		godwit_drain_all();
	}
}

/*
 * At once where a huge page is to be split first; then as long as there is patience, and something
 * that could move.
 */
static int pass_insist(struct godwit_pass *pass, struct godwit_span *span)
{
	struct godwit_move *move = pass->move;
	int ret = 0;

	if (span->batch->divide && !task_sigpending(current))
		ret = pass_again(pass, span);
	while (!ret && move->patience && godwit_span_busy(span) && !task_sigpending(current)) {
		u64 since = ktime_get_ns();

		pass_pause(move);
		ret = pass_again(pass, span);
		move->patience -= min(move->patience, ktime_get_ns() - since);
	}
	return ret;
}

static int pass_report(struct godwit_span *span)
{
	struct godwit_move *move = span->move;
	struct godwit_mirror *mirror = span->mirror;
	unsigned long before = move->moved;
	int ret;

	ret = godwit_span_report(span);
	trace_godwit_migrate(mirror, move->cause, span->start, span->end - span->start,
			     move->to_vram, move->moved - before);
	godwit_event_moved(mirror->client, mirror->id, move->cause, span->start,
			   span->end - span->start,
			   move->to_vram ? GODWIT_PLACE_SYSTEM : GODWIT_PLACE_VRAM,
			   move->to_vram ? GODWIT_PLACE_VRAM : GODWIT_PLACE_SYSTEM,
			   move->moved - before);
	return ret;
}

/**
 * godwit_pass_step() - migrate some spans.
 * @pass: the pass.
 * @pos: address to begin at; out, address after the last that was dealt with.
 * @end: address after the last one to deal with.
 *
 * Return: as godwit_migrate_range().
 */
int godwit_pass_step(struct godwit_pass *pass, unsigned long *pos, unsigned long end)
{
	unsigned int i;
	int ret, err = 0;

	ret = pass_look(pass, *pos, end);
	if (ret)
		return ret;
	if (pass->move->to_vram)
		pass_reserve(pass);
	/* Also where there is no work: it tells holes from memory that cannot move. */
	ret = pass_walk(pass);
	if (pass->move->to_vram)
		pass_unreserve(pass);
	for (i = 0; i < pass->walked; i++) {
		err = pass_insist(pass, pass->spans[i]) ?: err;
		err = pass_report(pass->spans[i]) ?: err;
		*pos = pass->spans[i]->end;
	}
	return ret ?: err;
}

/**
 * godwit_pass_free() - free a pass.
 * @pass: may be NULL. The times of its spans are added to the migration's.
 */
void godwit_pass_free(struct godwit_pass *pass)
{
	unsigned int i;

	for (i = 0; pass && i < ARRAY_SIZE(pass->spans) && pass->spans[i]; i++) {
		const struct godwit_batch *batch = pass->spans[i]->batch;

		pass->move->time_setup += batch->time_setup;
		pass->move->time_alloc += batch->time_alloc;
		pass->move->time_copy += batch->time_copy;
		pass->move->time_finish += batch->time_finish;
		godwit_span_free(pass->spans[i]);
	}
	kfree(pass);
}

/**
 * godwit_pass_alloc() - make a pass.
 * @mirror: whose addresses.
 * @move: the migration.
 * @start: first address of all that it will be used for.
 * @end: address after the last one.
 */
struct godwit_pass *godwit_pass_alloc(struct godwit_mirror *mirror, struct godwit_move *move,
				      unsigned long start, unsigned long end)
{
	unsigned int pages = min((end - start) >> PAGE_SHIFT, GODWIT_BATCH_PAGES);
	struct godwit_pass *pass = kzalloc_obj(*pass);
	unsigned int i;

	if (!pass)
		return NULL;
	pass->mirror = mirror;
	pass->move = move;
	for (i = 0; i < ARRAY_SIZE(pass->runs); i++)
		INIT_WORK(&pass->runs[i].work, pass_help);
	for (; pass->size < ARRAY_SIZE(pass->spans) && start < end; pass->size++) {
		pass->spans[pass->size] = godwit_span_alloc(mirror, move, pages);
		if (!pass->spans[pass->size])
			break;
		start = godwit_span_end(start, end, GODWIT_LEAF_SIZE);
	}
	if (pass->size)
		return pass;
	godwit_pass_free(pass);
	return NULL;
}
