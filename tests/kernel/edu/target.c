// SPDX-License-Identifier: GPL-2.0-only
/*
 * The memory that the engine reads and writes: a dma-buf, imported in each of the ways that there
 * are. EDU_DYNAMIC is how drivers in the kernel do it, and knows nothing of godwit: it maps again
 * after each invalidation, tries again where it is told to, and has a fence for each transfer.
 */
#include <linux/delay.h>
#include <linux/dma-buf.h>
#include <linux/dma-fence.h>
#include <linux/dma-resv.h>
#include <linux/pci.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>

#include <godwit/peer.h>

#include "edu.h"

/* How often to try to map. */
#define TARGET_TRIES	4000

/* With the lock of the dma-buf. */
static void target_unmap(struct edu_target *target)
{
	if (target->table)
		dma_buf_unmap_attachment(target->attachment, target->table, DMA_BIDIRECTIONAL);
	target->table = NULL;
	target->revoked = false;
}

static void target_invalidate(struct dma_buf_attachment *attachment)
{
	struct edu_target *target = attachment->importer_priv;

	if (!target->table)
		return;
	target->counts.invalidations++;
	target->counts.waited += target->busy;
	if (target->busy || target->mode == EDU_STUBBORN)
		target->revoked = true;
	else
		target_unmap(target);
}

static const struct dma_buf_attach_ops target_ops = {
	.allow_peer2peer = true,
	.invalidate_mappings = target_invalidate,
};

static const struct dma_buf_attach_ops target_ram_ops = {
	.invalidate_mappings = target_invalidate,
};

static int target_attach(struct edu_target *target)
{
	struct device *dev = &target->edu->pdev->dev;
	struct sg_table *table;

	switch (target->mode) {
	case EDU_HELPER:
		target->peer = godwit_peer_create(target->dmabuf, dev, NULL, NULL);
		return PTR_ERR_OR_ZERO(target->peer);
	case EDU_STATIC:
		target->attachment = dma_buf_attach(target->dmabuf, dev);
		if (IS_ERR(target->attachment))
			return PTR_ERR(target->attachment);
		table = dma_buf_map_attachment_unlocked(target->attachment, DMA_BIDIRECTIONAL);
		if (IS_ERR(table)) {
			dma_buf_detach(target->dmabuf, target->attachment);
			return PTR_ERR(table);
		}
		target->table = table;
		return 0;
	default:
		target->attachment = dma_buf_dynamic_attach(target->dmabuf, dev,
							    target->mode == EDU_NO_PEER ?
							    &target_ram_ops : &target_ops, target);
		return PTR_ERR_OR_ZERO(target->attachment);
	}
}

struct edu_target *edu_target_create(struct edu *edu, const struct edu_import *args)
{
	struct edu_target *target;
	int ret;

	if (args->mode > EDU_NO_PEER)
		return ERR_PTR(-EINVAL);
	target = kzalloc_obj(*target);
	if (!target)
		return ERR_PTR(-ENOMEM);
	target->edu = edu;
	target->mode = args->mode;
	target->dmabuf = dma_buf_get(args->fd);
	ret = PTR_ERR_OR_ZERO(target->dmabuf);
	if (!ret) {
		target->counts.reach = godwit_peer_reach(target->dmabuf, &edu->pdev->dev);
		ret = target_attach(target);
		if (ret)
			dma_buf_put(target->dmabuf);
	}
	if (ret) {
		kfree(target);
		return ERR_PTR(ret);
	}
	return target;
}

void edu_target_destroy(struct edu_target *target)
{
	if (!target)
		return;
	if (target->mode == EDU_HELPER) {
		godwit_peer_destroy(target->peer);
	} else {
		dma_resv_lock(target->dmabuf->resv, NULL);
		target_unmap(target);
		dma_resv_unlock(target->dmabuf->resv);
		dma_buf_detach(target->dmabuf, target->attachment);
	}
	dma_buf_put(target->dmabuf);
	kfree(target);
}

