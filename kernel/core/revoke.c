// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Revoking
 *
 * Overview: everything that makes importers let go of an export: moves of ours (of a range, of
 * frames), notifiers, a device or a mirror that goes away. The overview of export.c says who waits
 * for whom, and why.
 *
 * Locking: as in export.c.
 */
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include <drm/drm_device.h>

#include "client.h"
#include "device.h"
#include "event.h"
#include "export.h"
#include "lent.h"
#include "mirror.h"
#include "ranges.h"
#include "snapshot.h"

/* How long a fork waits until private VRAM is no longer written by peers. */
#define EXPORT_FORK_PATIENCE	HZ

/* @serial: the last one that somebody may have mapped before. @untold: tell in any case. */
static struct godwit_snapshot *export_detach(struct godwit_export *export, u64 *serial,
					     bool *untold)
{
	struct godwit_snapshot *snapshot;

	spin_lock(&godwit_exports_lock);
	snapshot = export->snapshot;
	export->snapshot = NULL;
	export->stale = false;
	*serial = export->serial;
	*untold = export->untold;
	export->untold = false;
	spin_unlock(&godwit_exports_lock);
	return snapshot;
}

/**
 * godwit_export_detach() - take the snapshot away from those who would map it now.
 * @export: the export.
 *
 * Return: for godwit_snapshot_put().
 */
struct godwit_snapshot *godwit_export_detach(struct godwit_export *export)
{
	bool untold;
	u64 serial;

	return export_detach(export, &serial, &untold);
}

/* Of all up to this one: an importer may map again as soon as it has unmapped. */
static bool export_has_let_go(struct godwit_export *export, u64 serial)
{
	const struct godwit_snapshot *oldest;
	bool done;

	spin_lock(&godwit_exports_lock);
	oldest = list_first_entry_or_null(&export->living, struct godwit_snapshot, link);
	done = !oldest || oldest->serial > serial;
	spin_unlock(&godwit_exports_lock);
	return done;
}

/* With godwit_exports_lock: may a peer still write private VRAM, also what was taken away? */
static bool export_has_private(const struct godwit_export *export)
{
	const struct godwit_snapshot *snapshot;

	list_for_each_entry(snapshot, &export->living, link)
		if (snapshot->nr_private)
			return true;
	return false;
}

static bool export_is_private(struct godwit_export *export)
{
	bool private;

	spin_lock(&godwit_exports_lock);
	private = export_has_private(export);
	spin_unlock(&godwit_exports_lock);
	return private;
}

/* Tells all importers that can follow. With the lock of the dma-buf. */
static void export_tell_importers(struct godwit_export *export)
{
	struct dma_buf_attachment *attachment;

	dma_resv_assert_held(export->dmabuf->resv);
	list_for_each_entry(attachment, &export->dmabuf->attachments, node) {
		const struct godwit_attach *attach = attachment->priv;

		if (!attach->fixed && !attach->pins)
			attachment->importer_ops->invalidate_mappings(attachment);
	}
}

/**
 * godwit_export_revoke() - have all importers let go, and wait for it.
 * @export: the export; the caller keeps it, and may have mmap_lock.
 * @cause: why.
 * @patience: how long to wait, in jiffies.
 *
 * Return: whether they did.
 */
bool godwit_export_revoke(struct godwit_export *export, enum drm_godwit_cause cause, long patience)
{
	struct dma_resv *resv = export->dmabuf->resv;
	bool untold;
	u64 serial;
	long left;

	godwit_snapshot_put(export_detach(export, &serial, &untold));
	if (!untold && export_has_let_go(export, serial))
		return true;
	dma_resv_lock(resv, NULL);
	export_tell_importers(export);
	left = dma_resv_wait_timeout(resv, DMA_RESV_USAGE_BOOKKEEP, false, patience);
	dma_resv_unlock(resv);
	godwit_export_count(export, GODWIT_STAT_PEER_REVOKES, 1);
	godwit_export_tell(export, GODWIT_EVENT_PEER_REVOKED, cause, GODWIT_PLACE_NONE,
			   (export->end - export->start) >> PAGE_SHIFT, 0);
	if (left > 0)
		left = wait_event_timeout(export->idle, export_has_let_go(export, serial), left);
	if (left > 0)
		return true;
	godwit_export_count(export, GODWIT_STAT_PEER_TIMEOUTS, 1);
	dev_warn_ratelimited(export->gdev->drm.dev,
			     "a peer does not let go of %lu pages that it was told to\n",
			     (export->end - export->start) >> PAGE_SHIFT);
	return false;
}

/*
 * With godwit_exports_lock: keeps an export that is in the tree, and its dma-buf. A reference to
 * the file would not do: the file may be gone before the dma-buf is.
 */
static void export_hold(struct godwit_export *export)
{
	export->users++;
}

static void export_put(struct godwit_export *export)
{
	bool last;

	spin_lock(&godwit_exports_lock);
	last = !--export->users;
	/* With the lock: whoever sees 0 may free it. */
	if (last)
		wake_up_all(&export->idle);
	spin_unlock(&godwit_exports_lock);
}

