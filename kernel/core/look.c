// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Looking
 *
 * Overview: the reader's half of the notifier protocol, once, for everybody: say what is looked
 * at, read_begin, walk the page table, take the lock of the chunk. When godwit_look() returns 0
 * that lock is held, and what it found stays true until it is given up: any change has to pass
 * chunk_invalidate().
 *
 * Instead of read_retry: the sequence is that of the whole chunk, which threads that each migrate
 * memory of their own bump without pause. chunk_invalidate() tells those who look at what it
 * changes. Whom it came too early to tell waits in read_begin, which comes later, for its end.
 *
 * A range that changes without pause makes it begin again and again, for a second at most, and
 * LOOK_TRIES times at least: one of them may take longer than that, where it waits for somebody
 * else's change. Both are counted.
 *
 * Locking: takes mmap_lock for reading, and the lock of the chunk. The caller holds neither,
 * and has taken the users of the mm.
 */
#include <linux/hmm.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>

#include "chunk.h"
#include "client.h"
#include "device.h"
#include "look.h"
#include "mirror.h"

#define LOOK_TRIES	10u

/* Says at what we look, and waits for the changes that had begun before that. */
static void look_begin(struct godwit_look *look)
{
	struct godwit_chunk *chunk = look->chunk;

	mutex_lock(&chunk->lock);
	look->changed = false;
	list_add(&look->node, &chunk->looks);
	mutex_unlock(&chunk->lock);
	mmu_interval_read_begin(&chunk->notifier);
}

/* With the lock of the chunk: is what was seen still true? */
static bool look_end(struct godwit_look *look)
{
	list_del(&look->node);
	return !look->changed;
}

static int look_once(struct godwit_look *look, struct hmm_range *range)
{
	struct godwit_chunk *chunk = look->chunk;
	struct mm_struct *mm = chunk->mirror->mm;
	unsigned int count = (look->end - look->start) >> PAGE_SHIFT;
	int ret;

	memset(look->pfns, 0, count * sizeof(*look->pfns));
	if (look->fault)
		look->pfns[(look->addr - look->start) >> PAGE_SHIFT] =
			HMM_PFN_REQ_FAULT | (look->write ? HMM_PFN_REQ_WRITE : 0);

	/*
	 * The lock first: a fork or munmap that we would wait for between the two would change the
	 * range, and the walk would have been in vain. Invalidations that are under way hold the
	 * lock already, or do not need it, so waiting for their end with it is safe.
	 */
	if (!look->nowait)
		mmap_read_lock(mm);
	else if (!mmap_read_trylock(mm))
		return -EAGAIN;
	look_begin(look);
	/* As it is now: the kernel, too, is not to stop for what changes beside our range. */
	range->notifier_seq = READ_ONCE(chunk->notifier.invalidate_seq);
	ret = hmm_range_fault(range);
	mmap_read_unlock(mm);

	mutex_lock(&chunk->lock);
	if (!look_end(look) && !ret)
		ret = -EBUSY;
	if (ret)
		mutex_unlock(&chunk->lock);
	return ret;
}

/**
 * godwit_look() - what is there?
 * @look: what to look at.
 *
 * Return: 0, and then the lock of the chunk is held. -EFAULT, nothing can be there. -EACCES, it
 * may not be written. -EBUSY, it changed each time, for a second. -EINTR, a fatal signal. -EAGAIN,
 * &godwit_look.nowait.
 */
int godwit_look(struct godwit_look *look)
{
	unsigned long deadline = jiffies + msecs_to_jiffies(HMM_RANGE_DEFAULT_TIMEOUT);
	struct godwit_mirror *mirror = look->chunk->mirror;
	struct hmm_range range = {
		.notifier = &look->chunk->notifier,
		.start = look->start,
		.end = look->end,
		.hmm_pfns = look->pfns,
		.pfn_flags_mask = look->fault ? HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE : 0,
		.dev_private_owner = look->strangers ? NULL : godwit_pagemap_owner_cookie(),
	};
	unsigned int tries;
	int ret;

	for (tries = 1;; tries++) {
		ret = look_once(look, &range);
		if (ret != -EBUSY)
			break;
		if (look->nowait)
			return -EAGAIN;
		godwit_stat_add(mirror->gdev, mirror->client, GODWIT_STAT_RETRIES, 1);
		if (fatal_signal_pending(current))
			return -EINTR;
		if (tries >= LOOK_TRIES && time_after(jiffies, deadline)) {
			godwit_stat_add(mirror->gdev, mirror->client, GODWIT_STAT_TIMEOUTS, 1);
			return -EBUSY;
		}
		cond_resched();
	}
	return ret == -EPERM ? -EACCES : ret;
}
