/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the reverse map of the kernel asks of those who migrate pages, and keeps to itself. The
 * same from Linux 7.2 to 7.3; each paragraph says when it can go.
 */
#ifndef _GODWIT_COMPAT_RMAP_H_
#define _GODWIT_COMPAT_RMAP_H_

#include <linux/mm.h>
#include <linux/rmap.h>

/*
 * zap_huge_pmd_folio() takes the migration entry of a huge page of private VRAM for a mapping, and
 * drops a mapping and a reference that it does not have (core/pagemap.c). How often so far, where
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

#endif /* _GODWIT_COMPAT_RMAP_H_ */
