// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Stores
 *
 * Overview: the memory that an object has: pages of RAM, or frames of VRAM, page by page. Knows
 * nothing of objects.
 *
 * Locking: none. Reserving frames may evict pages and objects: no lock of an object is held then.
 */
#include <linux/err.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "client.h"
#include "copy.h"
#include "device.h"
#include "evict.h"
#include "stats.h"
#include "store.h"

/* Pieces of a copy at a time. */
#define STORE_PIECES	64

/**
 * godwit_store_put_pages() - free pages of RAM.
 * @pages: of godwit_store_pages(), or NULL.
 * @count: how many.
 */
void godwit_store_put_pages(struct page **pages, unsigned long count)
{
	unsigned long i;

	for (i = 0; pages && i < count; i++)
		if (pages[i])
			__free_page(pages[i]);
	kvfree(pages);
}

/**
 * godwit_store_pages() - allocate pages of RAM.
 * @memcg: to which they are accounted, or NULL.
 * @count: how many.
 * @zero: whether they are to be zeroed; otherwise the caller overwrites all of them.
 *
 * Return: NULL where there are not as many, or where a fatal signal is pending.
 */
struct page **godwit_store_pages(struct mem_cgroup *memcg, unsigned long count, bool zero)
{
	/* Whose group is full is not to be killed: it may be anybody's object. */
	gfp_t may_fail = __GFP_ACCOUNT | __GFP_RETRY_MAYFAIL | __GFP_NOWARN;
	gfp_t gfp = GFP_HIGHUSER | may_fail;
	struct mem_cgroup *before = set_active_memcg(memcg);
	struct page **pages;
	unsigned long i;

	pages = kvcalloc(count, sizeof(*pages), GFP_KERNEL | may_fail);
	for (i = 0; pages && i < count; i++) {
		pages[i] = alloc_page(zero ? gfp | __GFP_ZERO : gfp);
		if (!pages[i] || fatal_signal_pending(current)) {
			godwit_store_put_pages(pages, count);
			pages = NULL;
		}
		cond_resched();
	}
	set_active_memcg(before);
	return pages;
}

/**
 * godwit_store_put_frames() - free frames.
 * @gdev: whose.
 * @frames: of godwit_store_frames(), or NULL.
 * @count: how many.
 */
void godwit_store_put_frames(struct godwit_device *gdev, unsigned long *frames,
			     unsigned long count)
{
	unsigned long i;

	for (i = 0; frames && i < count; i++)
		if (frames[i] != GODWIT_NO_FRAME)
			godwit_vram_release(gdev, frames[i], 1);
	kvfree(frames);
}

/* Takes up to a block of frames, evicting others. */
static int frames_take(struct godwit_device *gdev, struct godwit_client *client,
		       unsigned long *frames, unsigned long want)
{
	unsigned long got, i;
	unsigned int count, j;

	got = godwit_evict_reserve(gdev, want, true);
	if (got < want) {
		godwit_vram_unreserve(&gdev->vram, got);
		return fatal_signal_pending(current) ? -EINTR : -ENOSPC;
	}
	for (i = 0; i < want; i += count) {
		unsigned long frame;

		count = want - i == GODWIT_BLOCK_FRAMES ? GODWIT_BLOCK_FRAMES : 1;
		frame = godwit_vram_take(gdev, client, &count);
		if (WARN_ON_ONCE(frame == GODWIT_NO_FRAME)) {
			godwit_vram_unreserve(&gdev->vram, want - i);
			return -ENOSPC;
		}
		for (j = 0; j < count; j++)
			frames[i + j] = frame + j;
	}
	return 0;
}

/**
 * godwit_store_frames() - take frames of VRAM, evicting others.
 * @client: to which they are accounted.
 * @count: how many.
 *
 * They are to be filled in full, and then to be bound (godwit_store_bind()). No lock of an object
 * is held: it may be the one to be evicted.
 *
 * Return: frames, or an ERR_PTR: -ENOSPC, -ENOMEM, -EINTR.
 */
unsigned long *godwit_store_frames(struct godwit_client *client, unsigned long count)
{
	struct godwit_device *gdev = client->gdev;
	unsigned long *frames, i, want;
	int ret = 0;

	if (count > gdev->vram.nr_frames)
		return ERR_PTR(-ENOSPC);
	frames = kvmalloc_array(count, sizeof(*frames), GFP_KERNEL_ACCOUNT);
	if (!frames)
		return ERR_PTR(-ENOMEM);
	for (i = 0; i < count; i++)
		frames[i] = GODWIT_NO_FRAME;
	for (i = 0; i < count && !ret; i += want) {
		want = min(count - i, GODWIT_BLOCK_FRAMES);
		ret = frames_take(gdev, client, frames + i, want);
		cond_resched();
	}
	if (!ret)
		return frames;
	godwit_store_put_frames(gdev, frames, count);
	return ERR_PTR(ret);
}

/* From the page numbered @first on: how many frames follow each other. */
static unsigned int frames_run(const unsigned long *frames, unsigned long first,
			       unsigned long count)
{
	unsigned int run = 1;

	while (first + run < count && run < GODWIT_BLOCK_FRAMES &&
	       frames[first + run] == frames[first] + run)
		run++;
	return run;
}

/**
 * godwit_store_clear() - fill frames with zeros.
 * @gdev: whose.
 * @frames: the frames.
 * @count: how many.
 */
int godwit_store_clear(struct godwit_device *gdev, const unsigned long *frames,
		       unsigned long count)
{
	unsigned int run;
	unsigned long i;
	int ret = 0;

	for (i = 0; i < count && !ret; i += run) {
		run = frames_run(frames, i, count);
		ret = godwit_copy_clear(gdev, frames[i], run);
		cond_resched();
	}
	return ret;
}

/**
 * godwit_store_bind() - frames are filled: now they are somebody's.
 * @gdev: whose.
 * @frames: the frames.
 * @count: how many.
 */
void godwit_store_bind(struct godwit_device *gdev, const unsigned long *frames,
		       unsigned long count)
{
	unsigned int run;
	unsigned long i;

	for (i = 0; i < count; i += run) {
		run = frames_run(frames, i, count);
		godwit_vram_event(&gdev->vram, frames[i], run, GODWIT_FRAME_BIND);
	}
}

/**
 * godwit_store_copy() - copy between RAM and VRAM.
 * @gdev: the device.
 * @pages: as many pages.
 * @frames: as frames.
 * @count: how many.
 * @to_vram: which way.
 */
int godwit_store_copy(struct godwit_device *gdev, struct page **pages,
		      const unsigned long *frames, unsigned long count, bool to_vram)
{
	struct godwit_copy *pieces;
	unsigned long i;
	unsigned int n;
	int ret = 0;

	pieces = kcalloc(STORE_PIECES, sizeof(*pieces), GFP_KERNEL);
	if (!pieces)
		return -ENOMEM;
	for (i = 0; i < count && !ret; i += n) {
		for (n = 0; n < STORE_PIECES && i + n < count; n++) {
			pieces[n].page = pages[i + n];
			pieces[n].frame = frames[i + n];
			pieces[n].pages = 1;
		}
		ret = godwit_copy(gdev, pieces, n, to_vram);
		cond_resched();
	}
	kfree(pieces);
	if (ret)
		godwit_stat_add(gdev, NULL, GODWIT_STAT_COPY_ERRORS, 1);
	return ret;
}
