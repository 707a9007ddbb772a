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
#include <linux/kthread.h>
#include <linux/pci.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>

#include <godwit/peer.h>

#include "edu.h"

/* How often to try to map. */
#define TARGET_TRIES	4000
/* Bytes of a DMA before the last one, and the most of these. */
#define TARGET_STEP	8
#define TARGET_STEPS	100

/* A transfer with the memory: one DMA, or several, at @addr. */
struct target_run {
	dma_addr_t addr;
	u32 length;
	bool to_memory;
	/* &enum edu_transfer_flags. */
	u32 flags;
	/* The DMA that has been started is the last one. */
	bool last;
	/* Of all of them, or NULL; a reference. */
	struct dma_fence *fence;
};

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
	WRITE_ONCE(target->told, true);
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

/* The helpers tell of what comes during a transfer only. */
static void target_revoke(struct godwit_peer *peer, void *priv)
{
	struct edu_target *target = priv;

	target->counts.invalidations++;
	target->counts.waited++;
	WRITE_ONCE(target->told, true);
}

static const struct godwit_peer_ops target_peer_ops = {
	.revoke = target_revoke,
};

static int target_attach(struct edu_target *target)
{
	struct device *dev = &target->edu->pdev->dev;
	struct sg_table *table;

	switch (target->mode) {
	case EDU_HELPER:
		target->peer = godwit_peer_create(target->dmabuf, dev, &target_peer_ops,
						  target);
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
		for (; target->pins; target->pins--)
			dma_buf_unpin(target->attachment);
		dma_resv_unlock(target->dmabuf->resv);
		dma_buf_detach(target->dmabuf, target->attachment);
	}
	dma_buf_put(target->dmabuf);
	kfree(target);
}

/* Holds the memory where it is, mapped or not. */
int edu_target_pin(struct edu_target *target)
{
	int ret;

	if (target->mode == EDU_HELPER || target->mode == EDU_STATIC)
		return -EINVAL;
	dma_resv_lock(target->dmabuf->resv, NULL);
	ret = dma_buf_pin(target->attachment);
	target->pins += !ret;
	dma_resv_unlock(target->dmabuf->resv);
	return ret;
}

/* What is mapped stays so. */
int edu_target_unpin(struct edu_target *target)
{
	if (!target->pins)
		return -EINVAL;
	dma_resv_lock(target->dmabuf->resv, NULL);
	target->pins--;
	dma_buf_unpin(target->attachment);
	dma_resv_unlock(target->dmabuf->resv);
	return 0;
}

/* Two threads that begin transfers at the same time. */
struct target_turns {
	u32 rounds;
	/* Of this round. Set before @begun. */
	struct godwit_peer *peer;
	/* The round that the other thread may begin, and the one that it has ended. */
	atomic_t begun;
	atomic_t ended;
};

/* It lasts about as long as it takes the other one to see it. */
static int target_turn(struct godwit_peer *peer, enum dma_data_direction dir, u32 round)
{
	struct sg_table *table = godwit_peer_begin(peer, dir);

	if (IS_ERR(table))
		return PTR_ERR(table);
	udelay(round % 16);
	godwit_peer_end(peer);
	return 0;
}

static int target_turns_thread(void *data)
{
	struct target_turns *turns = data;
	u32 round;
	int ret = 0;

	for (round = 1; round <= turns->rounds; round++) {
		while (atomic_read_acquire(&turns->begun) < round)
			cond_resched();
		ret = target_turn(turns->peer, DMA_TO_DEVICE, round) ?: ret;
		atomic_set_release(&turns->ended, round);
	}
	return ret;
}

