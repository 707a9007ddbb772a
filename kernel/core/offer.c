// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Offers
 *
 * Overview: the pages that importers of an export get when they map it: a snapshot (snapshot.c)
 * that is still what the address space has. It is looked for in the mapping call, if that takes no
 * waiting; otherwise by a worker or by whoever calls godwit_export_prepare(), while the importer
 * has got -EAGAIN: with the lock of the dma-buf held nobody may wait for mmap_lock or fault a page
 * in. What nobody maps is let go of after a second. A pinned one stays for as long as it is
 * pinned: after each change of the range it is compared with what would be offered then, before
 * anybody gets more of it.
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
#include "mirror.h"
#include "ranges.h"
#include "snapshot.h"

/* How long pages are held that nobody has mapped. */
#define EXPORT_IDLE		HZ
/* How often to look for pages that changed meanwhile. */
#define EXPORT_ROUNDS		8

/**
 * godwit_export_unused() - an importer has unmapped it.
 * @export: the export.
 */
void godwit_export_unused(struct godwit_export *export)
{
	mod_delayed_work(godwit_export_queue, &export->drop_work, EXPORT_IDLE);
}

/**
 * godwit_export_outdated() - an importer cannot use the snapshot that there is.
 * @export: the export; the caller may have the lock of the dma-buf.
 */
void godwit_export_outdated(struct godwit_export *export)
{
	spin_lock(&godwit_exports_lock);
	export->stale = export->snapshot;
	spin_unlock(&godwit_exports_lock);
	queue_work(godwit_export_queue, &export->prepare_work);
}

/* The pages that the range has now, as godwit_export_get(). */
static struct godwit_snapshot *export_current(struct godwit_export *export)
{
	struct godwit_snapshot *snapshot;
	unsigned int round;
	u64 seq;
	int ret;

	for (round = 0; round < 2; round++) {
		ret = 0;
		snapshot = NULL;
		spin_lock(&godwit_exports_lock);
		if (export->dead)
			ret = -ENODEV;
		else if (export->error)
			ret = export->error;
		else if (export->stale || export->moves)
			ret = -EAGAIN;
		else
			snapshot = export->snapshot;
		/* Only once: it may be possible the next time. */
		export->error = 0;
		if (snapshot)
			kref_get(&snapshot->refs);
		seq = export->seq;
		spin_unlock(&godwit_exports_lock);
		if (snapshot)
			return snapshot;
		if (ret)
			break;
		snapshot = godwit_snapshot_take(export, false, true);
		ret = PTR_ERR_OR_ZERO(snapshot);
		if (!ret)
			ret = godwit_export_publish(export, snapshot, seq);
		if (ret)
			break;
	}
	if (!ret || ret == -EAGAIN) {
		queue_work(godwit_export_queue, &export->prepare_work);
		ret = -EAGAIN;
	}
	return ERR_PTR(ret);
}

/*
 * Are the pinned pages those that the range has now? Return: 0, also where there are none by now;
 * -EAGAIN, it cannot be told yet; -EFAULT, no.
 */
static int export_check_pin(struct godwit_export *export)
{
	struct godwit_snapshot *now = export_current(export), *pinned = NULL;
	bool same;
	u64 seq;

	if (IS_ERR(now))
		return PTR_ERR(now);
	spin_lock(&godwit_exports_lock);
	seq = export->seq;
	same = export->snapshot == now && !export->stale;
	if (same && export->pinned) {
		pinned = export->pinned;
		kref_get(&pinned->refs);
	}
	spin_unlock(&godwit_exports_lock);
	if (!same || !pinned) {
		godwit_snapshot_put(now);
		return same ? 0 : -EAGAIN;
	}
	same = godwit_snapshot_same(pinned, now);
	spin_lock(&godwit_exports_lock);
	if (same && export->seq == seq && export->pinned == pinned) {
		export->pin_stale = false;
		pinned->writable = pinned->for_writing && now->writable;
	}
	spin_unlock(&godwit_exports_lock);
	godwit_snapshot_put(pinned);
	godwit_snapshot_put(now);
	return same ? 0 : -EFAULT;
}

/* What is pinned, for an importer that has a pin. */
static struct godwit_snapshot *export_get_pinned(struct godwit_export *export)
{
	struct godwit_snapshot *snapshot = NULL;
	unsigned int round;
	int ret = 0;

	for (round = 0; round < 2 && !snapshot && !ret; round++) {
		spin_lock(&godwit_exports_lock);
		if (export->dead) {
			ret = -ENODEV;
		} else if (!export->pin_stale) {
			snapshot = export->pinned;
			kref_get(&snapshot->refs);
		}
		spin_unlock(&godwit_exports_lock);
		if (!snapshot && !ret)
			ret = export_check_pin(export);
	}
	return snapshot ?: ERR_PTR(ret ?: -EAGAIN);
}

/**
 * godwit_export_get() - the pages for an importer, if there is nothing to wait for.
 * @export: the export; the caller has the lock of the dma-buf.
 * @attach: the importer.
 *
 * Return: a reference, or an ERR_PTR as godwit_snapshot_take(). With -EAGAIN a worker looks for
 * them.
 */
struct godwit_snapshot *godwit_export_get(struct godwit_export *export,
					  struct godwit_attach *attach)
{
	return attach->fixed || attach->pins ? export_get_pinned(export) : export_current(export);
}

