// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Peers
 *
 * Overview: what drivers of other devices call (godwit/peer.h): how a device reaches VRAM, and a
 * mapping that survives migration, which is an ordinary dynamic importer of the dma-buf of an
 * export, driven from here.
 *
 * Locking: the lock of the dma-buf protects what is mapped. &godwit_peer.count is atomic: transfers
 * end in interrupts. The last one that ends while a revocation waits has a work item unmap.
 */
#include <linux/delay.h>
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include <drm/drm_drv.h>

#include "device.h"
#include "export.h"
#include "reach.h"

/* How long to wait for the end of a revocation, and for pages that are gone again when mapped. */
#define PEER_PATIENCE		(2 * HZ)

/**
 * struct godwit_peer - a mapping that survives migration.
 */
struct godwit_peer {
	/** @dmabuf: of what; a reference. */
	struct dma_buf *dmabuf;
	/** @attachment: to it. */
	struct dma_buf_attachment *attachment;
	/** @ops: the driver's, or NULL. */
	const struct godwit_peer_ops *ops;
	/** @priv: the driver's. */
	void *priv;
	/** @table: what is mapped, or NULL. */
	struct sg_table *table;
	/** @dir: which way it is mapped. */
	enum dma_data_direction dir;
	/** @revoked: @table is to be unmapped when the last transfer ends. */
	bool revoked;
	/** @count: transfers under way. */
	atomic_t count;
	/** @unmap_work: unmaps. */
	struct work_struct unmap_work;
	/** @idle: woken when @count becomes 0, and when @table is gone. */
	wait_queue_head_t idle;
};

int godwit_peer_reach(struct dma_buf *dmabuf, struct device *dev)
{
	struct godwit_export *export = godwit_export_of(dmabuf);
	s64 offset;
	int ret, idx;

	if (!export)
		return -EINVAL;
	if (!drm_dev_enter(&export->gdev->drm, &idx))
		return -ENODEV;
	ret = godwit_reach(export->gdev, dev, &offset);
	drm_dev_exit(idx);
	return ret;
}
EXPORT_SYMBOL_GPL(godwit_peer_reach);

int godwit_peer_prepare(struct dma_buf *dmabuf)
{
	struct godwit_export *export = godwit_export_of(dmabuf);

	return export ? godwit_export_prepare(export) : -EINVAL;
}
EXPORT_SYMBOL_GPL(godwit_peer_prepare);

/* With the lock of the dma-buf. */
static void peer_unmap(struct godwit_peer *peer)
{
	if (peer->table)
		dma_buf_unmap_attachment(peer->attachment, peer->table, peer->dir);
	peer->table = NULL;
	peer->revoked = false;
	wake_up_all(&peer->idle);
}

static void peer_unmap_work(struct work_struct *work)
{
	struct godwit_peer *peer = container_of(work, struct godwit_peer, unmap_work);

	dma_resv_lock(peer->dmabuf->resv, NULL);
	if (peer->revoked && !atomic_read(&peer->count))
		peer_unmap(peer);
	dma_resv_unlock(peer->dmabuf->resv);
}

static void peer_invalidate(struct dma_buf_attachment *attachment)
{
	struct godwit_peer *peer = attachment->importer_priv;

	if (!peer->table)
		return;
	WRITE_ONCE(peer->revoked, true);
	/* Before the count is looked at: whoever brings it to 0 looks at @revoked then. */
	smp_mb();
	if (!atomic_read(&peer->count))
		peer_unmap(peer);
	else if (peer->ops && peer->ops->revoke)
		peer->ops->revoke(peer, peer->priv);
}

static const struct dma_buf_attach_ops peer_attach_ops = {
	.allow_peer2peer = true,
	.invalidate_mappings = peer_invalidate,
};

