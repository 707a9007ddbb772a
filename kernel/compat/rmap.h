/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the reverse map of the kernel asks of those who migrate pages, and keeps to itself. Each
 * paragraph says when it can go.
 */
#ifndef _GODWIT_COMPAT_RMAP_H_
#define _GODWIT_COMPAT_RMAP_H_

#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/page-flags.h>
#include <linux/rcupdate.h>
#include <linux/rmap.h>
#include <linux/slab.h>

/*
 * Migration entries are taken away by a walk of the reverse map. Who migrates without mmap_lock has
 * to hold a reference to its anon_vma meanwhile ("required to take a reference count", mm/rmap.c):
 * where the last VMA goes, the anon_vma is freed and used again, and the walk locks one and unlocks
 * another. migrate_device_pfns() takes none, and folio_get_anon_vma() and put_anon_vma() are not
 * exported: these do the same. They can go when migrate_device_pfns() takes the reference.
 */
static inline struct anon_vma *godwit_mapping_anon_vma(const struct address_space *of)
{
	unsigned long mapping = (unsigned long)of;

	if ((mapping & FOLIO_MAPPING_FLAGS) != FOLIO_MAPPING_ANON)
		return NULL;
	return (struct anon_vma *)(mapping - FOLIO_MAPPING_ANON);
}

static inline struct anon_vma *godwit_anon_vma(const struct folio *folio)
{
	return godwit_mapping_anon_vma(READ_ONCE(folio->mapping));
}

static inline void godwit_anon_vma_free(struct anon_vma *anon_vma)
{
	might_sleep();
	/* For whoever has locked it and looks at the count only then. */
	if (rwsem_is_locked(&anon_vma->root->rwsem)) {
		down_write(&anon_vma->root->rwsem);
		up_write(&anon_vma->root->rwsem);
	}
	/* Of whatever cache it is. */
	kfree(anon_vma);
}

static inline void godwit_anon_vma_put(struct anon_vma *anon_vma)
{
	struct anon_vma *root = anon_vma->root;

	if (!atomic_dec_and_test(&anon_vma->refcount))
		return;
	godwit_anon_vma_free(anon_vma);
	if (root != anon_vma && atomic_dec_and_test(&root->refcount))
		godwit_anon_vma_free(root);
}

/* NULL where nothing maps the folio, of which the caller holds a reference. */
static inline struct anon_vma *godwit_anon_vma_get(const struct folio *folio)
{
	struct anon_vma *anon_vma;

	rcu_read_lock();
	anon_vma = godwit_anon_vma(folio);
	if (anon_vma && (!folio_mapped(folio) || !atomic_inc_not_zero(&anon_vma->refcount)))
		anon_vma = NULL;
	rcu_read_unlock();
	/* Only what is mapped has its own, and not one that was freed and used again. */
	if (anon_vma && !folio_mapped(folio)) {
		godwit_anon_vma_put(anon_vma);
		anon_vma = NULL;
	}
	return anon_vma;
}

/*
 * The offset by which the reverse map of anonymous pages knows a VMA: a member of its own since
 * Linux 7.3.
 */
static inline pgoff_t godwit_vma_anon_pgoff(const struct vm_area_struct *vma)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 3, 0)
	return vma->vm_pgoff;
#else
	return vma_start_anon_pgoff(vma);
#endif
}

/*
 * zap_huge_pmd_folio() takes the migration entry of a huge page of private VRAM for a mapping, and
 * drops a mapping and a reference that it does not have (core/shield.c). How often so far, where
 * nothing maps the folio any more; and to make that undone, but for the statistics. Can go when
 * zap_huge_pmd_folio() asks for softleaf_is_device_private() instead of folio_is_device_private().
 */
#define GODWIT_ENTIRELY_MAPPED	0x800000

static inline int godwit_folio_missing(const struct folio *folio)
{
	int count = folio_entire_mapcount(folio);

	return count < 0 ? -count : 0;
}

static inline void godwit_folio_mend(struct folio *folio, int missing)
{
#ifdef CONFIG_MM_ID
	folio_lock_large_mapcount(folio);
	atomic_set(&folio->_large_mapcount, atomic_read(&folio->_large_mapcount) + missing);
	folio_unlock_large_mapcount(folio);
#else
	atomic_add(missing, &folio->_large_mapcount);
#endif
	if (!IS_ENABLED(CONFIG_NO_PAGE_MAPCOUNT))
		atomic_add(missing * GODWIT_ENTIRELY_MAPPED, &folio->_nr_pages_mapped);
	atomic_add(missing, &folio->_entire_mapcount);
}

/*
 * The kernel takes the charge from a folio that it frees, and for one that is charged to nobody it
 * waits for ever as soon as it comes to an LRU (folio_lruvec_lock() compares no cgroup with the
 * root). So who keeps a folio that was freed has to charge it again: to the cgroup of @heir, where
 * that one has inherited the charge, or to the root, which counts nothing. Needed as long as the
 * above.
 */
static inline void godwit_folio_recharge(struct folio *folio, struct folio *heir)
{
#ifdef CONFIG_MEMCG
	struct mem_cgroup_per_node *node;

	if (mem_cgroup_disabled() || folio_memcg_charged(folio))
		return;
	if (heir) {
		swap(folio->memcg_data, heir->memcg_data);
		if (folio_memcg_charged(folio))
			return;
	}
	node = root_mem_cgroup->nodeinfo[folio_nid(folio)];
	/* It stays for ever, and its references are not counted. */
	folio->memcg_data = (unsigned long)rcu_access_pointer(node->objcg);
#endif
}

#endif /* _GODWIT_COMPAT_RMAP_H_ */
