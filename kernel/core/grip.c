// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Taking hold
 *
 * Overview: how a new pin (pin.c) gets hold of its pages, wherever they are. The pin is known to
 * the notifiers already: a page that is unmapped meanwhile is let go of again.
 *
 * Locking: &godwit_mirror.pin_lock, inside &godwit_chunk.lock.
 */
#include <linux/hmm.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "../state/range.h"
#include "chunk.h"
#include "client.h"
#include "device.h"
#include "grip.h"
#include "look.h"
#include "migrate.h"
#include "mirror.h"
#include "pin.h"

/* How often to bring pages back that left again before they were held. */
#define GRIP_ROUNDS	3
/* How often at least to pin pages again that were unmapped meanwhile; for a second, too. */
#define GRIP_TRIES	10u

/*
 * Some pages are going to be pinned: from now on the pin is told if they are unmapped. All
 * unmapping is over then, or has not begun. The lock for reading would not do, which munmap has as
 * well while it unmaps.
 */
static int grip_begin(struct godwit_mirror *mirror, struct godwit_pin *pin, unsigned long start,
		      unsigned long end)
{
	if (mmap_write_lock_killable(mirror->mm))
		return -EINTR;
	spin_lock(&mirror->pin_lock);
	pin->grip_start = start;
	pin->grip_end = end;
	pin->grip_lost = false;
	spin_unlock(&mirror->pin_lock);
	mmap_write_unlock(mirror->mm);
	return 0;
}

/*
 * Notes pages that were pinned since grip_begin(). -EAGAIN: they may be some that have been
 * unmapped, of which the notifier did not know that they are held.
 */
static int grip_note(struct godwit_mirror *mirror, struct godwit_pin *pin, struct page **pages,
		     unsigned int count)
{
	struct godwit_pin_page *first;
	unsigned int i;
	int ret = -EINTR;

	if (mmap_write_lock_killable(mirror->mm))
		goto out;
	ret = -EAGAIN;
	spin_lock(&mirror->pin_lock);
	if (!pin->grip_lost) {
		first = &pin->pages[(pin->grip_start - pin->start) >> PAGE_SHIFT];
		for (i = 0; i < count; i++)
			first[i].page = pages[i];
		ret = 0;
	}
	spin_unlock(&mirror->pin_lock);
	mmap_write_unlock(mirror->mm);
out:
	if (ret)
		unpin_user_pages(pages, count);
	return ret;
}

/* Pages were unmapped once more: is that enough? */
static bool grip_gives_up(struct godwit_mirror *mirror, unsigned int tries,
			  unsigned long deadline)
{
	godwit_stat_add(mirror->gdev, mirror->client, GODWIT_STAT_RETRIES, 1);
	if (tries < GRIP_TRIES || time_before(jiffies, deadline))
		return false;
	godwit_stat_add(mirror->gdev, mirror->client, GODWIT_STAT_TIMEOUTS, 1);
	return true;
}

/* Pins some pages, and notes them. Returns how many, which may be fewer, or an error. */
static long grip_some(struct godwit_mirror *mirror, struct godwit_pin *pin, unsigned long start,
		      unsigned long count, struct page **pages)
{
	unsigned int flags = FOLL_LONGTERM | FOLL_WRITE;
	long got, ret;

	ret = grip_begin(mirror, pin, start, start + count * PAGE_SIZE);
	if (ret)
		return ret;
	got = pin_user_pages_fast(start, count, flags, pages);
	/* What may only be read is pinned for that. */
	if (got == -EFAULT)
		got = pin_user_pages_fast(start, count, flags & ~FOLL_WRITE, pages);
	if (got <= 0)
		return got ?: -EFAULT;
	ret = grip_note(mirror, pin, pages, got);
	return ret ?: got;
}

/**
 * godwit_grip_system() - bring the pages of a pin to RAM and pin them there.
 * @mirror: whose.
 * @pin: the pin, in the list of the mirror.
 *
 * Return: 0; otherwise it may hold some of them.
 */