/**
 * godwit_export_unheld() - does nobody use it but its dma-buf?
 * @export: the export.
 */
bool godwit_export_unheld(struct godwit_export *export)
{
	bool unused;

	spin_lock(&godwit_exports_lock);
	unused = !export->users;
	spin_unlock(&godwit_exports_lock);
	return unused;
}

/* With godwit_exports_lock. */
static bool export_in_move(const struct godwit_export_move *move,
			   const struct godwit_export *export)
{
	unsigned int i;

	for (i = 0; i < move->count; i++)
		if (move->exports[i] == export)
			return true;
	return false;
}

/* With godwit_exports_lock: from here on it is not mapped until the move ends. */
static void export_join(struct godwit_export_move *move, struct godwit_export *export)
{
	export->moves++;
	move->exports[move->count++] = export;
}

/* Is there nothing to move for it, since its pages are held where they are to go? */
static bool export_there(struct godwit_export *export, unsigned long start, unsigned long end,
			 const struct godwit_device *to)
{
	unsigned long first = max(start, export->start), last = min(end, export->end);
	struct godwit_snapshot *snapshot = NULL;
	bool there;

	spin_lock(&godwit_exports_lock);
	if (export->snapshot && !export->stale) {
		snapshot = export->snapshot;
		kref_get(&snapshot->refs);
	}
	spin_unlock(&godwit_exports_lock);
	if (!snapshot)
		return false;
	there = godwit_snapshot_at(snapshot, (first - export->start) >> PAGE_SHIFT,
				   (last - export->start) >> PAGE_SHIFT, to);
	godwit_snapshot_put(snapshot);
	return there;
}

/**
 * godwit_export_move_range() - pages of a range are to move: revoke what peers have of it.
 * @move: for godwit_export_move_end(), which must follow.
 * @mm: whose address space.
 * @start: first address.
 * @end: address after the last one.
 * @to: to the VRAM of this device, or NULL: to RAM.
 *
 * Waits for peers. No lock may be held that is taken within that of a dma-buf; mmap_lock may.
 */
void godwit_export_move_range(struct godwit_export_move *move, struct mm_struct *mm,
			      unsigned long start, unsigned long end,
			      const struct godwit_device *to)
{
	struct godwit_export *export;
	unsigned int i;

	move->count = 0;
	if (!godwit_ranges_any())
		return;
	spin_lock(&godwit_exports_lock);
	for (export = godwit_ranges_first(start, end); export;
	     export = godwit_ranges_next(export, start, end)) {
		if (export->mirror->mm != mm)
			continue;
		if (move->count < GODWIT_MOVE_EXPORTS) {
			export_hold(export);
			export_join(move, export);
		} else if (export->snapshot && !export->stale) {
			export->stale = true;
			queue_work(godwit_export_queue, &export->revoke_work);
		}
	}
	spin_unlock(&godwit_exports_lock);
	for (i = 0; i < move->count; i++)
		if (!export_there(move->exports[i], start, end, to))
			godwit_export_revoke(move->exports[i], GODWIT_CAUSE_PREFETCH,
					     GODWIT_EXPORT_PATIENCE);
}

/* The next export that may hold one of these pages, with a reference to it and to its snapshot. */
static struct godwit_export *export_next(const struct godwit_export_move *move,
					 unsigned long first_pfn, unsigned long last_pfn,
					 unsigned int skip, struct godwit_snapshot **snapshot)
{
	struct godwit_export *export, *found = NULL;

	spin_lock(&godwit_exports_lock);
	for (export = godwit_ranges_first(0, ULONG_MAX); export;
	     export = godwit_ranges_next(export, 0, ULONG_MAX)) {
		if (!export->snapshot || export->snapshot->first_pfn > last_pfn ||
		    export->snapshot->last_pfn < first_pfn)
			continue;
		if (export_in_move(move, export))
			continue;
		if (skip) {
			skip--;
			continue;
		}
		export_hold(export);
		found = export;
		*snapshot = export->snapshot;
		kref_get(&export->snapshot->refs);
		break;
	}
	spin_unlock(&godwit_exports_lock);
	return found;
}

/**
 * godwit_export_move_frames() - pages of VRAM are to move: revoke what peers have of them.
 * @move: for godwit_export_move_end(), which must follow.
 * @first_pfn: page frame number of the first page.
 * @last_pfn: of the last one, of the same device.
 *
 * As godwit_export_move_range(). The caller may have one folio of private VRAM locked, for a CPU's
 * fault.
 */
void godwit_export_move_frames(struct godwit_export_move *move, unsigned long first_pfn,
			       unsigned long last_pfn)
{
	struct godwit_snapshot *snapshot;
	struct godwit_export *export;
	unsigned int skip = 0;
	bool has;

	move->count = 0;
	if (!godwit_lent(first_pfn, last_pfn))
		return;
	while (move->count < GODWIT_MOVE_EXPORTS &&
	       (export = export_next(move, first_pfn, last_pfn, skip, &snapshot))) {
		has = godwit_snapshot_has(snapshot, first_pfn, last_pfn);
		godwit_snapshot_put(snapshot);
		if (!has) {
			skip++;
			export_put(export);
			continue;
		}
		spin_lock(&godwit_exports_lock);
		export_join(move, export);
		spin_unlock(&godwit_exports_lock);
		godwit_export_revoke(export, GODWIT_CAUSE_EVICTION, GODWIT_EXPORT_PATIENCE);
	}
}

