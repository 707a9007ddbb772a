/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_CHUNK_H_
#define _GODWIT_CHUNK_H_

#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>

#include "ptable.h"

struct godwit_advice_leaf;
struct godwit_mirror;
struct vm_area_struct;

#define GODWIT_CHUNK_SIZE	(GODWIT_LEAF_SIZE * GODWIT_TABLE_LEAVES)

/**
 * struct godwit_chunk - 32 MiB of a mirror, aligned, with their notifier and page table.
 */
struct godwit_chunk {
	/** @notifier: covers exactly the chunk. */
	struct mmu_interval_notifier notifier;
	/** @mirror: whose. The mirror outlives its chunks. */
	struct godwit_mirror *mirror;
	/** @start: first address. */
	unsigned long start;
	/**
	 * @lock: protects @table, and the sequence of @notifier as its "user_lock". Taken in
	 * MMU notifiers: whoever holds it must not allocate in a way that reclaims, must not
	 * fault, must not take mmap_lock or a folio lock. Held from clearing entries until the
	 * device has stopped to use them, so that whoever finds entries cleared knows that they
	 * are no longer used.
	 */
	struct mutex lock;
	/**
	 * @access: held for reading by the device for the length of one access, translation
	 * included. Inside @lock. Nothing sleeps in it but for the CPU.
	 */
	struct rw_semaphore access;
	/** @looks: &godwit_look.node of those that go on. Under @lock. */
	struct list_head looks;
	/** @table: translations of the device. */
	struct godwit_ptable table;
	/** @advice: as &godwit_ptable.leaves, see advise.c. Under @lock. */
	struct godwit_advice_leaf *advice[GODWIT_TABLE_LEAVES];
	/** @peer_faults: faults on pages of other devices since @peer_since, by leaf. */
	u8 peer_faults[GODWIT_TABLE_LEAVES];
	/** @peer_since: jiffies, see godwit_fault(). */
	unsigned long peer_since;
	/**
	 * @stuck: by leaf, where the range began that was the last to move for a fault of the
	 * device, if the page that was touched stayed; else 0. See godwit_fault(). Under @lock.
	 */
	unsigned long stuck[GODWIT_TABLE_LEAVES];
};

int godwit_chunk_prepare(struct vm_area_struct *vma);
struct godwit_chunk *godwit_chunk_get(struct godwit_mirror *mirror, unsigned long addr);
void godwit_chunk_revoke(struct godwit_chunk *chunk);
int godwit_chunk_cover(struct godwit_mirror *mirror, unsigned long start, unsigned long end);
void godwit_chunk_destroy(struct godwit_chunk *chunk);
int godwit_chunk_leaf(struct godwit_chunk *chunk, unsigned long addr);

/*
 * An access of the device: between the two, what godwit_ptable_get() answers stays true. Short,
 * and without anything that could fault, allocate, or wait.
 */
static inline void godwit_chunk_access_begin(struct godwit_chunk *chunk)
{
	down_read(&chunk->access);
}

static inline void godwit_chunk_access_end(struct godwit_chunk *chunk)
{
	up_read(&chunk->access);
}

#endif /* _GODWIT_CHUNK_H_ */