/* The address of an offset; what is asked for lies within a page. */
static dma_addr_t target_address(struct sg_table *table, u64 offset)
{
	struct scatterlist *sg;
	int i;

	for_each_sgtable_dma_sg(table, sg, i) {
		if (offset < sg_dma_len(sg))
			return sg_dma_address(sg) + offset;
		offset -= sg_dma_len(sg);
	}
	return DMA_MAPPING_ERROR;
}

/* Maps, if that is needed. With the lock of the dma-buf. */
static int target_map(struct edu_target *target)
{
	struct sg_table *table;

	/* One that is stubborn goes on with what it was told to let go of. */
	if (target->table)
		return 0;
	table = dma_buf_map_attachment(target->attachment, DMA_BIDIRECTIONAL);
	if (IS_ERR(table)) {
		target->counts.again += table == ERR_PTR(-EAGAIN);
		return PTR_ERR(table);
	}
	target->counts.maps++;
	target->table = table;
	return 0;
}

/* Maps and begins a transfer. */
static int target_begin(struct edu_target *target, u64 offset, u32 length, bool to_memory,
			u64 *address)
{
	struct dma_resv *resv = target->dmabuf->resv;
	struct dma_fence *fence = edu_engine_fence(target->edu);
	int ret;

	if (!fence)
		return -ENOMEM;
	dma_resv_lock(resv, NULL);
	ret = target_map(target);
	if (!ret)
		ret = dma_resv_reserve_fences(resv, 1);
	if (!ret) {
		*address = target_address(target->table, offset);
		target->busy = true;
		dma_resv_add_fence(resv, fence,
				   to_memory ? DMA_RESV_USAGE_WRITE : DMA_RESV_USAGE_READ);
		edu_engine_start(target->edu, dma_fence_get(fence), *address, length, to_memory);
	}
	dma_resv_unlock(resv);
	if (ret)
		dma_fence_signal(fence);
	dma_fence_put(fence);
	return ret;
}

static int target_dynamic(struct edu_target *target, u64 offset, u32 length, bool to_memory,
			  u64 *address)
{
	unsigned int tries;
	int ret = -EAGAIN;

	for (tries = 0; tries < TARGET_TRIES && ret == -EAGAIN; tries++) {
		if (tries)
			usleep_range(500, 1000);
		ret = target_begin(target, offset, length, to_memory, address);
	}
	if (ret)
		return ret;
	ret = edu_engine_wait(target->edu);
	dma_resv_lock(target->dmabuf->resv, NULL);
	target->busy = false;
	if (target->revoked && target->mode != EDU_STUBBORN)
		target_unmap(target);
	dma_resv_unlock(target->dmabuf->resv);
	return ret;
}

static int target_helper(struct edu_target *target, u64 offset, u32 length, bool to_memory,
			 u64 *address)
{
	struct sg_table *table;
	int ret;

	table = godwit_peer_begin(target->peer, to_memory ? DMA_FROM_DEVICE : DMA_TO_DEVICE);
	if (IS_ERR(table))
		return PTR_ERR(table);
	*address = target_address(table, offset);
	edu_engine_start(target->edu, NULL, *address, length, to_memory);
	ret = edu_engine_wait(target->edu);
	godwit_peer_end(target->peer);
	return ret;
}

/* One transfer between the memory and the engine's buffer, with the lock of the device. */
int edu_target_transfer(struct edu_target *target, u64 offset, u32 length, bool to_memory,
			u64 *address)
{
	if (!length || length > EDU_MAX || length % 8 || offset % 8 ||
	    offset_in_page(offset) + length > PAGE_SIZE ||
	    offset + length > target->dmabuf->size || offset + length < offset)
		return -EINVAL;
	switch (target->mode) {
	case EDU_HELPER:
		return target_helper(target, offset, length, to_memory, address);
	case EDU_STATIC:
		*address = target_address(target->table, offset);
		edu_engine_start(target->edu, NULL, *address, length, to_memory);
		return edu_engine_wait(target->edu);
	default:
		return target_dynamic(target, offset, length, to_memory, address);
	}
}

MODULE_IMPORT_NS("DMA_BUF");
