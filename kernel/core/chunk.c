// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Chunks
 *
 * Overview: a mirror follows its address space in aligned chunks of 32 MiB, which come to be
 * when the device first needs an address in them, and go with the mirror. Each has an interval
 * notifier, the lock that goes with it, and the device's page table for its addresses.
 *
 * What an invalidation does (chunk_invalidate()), always, whatever its cause, our own
 * migrations included:
 *
 * 1. bump the sequence, and tell those who look at what changes (look.c): they begin again;
 * 2. have what peers have mapped of the range revoked, by a worker (export.c);
 * 3. bump the generation words of watched ranges (watch.c);
 * 4. clear the entries, and, where a page of a block is taken that is being evicted, those of the
 *    block beside it (chunk_widen());
 * 5. wait until the device has ended all accesses that began with one of them;
 * 6. take the translations that were made from them out of views (view.c), and wait for that.
 *
 * All under the lock of the chunk. An invalidation that finds nothing to clear may have come
 * while another one is at 5 or 6; the lock makes it wait. Without that, writes of the device
 * would be lost.
 *
 * Where the caller cannot wait (the OOM reaper), locks are tried; if one is taken, or the
 * device would have to be waited for, the answer is no, no entry is changed, and the kernel
 * comes back later.
 *
 * Locking: mmap_lock, i_mmap_rwsem, anon_vma and folio locks, reclaim -> &godwit_chunk.lock ->
 * &godwit_chunk.access, &godwit_mirror.views_lock -> &godwit_client.ring_lock.
 */
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "advise.h"
#include "chunk.h"
#include "client.h"
#include "device.h"
#include "event.h"
#include "export.h"
#include "look.h"
#include "mirror.h"
#include "pin.h"
#include "trace.h"
#include "view.h"
#include "watch.h"
#include "zap.h"

/* Is there an entry at this address of a frame that is in this block of VRAM? */
static bool chunk_in_block(const struct godwit_chunk *chunk, unsigned long addr,
			   unsigned long block)
{
	const u64 vram = GODWIT_PTE_VALID | GODWIT_PTE_VRAM;
	u64 pte = godwit_ptable_get(&chunk->table, addr - chunk->start);

	return (pte & vram) == vram && godwit_pte_pfn(pte) / GODWIT_BLOCK_FRAMES == block;
}

/*
 * Eviction takes small pages of a block away one by one, and each time the device would have to be
 * waited for. It loses all of them at the first: what is beside that page, in a block that is being
 * evicted, is to go as well. An entry too many costs a fault, and nothing else.
 */
static void chunk_widen(const struct godwit_chunk *chunk, unsigned long *start, unsigned long *end)
{
	struct godwit_vram *vram = &chunk->mirror->gdev->vram;
	u64 pte = godwit_ptable_get(&chunk->table, *start - chunk->start);
	unsigned long block = godwit_pte_pfn(pte) / GODWIT_BLOCK_FRAMES;

	lockdep_assert_held(&chunk->lock);
	if (*end - *start != PAGE_SIZE || !chunk_in_block(chunk, *start, block) ||
	    !godwit_vram_isolated(vram, block))
		return;
	while (*start > chunk->start && chunk_in_block(chunk, *start - PAGE_SIZE, block))
		*start -= PAGE_SIZE;
	while (*end < chunk->start + GODWIT_CHUNK_SIZE && chunk_in_block(chunk, *end, block))
		*end += PAGE_SIZE;
}

/*
 * Clears entries, and waits until the device has ended all accesses that began with one of
 * them. Where the caller cannot wait, the device must be caught between two accesses: -EAGAIN
 * otherwise, and nothing was cleared.
 */
static int chunk_clear(struct godwit_chunk *chunk, unsigned long start, unsigned long end,
		       bool blockable)
{
	struct godwit_mirror *mirror = chunk->mirror;
	const struct godwit_device_ops *ops = mirror->gdev->ops;
	unsigned long first = start - chunk->start, last = end - chunk->start;
	unsigned int count;

	lockdep_assert_held(&chunk->lock);
	if (!blockable) {
		if (!godwit_ptable_valid(&chunk->table, first, last))
			return 0;
		if (ops->invalidate || godwit_view_any(mirror, start, end))
			return -EAGAIN;
		if (!down_write_trylock(&chunk->access))
			return -EAGAIN;
		count = godwit_ptable_clear(&chunk->table, first, last);
		up_write(&chunk->access);
		return count;
	}

	count = godwit_ptable_clear(&chunk->table, first, last);
	if (!count)
		return 0;
	down_write(&chunk->access);
	up_write(&chunk->access);
	godwit_view_zap(mirror, start, end);
	if (ops->invalidate)
		ops->invalidate(mirror->gdev, mirror->id, start, end);
	return count;
}