int edu_target_turns(struct edu_target *target, u32 rounds)
{
	struct target_turns turns = { .rounds = rounds };
	struct device *dev = &target->edu->pdev->dev;
	struct task_struct *thread;
	int ret = 0, other;
	u32 round;

	if (target->mode != EDU_HELPER || rounds > INT_MAX)
		return -EINVAL;
	thread = kthread_create(target_turns_thread, &turns, "godwit_edu");
	if (IS_ERR(thread))
		return PTR_ERR(thread);
	get_task_struct(thread);
	wake_up_process(thread);
	for (round = 1; round <= rounds; round++) {
		turns.peer = godwit_peer_create(target->dmabuf, dev, NULL, NULL);
		if (IS_ERR(turns.peer)) {
			/* The other thread has its rounds all the same. */
			ret = PTR_ERR(turns.peer);
			turns.peer = target->peer;
		}
		atomic_set_release(&turns.begun, round);
		ret = target_turn(turns.peer, DMA_FROM_DEVICE, round) ?: ret;
		while (atomic_read_acquire(&turns.ended) < round)
			cond_resched();
		if (turns.peer != target->peer)
			godwit_peer_destroy(turns.peer);
	}
	other = kthread_stop_put(thread);
	return ret ?: other;
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

/* Starts the next DMA of a transfer. */
static void target_start(struct edu_target *target, struct target_run *run)
{
	struct dma_fence *fence = NULL;

	run->last = !run->flags ||
		    (run->flags & EDU_UNTIL_TOLD && READ_ONCE(target->told)) ||
		    (run->flags & EDU_UNTIL_ASKED && READ_ONCE(target->edu->asked));
	if (run->last && run->fence)
		fence = dma_fence_get(run->fence);
	edu_engine_start(target->edu, fence, run->addr, run->last ? run->length : TARGET_STEP,
			 run->to_memory);
}

/* Waits for the end of a transfer that was started. */
static int target_finish(struct edu_target *target, struct target_run *run)
{
	unsigned int steps;
	int ret;

	edu_engine_begun(target->edu);
	ret = edu_engine_wait(target->edu);
	for (steps = 0; !ret && !run->last; steps++) {
		if (steps == TARGET_STEPS)
			return -ETIMEDOUT;
		target_start(target, run);
		ret = edu_engine_wait(target->edu);
	}
	return ret;
}

/* Maps and begins a transfer. */
static int target_begin(struct edu_target *target, struct target_run *run, u64 offset)
{
	struct dma_resv *resv = target->dmabuf->resv;
	int ret;

	dma_resv_lock(resv, NULL);
	ret = target_map(target);
	if (!ret)
		ret = dma_resv_reserve_fences(resv, 1);
	if (!ret) {
		run->addr = target_address(target->table, offset);
		target->busy = true;
		target->told = false;
		dma_resv_add_fence(resv, run->fence,
				   run->to_memory ? DMA_RESV_USAGE_WRITE : DMA_RESV_USAGE_READ);
		target_start(target, run);
	}
	dma_resv_unlock(resv);
	return ret;
}

static int target_dynamic(struct edu_target *target, struct target_run *run, u64 offset)
{
	unsigned int tries;
	int ret = -EAGAIN;

	run->fence = edu_engine_fence(target->edu);
	if (!run->fence)
		return -ENOMEM;
	for (tries = 0; tries < TARGET_TRIES && ret == -EAGAIN; tries++) {
		if (tries)
			usleep_range(500, 1000);
		ret = target_begin(target, run, offset);
	}
	if (!ret) {
		ret = target_finish(target, run);
		dma_resv_lock(target->dmabuf->resv, NULL);
		target->busy = false;
		if (target->revoked && target->mode != EDU_STUBBORN)
			target_unmap(target);
		dma_resv_unlock(target->dmabuf->resv);
	}
	/* Nobody else does, where the last DMA was not started. */
	if (!run->last)
		dma_fence_signal(run->fence);
	dma_fence_put(run->fence);
	return ret;
}

static int target_helper(struct edu_target *target, struct target_run *run, u64 offset)
{
	struct sg_table *table;
	int ret;

	/* Without a transfer nobody sets it. */
	target->told = false;
	table = godwit_peer_begin(target->peer, run->to_memory ? DMA_FROM_DEVICE : DMA_TO_DEVICE);
	if (IS_ERR(table))
		return PTR_ERR(table);
	run->addr = target_address(table, offset);
	target_start(target, run);
	ret = target_finish(target, run);
	godwit_peer_end(target->peer);
	return ret;
}

/* The pages stay for as long as it is attached. */
static int target_static(struct edu_target *target, struct target_run *run, u64 offset)
{
	if (run->flags & EDU_UNTIL_TOLD)
		return -EINVAL;
	run->addr = target_address(target->table, offset);
	target_start(target, run);
	return target_finish(target, run);
}

/* One transfer between the memory and the engine's buffer, with the lock of the device. */
int edu_target_transfer(struct edu_target *target, const struct edu_transfer *args, u64 offset,
			bool to_memory, u64 *address)
{
	struct target_run run = {
		.length = args->length,
		.to_memory = to_memory,
		.flags = args->flags,
	};
	u32 length = args->length;
	int ret;

	if (!length || length % 8 || offset % 8 ||
	    offset_in_page(offset) + length > PAGE_SIZE ||
	    offset + length > target->dmabuf->size || offset + length < offset)
		return -EINVAL;
	WRITE_ONCE(target->edu->asked, false);
	switch (target->mode) {
	case EDU_HELPER:
		ret = target_helper(target, &run, offset);
		break;
	case EDU_STATIC:
		ret = target_static(target, &run, offset);
		break;
	default:
		ret = target_dynamic(target, &run, offset);
	}
	*address = run.addr;
	return ret;
}

MODULE_IMPORT_NS("DMA_BUF");
