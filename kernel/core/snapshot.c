// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Snapshots
 *
 * Overview: the pages of an exported range (export.c) at some moment, held so that none of them can
 * move, be freed or be reused while a device does DMA to it. How a page is held:
 *
 * - RAM and coherent VRAM: pinned as the kernel's own I/O pins (FOLL_PIN). Reclaim, compaction and
 *   migration leave such a page alone, and a fork copies it for the child. For importers that can
 *   follow it is a short pin: whoever wants the page to move calls a notifier, which revokes it.
 * - private VRAM: by two references to its folio, with which no migration isolates it. No pin: the
 *   kernel relies on there being none. One reference would not do: migrate_vma_check_page() grants
 *   pages of ZONE_DEVICE one more than they have, so that a page was isolated, and copied, whose
 *   transfer was under way; and where that ended before the references were counted again, the
 *   copy without its bytes became the page.
 *
 * A snapshot is taken leaf by leaf: look which pages are in private VRAM, pin the others, look
 * again. What the second look finds must be what is held, page by page, while the lock of the chunk
 * is held and nothing is being invalidated: so every later change passes the notifier, which counts
 * in &godwit_export.seq. Whoever takes a snapshot compares that at the end
 * (godwit_export_publish()).
 *
 * Pages in VRAM that some importer cannot reach come to RAM first. In the way that does not wait
 * (@nowait, with the lock of the dma-buf held) nothing is faulted in and nothing moves: what that
 * would take is -EAGAIN, and godwit_export_prepare() does it.
 *
 * Locking: takes mmap_lock (@nowait: tries it) and &godwit_chunk.lock, one after the other, inside
 * the lock of the dma-buf or without it.
 */
#include <linux/hmm.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "../state/range.h"
#include "chunk.h"
#include "client.h"
#include "device.h"
#include "export.h"
#include "lent.h"
#include "look.h"
#include "migrate.h"
#include "mirror.h"
#include "pin.h"
#include "ranges.h"
#include "reach.h"
#include "snapshot.h"

/* How often a leaf is tried whose pages changed meanwhile. */
#define SNAPSHOT_ROUNDS		4

/* References that hold a page of private VRAM. */
#define SNAPSHOT_HOLD		2

/* References to a small page that we add at most: at 1024 the kernel takes it for pinned. */
#define SNAPSHOT_REFS		512

/**
 * struct snapshot_work - a snapshot that is being taken.
 */
struct snapshot_work {
	/** @export: of what. */
	struct godwit_export *export;
	/** @snapshot: what was found. */
	struct godwit_snapshot *snapshot;
	/** @nowait: do not fault, do not move, do not wait for mmap_lock. */
	bool nowait;
	/** @reached: a device whose VRAM all importers reach. */
	const struct godwit_device *reached;
	/** @missed: one whose VRAM not all do. */
	const struct godwit_device *missed;
	/** @pfns: of the leaf. */
	unsigned long pfns[GODWIT_LEAF_ENTRIES];
};

static struct page **snapshot_at(struct snapshot_work *work, unsigned long addr)
{
	return &work->snapshot->pages[(addr - work->export->start) >> PAGE_SHIFT];
}

static void snapshot_release(struct godwit_snapshot *snapshot, struct page **pages,
			     unsigned long count)
{
	unsigned long i, first;

	for (i = 0; i < count; i++) {
		if (pages[i] && is_device_private_page(pages[i])) {
			folio_put_refs(page_folio(pages[i]), SNAPSHOT_HOLD);
			pages[i] = NULL;
		}
	}
	for (i = 0; i < count; i++) {
		for (first = i; i < count && pages[i]; i++)
			;
		if (i > first)
			unpin_user_pages_dirty_lock(&pages[first], i - first, snapshot->dirty);
		cond_resched();
	}
	memset(pages, 0, count * sizeof(*pages));
}

static void snapshot_free(struct kref *refs)
{
	struct godwit_snapshot *snapshot = container_of(refs, struct godwit_snapshot, refs);
	struct godwit_export *export = snapshot->export;

	godwit_lent_remove(snapshot);
	snapshot_release(snapshot, snapshot->pages, snapshot->nr);
	if (snapshot->pinned)
		godwit_pin_uncharge_system(export->mirror->mm, snapshot->nr);
	spin_lock(&godwit_exports_lock);
	list_del(&snapshot->link);
	spin_unlock(&godwit_exports_lock);
	wake_up_all(&export->idle);
	kvfree(snapshot->pages);
	kfree(snapshot);
}

