// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Advice
 *
 * Overview: what the program said about a range, one byte a page, kept by the
 * chunk that the page is in. Who asks: a fault of the device, whether to move
 * the page (godwit_advice_moves()); a migration to VRAM, whether to hold the
 * frame there (PINNED); residency, whether there is any.
 *
 * It belongs to addresses of one mirror, not to memory. So:
 *
 * - munmap, and mremap of the range it moves from, end it, in the notifier. A
 *   page that mremap carried away stays held, if it was, until it next leaves
 *   VRAM, or until advice is unset where it is now; max_pinned covers such
 *   pages too.
 * - A child has none after fork. Pages that it shares stay held as long as they
 *   are in VRAM.
 * - When an address space is detached, or the descriptor closed, frames that the
 *   descriptor brought to VRAM are no longer held. Frames that another one
 *   brought are never held by advice.
 * - MADV_DONTNEED, mprotect and swapping change nothing.
 * - A CPU that touches a page of private VRAM brings it home, whatever the
 *   advice; held is what is in VRAM.
 *
 * The bytes come in leaves of 512, as the page table has them. They are made
 * before they are needed, so that the notifier only has to clear bytes. Leaves
 * without advice are freed when others need the room.
 *
 * Locking: &godwit_chunk.lock protects the leaves of the chunk. Under it
 * &godwit_vram.lock is taken to hold frames. &godwit_client.advise_lock is held
 * by whoever changes what is pinned, so that it does not become more than the
 * limit between asking and doing.
 */
#include <linux/hmm.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include <drm/drm_file.h>

#include "../state/range.h"
#include "advise.h"
#include "chunk.h"
#include "client.h"
#include "device.h"
#include "look.h"
#include "migrate.h"
#include "mirror.h"
#include "pin.h"

/* For one mirror: 64 GiB with advice, in 16 MiB. */
#define ADVICE_LEAVES_MAX	32768

/**
 * struct godwit_advice_leaf - the advice for 2 MiB.
 *
 * @pages: GODWIT_ADVISED_*.
 * @nr_set: how many of @pages are not 0.
 */
struct godwit_advice_leaf {
	u8 pages[GODWIT_LEAF_ENTRIES];
	unsigned int nr_set;
};

/**
 * struct advise_step - one change: bits that stay, and bits that are set.
 */
struct advise_step {
	/** @mirror: whose. */
	struct godwit_mirror *mirror;
	/** @keep: bits that stay. */
	u8 keep;
	/** @set: bits that are set. */
	u8 set;
	/** @hold: it changes which frames are held. */
	bool hold;
	/** @charged: pages that were counted against max_pinned before they are pinned. */
	long charged;
	/** @pfns: with @hold: room for a leaf. */
	unsigned long *pfns;
};

static struct godwit_advice_leaf **advice_slot(struct godwit_chunk *chunk, unsigned long addr)
{
	return &chunk->advice[(addr - chunk->start) >> GODWIT_LEAF_SHIFT];
}

static unsigned int advice_index(unsigned long addr)
{
	return (addr & (GODWIT_LEAF_SIZE - 1)) >> PAGE_SHIFT;
}

/**
 * godwit_advice_locked() - the advice for an address.
 * @chunk: its chunk, whose lock is held.
 * @addr: the address.
 */
u8 godwit_advice_locked(const struct godwit_chunk *chunk, unsigned long addr)
{
	const struct godwit_advice_leaf *leaf;

	lockdep_assert_held(&chunk->lock);
	leaf = chunk->advice[(addr - chunk->start) >> GODWIT_LEAF_SHIFT];
	return leaf ? leaf->pages[advice_index(addr)] : 0;
}

/**
 * godwit_advice_get() - the advice for an address.
 * @chunk: its chunk, whose lock is not held.
 * @addr: the address.
 */
u8 godwit_advice_get(struct godwit_chunk *chunk, unsigned long addr)
{
	u8 advice;

	mutex_lock(&chunk->lock);
	advice = godwit_advice_locked(chunk, addr);
	mutex_unlock(&chunk->lock);
	return advice;
}

