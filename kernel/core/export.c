// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Exports
 *
 * Overview: a range of addresses of a process as a dma-buf (DRM_IOCTL_GODWIT_EXPORT). Importers
 * get the bus addresses of wherever its pages are: in VRAM where all of them reach it, in RAM
 * where not (reach.c). While one has the range mapped its pages are held (snapshot.c), so that
 * nothing moves them from below. "Revoked before the move, mapped again after it": whoever wants
 * to move pages has the importers told (godwit_export_revoke()), waits for the fences of their
 * transfers and for the unmapping, moves, and the importers map again. docs/peers.md tells it by
 * cases.
 *
 * Who revokes:
 *
 * - our own moves, before they lock anything: of a range (godwit_export_move_range(): MIGRATE,
 *   EVICT of a range, faults of devices, PIN, advice), and of frames (godwit_export_move_frames():
 *   eviction, unplug, the CPU's fault on private VRAM). The range cannot be mapped until the move
 *   has ended.
 * - notifiers (godwit_export_invalidate()): something else changes the range (munmap, exit, fork,
 *   mprotect, reclaim, compaction). A notifier may not wait for the lock of a dma-buf, since
 *   memory is allocated with that held and reclaim calls notifiers; so it marks the snapshot as
 *   stale, and a worker revokes it. Until then the device uses pages that are held: they are
 *   nobody else's, and what the kernel wants of pages that may not be moved it does not get.
 *
 * Importers that cannot follow get a pin when they attach: a long-term one of the kernel's, in RAM,
 * charged against RLIMIT_MEMLOCK, for as long as they are attached.
 *
 * Patience: whoever waits for a peer does so for two seconds, is counted, and says so in the log.
 * Then the pages stay held, and so stay where they are: the move of them fails, and never the data.
 *
 * Locking: the lock of the dma-buf (its dma_resv) is taken within mmap_lock, and while it is held
 * memory may be allocated, folios locked, pages pinned and looked at with mmap_lock tried. It is
 * not taken in notifiers, and not while a migration has pages isolated. A CPU's fault holds the
 * folio that it is about: nobody who has the lock of a dma-buf waits for that, since pages of
 * private VRAM are on no LRU, and migrations only try to lock them. godwit_exports_lock is inside
 * &godwit_chunk.lock, and nothing is inside it. &godwit_export.prepare_lock is outside of
 * mmap_lock.
 */
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>
#include <drm/drm_file.h>

#include "chunk.h"
#include "client.h"
#include "device.h"
#include "event.h"
#include "export.h"
#include "migrate.h"
#include "mirror.h"
#include "ranges.h"
#include "reach.h"
#include "snapshot.h"

/* The longest range. */
#define EXPORT_LENGTH_MAX	(64ULL * SZ_1G)

struct workqueue_struct *godwit_export_queue;

/**
 * godwit_export_tell() - post an event about an export.
 * @export: which.
 * @type: &enum drm_godwit_event_type.
 * @cause: why.
 * @place: where its pages are.
 * @pages: how many.
 * @detail: as the type says.
 */
void godwit_export_tell(struct godwit_export *export, u16 type, enum drm_godwit_cause cause,
			u8 place, unsigned long pages, unsigned long detail)
{
	struct drm_godwit_event event = {
		.type = type,
		.mirror_id = export->mirror->id,
		.cause = cause,
		.addr = export->start,
		.length = export->end - export->start,
		.pages = pages,
		.detail = detail,
		.from = place,
		.to = place,
	};

	godwit_event_post(export->mirror->client, &event);
}

/**
 * godwit_export_count() - count something about an export.
 * @export: which.
 * @stat: what.
 * @count: how much.
 */
void godwit_export_count(struct godwit_export *export, enum drm_godwit_stat stat, s64 count)
{
	godwit_stat_add(export->gdev, export->mirror->client, stat, count);
}

static void export_revoke_work(struct work_struct *work)
{
	struct godwit_export *export = container_of(work, struct godwit_export, revoke_work);

	godwit_export_revoke(export, GODWIT_CAUSE_NONE, GODWIT_EXPORT_PATIENCE);
}

static void export_drop_work(struct work_struct *work)
{
	struct godwit_export *export = container_of(to_delayed_work(work), struct godwit_export,
						    drop_work);
	struct godwit_snapshot *snapshot = NULL;

	spin_lock(&godwit_exports_lock);
	/* Nobody gets a reference but with the lock. */
	if (export->snapshot && kref_read(&export->snapshot->refs) == 1) {
		snapshot = export->snapshot;
		export->snapshot = NULL;
		export->stale = false;
	}
	spin_unlock(&godwit_exports_lock);
	godwit_snapshot_put(snapshot);
}

static void export_prepare_work(struct work_struct *work)
{
	struct godwit_export *export = container_of(work, struct godwit_export, prepare_work);
	int ret = godwit_export_prepare(export);

	spin_lock(&godwit_exports_lock);
	export->error = ret == -EAGAIN ? 0 : ret;
	spin_unlock(&godwit_exports_lock);
}

static int export_attach(struct dma_buf *dmabuf, struct dma_buf_attachment *attachment)
{
	struct godwit_export *export = dmabuf->priv;
	struct godwit_attach *attach;
	int ret = 0;

	if (READ_ONCE(export->dead))
		return -ENODEV;
	attach = kzalloc_obj(*attach);
	if (!attach)
		return -ENOMEM;
	attach->dev = attachment->dev;
	attach->p2p = attachment->peer2peer;
	attach->fixed = !dma_buf_attach_revocable(attachment);
	INIT_LIST_HEAD(&attach->tables);
	if (attach->fixed)
		ret = godwit_export_pin(export, false);
	if (ret) {
		kfree(attach);
		return ret;
	}
	attachment->priv = attach;
	mutex_lock(&export->attached_lock);
	list_add(&attach->link, &export->attached);
	mutex_unlock(&export->attached_lock);
	return 0;
}

static void export_detach_importer(struct dma_buf *dmabuf, struct dma_buf_attachment *attachment)
{
	struct godwit_export *export = dmabuf->priv;
	struct godwit_attach *attach = attachment->priv;

	mutex_lock(&export->attached_lock);
	list_del(&attach->link);
	mutex_unlock(&export->attached_lock);
	if (attach->fixed)
		godwit_export_unpin(export, false);
	kfree(attach);
}

/* Of an importer that cannot follow, or does not want to. */
static int export_pin_importer(struct dma_buf_attachment *attachment)
{
	struct godwit_export *export = attachment->dmabuf->priv;
	struct godwit_attach *attach = attachment->priv;
	int ret = 0;

	if (!attach->fixed)
		ret = godwit_export_pin(export, true);
	if (ret)
		return ret;
	/* Our pin keeps @pinned as it is. */
	if (!attach->fixed && !godwit_reach_repin(attach, export->pinned)) {
		godwit_export_unpin(export, false);
		return -EBUSY;
	}
	attach->pins++;
	return 0;
}

static void export_unpin_importer(struct dma_buf_attachment *attachment)
{
	struct godwit_attach *attach = attachment->priv;

	attach->pins--;
	if (!attach->fixed)
		godwit_export_unpin(attachment->dmabuf->priv,
				    !attach->pins && !list_empty(&attach->tables));
}

static struct sg_table *export_map(struct dma_buf_attachment *attachment,
				   enum dma_data_direction dir)
{
	struct godwit_export *export = attachment->dmabuf->priv;
	struct godwit_attach *attach = attachment->priv;
	struct godwit_snapshot *snapshot;
	struct sg_table *table;

	snapshot = godwit_export_get(export, attach);
	if (IS_ERR(snapshot))
		return ERR_CAST(snapshot);
	if (!godwit_reach_snapshot(attach, snapshot)) {
		/* Others, who were here first, can. */
		godwit_export_outdated(export);
		table = ERR_PTR(-EAGAIN);
	} else if (dir != DMA_TO_DEVICE && !snapshot->writable) {
		table = ERR_PTR(-EACCES);
	} else {
		table = godwit_reach_map(snapshot, attach, dir);
	}
	if (!IS_ERR(table)) {
		if (dir != DMA_TO_DEVICE)
			snapshot->dirty = true;
		godwit_export_count(export, GODWIT_STAT_PEER_MAPS, 1);
		godwit_export_tell(export, GODWIT_EVENT_PEER_MAPPED, GODWIT_CAUSE_PEER,
				   snapshot->nr_vram ? GODWIT_PLACE_VRAM : GODWIT_PLACE_SYSTEM,
				   snapshot->nr, snapshot->nr_vram);
	}
	godwit_snapshot_put(snapshot);
	return table;
}

static void export_unmap(struct dma_buf_attachment *attachment, struct sg_table *table,
			 enum dma_data_direction dir)
{
	struct godwit_export *export = attachment->dmabuf->priv;

	godwit_snapshot_put(godwit_reach_unmap(table, attachment->priv, dir));
	godwit_export_unused(export);
}

static void export_free(struct godwit_export *export)
{
	struct godwit_device *gdev = export->gdev;

	atomic_dec(&export->mirror->client->exports);
	godwit_mirror_put(export->mirror);
	mutex_destroy(&export->prepare_lock);
	mutex_destroy(&export->attached_lock);
	kfree(export);
	drm_dev_put(&gdev->drm);
}

static void export_release(struct dma_buf *dmabuf)
{
	struct godwit_export *export = dmabuf->priv;

	spin_lock(&godwit_exports_lock);
	godwit_ranges_remove(export);
	spin_unlock(&godwit_exports_lock);
	wait_event(export->idle, godwit_export_unheld(export));
	/* Nobody queues them now: there is no notifier and no importer. */
	cancel_work_sync(&export->revoke_work);
	cancel_work_sync(&export->prepare_work);
	cancel_delayed_work_sync(&export->drop_work);
	godwit_snapshot_put(godwit_export_detach(export));
	export_free(export);
}

static const struct dma_buf_ops export_ops = {
	.attach = export_attach,
	.detach = export_detach_importer,
	.pin = export_pin_importer,
	.unpin = export_unpin_importer,
	.map_dma_buf = export_map,
	.unmap_dma_buf = export_unmap,
	.release = export_release,
};

/**
 * godwit_export_of() - the export that a dma-buf is.
 * @dmabuf: any.
 *
 * Return: NULL, none of ours.
 */
struct godwit_export *godwit_export_of(struct dma_buf *dmabuf)
{
	return dmabuf->ops == &export_ops ? dmabuf->priv : NULL;
}

/* Takes over the reference to the mirror, also where it fails. */
static struct godwit_export *export_create(struct godwit_mirror *mirror, unsigned long start,
					   unsigned long end)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct godwit_export *export;
	struct dma_buf *dmabuf;

	export = kzalloc_obj(*export, GFP_KERNEL_ACCOUNT);
	if (!export) {
		godwit_mirror_put(mirror);
		return ERR_PTR(-ENOMEM);
	}
	drm_dev_get(&mirror->gdev->drm);
	export->mirror = mirror;
	export->gdev = mirror->gdev;
	export->start = start;
	export->end = end;
	INIT_LIST_HEAD(&export->attached);
	INIT_LIST_HEAD(&export->living);
	mutex_init(&export->attached_lock);
	mutex_init(&export->prepare_lock);
	init_waitqueue_head(&export->idle);
	INIT_WORK(&export->revoke_work, export_revoke_work);
	INIT_WORK(&export->prepare_work, export_prepare_work);
	INIT_DELAYED_WORK(&export->drop_work, export_drop_work);
	if (atomic_inc_return(&mirror->client->exports) > GODWIT_EXPORT_MAX) {
		export_free(export);
		return ERR_PTR(-ENOSPC);
	}
	info.exp_name = "godwit";
	info.ops = &export_ops;
	info.size = end - start;
	info.flags = O_CLOEXEC | O_RDWR;
	info.priv = export;
	dmabuf = dma_buf_export(&info);
	if (IS_ERR(dmabuf)) {
		export_free(export);
		return ERR_CAST(dmabuf);
	}
	export->dmabuf = dmabuf;
	spin_lock(&godwit_exports_lock);
	/* A detach that was faster has looked for exports already. */
	export->dead = READ_ONCE(mirror->revoked);
	godwit_ranges_add(export);
	spin_unlock(&godwit_exports_lock);
	return export;
}

