/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_BATCH_H_
#define _GODWIT_BATCH_H_

#include <linux/ktime.h>
#include <linux/migrate.h>
#include <linux/string.h>
#include <linux/types.h>

#include <godwit/device.h>

#include "../state/outcome.h"
#include "shield.h"

struct dma_fence;
struct folio;
struct page;

/* The most pages that one batch holds: a block of frames, or a huge page. */
#define GODWIT_BATCH_PAGES	512u

/*
 * Elements that the arrays of migrate_vma_setup() need for some pages, all within 2 MiB. Where it
 * splits a huge page and finds, when that is done, that there is no page table any more, it
 * begins anew, and leaves in the arrays what it had: see godwit_batch_isolate().
 */
#define GODWIT_BATCH_ROOM(pages)	(2 * (pages))

/* Copies of one batch that can be under way at the same time: one a device, as a rule. */
#define GODWIT_BATCH_TRANSFERS	8u

/**
 * struct godwit_transfer - pieces of a batch that a device was asked to copy.
 */
struct godwit_transfer {
	/** @fence: for godwit_copy_wait(). */
	struct dma_fence *fence;
	/** @first: index of the first piece. */
	u16 first;
	/** @last: index after the last piece. */
	u16 last;
};

/**
 * struct godwit_batch - the pages of one step of a migration.
 *
 * All arrays but the first two have @size elements, in one allocation; element i stands for the
 * same page in all.
 */
struct godwit_batch {
	/** @size: pages that it has room for. */
	unsigned int size;
	/** @src: as &migrate_vma.src; GODWIT_BATCH_ROOM(@size) elements. */
	unsigned long *src;
	/** @dst: as &migrate_vma.dst; GODWIT_BATCH_ROOM(@size) elements. */
	unsigned long *dst;
	/** @reached: &enum godwit_reached. */
	u8 *reached;
	/** @seen: &enum godwit_seen. */
	u8 *seen;
	/** @pieces: the copies that are to be done. */
	struct godwit_copy *pieces;
	/** @device: of each piece, whose VRAM it is about. */
	struct godwit_device **device;
	/** @index: of each piece, the element that it belongs to. */
	u16 *index;
	/** @nr_pieces: how many. */
	unsigned int nr_pieces;
	/** @submitted: those of them that a device was asked for. */
	unsigned int submitted;
	/** @nr_transfers: of @transfers. */
	unsigned int nr_transfers;
	/** @transfers: copies that were not waited for yet. */
	struct godwit_transfer transfers[GODWIT_BATCH_TRANSFERS];
	/** @shield: of the huge folio that it has isolated to bring home. */
	struct godwit_shield shield;
	/**
	 * @divide: a huge page was left where it is: there is no place for it, and it is to be
	 * split before it is isolated (decision 20).
	 */
	bool divide;
	/** @time_setup: ns spent to look up, lock and unmap. */
	u64 time_setup;
	/** @time_alloc: ns spent to find room. */
	u64 time_alloc;
	/** @time_copy: ns spent to wait for copies. */
	u64 time_copy;
	/** @time_finish: ns spent to switch page tables. */
	u64 time_finish;
};

struct godwit_batch *godwit_batch_alloc(unsigned int size, gfp_t gfp);
void godwit_batch_free(struct godwit_batch *batch);
void godwit_batch_reset(struct godwit_batch *batch);
void godwit_batch_begin(struct godwit_batch *batch);
int godwit_batch_isolate(struct migrate_vma *args);
void godwit_batch_submit(struct godwit_batch *batch, bool to_vram);
void godwit_batch_add(struct godwit_batch *batch, unsigned int index, struct page *page,
		      struct godwit_device *gdev, unsigned long frame, unsigned int pages);

/* Elements [@i, @i + @pages) came as far as that. */
static inline void godwit_batch_reach(struct godwit_batch *batch, unsigned int i,
				      unsigned int pages, enum godwit_reached reached)
{
	if (pages == 1)
		batch->reached[i] = reached;
	else
		memset(&batch->reached[i], reached, pages);
}

/* Adds the time since *@since to *@to, and sets *@since to now. */
static inline void godwit_batch_lap(u64 *to, u64 *since)
{
	u64 now = ktime_get_ns();

	*to += now - *since;
	*since = now;
}

#endif /* _GODWIT_BATCH_H_ */