/* Changes the advice for the part of a leaf. Returns by how many pages more are pinned. */
static long leaf_change(struct godwit_advice_leaf *leaf, unsigned int first, unsigned int count,
			u8 keep, u8 set)
{
	unsigned int i;
	long pinned = 0;

	for (i = first; i < first + count; i++) {
		u8 before = leaf->pages[i], now = (before & keep) | set;

		pinned += !!(now & GODWIT_ADVISED_PINNED) - !!(before & GODWIT_ADVISED_PINNED);
		leaf->nr_set += !!now - !!before;
		leaf->pages[i] = now;
	}
	return pinned;
}

/**
 * godwit_advice_end() - memory is unmapped. In a notifier.
 * @chunk: whose lock is held.
 * @start: first address.
 * @end: address after the last one.
 */
void godwit_advice_end(struct godwit_chunk *chunk, unsigned long start, unsigned long end)
{
	struct godwit_advice_leaf *leaf;
	unsigned long next;
	long pinned = 0;

	lockdep_assert_held(&chunk->lock);
	for (; start < end; start = next) {
		next = godwit_span_end(start, end, GODWIT_LEAF_SIZE);
		leaf = *advice_slot(chunk, start);
		if (leaf && leaf->nr_set)
			pinned += leaf_change(leaf, advice_index(start),
					      (next - start) >> PAGE_SHIFT, 0, 0);
	}
	if (pinned)
		godwit_pin_adjust(chunk->mirror->client, pinned);
}

/**
 * godwit_advice_fini() - the chunk goes.
 * @chunk: whose lock is held.
 */
void godwit_advice_fini(struct godwit_chunk *chunk)
{
	unsigned int i;

	godwit_advice_end(chunk, chunk->start, chunk->start + GODWIT_CHUNK_SIZE);
	for (i = 0; i < GODWIT_TABLE_LEAVES; i++)
		kfree(chunk->advice[i]);
}

/**
 * godwit_advice_remove_all() - all advice ends.
 * @mirror: the mirror, &godwit_mirror.ended.
 *
 * Frames that its client has brought to VRAM are no longer held by advice. It is not known for
 * which address space they were: those of another one on the same descriptor, which has given the
 * same advice, are held again when they come the next time.
 */
void godwit_advice_remove_all(struct godwit_mirror *mirror)
{
	struct godwit_chunk *chunk;
	unsigned long index;

	xa_for_each(&mirror->chunks, index, chunk) {
		mutex_lock(&chunk->lock);
		godwit_advice_end(chunk, chunk->start, chunk->start + GODWIT_CHUNK_SIZE);
		mutex_unlock(&chunk->lock);
	}
	if (READ_ONCE(mirror->advised))
		godwit_vram_unadvise(&mirror->gdev->vram, mirror->client);
}

/* Frees leaves without advice. */
static void advice_sweep(struct godwit_mirror *mirror)
{
	struct godwit_chunk *chunk;
	unsigned long index;
	unsigned int i;

	xa_for_each(&mirror->chunks, index, chunk) {
		mutex_lock(&chunk->lock);
		for (i = 0; i < GODWIT_TABLE_LEAVES; i++) {
			if (!chunk->advice[i] || chunk->advice[i]->nr_set)
				continue;
			kfree(chunk->advice[i]);
			chunk->advice[i] = NULL;
			atomic_dec(&mirror->advice_leaves);
		}
		mutex_unlock(&chunk->lock);
	}
}

static int advice_room(struct godwit_mirror *mirror)
{
	if (atomic_inc_return(&mirror->advice_leaves) <= ADVICE_LEAVES_MAX)
		return 0;
	advice_sweep(mirror);
	if (atomic_read(&mirror->advice_leaves) <= ADVICE_LEAVES_MAX)
		return 0;
	atomic_dec(&mirror->advice_leaves);
	return -ENOSPC;
}

/* Takes the lock of the chunk; with @make there is a leaf for the address then. */
static int advice_lock(struct godwit_chunk *chunk, unsigned long addr, bool make)
{
	struct godwit_advice_leaf **slot = advice_slot(chunk, addr), *leaf;
	int ret;

	mutex_lock(&chunk->lock);
	if (*slot || !make)
		return 0;
	mutex_unlock(&chunk->lock);

	ret = advice_room(chunk->mirror);
	if (ret)
		return ret;
	leaf = kzalloc_obj(*leaf, GFP_KERNEL_ACCOUNT);
	mutex_lock(&chunk->lock);
	if (leaf && !*slot) {
		*slot = leaf;
		return 0;
	}
	atomic_dec(&chunk->mirror->advice_leaves);
	kfree(leaf);
	if (*slot)
		return 0;
	mutex_unlock(&chunk->lock);
	return -ENOMEM;
}

