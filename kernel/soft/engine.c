// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: The engine of a soft device
 *
 * Overview: a thread that copies, one request after the other, on whatever CPU is free. Requests
 * that are over sooner than it wakes up are copied by whoever asks.
 *
 * Locking: none. Copies touch only the frames and the pages that they were given.
 */
#include <linux/delay.h>
#include <linux/dma-fence.h>
#include <linux/highmem.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>

#include <godwit/device.h>

#include "engine.h"

#define SOFT_INLINE_PAGES	32

static unsigned int fail_copies;
module_param(fail_copies, uint, 0644);
MODULE_PARM_DESC(fail_copies,
		 "For tests: let this many of the next copies from VRAM fail (default 0)");

static unsigned int slow_copies;
module_param(slow_copies, uint, 0644);
MODULE_PARM_DESC(slow_copies,
		 "For tests: let each request to copy take this many microseconds longer (default 0)");

/**
 * struct soft_engine - the engine of one device.
 */
struct soft_engine {
	/** @memory: the VRAM. */
	void *memory;
	/** @thread: copies. */
	struct kthread_worker *thread;
	/** @fences: context of its fences. */
	u64 fences;
	/** @requests: how many it was given. */
	atomic64_t requests;
};

/**
 * struct soft_request - what the engine is asked to copy.
 */
struct soft_request {
	/** @fence: of the request; first, so that it is freed with it. */
	struct dma_fence fence;
	/** @work: for the engine. */
	struct kthread_work work;
	/** @engine: which. */
	struct soft_engine *engine;
	/** @pieces: what; the caller's until @fence has signalled. */
	const struct godwit_copy *pieces;
	/** @count: of @pieces. */
	unsigned int count;
	/** @to_vram: which way. */
	bool to_vram;
};

static bool soft_fail(void)
{
	unsigned int left = READ_ONCE(fail_copies);

	while (left)
		if (try_cmpxchg(&fail_copies, &left, left - 1))
			return true;
	return false;
}

static int soft_copy(const struct soft_engine *engine, const struct godwit_copy *pieces,
		     unsigned int count, bool to_vram)
{
	unsigned int n, i;

	if (!to_vram && soft_fail())
		return -EIO;
	if (READ_ONCE(slow_copies))
		fsleep(READ_ONCE(slow_copies));
	for (n = 0; n < count; n++) {
		void *vram = engine->memory + (pieces[n].frame << PAGE_SHIFT);

		for (i = 0; i < pieces[n].pages; i++, vram += PAGE_SIZE) {
			if (!pieces[n].page)
				clear_page(vram);
			else if (to_vram)
				copy_page(vram, page_address(pieces[n].page + i));
			else
				copy_page(page_address(pieces[n].page + i), vram);
		}
		cond_resched();
	}
	return 0;
}

static const char *soft_fence_name(struct dma_fence *fence)
{
	return "godwit_soft";
}

static const struct dma_fence_ops soft_fence_ops = {
	.get_driver_name = soft_fence_name,
	.get_timeline_name = soft_fence_name,
};

static void soft_serve(struct kthread_work *work)
{
	struct soft_request *request = container_of(work, struct soft_request, work);
	int ret = soft_copy(request->engine, request->pieces, request->count, request->to_vram);

	if (ret)
		dma_fence_set_error(&request->fence, ret);
	dma_fence_signal(&request->fence);
	dma_fence_put(&request->fence);
}

/* Copies that are over sooner than the engine wakes up are not worth it. */
static bool soft_is_small(const struct godwit_copy *pieces, unsigned int count)
{
	unsigned int pages = 0, n;

	for (n = 0; n < count && pages <= SOFT_INLINE_PAGES; n++)
		pages += pieces[n].pages;
	return pages <= SOFT_INLINE_PAGES;
}

/**
 * soft_engine_copy() - copy, or begin to.
 * @engine: the engine.
 * @pieces: what; the caller's.
 * @count: how many.
 * @to_vram: which way.
 *
 * Return: as &godwit_device_ops.copy_to_vram.
 */
struct dma_fence *soft_engine_copy(struct soft_engine *engine, const struct godwit_copy *pieces,
				   unsigned int count, bool to_vram)
{
	struct soft_request *request = NULL;

	if (!soft_is_small(pieces, count))
		request = kzalloc_obj(*request, GFP_NOWAIT);
	if (!request)
		return ERR_PTR(soft_copy(engine, pieces, count, to_vram));
	request->engine = engine;
	request->pieces = pieces;
	request->count = count;
	request->to_vram = to_vram;
	dma_fence_init(&request->fence, &soft_fence_ops, NULL, engine->fences,
		       atomic64_inc_return(&engine->requests));
	kthread_init_work(&request->work, soft_serve);
	/* One for the engine, one for the caller. */
	dma_fence_get(&request->fence);
	kthread_queue_work(engine->thread, &request->work);
	return &request->fence;
}

/**
 * soft_engine_create() - start an engine.
 * @memory: the VRAM, the caller's.
 * @name: of its thread.
 *
 * Return: the engine, or an ERR_PTR.
 */
struct soft_engine *soft_engine_create(void *memory, const char *name)
{
	struct soft_engine *engine = kzalloc_obj(*engine);
	int ret;

	if (!engine)
		return ERR_PTR(-ENOMEM);
	engine->memory = memory;
	engine->fences = dma_fence_context_alloc(1);
	engine->thread = kthread_run_worker(0, "%s", name);
	ret = PTR_ERR_OR_ZERO(engine->thread);
	if (ret) {
		kfree(engine);
		return ERR_PTR(ret);
	}
	return engine;
}

/**
 * soft_engine_destroy() - stop it.
 * @engine: has nothing left to do.
 */
void soft_engine_destroy(struct soft_engine *engine)
{
	kthread_destroy_worker(engine->thread);
	kfree(engine);
}