/* Those who look at some of it must begin again. */
static void chunk_disturb(struct godwit_chunk *chunk, unsigned long start, unsigned long end)
{
	struct godwit_look *look;

	list_for_each_entry(look, &chunk->looks, node)
		if (look->start < end && start < look->end)
			look->changed = true;
}

static bool chunk_refuse(struct godwit_mirror *mirror)
{
	godwit_stat_add(mirror->gdev, mirror->client, GODWIT_STAT_INVALIDATIONS_REFUSED, 1);
	return false;
}

static bool chunk_invalidate(struct mmu_interval_notifier *notifier,
			     const struct mmu_notifier_range *range, unsigned long seq)
{
	struct godwit_chunk *chunk = container_of(notifier, struct godwit_chunk, notifier);
	unsigned long start = max(range->start & PAGE_MASK, chunk->start);
	unsigned long end = min(range->end - 1, chunk->start + GODWIT_CHUNK_SIZE - 1);
	bool blockable = mmu_notifier_range_blockable(range);
	struct godwit_mirror *mirror = chunk->mirror;
	unsigned long from, to;
	bool fork;
	int count;

	/* The range is a mapping of a view, and whoever waits for it may hold our lock (zap.c). */
	if (godwit_zap_is_current())
		return true;
	end = PAGE_ALIGN(end + 1);
	if (blockable)
		mutex_lock(&chunk->lock);
	else if (!mutex_trylock(&chunk->lock))
		return chunk_refuse(mirror);

	mmu_interval_set_seq(notifier, seq);
	chunk_disturb(chunk, start, end);
	if (range->event == MMU_NOTIFY_RELEASE)
		WRITE_ONCE(mirror->dead, true);
	if (range->event == MMU_NOTIFY_RELEASE || range->event == MMU_NOTIFY_UNMAP) {
		godwit_advice_end(chunk, start, end);
		godwit_pin_end(mirror, start, end);
	}
	fork = blockable && range->event == MMU_NOTIFY_PROTECTION_PAGE;
	fork = godwit_export_invalidate(mirror, start, end, fork);
	godwit_watch_bump(mirror, start, end);
	from = start;
	to = end;
	if (blockable)
		chunk_widen(chunk, &from, &to);
	count = chunk_clear(chunk, from, to, blockable);
	if (count > 0) {
		godwit_stat_add(mirror->gdev, mirror->client, GODWIT_STAT_INVALIDATIONS, 1);
		godwit_event_invalidated(mirror, from, to, count);
	}
	trace_godwit_invalidate(mirror, from, to, range->event, count);
	mutex_unlock(&chunk->lock);
	if (fork)
		godwit_export_wait(mirror, start, end);
	return count < 0 ? chunk_refuse(mirror) : true;
}

static const struct mmu_interval_notifier_ops chunk_notifier_ops = {
	.invalidate = chunk_invalidate,
};

/*
 * The first notifier of an address space takes all its locks (mm_take_all_locks()), and gives that
 * up for task work as it does for a signal. Work waits until the call returns; a signal ends it.
 */
static int chunk_insert(struct godwit_chunk *chunk)
{
	bool work = false;
	int ret;

	do {
		work |= test_and_clear_thread_flag(TIF_NOTIFY_SIGNAL);
		ret = mmu_interval_notifier_insert(&chunk->notifier, chunk->mirror->mm,
						   chunk->start, GODWIT_CHUNK_SIZE,
						   &chunk_notifier_ops);
	} while (ret == -EINTR && !task_sigpending(current));
	if (work)
		set_thread_flag(TIF_NOTIFY_SIGNAL);
	return ret;
}

static bool chunk_no_invalidate(struct mmu_interval_notifier *notifier,
				const struct mmu_notifier_range *range, unsigned long seq)
{
	return true;
}

static const struct mmu_interval_notifier_ops chunk_no_ops = {
	.invalidate = chunk_no_invalidate,
};

/**
 * godwit_chunk_prepare() - see to it that an address space has had its first notifier.
 * @vma: a VMA of it that is just being made, in no list yet; with mmap_lock for writing.
 *
 * Return: as its mmap() may answer.
 */
int godwit_chunk_prepare(struct vm_area_struct *vma)
{
	struct mmu_interval_notifier first = { };
	int ret;

	ret = mmu_interval_notifier_insert_locked(&first, vma->vm_mm, vma->vm_start,
						  vma->vm_end - vma->vm_start, &chunk_no_ops);
	if (!ret)
		mmu_interval_notifier_remove(&first);
	/* A system call that knows no EINTR. */
	return ret == -EINTR ? -ERESTARTNOINTR : ret;
}

