// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Migration
 *
 * Overview: moves a range of addresses to VRAM or home, 2 MiB at a time (span.c). For each
 * span:
 *
 * 1. look at the page table: what is there, how much has to move.
 * 2. to VRAM: reserve frames, evicting others (evict.c). Nothing is locked yet.
 * 3. take mmap_lock, and for each VMA of the span isolate, copy and switch its pages (run.c).
 *
 * Which memory: anonymous memory. Pages of a private file mapping that were written are
 * anonymous as well, so there the anonymous runs move. File pages and shared memory are never
 * isolated: the kernel would unmap them, let us copy them, and then refuse.
 *
 * Locking: mmap_lock for reading, a span at a time. No lock of ours is held across a step.
 */
#include <linux/dax.h>
#include <linux/delay.h>
#include <linux/hugetlb.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include <drm/drm_file.h>

#include "../state/outcome.h"
#include "../state/range.h"
#include "batch.h"
#include "client.h"
#include "device.h"
#include "event.h"
#include "evict.h"
#include "home.h"
#include "migrate.h"
#include "mirror.h"
#include "ptable.h"
#include "run.h"
#include "span.h"
#include "trace.h"

#define MIGRATE_PAUSE_US	100

/**
 * godwit_migrate_check_range() - is this a page range of user space?
 * @addr: first byte.
 * @length: bytes.
 */
int godwit_migrate_check_range(u64 addr, u64 length)
{
	return godwit_range_check(addr, length, PAGE_SIZE, TASK_SIZE, GODWIT_MAX_RANGE);
}

static void migrate_shared(struct godwit_span *span, unsigned long start, unsigned long end)
{
	if (span->move->to_vram)
		godwit_span_mark(span, start, end, GODWIT_SEEN_FILE);
}

/* In a private file mapping only the pages that were written are anonymous. */
static void migrate_private_file(struct godwit_span *span, struct vm_area_struct *vma,
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
			godwit_span_mark(span, pos, next, GODWIT_SEEN_FILE);
		else if (seen == GODWIT_SEEN_ANON || seen == GODWIT_SEEN_VRAM ||
			 seen == GODWIT_SEEN_PEER)
			godwit_run(span, vma, pos, next, home);
	}
}

/* Step 3, for the part of the span that is in one VMA. */
static void migrate_in_vma(struct godwit_span *span, struct vm_area_struct *vma,
			   unsigned long start, unsigned long end, struct godwit_home *home)
{
	if (!(vma->vm_flags & VM_READ))
		godwit_span_hole(span, start, end);
	else if (is_vm_hugetlb_page(vma) || (vma->vm_flags & VM_SPECIAL) || vma_is_dax(vma))
		godwit_span_mark(span, start, end, GODWIT_SEEN_ERROR);
	else if (vma_is_anonymous(vma))
		godwit_run(span, vma, start, end, home);
	else if (vma->vm_flags & VM_SHARED)
		migrate_shared(span, start, end);
	else
		migrate_private_file(span, vma, start, end, home);
}

static int migrate_walk(struct godwit_span *span, struct godwit_home *home)
{
	struct mm_struct *mm = span->mirror->mm;
	unsigned long pos = span->start, next;
	struct vm_area_struct *vma;

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	for (; pos < span->end; pos = next) {
		vma = find_vma(mm, pos);
		if (!vma || vma->vm_start >= span->end) {
			godwit_span_hole(span, pos, span->end);
			break;
		}
		if (vma->vm_start > pos)
			godwit_span_hole(span, pos, vma->vm_start);
		pos = max(pos, vma->vm_start);
		next = min(span->end, vma->vm_end);
		migrate_in_vma(span, vma, pos, next, home);
	}
	mmap_read_unlock(mm);
	return 0;
}

static int migrate_home(struct godwit_span *span)
{
	struct godwit_home home = { .cause = span->move->cause, .only = span->move->only };
	int ret = migrate_walk(span, &home);

	span->move->moved_huge += home.moved_huge;
	return ret;
}

static int migrate_vram(struct godwit_span *span)
{
	struct godwit_device *gdev = span->mirror->gdev;
	bool evict = !(span->move->flags & GODWIT_MIGRATE_NO_EVICT);
	u64 since = ktime_get_ns();
	int ret;

	span->reserved = godwit_evict_reserve(gdev, span->want, evict);
	godwit_batch_lap(&span->batch->time_alloc, &since);
	ret = migrate_walk(span, NULL);
	godwit_vram_unreserve(&gdev->vram, span->reserved);
	span->reserved = 0;
	return ret;
}

/* Pages of other devices come home first; the next step takes them from there. */
static int migrate_fetch(struct godwit_span *span)
{
	struct godwit_move fetch = { .cause = GODWIT_CAUSE_PEER };
	struct godwit_mirror *mirror = span->mirror;
	int ret;

	ret = godwit_migrate_range(mirror, span->start, span->end, &fetch);
	godwit_stat_add(mirror->gdev, mirror->client, GODWIT_STAT_PEER_FETCHES, fetch.moved);
	return ret ?: godwit_span_look(span);
}

static int migrate_try(struct godwit_span *span)
{
	int ret;

	ret = godwit_span_look(span);
	if (!ret && span->peers && span->move->to_vram)
		ret = migrate_fetch(span);
	if (ret)
		return ret;
	/* Also where there is no work: it tells holes from memory that cannot move. */
	return span->move->to_vram ? migrate_vram(span) : migrate_home(span);
}

static int migrate_span(struct godwit_span *span)
{
	struct godwit_move *move = span->move;
	struct godwit_mirror *mirror = span->mirror;
	unsigned long before = move->moved;
	int ret;

	godwit_batch_reset(span->batch);
	bitmap_zero(span->holes, GODWIT_BATCH_PAGES);
	bitmap_zero(span->moved, GODWIT_BATCH_PAGES);
	ret = migrate_try(span);
	while (!ret && move->patience && godwit_span_busy(span) && !signal_pending(current)) {
		u64 since = ktime_get_ns();

		usleep_range(MIGRATE_PAUSE_US, 2 * MIGRATE_PAUSE_US);
		godwit_span_again(span);
		ret = migrate_try(span);
		move->patience -= min(move->patience, ktime_get_ns() - since);
	}
	if (!ret)
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
	struct godwit_span *span;
	int ret = 0;

	if (!mmget_not_zero(mirror->mm))
		return -ESRCH;
	span = godwit_span_alloc(mirror, move);
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
		ret = migrate_span(span);
		cond_resched();
	}
	move->time_setup += span->batch->time_setup;
	move->time_alloc += span->batch->time_alloc;
	move->time_copy += span->batch->time_copy;
	move->time_finish += span->batch->time_finish;
	godwit_span_free(span);
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
		.patience = GODWIT_MOVE_PATIENCE,
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
