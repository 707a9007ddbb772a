// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Lost pages
 *
 * Overview: a device that goes away may be unable to copy its pages. Their owners get pages of RAM
 * with a pattern that is no data, and are told: the kernel takes it for a failure of memory, and
 * who touches one gets SIGBUS (docs/decisions/0026-lost-pages-are-told-one-by-one.md).
 *
 * Only they are to be told. From when the migration has let go of a page its owner may unmap it,
 * and then it is free, or somebody else's: so it is referenced from before that on, and what nobody
 * maps by then is not told of. A huge folio is split by telling of its first page; the others are
 * referenced as soon as they are folios of their own, and have to be in the same place of the same
 * memory: what is freed and used again there in between, by the same process, is told of too.
 *
 * Nor may the pattern go on as data: until all are told of, no page of theirs moves to VRAM of
 * another device (run.c), also in the moments in which nobody holds it.
 *
 * Locking: the lock of the folio is taken by godwit_lost_tell(), and held where
 * godwit_lost_hold() is called.
 */
#include <linux/bitmap.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/xarray.h>

#include "../state/frames.h"
#include "lost.h"

/* How often to tell of a page that others isolate each time. */
#define LOST_TRIES	100u

/* By number, those that are being told of. */
static DEFINE_XARRAY(lost_pages);

/**
 * godwit_lost_hold() - pages are lost: nobody may use them for anything else.
 * @first: the first of a page or of a huge folio, which the migration still has.
 * @pages: how many.
 *
 * godwit_lost_tell() must follow.
 */
void godwit_lost_hold(struct page *first, unsigned int pages)
{
	unsigned long pfn = page_to_pfn(first);
	unsigned int i;

	get_page(first);
	/* Without memory for it there is only the reference. */
	for (i = 0; i < pages; i++)
		xa_store(&lost_pages, pfn + i, xa_mk_value(1), GFP_KERNEL | __GFP_NOWARN);
}

/**
 * godwit_lost_any() - is any page being told of?
 */
bool godwit_lost_any(void)
{
	return !xa_empty(&lost_pages);
}

/**
 * godwit_lost_has() - is this one?
 * @page: a page, or the first of a huge folio.
 */
bool godwit_lost_has(const struct page *page)
{
	return xa_load(&lost_pages, page_to_pfn(page));
}

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

/* Is it still mapped, or on its way to swap without that mark, and in that place? */
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
	       (folio_mapped(folio) || (folio_test_swapcache(folio) && !PageHWPoison(page)));
	folio_unlock(folio);
	return used;
}

#if GODWIT_CAN_POISON
/*
 * Takes over a reference. A page that somebody has just isolated, or whose huge folio does not
 * split because of another reference, the kernel marks and leaves mapped; and one that is marked
 * it does not look at again. So that mark has to go before it is told once more, and such a page
 * is counted twice (HardwareCorrupted in /proc/meminfo).
 */
static bool lost_tell(struct page *page, const struct address_space *mapping, pgoff_t index)
{
	struct folio *folio = page_folio(page);
	unsigned int tries;

	for (tries = 0; folio && lost_is_used(folio, page, mapping, index); tries++) {
		if (tries == LOST_TRIES) {
			pr_err("godwit: page %#lx lost its bytes with its device, and stays mapped\n",
			       page_to_pfn(page));
			break;
		}
		if (tries)
			ClearPageHWPoison(page);
		memory_failure(page_to_pfn(page), MF_COUNT_INCREASED);
		folio = lost_get(page);
	}
	if (folio)
		put_page(page);
	return tries;
}
#else
static bool lost_tell(struct page *page, const struct address_space *mapping, pgoff_t index)
{
	bool used = lost_is_used(page_folio(page), page, mapping, index);

	if (used)
		pr_err("godwit: page %#lx lost its bytes with its device\n", page_to_pfn(page));
	put_page(page);
	return used;
}
#endif

/**
 * godwit_lost_tell() - tell the owners of pages that they are lost.
 * @first: as for godwit_lost_hold(), which has been called.
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
		told += lost_tell(page, mapping, index + i);
		/* Each reference to a folio that is not split would keep it from that. */
		if (split || folio_test_large(page_folio(page)))
			continue;
		split = true;
		for (next = i + 1; next < pages; next++)
			if (lost_get(first + next))
				__set_bit(next, held);
	}
	for (i = 0; i < pages; i++)
		xa_erase(&lost_pages, page_to_pfn(first) + i);
	return told;
}