int godwit_grip_system(struct godwit_mirror *mirror, struct godwit_pin *pin)
{
	unsigned long addr = pin->start, deadline = jiffies + HZ;
	unsigned int tries = 0;
	struct page **pages;
	long ret = 0;

	pages = kvcalloc(GODWIT_LEAF_ENTRIES, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return -ENOMEM;
	while (addr < pin->end) {
		ret = grip_some(mirror, pin, addr,
				min((pin->end - addr) >> PAGE_SHIFT, GODWIT_LEAF_ENTRIES), pages);
		if (ret > 0) {
			addr += ret * PAGE_SIZE;
			deadline = jiffies + HZ;
			tries = 0;
			ret = 0;
		} else if (ret != -EAGAIN || grip_gives_up(mirror, ++tries, deadline)) {
			break;
		}
		if (task_sigpending(current) && addr < pin->end) {
			ret = -EINTR;
			break;
		}
		cond_resched();
	}
	kvfree(pages);
	/* It says so of pages that cannot go where they may be pinned, and of what is no page. */
	return ret == -EAGAIN ? -EBUSY : ret == -EEXIST ? -EFAULT : ret;
}

static int grip_move(struct godwit_mirror *mirror, unsigned long start, unsigned long end)
{
	struct godwit_move move = {
		.cause = GODWIT_CAUSE_PIN,
		.to_vram = true,
		.patience = GODWIT_MOVE_PATIENCE,
	};
	int ret = godwit_migrate_range(mirror, start, end, &move);

	if (ret)
		return ret;
	if (move.stayed[GODWIT_STAY_HOLE])
		return -EFAULT;
	return move.moved + move.already == (end - start) >> PAGE_SHIFT ? 0 : -EBUSY;
}

/* Holds the pages of a leaf in VRAM, where all of them are there: -EAGAIN otherwise. */
static int grip_leaf(struct godwit_mirror *mirror, struct godwit_pin *pin, unsigned long start,
		     unsigned long end, unsigned long *pfns)
{
	struct godwit_look look = { .start = start, .end = end, .pfns = pfns };
	struct godwit_pin_page *pages = &pin->pages[(start - pin->start) >> PAGE_SHIFT];
	unsigned int i, count = (end - start) >> PAGE_SHIFT;
	int ret;

	look.chunk = godwit_chunk_get(mirror, start);
	if (IS_ERR(look.chunk))
		return PTR_ERR(look.chunk);
	ret = godwit_look(&look);
	if (ret)
		return ret;
	for (i = 0; i < count && !ret; i++) {
		struct page *page;

		if ((pfns[i] & HMM_PFN_ERROR) || !(pfns[i] & HMM_PFN_VALID)) {
			ret = -EAGAIN;
			break;
		}
		page = hmm_pfn_to_page(pfns[i]);
		if (!godwit_is_vram(page) || godwit_page_device(page) != mirror->gdev)
			ret = -EAGAIN;
	}
	spin_lock(&mirror->pin_lock);
	for (i = 0; i < count && !ret; i++) {
		unsigned long frame = godwit_page_frame(hmm_pfn_to_page(pfns[i]));

		if (godwit_vram_pin(&mirror->gdev->vram, frame, &pages[i].generation))
			pages[i].frame = frame;
		else
			ret = -EBUSY;
	}
	spin_unlock(&mirror->pin_lock);
	mutex_unlock(&look.chunk->lock);
	return ret;
}

/**
 * godwit_grip_vram() - bring the pages of a pin to VRAM and hold them there.
 * @mirror: whose.
 * @pin: the pin, in the list of the mirror.
 *
 * Return: as godwit_grip_system().
 */
int godwit_grip_vram(struct godwit_mirror *mirror, struct godwit_pin *pin)
{
	unsigned long pos, next, *pfns;
	unsigned int round;
	int ret;

	pfns = kvcalloc(GODWIT_LEAF_ENTRIES, sizeof(*pfns), GFP_KERNEL);
	if (!pfns)
		return -ENOMEM;
	ret = grip_move(mirror, pin->start, pin->end);
	for (pos = pin->start; pos < pin->end && !ret; pos = next) {
		next = godwit_span_end(pos, pin->end, GODWIT_LEAF_SIZE);
		for (round = 0; round < GRIP_ROUNDS; round++) {
			ret = grip_leaf(mirror, pin, pos, next, pfns);
			if (ret != -EAGAIN)
				break;
			ret = grip_move(mirror, pos, next) ?: -EBUSY;
			if (ret != -EBUSY)
				break;
		}
		cond_resched();
	}
	kvfree(pfns);
	return ret;
}
