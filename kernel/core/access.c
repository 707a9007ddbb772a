// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Accesses of the device
 *
 * Overview: how the device that the framework plays reaches memory: through its page table, and
 * in no other way. Between godwit_access_begin() and godwit_access_end() the translation stays
 * valid, since an invalidation waits (chunk.c). VRAM is reached where the driver says, RAM
 * through the page frame in the entry.
 *
 * Locking: &godwit_chunk.access, for reading. Only one access at a time may be open in a task:
 * two of them could wait for each other's invalidations. Within it nothing may fault, allocate
 * or wait.
 */
#include <linux/highmem.h>
#include <linux/mm.h>

#include "access.h"
#include "chunk.h"
#include "device.h"
#include "mirror.h"

/**
 * godwit_access_begin() - translate an address, and hold the translation.
 * @mirror: whose address.
 * @addr: the address.
 * @write: it is to be written.
 * @access: out, to be given to godwit_access_end().
 *
 * Return: false where the device has no translation that allows it; then nothing is held.
 */
bool godwit_access_begin(struct godwit_mirror *mirror, unsigned long addr, bool write,
			 struct godwit_access *access)
{
	struct godwit_device *gdev = mirror->gdev;
	struct godwit_chunk *chunk = xa_load(&mirror->chunks, addr / GODWIT_CHUNK_SIZE);
	void *page;
	u64 pte;

	if (!chunk)
		return false;
	godwit_chunk_access_begin(chunk);
	pte = godwit_ptable_get(&chunk->table, addr - chunk->start);
	if (!(pte & GODWIT_PTE_VALID) || (write && !(pte & GODWIT_PTE_WRITE))) {
		godwit_chunk_access_end(chunk);
		return false;
	}
	access->chunk = chunk;
	access->mapped = !(pte & GODWIT_PTE_VRAM);
	if (access->mapped)
		page = kmap_local_pfn(godwit_pte_pfn(pte));
	else
		page = gdev->ops->cpu_address(gdev, godwit_pte_pfn(pte));
	access->data = page + offset_in_page(addr);
	return true;
}

/**
 * godwit_access_end() - the access is over.
 * @access: as godwit_access_begin() set it.
 */
void godwit_access_end(struct godwit_access *access)
{
	if (access->mapped)
		kunmap_local(access->data);
	godwit_chunk_access_end(access->chunk);
}