/* Holds, or lets go, the frames that are in a part of a leaf. */
static int advise_frames(struct advise_step *step, struct godwit_chunk *chunk,
			 unsigned long start, unsigned long end)
{
	struct godwit_look look = {
		.chunk = chunk,
		.start = start,
		.end = end,
		.pfns = step->pfns,
	};
	struct godwit_device *gdev = step->mirror->gdev;
	unsigned int count = (end - start) >> PAGE_SHIFT, i;
	int ret;

	ret = godwit_look(&look);
	if (ret)
		return ret;
	/* Then nobody would let go of them any more. */
	if (READ_ONCE(step->mirror->ended)) {
		mutex_unlock(&chunk->lock);
		return -ESRCH;
	}
	for (i = 0; i < count; i++) {
		struct page *page;

		if ((step->pfns[i] & HMM_PFN_ERROR) || !(step->pfns[i] & HMM_PFN_VALID))
			continue;
		page = hmm_pfn_to_page(step->pfns[i]);
		if (godwit_is_vram(page) && godwit_page_device(page) == gdev)
			godwit_vram_advise(&gdev->vram, step->mirror->client,
					   godwit_page_frame(page), 1,
					   step->set & GODWIT_ADVISED_PINNED);
	}
	mutex_unlock(&chunk->lock);
	return 0;
}

/*
 * A part of a leaf. First the advice, then the frames: a migration reads the
 * advice after it has put a frame into the page table, so one of the two sees
 * the other.
 */
static int advise_leaf(struct advise_step *step, struct godwit_chunk *chunk, unsigned long start,
		       unsigned long end)
{
	struct godwit_advice_leaf *leaf;
	long pinned = 0, charged;
	int ret;

	ret = advice_lock(chunk, start, step->set);
	if (ret)
		return ret;
	if (READ_ONCE(step->mirror->ended)) {
		mutex_unlock(&chunk->lock);
		return -ESRCH;
	}
	if (step->set & GODWIT_ADVISED_PINNED)
		WRITE_ONCE(step->mirror->advised, true);
	leaf = *advice_slot(chunk, start);
	if (leaf)
		pinned = leaf_change(leaf, advice_index(start), (end - start) >> PAGE_SHIFT,
				     step->keep, step->set);
	mutex_unlock(&chunk->lock);
	/* More than that was pinned when it was charged, and has been unmapped since. */
	charged = clamp(pinned, 0L, step->charged);
	step->charged -= charged;
	if (pinned != charged)
		godwit_pin_adjust(step->mirror->client, pinned - charged);
	return step->hold ? advise_frames(step, chunk, start, end) : 0;
}

static int advise_range(struct advise_step *step, unsigned long start, unsigned long end)
{
	struct godwit_chunk *chunk;
	unsigned long next;
	int ret = 0;

	for (; start < end && !ret; start = next) {
		next = godwit_span_end(start, end, GODWIT_LEAF_SIZE);
		/* Where there is no chunk there is no advice, and no frame of ours is held. */
		chunk = step->set ? godwit_chunk_get(step->mirror, start) :
				    xa_load(&step->mirror->chunks, start / GODWIT_CHUNK_SIZE);
		if (IS_ERR(chunk))
			return PTR_ERR(chunk);
		ret = chunk ? advise_leaf(step, chunk, start, next) : 0;
		if (!ret && next < end && task_sigpending(current))
			return -EINTR;
		cond_resched();
	}
	return ret;
}

/* Pages of a range that are not pinned by advice: what pinning it would cost. */
static long advise_cost(struct godwit_mirror *mirror, unsigned long start, unsigned long end)
{
	unsigned long next, addr;
	long cost = 0;

	for (; start < end; start = next) {
		struct godwit_chunk *chunk = xa_load(&mirror->chunks, start / GODWIT_CHUNK_SIZE);

		next = godwit_span_end(start, end, GODWIT_CHUNK_SIZE);
		cost += (next - start) >> PAGE_SHIFT;
		if (!chunk)
			continue;
		mutex_lock(&chunk->lock);
		for (addr = start; addr < next; addr += PAGE_SIZE)
			cost -= !!(godwit_advice_locked(chunk, addr) & GODWIT_ADVISED_PINNED);
		mutex_unlock(&chunk->lock);
		cond_resched();
	}
	return cost;
}

