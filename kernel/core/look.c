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
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/userfaultfd_k.h>

#include "chunk.h"
#include "client.h"
#include "device.h"
#include "look.h"
#include "mirror.h"

#define LOOK_TRIES	10u

/* Whose pages of private memory are to be told, and not to be brought home. */
static void *look_owner(const struct godwit_look *look)
{
	return look->strangers ? NULL : godwit_pagemap_owner_cookie();
}

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

/* What is in some pages of the range; with @flags, after they have been faulted in. */
static int look_pages(const struct godwit_look *look, unsigned long start, unsigned long end,
		      unsigned long flags)
{
	struct hmm_range range = {
		.notifier = &look->chunk->notifier,
		.start = start,
		.end = end,
		.hmm_pfns = look->pfns,
		.default_flags = flags,
		.dev_private_owner = look_owner(look),
	};

	memset(look->pfns, 0, ((end - start) >> PAGE_SHIFT) * sizeof(*look->pfns));
	/* As it is now: the kernel, too, is not to stop for what changes beside our range. */
	range.notifier_seq = READ_ONCE(look->chunk->notifier.invalidate_seq);
	return hmm_range_fault(&range);
}

/* Where does it end that nothing is in memory, from a page of anonymous memory on? */
static unsigned long look_empty(const struct godwit_look *look, const struct vm_area_struct *vma)
{
	unsigned long addr = look->addr, last = ALIGN(addr + 1, GODWIT_LOOK_AROUND), i;

	if (look->strangers || !vma_is_anonymous(vma))
		return addr + PAGE_SIZE;
	last = min3(last, look->end, vma->vm_end);
	if (look_pages(look, addr, last, 0))
		return addr + PAGE_SIZE;
	for (i = 0; addr + i * PAGE_SIZE < last && !look->pfns[i];)
		i++;
	return addr + max(i, 1ul) * PAGE_SIZE;
}

/*
 * Sees to it that the page is there, as the access of a CPU would. The kernel's helper faults in
 * all that follows the first missing page of its range, and fails where it fails for one of them:
 * so that range is what is empty at most.
 */
static int look_touch(const struct godwit_look *look)
{
	unsigned long flags = HMM_PFN_REQ_FAULT | (look->write ? HMM_PFN_REQ_WRITE : 0);
	struct vm_area_struct *vma = vma_lookup(look->chunk->mirror->mm, look->addr);
	unsigned long addr = look->addr, end;
	unsigned int tries;
	int ret = -EBUSY;

	if (!vma || godwit_vma_is_secret(vma))
		return -EFAULT;
	end = look_empty(look, vma);
	/* A fault changes the range, too. */
	for (tries = 0; tries < LOOK_TRIES && ret == -EBUSY; tries++)
		ret = look_pages(look, addr, end, flags);
	/* For one of those that follow: they are none of this touch's business. */
	if (ret && ret != -EBUSY && end > addr + PAGE_SIZE)
		ret = look_pages(look, addr, addr + PAGE_SIZE, flags);
	return ret;
}

/*
 * May these be used as the kernel says? What is secret is an error. And what is in private VRAM
 * cannot be written where userfaultfd write-protects: PAGEMAP_SCAN leaves its entries writable, so
 * whoever looks for what was written would not hear of it. It comes home first, as for a CPU.
 */
static void look_restrict(struct vm_area_struct *vma, unsigned long *pfns,
			  unsigned long count)
{
	bool secret = godwit_vma_is_secret(vma);
	unsigned long i;

	if (!secret && !userfaultfd_wp(vma))
		return;
	for (i = 0; i < count; i++) {
		if (secret)
			pfns[i] = HMM_PFN_ERROR;
		else if ((pfns[i] & HMM_PFN_VALID) &&
			 is_device_private_page(hmm_pfn_to_page(pfns[i])))
			pfns[i] &= ~HMM_PFN_WRITE;
	}
}

static void look_restrict_all(const struct godwit_look *look)
{
	struct mm_struct *mm = look->chunk->mirror->mm;
	unsigned long pos = look->start, next;
	struct vm_area_struct *vma;

	for (; pos < look->end; pos = next) {
		vma = find_vma(mm, pos);
		if (!vma || vma->vm_start >= look->end)
			break;
		pos = max(pos, vma->vm_start);
		next = min(vma->vm_end, look->end);
		look_restrict(vma, &look->pfns[(pos - look->start) >> PAGE_SHIFT],
			      (next - pos) >> PAGE_SHIFT);
	}
}

/*
 * With mmap_lock, which it gives up. When it returns 0, what it saw is still true, and the lock of
 * the chunk is held.
 */
static int look_at(struct godwit_look *look)
{
	struct godwit_chunk *chunk = look->chunk;
	int ret;

	look_begin(look);
	ret = look_pages(look, look->start, look->end, 0);
	look_restrict_all(look);
	mmap_read_unlock(chunk->mirror->mm);

	mutex_lock(&chunk->lock);
	if (!look_end(look) && !ret)
		ret = -EBUSY;
	if (ret)
		mutex_unlock(&chunk->lock);
	return ret;
}

static int look_once(struct godwit_look *look)
{
	struct mm_struct *mm = look->chunk->mirror->mm;
	int ret;

	/*
	 * The lock first: a fork or munmap that we would wait for between the two would change the
	 * range, and the walk would have been in vain. Invalidations that are under way hold the
	 * lock already, or do not need it, so waiting for their end with it is safe.
	 */
	if (!look->nowait)
		mmap_read_lock(mm);
	else if (!mmap_read_trylock(mm))
		return -EAGAIN;
	ret = look->fault ? look_touch(look) : 0;
	if (!ret)
		return look_at(look);
	mmap_read_unlock(mm);
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
	unsigned int tries;
	int ret;

	for (tries = 1;; tries++) {
		ret = look_once(look);
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
