// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Spans
 *
 * Overview: a step of a migration, at most 2 MiB within one leaf: what was seen there before
 * (godwit_span_look()), and what became of each page (godwit_span_report()). What is between
 * the two is in run.c and home.c.
 *
 * What is seen may be wrong by the time it is used; it decides how much room to make and what
 * reasons to give, never what is safe.
 *
 * Locking: a span belongs to the call that allocated it.
 */
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "chunk.h"
#include "client.h"
#include "device.h"
#include "direct.h"
#include "look.h"
#include "migrate.h"
#include "mirror.h"
#include "pin.h"
#include "span.h"

/**
 * godwit_span_free() - free a span.
 * @span: may be NULL.
 */
void godwit_span_free(struct godwit_span *span)
{
	if (!span)
		return;
	godwit_batch_free(span->batch);
	kvfree(span->pfns);
	kfree(span);
}

/**
 * godwit_span_alloc() - make a span.
 * @mirror: whose addresses.
 * @move: the migration that it is a step of.
 * @pages: that it has room for, at most GODWIT_BATCH_PAGES.
 */
struct godwit_span *godwit_span_alloc(struct godwit_mirror *mirror, struct godwit_move *move,
				      unsigned int pages)
{
	struct godwit_span *span = kzalloc_obj(*span);

	if (!span)
		return NULL;
	span->mirror = mirror;
	span->move = move;
	span->batch = godwit_batch_alloc(pages, GFP_KERNEL);
	span->pfns = kvcalloc(pages, sizeof(*span->pfns), GFP_KERNEL);
	if (span->batch && span->pfns)
		return span;
	godwit_span_free(span);
	return NULL;
}

static unsigned int span_pages(const struct godwit_span *span)
{
	return (span->end - span->start) >> PAGE_SHIFT;
}

static enum godwit_seen span_classify_vram(struct godwit_span *span, struct page *page)
{
	struct godwit_device *gdev = godwit_page_device(page);
	bool here = gdev == span->mirror->gdev;

	/* It is to leave its VRAM. */
	if ((!here || !span->move->to_vram) &&
	    godwit_vram_held(&gdev->vram, godwit_page_frame(page), 1))
		return GODWIT_SEEN_HELD;
	if (here)
		return GODWIT_SEEN_VRAM;
	if (span->move->to_vram && !span->direct)
		span->direct = godwit_direct_reaches(span->mirror->gdev, gdev);
	return GODWIT_SEEN_PEER;
}

static enum godwit_seen span_classify(struct godwit_span *span, unsigned long pfn)
{
	struct page *page;

	if (pfn & HMM_PFN_ERROR)
		return GODWIT_SEEN_ERROR;
	if (!(pfn & HMM_PFN_VALID))
		return GODWIT_SEEN_NOTHING;
	page = hmm_pfn_to_page(pfn);
	if (godwit_pfn_is_zero(pfn))
		return GODWIT_SEEN_ZERO;
	if (is_zone_device_page(page)) {
		if (!godwit_is_vram(page))
			return GODWIT_SEEN_ERROR;
		return span_classify_vram(span, page);
	}
	return folio_test_anon(page_folio(page)) ? GODWIT_SEEN_ANON : GODWIT_SEEN_FILE;
}

/* Must a folio be split before this page of it can move? For what may move only. */
static bool span_splits(enum godwit_seen seen, unsigned long pfn)
{
	if (seen != GODWIT_SEEN_ANON && seen != GODWIT_SEEN_VRAM && seen != GODWIT_SEEN_PEER)
		return false;
	return !hmm_pfn_to_map_order(pfn) && folio_test_large(page_folio(hmm_pfn_to_page(pfn)));
}

/* Is there anything for step 3 to do about some pages, and do they need frames? */
static void span_plan(struct godwit_span *span, enum godwit_seen seen, unsigned int pages)
{
	const struct godwit_move *move = span->move;
	bool skip_empty = move->flags & GODWIT_MIGRATE_SKIP_EMPTY;

	switch (seen) {
	case GODWIT_SEEN_ANON:
		span->work |= move->to_vram;
		span->want += move->to_vram ? pages : 0;
		break;
	case GODWIT_SEEN_ZERO:
	case GODWIT_SEEN_NOTHING:
		span->work |= move->to_vram;
		span->want += move->to_vram && !skip_empty ? pages : 0;
		break;
	case GODWIT_SEEN_VRAM:
		span->work |= !move->to_vram;
		break;
	case GODWIT_SEEN_PEER:
		span->work |= move->to_vram || !move->only;
		span->want += move->to_vram ? pages : 0;
		span->peers = true;
		break;
	default:
		break;
	}
}

/* How many pages are alike from the first one on: those of a huge entry, unless some are held. */
static unsigned int span_alike(const struct godwit_span *span, unsigned int count)
{
	unsigned long pfn = span->pfns[0];
	struct page *page;

	if (count < GODWIT_BATCH_PAGES || !(pfn & HMM_PFN_VALID) || (pfn & HMM_PFN_ERROR) ||
	    hmm_pfn_to_map_order(pfn) < GODWIT_LEAF_SHIFT - PAGE_SHIFT ||
	    !bitmap_empty(span->pinned, GODWIT_BATCH_PAGES))
		return 1;
	page = hmm_pfn_to_page(pfn);
	if (godwit_is_vram(page) &&
	    godwit_vram_held(&godwit_page_device(page)->vram, godwit_page_frame(page), count))
		return 1;
	return count;
}

