// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: VRAM that is lent
 *
 * Overview: how many pages snapshots hold in each block of VRAM. Whoever moves frames, and each
 * touch of a CPU does, has to know whether an export offers them to importers; nearly always none
 * does, and is told so without a look at exports.
 *
 * Order: a snapshot is counted before it is offered (godwit_export_publish()), and until its last
 * reference is gone. So who finds none would have found none among the exports either.
 */
#include <linux/atomic.h>
#include <linux/minmax.h>
#include <linux/sched.h>

#include "device.h"
#include "lent.h"
#include "snapshot.h"

static atomic_long_t *lent_block(const struct page *page)
{
	return &godwit_page_device(page)->vram.lent[godwit_page_frame(page) / GODWIT_BLOCK_FRAMES];
}

/* @each: 1 or -1, for each page in VRAM. */
static void lent_count(const struct godwit_snapshot *snapshot, long each)
{
	atomic_long_t *block = NULL, *now;
	unsigned long i;
	long count = 0;

	for (i = 0; i < snapshot->nr; i++) {
		if (!(i % 65536))
			cond_resched();
		if (!godwit_is_vram(snapshot->pages[i]))
			continue;
		now = lent_block(snapshot->pages[i]);
		if (now != block && block) {
			atomic_long_add(count, block);
			count = 0;
		}
		block = now;
		count += each;
	}
	if (block)
		atomic_long_add(count, block);
}

/**
 * godwit_lent_add() - a snapshot is complete: count what it holds in VRAM.
 * @snapshot: is offered to nobody yet.
 */
void godwit_lent_add(struct godwit_snapshot *snapshot)
{
	unsigned long i, pfn;

	for (i = 0; i < snapshot->nr; i++) {
		struct page *page = snapshot->pages[i];

		if (!(i % 65536))
			cond_resched();
		if (!godwit_is_vram(page))
			continue;
		pfn = page_to_pfn(page);
		snapshot->nr_vram++;
		snapshot->nr_private += is_device_private_page(page);
		snapshot->first_pfn = min(snapshot->first_pfn, pfn);
		snapshot->last_pfn = max(snapshot->last_pfn, pfn);
	}
	if (snapshot->nr_vram)
		lent_count(snapshot, 1);
}

/**
 * godwit_lent_remove() - its pages are let go of.
 * @snapshot: still holds them, or was never complete.
 */
void godwit_lent_remove(struct godwit_snapshot *snapshot)
{
	if (snapshot->nr_vram)
		lent_count(snapshot, -1);
}

/**
 * godwit_lent() - may a snapshot hold some of these frames?
 * @first_pfn: page frame number of the first one, in VRAM.
 * @last_pfn: of the last one, of the same device.
 *
 * Return: false, none does. Without a lock: one may be taken at this moment.
 */
bool godwit_lent(unsigned long first_pfn, unsigned long last_pfn)
{
	const atomic_long_t *block = lent_block(pfn_to_page(first_pfn));
	const atomic_long_t *last = lent_block(pfn_to_page(last_pfn));

	for (; block <= last; block++)
		if (atomic_long_read(block))
			return true;
	return false;
}
