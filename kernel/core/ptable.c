// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Page table of the device
 *
 * Overview: which pages a device may touch, for one chunk of addresses. An entry is valid only
 * while the kernel's own page table says the same: the notifier of the chunk clears it before
 * anything changes there. Entries hold no reference to their page.
 *
 * Locking: the lock of the chunk (chunk.c) for all calls but godwit_ptable_get(), which the
 * device uses within godwit_chunk_access_begin().
 */
#include <linux/pagemap.h>
#include <linux/slab.h>

#include "ptable.h"

/**
 * godwit_leaf_alloc() - make a leaf without valid entries.
 */
struct godwit_leaf *godwit_leaf_alloc(void)
{
	return kzalloc_obj(struct godwit_leaf, GFP_KERNEL_ACCOUNT);
}

/**
 * godwit_leaf_free() - free a leaf.
 * @leaf: may be NULL.
 */
void godwit_leaf_free(struct godwit_leaf *leaf)
{
	kfree(leaf);
}

/**
 * godwit_ptable_fini() - free all leaves.
 * @table: no longer used by the device.
 */
void godwit_ptable_fini(struct godwit_ptable *table)
{
	unsigned int i;

	for (i = 0; i < GODWIT_TABLE_LEAVES; i++)
		godwit_leaf_free(table->leaves[i]);
}

/**
 * godwit_ptable_get() - the entry of an address.
 * @table: the table.
 * @offset: from the start of the chunk.
 */
u64 godwit_ptable_get(const struct godwit_ptable *table, unsigned long offset)
{
	const struct godwit_leaf *leaf = READ_ONCE(table->leaves[offset >> GODWIT_LEAF_SHIFT]);

	if (!leaf)
		return 0;
	return READ_ONCE(leaf->entries[(offset & (GODWIT_LEAF_SIZE - 1)) >> PAGE_SHIFT]);
}

/**
 * godwit_ptable_set() - set the entry of an address.
 * @table: the table, whose leaf for this address exists.
 * @offset: from the start of the chunk.
 * @pte: a valid entry.
 *
 * Return: whether it was not set before.
 */
bool godwit_ptable_set(struct godwit_ptable *table, unsigned long offset, u64 pte)
{
	unsigned int index = offset >> GODWIT_LEAF_SHIFT;
	struct godwit_leaf *leaf = table->leaves[index];
	u64 *entry = &leaf->entries[(offset & (GODWIT_LEAF_SIZE - 1)) >> PAGE_SHIFT];
	bool was_valid = *entry & GODWIT_PTE_VALID;

	table->nr_valid[index] += !was_valid;
	WRITE_ONCE(*entry, pte);
	return !was_valid;
}

static unsigned int leaf_each(struct godwit_leaf *leaf, u16 *nr_valid, unsigned int first,
			      unsigned int last, bool clear)
{
	unsigned int i, count = 0;

	for (i = first; i < last && *nr_valid; i++) {
		u64 pte = leaf->entries[i];

		if (!(pte & GODWIT_PTE_VALID))
			continue;
		count++;
		if (!clear)
			continue;
		/*
		 * The device may have written through it, or may do until the caller has waited
		 * for it. Both come before the kernel looks: it waits for us. Pages of VRAM are
		 * dirty as long as they are there (godwit_pagemap_page()).
		 */
		if ((pte & GODWIT_PTE_WRITE) && !(pte & GODWIT_PTE_VRAM))
			folio_mark_dirty(page_folio(pfn_to_page(godwit_pte_pfn(pte))));
		WRITE_ONCE(leaf->entries[i], 0);
		(*nr_valid)--;
	}
	return count;
}

static unsigned int ptable_each(struct godwit_ptable *table, unsigned long start,
				unsigned long end, bool clear)
{
	unsigned int count = 0;

	while (start < end) {
		unsigned long next = min(ALIGN(start + 1, GODWIT_LEAF_SIZE), end);
		unsigned int index = start >> GODWIT_LEAF_SHIFT;
		unsigned int first = (start & (GODWIT_LEAF_SIZE - 1)) >> PAGE_SHIFT;

		if (table->nr_valid[index])
			count += leaf_each(table->leaves[index], &table->nr_valid[index], first,
					   first + ((next - start) >> PAGE_SHIFT), clear);
		start = next;
	}
	return count;
}

/**
 * godwit_ptable_valid() - count valid entries.
 * @table: the table.
 * @start: offset of the first byte, a multiple of the page size.
 * @end: offset after the last byte, a multiple of the page size.
 */
unsigned int godwit_ptable_valid(const struct godwit_ptable *table, unsigned long start,
				 unsigned long end)
{
	return ptable_each((struct godwit_ptable *)table, start, end, false);
}

/**
 * godwit_ptable_clear() - clear entries. Neither allocates, nor frees, nor sleeps for itself.
 * @table: the table.
 * @start: offset of the first byte, a multiple of the page size.
 * @end: offset after the last byte, a multiple of the page size.
 *
 * Pages of RAM that the device could write are marked dirty.
 *
 * Return: how many were valid. The device may still be using them.
 */
unsigned int godwit_ptable_clear(struct godwit_ptable *table, unsigned long start,
				 unsigned long end)
{
	return ptable_each(table, start, end, true);
}
