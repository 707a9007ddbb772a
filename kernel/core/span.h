/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_SPAN_H_
#define _GODWIT_SPAN_H_

#include <linux/bitmap.h>
#include <linux/types.h>

#include "../state/outcome.h"
#include "batch.h"

struct godwit_mirror;
struct godwit_move;

/**
 * struct godwit_span - one step of a migration.
 */
struct godwit_span {
	/** @mirror: whose. */
	struct godwit_mirror *mirror;
	/** @move: the migration. */
	struct godwit_move *move;
	/** @start: first address. */
	unsigned long start;
	/** @end: address after the last one; within one leaf. */
	unsigned long end;
	/** @batch: element i is page i of the span. */
	struct godwit_batch *batch;
	/** @pfns: as &godwit_look.pfns. */
	unsigned long *pfns;
	/** @moved: bit i: moved in an earlier try. */
	DECLARE_BITMAP(moved, GODWIT_BATCH_PAGES);
	/** @holes: bit i: no memory there, whatever else was seen. */
	DECLARE_BITMAP(holes, GODWIT_BATCH_PAGES);
	/** @pinned: bit i: pinned in RAM, by PIN. */
	DECLARE_BITMAP(pinned, GODWIT_BATCH_PAGES);
	/** @work: there may be pages to move. */
	bool work;
	/** @peers: there are pages of other devices. */
	bool peers;
	/** @split: there are pages of huge folios that are mapped one by one. */
	bool split;
	/** @divide: huge pages are to be split before they move. */
	bool divide;
	/** @direct: some of them can come without a stop in RAM. */
	bool direct;
	/** @want: frames that are needed. */
	unsigned long want;
	/** @reserved: frames that we may take. */
	unsigned long reserved;
	/** @moved_huge: pages that moved in huge folios. */
	unsigned long moved_huge;
};

struct godwit_span *godwit_span_alloc(struct godwit_mirror *mirror, struct godwit_move *move,
				      unsigned int pages);
void godwit_span_free(struct godwit_span *span);
int godwit_span_look(struct godwit_span *span);
bool godwit_span_busy(const struct godwit_span *span);
void godwit_span_again(struct godwit_span *span);
int godwit_span_report(struct godwit_span *span);

/* What was seen at [@start, @end) is @seen after all. */
static inline void godwit_span_mark(struct godwit_span *span, unsigned long start,
				    unsigned long end, enum godwit_seen seen)
{
	memset(&span->batch->seen[(start - span->start) >> PAGE_SHIFT], seen,
	       (end - start) >> PAGE_SHIFT);
}

/* There is no memory at [@start, @end). */
static inline void godwit_span_hole(struct godwit_span *span, unsigned long start,
				    unsigned long end)
{
	bitmap_set(span->holes, (start - span->start) >> PAGE_SHIFT, (end - start) >> PAGE_SHIFT);
}

#endif /* _GODWIT_SPAN_H_ */
