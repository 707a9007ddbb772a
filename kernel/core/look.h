/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_LOOK_H_
#define _GODWIT_LOOK_H_

#include <linux/fs.h>
#include <linux/hmm.h>
#include <linux/list.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/types.h>

struct godwit_chunk;

/* Empty memory that is made at a time: as much as a fault of the device migrates. */
#define GODWIT_LOOK_AROUND	(16 * PAGE_SIZE)

/**
 * struct godwit_look - what the kernel's page table says of a range.
 */
struct godwit_look {
	/** @chunk: of the range. */
	struct godwit_chunk *chunk;
	/** @start: first address. */
	unsigned long start;
	/** @end: address after the last one, within the chunk. */
	unsigned long end;
	/** @pfns: out, one an address, as &hmm_range.hmm_pfns. */
	unsigned long *pfns;
	/**
	 * @fault: see to it first that the page at @addr is there; by the time of the look it may
	 * be gone again. The others are only looked at, but for those of its GODWIT_LOOK_AROUND
	 * that follow it, up to the first that is in memory.
	 */
	bool fault;
	/** @write: with @fault: and that it may be written. */
	bool write;
	/**
	 * @strangers: treat pages of our devices as a CPU would: bring them home. With @fault.
	 */
	bool strangers;
	/** @unhide: see to it first that NUMA balancing hides none of it. Not with @nowait. */
	bool unhide;
	/** @settled: wait for pages that are just moving, rather than to say that there is none. */
	bool settled;
	/** @nowait: -EAGAIN rather than wait for mmap_lock. Not with @fault. */
	bool nowait;
	/** @addr: with @fault. */
	unsigned long addr;
	/** @node: in &godwit_chunk.looks, while it goes on. */
	struct list_head node;
	/** @changed: somebody changed the range since it began. Under the lock of the chunk. */
	bool changed;
};

int godwit_look(struct godwit_look *look);

/*
 * The shared zero page, or the huge one, as &hmm_range.hmm_pfns. The kernel does not tell modules
 * which that is, but it is the only huge page in a page table that belongs to nobody. (Large ones
 * that are mapped page by page may be of a driver's ring.)
 */
static inline bool godwit_pfn_is_zero(unsigned long pfn)
{
	const struct page *page = hmm_pfn_to_page(pfn);
	const struct folio *folio = page_folio(page);

	return is_zero_pfn(page_to_pfn(page)) ||
	       (hmm_pfn_to_map_order(pfn) >= PMD_SHIFT - PAGE_SHIFT &&
		!folio_is_zone_device(folio) && !READ_ONCE(folio->mapping));
}

/*
 * Is there a page that nobody may use at the moment, as NUMA balancing and userfaultfd make them?
 * hmm_range_fault() then says which, and not that it is valid.
 */
static inline bool godwit_pfn_is_hidden(unsigned long pfn)
{
	return (pfn & ~HMM_PFN_FLAGS) && !(pfn & (HMM_PFN_VALID | HMM_PFN_ERROR));
}

/*
 * Memory of memfd_secret(): nobody but the process may read it. Its pages are in no mapping of the
 * kernel's, and get_user_pages() refuses them; hmm_range_fault() does not. Nor does it keep anybody
 * from writing shadow stacks, as get_user_pages() does.
 */
static inline bool godwit_vma_is_secret(const struct vm_area_struct *vma)
{
	if (vma->vm_flags & VM_SHADOW_STACK)
		return true;
	return vma->vm_file && file_inode(vma->vm_file)->i_sb->s_magic == SECRETMEM_MAGIC;
}

#endif /* _GODWIT_LOOK_H_ */