/* With godwit_exports_lock: from here on a revocation waits for it. */
static void export_add_living(struct godwit_export *export, struct godwit_snapshot *snapshot)
{
	snapshot->serial = ++export->serial;
	list_add_tail(&snapshot->link, &export->living);
}

/**
 * godwit_export_publish() - from here on importers map these pages.
 * @export: the export.
 * @snapshot: the pages; the reference is taken over.
 * @seq: &godwit_export.seq before they were looked for.
 *
 * Return: 0, also where there are others by now. -EAGAIN, the range has changed.
 */
int godwit_export_publish(struct godwit_export *export, struct godwit_snapshot *snapshot, u64 seq)
{
	int ret = 0;

	spin_lock(&godwit_exports_lock);
	if (export->dead) {
		ret = -ENODEV;
	} else if (export->seq != seq || export->moves || export->stale) {
		ret = -EAGAIN;
	} else if (!export->snapshot) {
		export_add_living(export, snapshot);
		export->snapshot = snapshot;
		snapshot = NULL;
	}
	spin_unlock(&godwit_exports_lock);
	godwit_snapshot_put(snapshot);
	if (!ret)
		godwit_export_unused(export);
	return ret;
}

static int export_prepare_once(struct godwit_export *export)
{
	struct godwit_snapshot *snapshot;
	bool there, stale;
	u64 seq;

	if (!wait_event_timeout(export->idle, !READ_ONCE(export->moves), GODWIT_EXPORT_PATIENCE))
		return -EAGAIN;
	spin_lock(&godwit_exports_lock);
	seq = export->seq;
	stale = export->stale;
	there = export->snapshot && !stale;
	spin_unlock(&godwit_exports_lock);
	if (READ_ONCE(export->dead))
		return -ENODEV;
	if (there) {
		godwit_export_unused(export);
		return 0;
	}
	if (stale && !godwit_export_revoke(export, GODWIT_CAUSE_PEER, GODWIT_EXPORT_PATIENCE))
		return -EAGAIN;
	snapshot = godwit_snapshot_take(export, false, false);
	if (IS_ERR(snapshot))
		return PTR_ERR(snapshot);
	return godwit_export_publish(export, snapshot, seq);
}

/**
 * godwit_export_prepare() - find the pages, faulting them in where that is needed.
 * @export: the export; no lock is held.
 *
 * Return: as godwit_peer_prepare().
 */
int godwit_export_prepare(struct godwit_export *export)
{
	unsigned int round;
	int ret = -EAGAIN;

	mutex_lock(&export->prepare_lock);
	for (round = 0; round < EXPORT_ROUNDS && ret == -EAGAIN; round++)
		ret = export_prepare_once(export);
	mutex_unlock(&export->prepare_lock);
	return ret;
}

/**
 * godwit_export_pin() - hold the pages in RAM for an importer that cannot follow.
 * @export: the export.
 * @nowait: the caller has the lock of the dma-buf; otherwise no lock.
 */
int godwit_export_pin(struct godwit_export *export, bool nowait)
{
	struct godwit_snapshot *snapshot;
	bool there, stale;
	unsigned int round;
	u64 seq;
	int ret = -EAGAIN;

	for (round = 0; round < EXPORT_ROUNDS && ret == -EAGAIN; round++) {
		spin_lock(&godwit_exports_lock);
		seq = export->seq;
		ret = export->dead ? -ENODEV : 0;
		stale = export->pinned && export->pin_stale;
		there = !ret && export->pinned && !stale;
		export->pins += there;
		spin_unlock(&godwit_exports_lock);
		if (there || ret)
			return ret;
		if (stale) {
			ret = nowait ? 0 : godwit_export_prepare(export);
			if (ret)
				break;
			ret = export_check_pin(export) ?: -EAGAIN;
			continue;
		}
		snapshot = godwit_snapshot_take(export, true, nowait);
		ret = PTR_ERR_OR_ZERO(snapshot);
		if (ret)
			continue;
		spin_lock(&godwit_exports_lock);
		if (export->seq != seq || export->pinned || export->dead) {
			ret = -EAGAIN;
		} else {
			export->pinned = snapshot;
			export->pins = 1;
			snapshot = NULL;
		}
		spin_unlock(&godwit_exports_lock);
		godwit_snapshot_put(snapshot);
	}
	return ret == -EAGAIN ? -EBUSY : ret;
}

/**
 * godwit_export_unpin() - the end of godwit_export_pin().
 * @export: the export.
 * @mapped: the importer has it mapped, and is told to let go of that: from here on it can follow.
 */
void godwit_export_unpin(struct godwit_export *export, bool mapped)
{
	struct godwit_snapshot *snapshot = NULL;

	spin_lock(&godwit_exports_lock);
	if (!--export->pins) {
		snapshot = export->pinned;
		export->pinned = NULL;
		export->pin_stale = false;
		/* What this or another one still has mapped is waited for. */
		if (kref_read(&snapshot->refs) > 1)
			export_add_living(export, snapshot);
	}
	export->untold |= mapped;
	spin_unlock(&godwit_exports_lock);
	if (mapped)
		queue_work(godwit_export_queue, &export->revoke_work);
	godwit_snapshot_put(snapshot);
}