/**
 * godwit_snapshot_put() - give back a reference; with the last one the pages are let go of.
 * @snapshot: may be NULL. The caller has its export, and may sleep.
 */
void godwit_snapshot_put(struct godwit_snapshot *snapshot)
{
	if (snapshot)
		kref_put(&snapshot->refs, snapshot_free);
}

static struct godwit_snapshot *snapshot_alloc(struct godwit_export *export, bool pinned)
{
	unsigned long nr = (export->end - export->start) >> PAGE_SHIFT;
	struct godwit_snapshot *snapshot;
	int ret;

	snapshot = kzalloc_obj(*snapshot, GFP_KERNEL_ACCOUNT);
	if (!snapshot)
		return ERR_PTR(-ENOMEM);
	snapshot->pages = kvcalloc(nr, sizeof(*snapshot->pages), GFP_KERNEL_ACCOUNT);
	ret = snapshot->pages ? 0 : -ENOMEM;
	if (!ret && pinned)
		ret = godwit_pin_charge_system(export->mirror->mm, nr);
	if (ret) {
		kvfree(snapshot->pages);
		kfree(snapshot);
		return ERR_PTR(ret);
	}
	kref_init(&snapshot->refs);
	INIT_LIST_HEAD(&snapshot->link);
	snapshot->export = export;
	snapshot->nr = nr;
	snapshot->pinned = pinned;
	snapshot->writable = true;
	snapshot->first_pfn = ULONG_MAX;
	return snapshot;
}

/* The page of ours in VRAM that an entry has, or NULL. */
static struct page *snapshot_vram(unsigned long pfn)
{
	struct page *page;

	if (!(pfn & HMM_PFN_VALID) || (pfn & HMM_PFN_ERROR))
		return NULL;
	page = hmm_pfn_to_page(pfn);
	return godwit_is_vram(page) ? page : NULL;
}

/* May it stay in VRAM for all importers? */
static bool snapshot_stays(struct snapshot_work *work, struct godwit_device *gdev)
{
	if (work->snapshot->pinned)
		return false;
	if (gdev != work->reached && gdev != work->missed) {
		if (!READ_ONCE(gdev->vram.closed) && godwit_reach_all(work->export, gdev))
			work->reached = gdev;
		else
			work->missed = gdev;
	}
	return gdev == work->reached;
}

static int snapshot_look(struct snapshot_work *work, unsigned long start, unsigned long end,
			 struct godwit_chunk **chunk)
{
	struct godwit_look look = {
		.chunk = xa_load(&work->export->mirror->chunks, start / GODWIT_CHUNK_SIZE),
		.start = start,
		.end = end,
		.pfns = work->pfns,
		.nowait = work->nowait,
	};
	int ret;

	*chunk = look.chunk;
	ret = godwit_look(&look);
	return ret == -EBUSY ? -EAGAIN : ret;
}

/* Brings the pages home that some importer cannot reach. */
static int snapshot_home(struct snapshot_work *work, unsigned long start, unsigned long end)
{
	struct godwit_mirror *mirror = work->export->mirror;
	struct godwit_move move = {
		.cause = work->snapshot->pinned ? GODWIT_CAUSE_PIN : GODWIT_CAUSE_PEER,
		.patience = GODWIT_MOVE_PATIENCE,
	};
	int ret;

	if (work->nowait)
		return -EAGAIN;
	ret = godwit_migrate_range(mirror, start, end, &move);
	godwit_stat_add(mirror->gdev, mirror->client, GODWIT_STAT_PEER_BYTES_HOME,
			(s64)move.moved << PAGE_SHIFT);
	if (ret)
		return ret == -EBUSY ? -EAGAIN : ret;
	return move.stayed[GODWIT_STAY_ADVICE] ? -EBUSY : 0;
}