static int advise_check(const struct drm_godwit_advise *args, struct advise_step *step)
{
	u8 bit = 0;

	step->keep = 0xff;
	switch (args->advice) {
	case GODWIT_ADVICE_PREFERRED:
		if (args->value != GODWIT_PLACE_SYSTEM && args->value != GODWIT_PLACE_VRAM)
			return -EINVAL;
		step->keep = (u8)~(GODWIT_ADVISED_SYSTEM | GODWIT_ADVISED_VRAM);
		step->set = args->value == GODWIT_PLACE_VRAM ? GODWIT_ADVISED_VRAM :
							       GODWIT_ADVISED_SYSTEM;
		return 0;
	case GODWIT_ADVICE_PINNED:
		bit = GODWIT_ADVISED_PINNED;
		step->hold = true;
		break;
	case GODWIT_ADVICE_IN_PLACE:
		bit = GODWIT_ADVISED_IN_PLACE;
		break;
	case GODWIT_ADVICE_READ_MOSTLY:
		return -EOPNOTSUPP;
	case GODWIT_ADVICE_UNSET:
		if (args->value)
			return -EINVAL;
		step->keep = 0;
		step->hold = true;
		return 0;
	default:
		return -EINVAL;
	}
	if (args->value > 1)
		return -EINVAL;
	step->keep = ~bit;
	step->set = args->value ? bit : 0;
	return 0;
}

/*
 * What holds frames, or lets them go: one call of a client at a time, so that what it costs is
 * known before. All of it is charged at once, before any: PIN and pinned objects count, too.
 */
static int advise_hold(struct advise_step *step, unsigned long start, unsigned long end)
{
	struct godwit_client *client = step->mirror->client;
	long cost = 0;
	int ret;

	step->pfns = kvcalloc(GODWIT_LEAF_ENTRIES, sizeof(*step->pfns), GFP_KERNEL);
	if (!step->pfns)
		return -ENOMEM;
	ret = mutex_lock_interruptible(&client->advise_lock);
	if (ret)
		goto out;
	if (step->set & GODWIT_ADVISED_PINNED) {
		cost = advise_cost(step->mirror, start, end);
		ret = godwit_pin_charge(step->mirror->gdev, client, cost);
	}
	if (!ret) {
		step->charged = cost;
		ret = advise_range(step, start, end);
		godwit_pin_uncharge(client, step->charged);
	}
	mutex_unlock(&client->advise_lock);
out:
	kvfree(step->pfns);
	return ret;
}

static int advise_apply(struct advise_step *step, unsigned long start, unsigned long end)
{
	if (step->set && (end - start) >> GODWIT_LEAF_SHIFT > ADVICE_LEAVES_MAX)
		return -ENOSPC;
	return step->hold ? advise_hold(step, start, end) : advise_range(step, start, end);
}

/**
 * godwit_advise_ioctl() - DRM_IOCTL_GODWIT_ADVISE.
 * @drm: the device.
 * @data: &struct drm_godwit_advise.
 * @file: the client.
 */
int godwit_advise_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_godwit_advise *args = data;
	struct advise_step step = { };
	int ret;

	if (args->flags || args->pad)
		return -EINVAL;
	ret = godwit_migrate_check_range(args->addr, args->length);
	if (!ret)
		ret = advise_check(args, &step);
	if (ret)
		return ret;
	if (!godwit_device_migrates(to_godwit(drm)))
		return -EOPNOTSUPP;
	step.mirror = godwit_mirror_get(file->driver_priv);
	if (IS_ERR(step.mirror))
		return PTR_ERR(step.mirror);
	ret = -ESRCH;
	if (mmget_not_zero(step.mirror->mm)) {
		ret = advise_apply(&step, args->addr, args->addr + args->length);
		mmput(step.mirror->mm);
	}
	godwit_mirror_put(step.mirror);
	return ret;
}
