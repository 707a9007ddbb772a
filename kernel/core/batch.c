// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Batches
 *
 * Overview: the arrays of one step of a migration, in one allocation. A batch belongs to the
 * function that allocated it; no locking.
 */
#include <linux/slab.h>
#include <linux/mm.h>

#include "batch.h"
#include "copy.h"

/**
 * godwit_batch_alloc() - make a batch.
 * @size: pages, at most GODWIT_BATCH_PAGES.
 * @gfp: how to allocate.
 */
struct godwit_batch *godwit_batch_alloc(unsigned int size, gfp_t gfp)
{
	struct godwit_batch *batch;
	size_t bytes = sizeof(*batch) +
		       size * (2 * sizeof(*batch->src) + sizeof(*batch->pieces) +
			       sizeof(*batch->device) + sizeof(*batch->index) +
			       sizeof(*batch->reached) + sizeof(*batch->seen));

	batch = kvzalloc(bytes, gfp);
	if (!batch)
		return NULL;
	/* In the order of their alignment. */
	batch->size = size;
	batch->src = (unsigned long *)(batch + 1);
	batch->dst = batch->src + size;
	batch->pieces = (struct godwit_copy *)(batch->dst + size);
	batch->device = (struct godwit_device **)(batch->pieces + size);
	batch->index = (u16 *)(batch->device + size);
	batch->reached = (u8 *)(batch->index + size);
	batch->seen = batch->reached + size;
	return batch;
}

/**
 * godwit_batch_free() - free a batch.
 * @batch: may be NULL.
 */
void godwit_batch_free(struct godwit_batch *batch)
{
	kvfree(batch);
}

/**
 * godwit_batch_reset() - make it ready for the next pages. Times go on.
 * @batch: the batch.
 */
void godwit_batch_reset(struct godwit_batch *batch)
{
	memset(batch->src, 0, batch->size * sizeof(*batch->src));
	memset(batch->dst, 0, batch->size * sizeof(*batch->dst));
	memset(batch->reached, 0, batch->size);
	memset(batch->seen, 0, batch->size);
	batch->divide = false;
	godwit_batch_begin(batch);
}

/**
 * godwit_batch_begin() - forget the pieces of before.
 * @batch: the batch; all copies have been waited for.
 */
void godwit_batch_begin(struct godwit_batch *batch)
{
	batch->nr_pieces = 0;
	batch->submitted = 0;
	batch->nr_transfers = 0;
}

/**
 * godwit_batch_submit() - have a device copy pieces that it was not yet asked for.
 * @batch: the batch, with less than GODWIT_BATCH_TRANSFERS under way. Pieces that follow each other
 *	and are of one device go together; &godwit_batch.submitted tells how far that was.
 * @to_vram: which way.
 */
void godwit_batch_submit(struct godwit_batch *batch, bool to_vram)
{
	unsigned int first = batch->submitted, last = first;
	struct godwit_device *gdev = batch->device[first];

	while (last < batch->nr_pieces && batch->device[last] == gdev)
		last++;
	if (last == first)
		return;
	batch->transfers[batch->nr_transfers++] = (struct godwit_transfer) {
		.fence = godwit_copy_start(gdev, &batch->pieces[first], last - first, to_vram),
		.first = first,
		.last = last,
	};
	batch->submitted = last;
}

/**
 * godwit_batch_add() - a copy that is to be done.
 * @batch: the batch.
 * @index: element that it belongs to.
 * @page: page of RAM.
 * @gdev: whose VRAM.
 * @frame: frame of it.
 * @pages: how many, contiguous on both sides.
 */
void godwit_batch_add(struct godwit_batch *batch, unsigned int index, struct page *page,
		      struct godwit_device *gdev, unsigned long frame, unsigned int pages)
{
	struct godwit_copy *piece = &batch->pieces[batch->nr_pieces];

	batch->device[batch->nr_pieces] = gdev;
	batch->index[batch->nr_pieces++] = index;
	piece->page = page;
	piece->frame = frame;
	piece->pages = pages;
}