/* Pins a run of pages that are not in private VRAM. */
static int snapshot_pin(struct snapshot_work *work, unsigned long start, unsigned long end)
{
	struct mm_struct *mm = work->export->mirror->mm;
	unsigned long pos = start, next;
	int ret = 0;

	if (work->nowait ? !mmap_read_trylock(mm) : mmap_read_lock_killable(mm))
		return work->nowait ? -EAGAIN : -EINTR;
	for (; pos < end && !ret; pos = next) {
		struct vm_area_struct *vma = vma_lookup(mm, pos);
		unsigned int flags = 0;
		long got;

		ret = -EFAULT;
		if (!vma)
			break;
		next = min(end, vma->vm_end);
		if (vma->vm_flags & VM_WRITE)
			flags |= FOLL_WRITE;
		else
			work->snapshot->writable = false;
		if (work->nowait)
			flags |= FOLL_NOFAULT;
		if (work->snapshot->pinned)
			flags |= FOLL_LONGTERM;
		got = pin_user_pages_remote(mm, pos, (next - pos) >> PAGE_SHIFT, flags,
					    snapshot_at(work, pos), NULL);
		if (got == (next - pos) >> PAGE_SHIFT)
			ret = 0;
		else if (got < 0 && got != -EFAULT)
			ret = got;
	}
	mmap_read_unlock(mm);
	if (ret == -EFAULT && work->nowait)
		return -EAGAIN;
	return ret;
}

/* Pins all runs of pages of a leaf that are not to be held in private VRAM. */
static int snapshot_pin_leaf(struct snapshot_work *work, unsigned long start, unsigned long end,
			     const unsigned long *private)
{
	unsigned long count = (end - start) >> PAGE_SHIFT, first, last;
	int ret = 0;

	for_each_clear_bitrange(first, last, private, count) {
		ret = snapshot_pin(work, start + first * PAGE_SIZE, start + last * PAGE_SIZE);
		if (ret)
			break;
	}
	return ret;
}

/*
 * Is every page of the leaf either held, or in private VRAM, and then held now? With the lock of
 * the chunk: what was seen is so.
 */
static bool snapshot_hold(struct snapshot_work *work, unsigned long start, unsigned long end)
{
	unsigned long count = (end - start) >> PAGE_SHIFT, i;
	struct page **pages = snapshot_at(work, start);

	for (i = 0; i < count; i++) {
		unsigned long pfn = work->pfns[i];
		struct page *page;

		if (!(pfn & HMM_PFN_VALID) || (pfn & HMM_PFN_ERROR))
			return false;
		page = hmm_pfn_to_page(pfn);
		if (pages[i]) {
			if (pages[i] != page)
				return false;
			if (work->snapshot->writable && !(pfn & HMM_PFN_WRITE))
				return false;
			continue;
		}
		if (!is_device_private_page(page) || !godwit_is_vram(page) ||
		    !snapshot_stays(work, godwit_page_device(page)) || !(pfn & HMM_PFN_WRITE) ||
		    (!folio_test_large(page_folio(page)) &&
		     folio_ref_count(page_folio(page)) > SNAPSHOT_REFS))
			return false;
		folio_ref_add(page_folio(page), SNAPSHOT_HOLD);
		pages[i] = page;
	}
	return true;
}

/* Return: 0, an error, or 1: again. */
static int snapshot_try_leaf(struct snapshot_work *work, unsigned long start, unsigned long end)
{
	unsigned long count = (end - start) >> PAGE_SHIFT, i;
	DECLARE_BITMAP(private, GODWIT_LEAF_ENTRIES) = { };
	struct godwit_chunk *chunk;
	bool home = false, held;
	int ret;

	ret = snapshot_look(work, start, end, &chunk);
	if (ret)
		return ret;
	for (i = 0; i < count; i++) {
		struct page *page = snapshot_vram(work->pfns[i]);

		if (!page)
			continue;
		if (!snapshot_stays(work, godwit_page_device(page)))
			home = true;
		else if (is_device_private_page(page) && (work->pfns[i] & HMM_PFN_WRITE))
			/* What may not be written is copied, at home, by a CPU's fault. */
			__set_bit(i, private);
	}
	mutex_unlock(&chunk->lock);
	if (home) {
		ret = snapshot_home(work, start, end);
		return ret ?: 1;
	}
	ret = snapshot_pin_leaf(work, start, end, private);
	if (ret)
		return ret;
	ret = snapshot_look(work, start, end, &chunk);
	if (ret)
		return ret;
	held = snapshot_hold(work, start, end);
	mutex_unlock(&chunk->lock);
	return held ? 0 : 1;
}

