// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: The engine of a soft device
 *
 * Overview: a thread that copies, one request after the other, on whatever CPU is free. Requests
 * that are over sooner than it wakes up are copied by whoever asks; and who waits for one helps:
 * the two take parts of it in turn, and whoever ends the last part signals the fence.
 *
 * Locking: &soft_request.lock, around the place of the next part. Copies need none: they touch only
 * the frames and the pages that they were given.
 */
#include <linux/delay.h>
#include <linux/dma-fence.h>
#include <linux/highmem.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/sched/clock.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/sysfs.h>

#include <godwit/device.h>

#include "engine.h"

#define SOFT_INLINE_PAGES	32
/* Of one part. */
#define SOFT_PART_PAGES		16
/* How long a helper waits awake for a part that the engine has begun, unless that had to stop. */
#define SOFT_SPIN_NS		(50 * NSEC_PER_USEC)

static unsigned int fail_copies;
module_param(fail_copies, uint, 0644);
MODULE_PARM_DESC(fail_copies,
		 "For tests: let this many of the next copies from VRAM fail (default 0)");

static unsigned int slow_copies;
module_param(slow_copies, uint, 0644);
MODULE_PARM_DESC(slow_copies,
		 "For tests: let each request to copy take this many microseconds longer (default 0)");

/* Parts. */
static atomic_long_t soft_helped;

static int soft_helped_get(char *buffer, const struct kernel_param *param)
{
	return sysfs_emit(buffer, "%ld\n", atomic_long_read(&soft_helped));
}

static const struct kernel_param_ops soft_helped_ops = { .get = soft_helped_get };

module_param_cb(helped, &soft_helped_ops, NULL, 0444);
MODULE_PARM_DESC(helped, "Parts of 64 KiB that were copied by who waited for them, so far");

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
	/** @alone: nobody may help: it is to be slow, or to fail. */
	bool alone;
	/** @left: pages that have not been copied yet. */
	atomic_t left;
	/** @lock: protects @piece and @page. */
	spinlock_t lock;
	/** @piece: the piece that the next part begins in; @count when all were taken. */
	unsigned int piece;
	/** @page: its page that the next part begins with. */
	unsigned int page;
};

static bool soft_fail(void)
{
	unsigned int left = READ_ONCE(fail_copies);

	while (left)
		if (try_cmpxchg(&fail_copies, &left, left - 1))
			return true;
	return false;
}

/* Some pages of a piece. */
static void soft_copy_pages(const struct soft_engine *engine, const struct godwit_copy *piece,
			    unsigned int page, unsigned int pages, bool to_vram)
{
	void *vram = engine->memory + ((piece->frame + page) << PAGE_SHIFT);

	for (; pages; pages--, page++, vram += PAGE_SIZE) {
		if (!piece->page)
			clear_page(vram);
		else if (to_vram)
			copy_page(vram, page_address(piece->page + page));
		else
			copy_page(page_address(piece->page + page), vram);
	}
}

/* Begins a copy, the slow part of it: does it fail? */
static int soft_begin(bool to_vram)
{
	if (!to_vram && soft_fail())
		return -EIO;
	if (READ_ONCE(slow_copies))
		fsleep(READ_ONCE(slow_copies));
	return 0;
}

/* Copies while somebody asks for it. */
static int soft_copy(const struct soft_engine *engine, const struct godwit_copy *pieces,
		     unsigned int count, bool to_vram)
{
	int ret = soft_begin(to_vram);
	unsigned int n;

	for (n = 0; n < count && !ret; n++)
		soft_copy_pages(engine, &pieces[n], 0, pieces[n].pages, to_vram);
	return ret;
}

/* The place of the next part: how many pages has it? */
static unsigned int soft_take(struct soft_request *request, unsigned int *piece, unsigned int *page)
{
	const struct godwit_copy *pieces = request->pieces;
	unsigned int pages = 0, some;

	spin_lock(&request->lock);
	*piece = request->piece;
	*page = request->page;
	while (pages < SOFT_PART_PAGES && request->piece < request->count) {
		some = min(pieces[request->piece].pages - request->page, SOFT_PART_PAGES - pages);
		pages += some;
		request->page += some;
		if (request->page == pieces[request->piece].pages) {
			request->piece++;
			request->page = 0;
		}
	}
	spin_unlock(&request->lock);
	return pages;
}

/* Copies parts until all are taken, and signals after the last one: how many parts? */
static unsigned int soft_work(struct soft_request *request)
{
	unsigned int piece, page, pages, done, some, parts = 0;

	while ((pages = soft_take(request, &piece, &page))) {
		for (done = 0; done < pages; done += some, page = 0) {
			const struct godwit_copy *from = &request->pieces[piece++];

			some = min(from->pages - page, pages - done);
			soft_copy_pages(request->engine, from, page, some, request->to_vram);
		}
		/* What @pieces points to may be gone as soon as the fence has signalled. */
		if (!atomic_sub_return(pages, &request->left))
			dma_fence_signal(&request->fence);
		parts++;
		cond_resched();
	}
	return parts;
}

static const char *soft_fence_name(struct dma_fence *fence)
{
	return "godwit_soft";
}

static const struct dma_fence_ops soft_fence_ops = {
	.get_driver_name = soft_fence_name,
	.get_timeline_name = soft_fence_name,
};

/* The engine. */
static void soft_serve(struct kthread_work *work)
{
	struct soft_request *request = container_of(work, struct soft_request, work);
	int ret = request->alone ? soft_begin(request->to_vram) : 0;

	if (ret) {
		dma_fence_set_error(&request->fence, ret);
		dma_fence_signal(&request->fence);
	} else {
		soft_work(request);
	}
	dma_fence_put(&request->fence);
}

static unsigned int soft_count_pages(const struct godwit_copy *pieces, unsigned int count)
{
	unsigned int pages = 0, n;

	for (n = 0; n < count; n++)
		pages += pieces[n].pages;
	return pages;
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
	unsigned int pages = soft_count_pages(pieces, count);
	struct soft_request *request = NULL;

	/* Copies that are over sooner than the engine wakes up are not worth it. */
	if (pages > SOFT_INLINE_PAGES)
		request = kzalloc_obj(*request, GFP_NOWAIT);
	if (!request)
		return ERR_PTR(soft_copy(engine, pieces, count, to_vram));
	request->engine = engine;
	request->pieces = pieces;
	request->count = count;
	request->to_vram = to_vram;
	request->alone = READ_ONCE(slow_copies) || READ_ONCE(fail_copies);
	atomic_set(&request->left, pages);
	spin_lock_init(&request->lock);
	dma_fence_init(&request->fence, &soft_fence_ops, NULL, engine->fences,
		       atomic64_inc_return(&engine->requests));
	kthread_init_work(&request->work, soft_serve);
	/* One for the engine, one for the caller. */
	dma_fence_get(&request->fence);
	kthread_queue_work(engine->thread, &request->work);
	return &request->fence;
}

/**
 * soft_engine_help() - copy together with the engine.
 * @fence: what soft_engine_copy() gave. It may not have signalled when this returns: the engine may
 *	be at the last part.
 */
void soft_engine_help(struct dma_fence *fence)
{
	struct soft_request *request = container_of(fence, struct soft_request, fence);
	u64 until;

	if (request->alone)
		return;
	atomic_long_add(soft_work(request), &soft_helped);
	until = local_clock() + SOFT_SPIN_NS;
	while (!dma_fence_is_signaled(fence) && !need_resched() && local_clock() < until)
		cpu_relax();
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
