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
		       GODWIT_BATCH_ROOM(size) * (sizeof(*batch->src) + sizeof(*batch->dst)) +
		       size * (sizeof(*batch->pieces) +
			       sizeof(*batch->device) + sizeof(*batch->index) +
			       sizeof(*batch->reached) + sizeof(*batch->seen));

	batch = kvzalloc(bytes, gfp);
	if (!batch)
		return NULL;
	/* In the order of their alignment. */
	batch->size = size;
	batch->src = (unsigned long *)(batch + 1);
	batch->dst = batch->src + GODWIT_BATCH_ROOM(size);
	batch->pieces = (struct godwit_copy *)(batch->dst + GODWIT_BATCH_ROOM(size));
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
	memset(batch->src, 0, GODWIT_BATCH_ROOM(batch->size) * sizeof(*batch->src));
	memset(batch->dst, 0, GODWIT_BATCH_ROOM(batch->size) * sizeof(*batch->dst));
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
 * godwit_batch_isolate() - migrate_vma_setup(), whose elements are the pages of the range.
 * @args: with arrays of GODWIT_BATCH_ROOM() elements; the range is within 2 MiB.
 *
 * While it splits a huge page whose pages are mapped one by one it has no lock of the page table.
 * MADV_DONTNEED of all 2 MiB, which needs mmap_lock for reading only, frees that table meanwhile
 * (CONFIG_PT_RECLAIM), and what is collected from then on is counted from the start again.
 *
 * Return: 0. -EAGAIN, that has happened, and nothing is isolated. As migrate_vma_setup().
 */
int godwit_batch_isolate(struct migrate_vma *args)
{
	unsigned long count = (args->end - args->start) >> PAGE_SHIFT, i;
	int ret = migrate_vma_setup(args);

	if (ret || args->npages == count)
		return ret;
	for (i = 0; i < args->npages; i++) {
		args->src[i] &= ~MIGRATE_PFN_MIGRATE;
		args->dst[i] = 0;
	}
	/* Puts all back. */
	migrate_vma_finalize(args);
	memset(args->src, 0, args->npages * sizeof(*args->src));
	return -EAGAIN;
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
