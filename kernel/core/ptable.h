/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_PTABLE_H_
#define _GODWIT_PTABLE_H_

#include <linux/mm.h>
#include <linux/types.h>

/* A leaf covers 2 MiB with one page of entries. */
#define GODWIT_LEAF_SHIFT	21
#define GODWIT_LEAF_SIZE	BIT(GODWIT_LEAF_SHIFT)
#define GODWIT_LEAF_ENTRIES	(GODWIT_LEAF_SIZE >> PAGE_SHIFT)
#define GODWIT_TABLE_LEAVES	16

/* An entry: flags, and a page frame number, or, in our VRAM, the number of the frame. */
#define GODWIT_PTE_VALID	BIT_ULL(0)
#define GODWIT_PTE_WRITE	BIT_ULL(1)
#define GODWIT_PTE_VRAM		BIT_ULL(2)
#define GODWIT_PTE_SHIFT	12

/**
 * struct godwit_leaf - the entries of 2 MiB, in a page.
 *
 * @entries: read by the device at any time within godwit_chunk_access_begin().
 */
struct godwit_leaf {
	u64 entries[GODWIT_LEAF_ENTRIES];
};

/**
 * struct godwit_ptable - what the device sees of the addresses of a chunk. The lock of the
 * chunk protects it.
 *
 * Leaves come and never go before the table does: so that clearing entries, which happens in
 * an MMU notifier, neither allocates nor frees.
 *
 * @leaves: NULL where no entry was ever set.
 * @nr_valid: of each, how many entries are valid.
 */
struct godwit_ptable {
	struct godwit_leaf *leaves[GODWIT_TABLE_LEAVES];
	u16 nr_valid[GODWIT_TABLE_LEAVES];
};

static inline u64 godwit_pte(unsigned long pfn, u64 flags)
{
	return ((u64)pfn << GODWIT_PTE_SHIFT) | flags | GODWIT_PTE_VALID;
}

static inline unsigned long godwit_pte_pfn(u64 pte)
{
	return pte >> GODWIT_PTE_SHIFT;
}

struct godwit_leaf *godwit_leaf_alloc(void);
void godwit_leaf_free(struct godwit_leaf *leaf);
void godwit_ptable_fini(struct godwit_ptable *table);

u64 godwit_ptable_get(const struct godwit_ptable *table, unsigned long offset);
bool godwit_ptable_set(struct godwit_ptable *table, unsigned long offset, u64 pte);
unsigned int godwit_ptable_valid(const struct godwit_ptable *table, unsigned long start,
				 unsigned long end);
unsigned int godwit_ptable_clear(struct godwit_ptable *table, unsigned long start,
				 unsigned long end);

#endif /* _GODWIT_PTABLE_H_ */
