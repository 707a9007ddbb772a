// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Lost pages
 *
 * Overview: a device that goes away may be unable to copy its pages. Their owners get pages of RAM
 * with a pattern that is no data, and are told: the kernel takes it for a failure of memory, and
 * who touches one gets SIGBUS.
 *
 * Only they are to be told. From when the migration has let go of a page its owner may unmap it,
 * and then it is free, or somebody else's: so it is referenced from before that on, and what nobody
 * maps by then is not told of. A huge folio is split by telling of its first page; the others are
 * referenced as soon as they are folios of their own, and have to be in the same place of the same
 * memory: what is freed and used again there in between, by the same process, is told of too.
 *
 * Locking: none when called; takes the lock of the folio.
 */
#include <linux/bitmap.h>
#include <linux/mm.h>
#include <linux/pagemap.h>

#include "../state/frames.h"
#include "lost.h"

/* What a page has become a part of, referenced. NULL: it is free. */
static struct folio *lost_get(struct page *page)
{
	struct folio *folio = page_folio(page);

	while (folio_try_get(folio)) {
		if (page_folio(page) == folio)
			return folio;
		folio_put(folio);
		folio = page_folio(page);
	}
	return NULL;
}

/* Is it still mapped, or on its way to swap, and in that place? */
static bool lost_is_used(struct folio *folio, struct page *page,
			 const struct address_space *mapping, pgoff_t index)
{
	bool used;

	/*
	 * Who isolates it has taken its mappings away for the time being, and looks at references
	 * only then: ours makes it put them back before it unlocks.
	 */
	folio_lock(folio);
	used = folio->mapping == mapping && page_pgoff(folio, page) == index &&
	       (folio_mapped(folio) || folio_test_swapcache(folio));
	folio_unlock(folio);
	return used;
}

/* Takes over a reference. */
static void lost_tell(struct page *page)
{
#if GODWIT_CAN_POISON
	memory_failure(page_to_pfn(page), MF_COUNT_INCREASED);
#else
	pr_err("godwit: page %#lx lost its bytes with its device\n", page_to_pfn(page));
	put_page(page);
#endif
}

/**
 * godwit_lost_tell() - tell the owners of pages that they are lost.
 * @first: the first of a page or of a huge folio, referenced, which this takes over.
 * @pages: how many.
 *
 * Return: how many were told of; the others are not used any more.
 */
unsigned int godwit_lost_tell(struct page *first, unsigned int pages)
{
	struct folio *folio = page_folio(first);
	const struct address_space *mapping = folio->mapping;
	pgoff_t index = folio->index;
	DECLARE_BITMAP(held, GODWIT_BLOCK_FRAMES) = { 1 };
	bool split = pages == 1;
	unsigned int told = 0, i, next;

	for (i = 0; i < pages; i++) {
		struct page *page = first + i;

		folio = test_bit(i, held) ? page_folio(page) : lost_get(page);
		if (!folio)
			continue;
		if (lost_is_used(folio, page, mapping, index + i)) {
			lost_tell(page);
			told++;
		} else {
			put_page(page);
		}
		/* Each reference to a folio that is not split would keep it from that. */
		if (split || folio_test_large(page_folio(page)))
			continue;
		split = true;
		for (next = i + 1; next < pages; next++)
			if (lost_get(first + next))
				__set_bit(next, held);
	}
	return told;
}