struct godwit_peer *godwit_peer_create(struct dma_buf *dmabuf, struct device *dev,
				       const struct godwit_peer_ops *ops, void *priv)
{
	struct godwit_peer *peer;

	peer = kzalloc_obj(*peer);
	if (!peer)
		return ERR_PTR(-ENOMEM);
	get_dma_buf(dmabuf);
	peer->dmabuf = dmabuf;
	peer->ops = ops;
	peer->priv = priv;
	INIT_WORK(&peer->unmap_work, peer_unmap_work);
	init_waitqueue_head(&peer->idle);
	peer->attachment = dma_buf_dynamic_attach(dmabuf, dev, &peer_attach_ops, peer);
	if (IS_ERR(peer->attachment)) {
		struct godwit_peer *error = ERR_CAST(peer->attachment);

		dma_buf_put(dmabuf);
		kfree(peer);
		return error;
	}
	return peer;
}
EXPORT_SYMBOL_GPL(godwit_peer_create);

void godwit_peer_destroy(struct godwit_peer *peer)
{
	if (IS_ERR_OR_NULL(peer))
		return;
	WARN_ON(atomic_read(&peer->count));
	dma_resv_lock(peer->dmabuf->resv, NULL);
	peer_unmap(peer);
	dma_resv_unlock(peer->dmabuf->resv);
	cancel_work_sync(&peer->unmap_work);
	dma_buf_detach(peer->dmabuf, peer->attachment);
	dma_buf_put(peer->dmabuf);
	kfree(peer);
}
EXPORT_SYMBOL_GPL(godwit_peer_destroy);

/* With the lock of the dma-buf. Return: 0, an error, or 1: transfers have to end first. */
static int peer_map(struct godwit_peer *peer, enum dma_data_direction dir)
{
	struct sg_table *table;

	if (peer->table && !peer->revoked && (peer->dir == dir || peer->dir == DMA_BIDIRECTIONAL))
		return 0;
	if (peer->table) {
		if (atomic_read(&peer->count))
			return 1;
		/* What is wanted both ways by turns is mapped for both. */
		if (!peer->revoked)
			dir = DMA_BIDIRECTIONAL;
		peer_unmap(peer);
	}
	table = dma_buf_map_attachment(peer->attachment, dir);
	if (IS_ERR(table))
		return PTR_ERR(table);
	peer->table = table;
	peer->dir = dir;
	return 0;
}

struct sg_table *godwit_peer_begin(struct godwit_peer *peer, enum dma_data_direction dir)
{
	struct godwit_export *export = godwit_export_of(peer->dmabuf);
	unsigned long deadline = jiffies + PEER_PATIENCE;
	struct sg_table *table = NULL;
	int ret;

	do {
		ret = dma_resv_lock_interruptible(peer->dmabuf->resv, NULL);
		if (ret)
			return ERR_PTR(-EINTR);
		/* What the memory's owner has under way, a copy for instance, comes first. */
		ret = dma_resv_wait_timeout(peer->dmabuf->resv, DMA_RESV_USAGE_KERNEL, true,
					    PEER_PATIENCE);
		ret = ret < 0 ? ret : ret ? peer_map(peer, dir) : -EBUSY;
		if (!ret) {
			atomic_inc(&peer->count);
			table = peer->table;
		}
		dma_resv_unlock(peer->dmabuf->resv);
		if (!ret)
			return table;
		if (ret == -EAGAIN && export) {
			ret = godwit_export_prepare(export);
			/* Whoever moves the range gets his turn. */
			if (ret == -EAGAIN)
				usleep_range(100, 200);
		} else if (ret > 0) {
			/* They may have ended by now. */
			ret = wait_event_timeout(peer->idle, !atomic_read(&peer->count),
						 PEER_PATIENCE) ? 0 : -EBUSY;
		}
		if (ret && (ret != -EAGAIN || !export))
			break;
	} while (time_before(jiffies, deadline));
	return ERR_PTR(ret ?: -EAGAIN);
}
EXPORT_SYMBOL_GPL(godwit_peer_begin);

void godwit_peer_end(struct godwit_peer *peer)
{
	if (!atomic_dec_and_test(&peer->count))
		return;
	/* Pairs with peer_invalidate(). */
	smp_mb__after_atomic();
	if (READ_ONCE(peer->revoked))
		schedule_work(&peer->unmap_work);
	wake_up_all(&peer->idle);
}
EXPORT_SYMBOL_GPL(godwit_peer_end);
