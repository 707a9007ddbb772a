// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Looking
 *
 * Overview: the reader's half of the notifier protocol, once, for everybody: read_begin, walk
 * the page table, take the lock of the chunk, read_retry. When godwit_look() returns 0 that
 * lock is held, and what it found stays true until it is given up: any change has to pass
 * chunk_invalidate().
 *
 * A range that changes without pause makes it begin again and again, for a second at most; both
 * are counted.
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
	range->notifier_seq = mmu_interval_read_begin(&chunk->notifier);
	ret = hmm_range_fault(range);
	mmap_read_unlock(mm);
	if (ret)
		return ret;

	mutex_lock(&chunk->lock);
	if (!mmu_interval_read_retry(&chunk->notifier, range->notifier_seq))
		return 0;
	mutex_unlock(&chunk->lock);
	return -EBUSY;
}

/**
 * godwit_look() - what is there?
 * @look: what to look at.
 *
 * Return: 0, and then the lock of the chunk is held. -EFAULT, nothing can be there. -EACCES, it
 * may not be written. -EBUSY, it changed for a whole second. -EINTR, a fatal signal. -EAGAIN,
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
	int ret;

	for (;;) {
		ret = look_once(look, &range);
		if (ret != -EBUSY)
			break;
		if (look->nowait)
			return -EAGAIN;
		godwit_stat_add(mirror->gdev, mirror->client, GODWIT_STAT_RETRIES, 1);
		if (fatal_signal_pending(current))
			return -EINTR;
		if (time_after(jiffies, deadline)) {
			godwit_stat_add(mirror->gdev, mirror->client, GODWIT_STAT_TIMEOUTS, 1);
			return -EBUSY;
		}
		cond_resched();
	}
	return ret == -EPERM ? -EACCES : ret;
}