/* The page range around the bytes of a call. */
static int export_range(const struct drm_godwit_export *args, unsigned long *start,
			unsigned long *end)
{
	u64 last = args->addr + args->length;
	int ret;

	if (!args->length || last < args->addr || PAGE_ALIGN(last) < last)
		return -EINVAL;
	*start = args->addr & PAGE_MASK;
	*end = PAGE_ALIGN(last);
	ret = godwit_migrate_check_range(*start, *end - *start);
	if (ret)
		return ret;
	return *end - *start > EXPORT_LENGTH_MAX ? -E2BIG : 0;
}

/**
 * godwit_export_ioctl() - DRM_IOCTL_GODWIT_EXPORT.
 * @drm: the device.
 * @data: &struct drm_godwit_export.
 * @file: the client.
 */
int godwit_export_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_godwit_export *args = data;
	struct godwit_mirror *mirror;
	struct godwit_export *export;
	unsigned long start, end;
	int ret;

	args->fd = -1;
	args->offset = 0;
	if (args->flags || args->reserved[0] || args->reserved[1])
		return -EINVAL;
	ret = export_range(args, &start, &end);
	if (ret)
		return ret;
	mirror = godwit_mirror_get(file->driver_priv);
	if (IS_ERR(mirror))
		return PTR_ERR(mirror);
	ret = godwit_chunk_cover(mirror, start, end);
	if (ret) {
		godwit_mirror_put(mirror);
		return ret;
	}
	export = export_create(mirror, start, end);
	if (IS_ERR(export))
		return PTR_ERR(export);
	ret = dma_buf_fd(export->dmabuf, O_CLOEXEC);
	if (ret < 0) {
		dma_buf_put(export->dmabuf);
		return ret;
	}
	args->fd = ret;
	args->offset = args->addr - start;
	return 0;
}

/**
 * godwit_export_init() - the module is loaded.
 */
int godwit_export_init(void)
{
	godwit_export_queue = alloc_workqueue("godwit-export", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	return godwit_export_queue ? 0 : -ENOMEM;
}

/**
 * godwit_export_fini() - the module is unloaded.
 */
void godwit_export_fini(void)
{
	destroy_workqueue(godwit_export_queue);
}