/**
 * godwit_span_look() - see what is there, and plan what to do about it.
 * @span: &godwit_span.start and @end are set; the batch is reset.
 *
 * Return: as godwit_look(); no lock is held.
 */
int godwit_span_look(struct godwit_span *span)
{
	struct godwit_look look = {
		.start = span->start,
		.end = span->end,
		.pfns = span->pfns,
		.unhide = span->move->to_vram,
	};
	unsigned int count = span_pages(span), pages, i;
	enum godwit_seen seen;
	int ret;

	span->work = false;
	span->peers = false;
	span->split = false;
	span->direct = false;
	span->want = 0;
	look.chunk = godwit_chunk_get(span->mirror, span->start);
	if (IS_ERR(look.chunk))
		return PTR_ERR(look.chunk);
	ret = godwit_look(&look);
	if (ret)
		return ret;
	bitmap_zero(span->pinned, GODWIT_BATCH_PAGES);
	if (span->move->to_vram)
		godwit_pin_in_system(span->mirror, span->start, span->end, span->pinned);
	pages = span_alike(span, count);
	for (i = 0; i < count; i += pages) {
		seen = test_bit(i, span->pinned) ? GODWIT_SEEN_HELD :
						   span_classify(span, span->pfns[i]);
		memset(&span->batch->seen[i], seen, pages);
		span_plan(span, seen, pages);
		span->split |= span_splits(seen, span->pfns[i]);
	}
	mutex_unlock(&look.chunk->lock);
	return 0;
}

static unsigned int span_outcome(const struct godwit_span *span, unsigned int i)
{
	const struct godwit_batch *batch = span->batch;
	unsigned int outcome = godwit_outcome(batch->seen[i], batch->reached[i],
					      span->move->to_vram);

	if (outcome == GODWIT_OUTCOME_MOVED || test_bit(i, span->moved))
		return GODWIT_OUTCOME_MOVED;
	return test_bit(i, span->holes) ? GODWIT_STAY_HOLE : outcome;
}

/* How many pages from the first one on had the same fate: all of them, or one at least. */
static unsigned int span_alike_now(const struct godwit_span *span, unsigned int count)
{
	const struct godwit_batch *batch = span->batch;

	if (memchr_inv(batch->seen, batch->seen[0], count) ||
	    memchr_inv(batch->reached, batch->reached[0], count) ||
	    !bitmap_empty(span->holes, GODWIT_BATCH_PAGES) ||
	    !bitmap_empty(span->moved, GODWIT_BATCH_PAGES))
		return 1;
	return count;
}

/**
 * godwit_span_busy() - is there a page that could move, were it not for somebody else?
 * @span: a span after a try.
 */
bool godwit_span_busy(const struct godwit_span *span)
{
	unsigned int count = span_pages(span), i;
	unsigned int pages = span_alike_now(span, count);

	for (i = 0; i < count; i += pages)
		if (span_outcome(span, i) == GODWIT_STAY_BUSY)
			return true;
	return false;
}

/**
 * godwit_span_again() - make ready for another try.
 * @span: a span after a try.
 */
void godwit_span_again(struct godwit_span *span)
{
	unsigned int count = span_pages(span), i;

	for (i = 0; i < count; i++)
		if (span->batch->reached[i] == GODWIT_REACHED_MOVED)
			__set_bit(i, span->moved);
	span->divide |= span->batch->divide;
	godwit_batch_reset(span->batch);
	bitmap_zero(span->holes, GODWIT_BATCH_PAGES);
}

/**
 * godwit_span_report() - count what became of each page, and tell the caller.
 * @span: all its pages have moved or stayed.
 *
 * Return: -EFAULT where &godwit_move.reasons cannot be written.
 */
int godwit_span_report(struct godwit_span *span)
{
	unsigned int count = span_pages(span), i;
	unsigned int pages = span_alike_now(span, count);
	struct godwit_move *move = span->move;
	struct godwit_batch *batch = span->batch;
	unsigned long stayed = 0;

	move->moved_huge += span->moved_huge;
	span->moved_huge = 0;
	for (i = 0; i < count; i += pages) {
		unsigned int outcome = span_outcome(span, i);

		if (outcome == GODWIT_OUTCOME_MOVED) {
			move->moved += pages;
			outcome = GODWIT_STAY_NONE;
		} else if (outcome == GODWIT_OUTCOME_ALREADY) {
			move->already += pages;
			outcome = GODWIT_STAY_NONE;
		} else {
			move->stayed[outcome] += pages;
			stayed += pages;
		}
		/* What was seen is no longer needed. */
		memset(&batch->seen[i], outcome, pages);
	}
	godwit_stat_add(span->mirror->gdev, span->mirror->client, GODWIT_STAT_PAGES_STAYED, stayed);
	if (move->reasons) {
		if (copy_to_user(move->reasons, batch->seen, count))
			return -EFAULT;
		move->reasons += count;
	}
	return 0;
}