/**
 * godwit_export_move_end() - the pages have moved: peers may map them again.
 * @move: of godwit_export_move_range() or godwit_export_move_frames().
 */
void godwit_export_move_end(struct godwit_export_move *move)
{
	unsigned int i;

	for (i = 0; i < move->count; i++) {
		struct godwit_export *export = move->exports[i];
		bool last;

		spin_lock(&godwit_exports_lock);
		last = !--export->moves;
		spin_unlock(&godwit_exports_lock);
		if (last)
			wake_up_all(&export->idle);
		export_put(export);
	}
	move->count = 0;
}

/**
 * godwit_export_invalidate() - the address space changes. In a notifier.
 * @mirror: whose addresses.
 * @start: first address.
 * @end: address after the last one.
 * @fork: it could be a fork.
 *
 * Return: whether the caller is to wait, with no lock of ours: godwit_export_wait().
 */
bool godwit_export_invalidate(struct godwit_mirror *mirror, unsigned long start,
			      unsigned long end, bool fork)
{
	struct godwit_export *export;
	bool wait = false;

	if (!READ_ONCE(mirror->nr_exports))
		return false;
	spin_lock(&godwit_exports_lock);
	for (export = godwit_ranges_first(start, end); export;
	     export = godwit_ranges_next(export, start, end)) {
		if (export->mirror != mirror)
			continue;
		export->seq++;
		if (export->pinned)
			export->pin_stale = true;
		/* Not only of what is offered now: what was before may be written still. */
		wait |= fork && export_has_private(export);
		if (!export->snapshot)
			continue;
		if (!export->stale)
			queue_work(godwit_export_queue, &export->revoke_work);
		export->stale = true;
	}
	spin_unlock(&godwit_exports_lock);
	return wait;
}

/* The next export of a range whose peers may still write private VRAM. */
static struct godwit_export *export_unfinished(struct godwit_mirror *mirror, unsigned long start,
					       unsigned long end)
{
	struct godwit_export *export, *found = NULL;

	spin_lock(&godwit_exports_lock);
	for (export = godwit_ranges_first(start, end); export;
	     export = godwit_ranges_next(export, start, end)) {
		if (export->mirror != mirror || !export_has_private(export))
			continue;
		export_hold(export);
		found = export;
		break;
	}
	spin_unlock(&godwit_exports_lock);
	return found;
}

/**
 * godwit_export_wait() - a fork waits until no peer writes private VRAM any more.
 * @mirror: whose addresses.
 * @start: first address.
 * @end: address after the last one.
 *
 * In the notifier of a fork, with no lock of ours. The pages are about to be shared with the child,
 * and the kernel cannot copy them instead, as it does with pages that are pinned. What is waited
 * for needs the lock of the dma-buf; whoever has that does not wait for this fork, except for a
 * second at most, which is where this gives up.
 */
void godwit_export_wait(struct godwit_mirror *mirror, unsigned long start, unsigned long end)
{
	long left = EXPORT_FORK_PATIENCE;
	struct godwit_export *export;

	while (left > 0 && (export = export_unfinished(mirror, start, end))) {
		left = wait_event_timeout(export->idle, !export_is_private(export), left);
		if (left <= 0)
			godwit_export_count(export, GODWIT_STAT_PEER_TIMEOUTS, 1);
		export_put(export);
	}
}

/**
 * godwit_export_kill() - a device or a mirror goes away: what was exported through it is mapped no
 *	more.
 * @gdev: the device, or NULL. Mirrors that only exports still refer to are revoked.
 * @mirror: the mirror, which was revoked, or NULL.
 */
void godwit_export_kill(const struct godwit_device *gdev, const struct godwit_mirror *mirror)
{
	enum drm_godwit_cause cause = gdev ? GODWIT_CAUSE_UNPLUG : GODWIT_CAUSE_REQUEST;
	struct godwit_export *export, *found;
	unsigned long from = 0;

	do {
		found = NULL;
		spin_lock(&godwit_exports_lock);
		for (export = godwit_ranges_first(from, ULONG_MAX); export;
		     export = godwit_ranges_next(export, from, ULONG_MAX)) {
			if (export->dead || (export->gdev != gdev && export->mirror != mirror))
				continue;
			export_hold(export);
			export->dead = true;
			found = export;
			/* Those before it in the tree were looked at. */
			from = export->start;
			break;
		}
		spin_unlock(&godwit_exports_lock);
		if (found) {
			/* Where the node was closed it is in the list of no client any more. */
			if (gdev)
				godwit_mirror_revoke(found->mirror);
			godwit_export_revoke(found, cause, GODWIT_EXPORT_PATIENCE);
			export_put(found);
		}
	} while (found);
}