static struct godwit_chunk *chunk_create(struct godwit_mirror *mirror, unsigned long start)
{
	struct godwit_chunk *chunk;
	int ret;

	chunk = kzalloc_obj(*chunk, GFP_KERNEL_ACCOUNT);
	if (!chunk)
		return ERR_PTR(-ENOMEM);
	chunk->mirror = mirror;
	chunk->start = start;
	mutex_init(&chunk->lock);
	INIT_LIST_HEAD(&chunk->looks);
	init_rwsem(&chunk->access);

	ret = chunk_insert(chunk);
	if (ret) {
		kfree(chunk);
		return ERR_PTR(ret);
	}
	return chunk;
}

/**
 * godwit_chunk_get() - the chunk of an address, made if it is the first time.
 * @mirror: the mirror; the caller holds a reference to it and to the users of its mm, and not
 *	mmap_lock.
 * @addr: the address.
 *
 * Return: the chunk, which stays until the mirror goes, or an ERR_PTR.
 */
struct godwit_chunk *godwit_chunk_get(struct godwit_mirror *mirror, unsigned long addr)
{
	unsigned long index = addr / GODWIT_CHUNK_SIZE;
	struct godwit_chunk *chunk;
	int ret;

	chunk = xa_load(&mirror->chunks, index);
	if (chunk)
		return chunk;

	mutex_lock(&mirror->chunks_lock);
	chunk = xa_load(&mirror->chunks, index);
	if (!chunk) {
		chunk = chunk_create(mirror, index * GODWIT_CHUNK_SIZE);
		if (!IS_ERR(chunk)) {
			ret = xa_err(xa_store(&mirror->chunks, index, chunk, GFP_KERNEL_ACCOUNT));
			if (ret) {
				godwit_chunk_destroy(chunk);
				chunk = ERR_PTR(ret);
			}
		}
	}
	mutex_unlock(&mirror->chunks_lock);
	return chunk;
}

/**
 * godwit_chunk_revoke() - the device loses its translations of a chunk.
 * @chunk: the chunk, of a mirror that gives no new ones.
 */
void godwit_chunk_revoke(struct godwit_chunk *chunk)
{
	mutex_lock(&chunk->lock);
	chunk_clear(chunk, chunk->start, chunk->start + GODWIT_CHUNK_SIZE, true);
	mutex_unlock(&chunk->lock);
}

/**
 * godwit_chunk_cover() - see to it that a range has chunks, and so notifiers.
 * @mirror: as for godwit_chunk_get().
 * @start: first address.
 * @end: address after the last one.
 */
int godwit_chunk_cover(struct godwit_mirror *mirror, unsigned long start, unsigned long end)
{
	struct godwit_chunk *chunk;
	unsigned long addr;

	for (addr = ALIGN_DOWN(start, GODWIT_CHUNK_SIZE); addr < end; addr += GODWIT_CHUNK_SIZE) {
		chunk = godwit_chunk_get(mirror, addr);
		if (IS_ERR(chunk))
			return PTR_ERR(chunk);
		if (fatal_signal_pending(current))
			return -EINTR;
	}
	return 0;
}

/**
 * godwit_chunk_destroy() - free a chunk.
 * @chunk: nobody uses it any more, and the device ended its accesses. Waits for notifiers.
 */
void godwit_chunk_destroy(struct godwit_chunk *chunk)
{
	/* While notifiers come: later their pages may be free, and must not be marked dirty. */
	godwit_chunk_revoke(chunk);
	mmu_interval_notifier_remove(&chunk->notifier);
	mutex_lock(&chunk->lock);
	godwit_advice_fini(chunk);
	mutex_unlock(&chunk->lock);
	godwit_ptable_fini(&chunk->table);
	mutex_destroy(&chunk->lock);
	kfree(chunk);
}

/**
 * godwit_chunk_leaf() - see to it that entries of an address can be set.
 * @chunk: the chunk; its lock is not held.
 * @addr: an address in it.
 */
int godwit_chunk_leaf(struct godwit_chunk *chunk, unsigned long addr)
{
	unsigned int index = (addr - chunk->start) >> GODWIT_LEAF_SHIFT;
	struct godwit_leaf *leaf;

	if (READ_ONCE(chunk->table.leaves[index]))
		return 0;
	leaf = godwit_leaf_alloc();
	if (!leaf)
		return -ENOMEM;
	mutex_lock(&chunk->lock);
	if (!chunk->table.leaves[index]) {
		/* Pairs with the dependency of a reader that holds no lock. */
		smp_store_release(&chunk->table.leaves[index], leaf);
		leaf = NULL;
	}
	mutex_unlock(&chunk->lock);
	godwit_leaf_free(leaf);
	return 0;
}