static int snapshot_leaf(struct snapshot_work *work, unsigned long start, unsigned long end)
{
	unsigned int round;
	int ret = 1;

	for (round = 0; round < SNAPSHOT_ROUNDS && ret > 0; round++) {
		ret = snapshot_try_leaf(work, start, end);
		if (ret)
			snapshot_release(work->snapshot, snapshot_at(work, start),
					 (end - start) >> PAGE_SHIFT);
		if (fatal_signal_pending(current))
			return -EINTR;
	}
	return ret > 0 ? -EAGAIN : ret;
}

static int snapshot_collect(struct snapshot_work *work)
{
	struct godwit_export *export = work->export;
	unsigned long pos, next;
	int ret = 0;

	for (pos = export->start; pos < export->end && !ret; pos = next) {
		next = godwit_span_end(pos, export->end, GODWIT_LEAF_SIZE);
		ret = snapshot_leaf(work, pos, next);
		cond_resched();
	}
	if (!ret)
		godwit_lent_add(work->snapshot);
	work->snapshot->for_writing = work->snapshot->writable;
	return ret;
}

/**
 * godwit_snapshot_take() - hold the pages that a range has now.
 * @export: the range.
 * @pinned: for good, in RAM, and charged.
 * @nowait: with the lock of the dma-buf held: only what takes no waiting.
 *
 * Return: a reference, or an ERR_PTR: -EAGAIN, it would have had to wait, or the range kept
 * changing; otherwise as godwit_peer_prepare(). -EDQUOT, the limit of pinned memory.
 */
struct godwit_snapshot *godwit_snapshot_take(struct godwit_export *export, bool pinned,
					     bool nowait)
{
	struct mm_struct *mm = export->mirror->mm;
	struct godwit_snapshot *snapshot;
	struct snapshot_work *work;
	int ret;

	if (!mmget_not_zero(mm))
		return ERR_PTR(-ESRCH);
	work = kvzalloc_obj(*work, GFP_KERNEL);
	if (!work) {
		mmput_async(mm);
		return ERR_PTR(-ENOMEM);
	}
	work->export = export;
	work->nowait = nowait;
	snapshot = snapshot_alloc(export, pinned);
	if (!IS_ERR(snapshot)) {
		work->snapshot = snapshot;
		ret = snapshot_collect(work);
		if (ret) {
			godwit_snapshot_put(snapshot);
			snapshot = ERR_PTR(ret);
		}
	}
	kvfree(work);
	/* The last user's exit may not run with the lock of a dma-buf held. */
	mmput_async(mm);
	return snapshot;
}

/**
 * godwit_snapshot_has() - is one of these pages held?
 * @snapshot: a reference.
 * @first_pfn: page frame number of the first page, in VRAM.
 * @last_pfn: of the last one.
 */
bool godwit_snapshot_has(const struct godwit_snapshot *snapshot, unsigned long first_pfn,
			 unsigned long last_pfn)
{
	unsigned long i, pfn;

	for (i = 0; i < snapshot->nr; i++) {
		pfn = page_to_pfn(snapshot->pages[i]);
		if (pfn >= first_pfn && pfn <= last_pfn)
			return true;
		if (!(i % 65536))
			cond_resched();
	}
	return false;
}

/**
 * godwit_snapshot_same() - are these the same pages?
 * @one: a reference.
 * @other: a reference to one of the same export.
 */
bool godwit_snapshot_same(const struct godwit_snapshot *one, const struct godwit_snapshot *other)
{
	unsigned long i;

	for (i = 0; i < one->nr; i++) {
		if (one->pages[i] != other->pages[i])
			return false;
		if (!(i % 65536))
			cond_resched();
	}
	return true;
}

/**
 * godwit_snapshot_at() - are all of these pages there already?
 * @snapshot: a reference.
 * @first: index of the first page.
 * @last: index after the last one.
 * @to: in the VRAM of this device, or, NULL, not in VRAM.
 */
bool godwit_snapshot_at(const struct godwit_snapshot *snapshot, unsigned long first,
			unsigned long last, const struct godwit_device *to)
{
	unsigned long i;

	if (!to && !snapshot->nr_vram)
		return true;
	if (to && !snapshot->nr_vram)
		return false;
	for (i = first; i < last; i++) {
		struct page *page = snapshot->pages[i];

		if (godwit_is_vram(page) ? godwit_page_device(page) != to : !!to)
			return false;
		if (!(i % 65536))
			cond_resched();
	}
	return true;
}
