/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_STATE_FRAMES_H_
#define _GODWIT_STATE_FRAMES_H_

#include "types.h"

/**
 * DOC: Which frames of VRAM are free
 *
 * Frames are grouped into blocks of 512 (2 MiB with pages of 4 KiB). Small pages are taken from
 * blocks that are in use already, so that whole blocks remain for huge pages; eviction works
 * block by block, the one that was used longest ago first.
 *
 * Reservation: a migration reserves frames before it locks anything, and takes them when it
 * knows which it needs. Taking what was reserved cannot fail, which is why nothing is ever
 * evicted while pages are locked. available = free frames outside isolated blocks - reserved
 * frames, and never negative.
 *
 * Isolation: while a block is evicted, nothing is taken from it, so that the eviction converges
 * and the block ends up empty. Frames that are given back to it become available when it ends.
 *
 * No locking here; the caller has one lock around all calls.
 */

#define GODWIT_BLOCK_FRAMES	512u
#define GODWIT_BLOCK_WORDS	(GODWIT_BLOCK_FRAMES / 64)
#define GODWIT_NO_FRAME		(~0UL)
#define GODWIT_NO_BLOCK		(~0UL)

/**
 * struct godwit_block - 512 frames.
 */
struct godwit_block {
	/** @used: a set bit is a frame that somebody has. */
	u64 used[GODWIT_BLOCK_WORDS];
	/** @last_use: of any frame of it, by the clock of the caller. */
	u64 last_use;
	/** @nr_used: bits set in @used. */
	u16 nr_used;
	/** @nr_pinned: those of @nr_used that must not be evicted. */
	u16 nr_pinned;
	/** @isolated: nothing may be taken from it. */
	bool isolated;
};

/**
 * struct godwit_frames - all blocks of a VRAM.
 */
struct godwit_frames {
	/** @blocks: array of @nr_blocks. */
	struct godwit_block *blocks;
	/** @empty: bit map of blocks that are wholly free and not isolated. */
	u64 *empty;
	/** @partial: bit map of blocks that are partly free and not isolated. */
	u64 *partial;
	/** @nr_blocks: number of blocks. */
	unsigned long nr_blocks;
	/** @nr_free: free frames outside isolated blocks. */
	unsigned long nr_free;
	/** @nr_reserved: of @nr_free, promised to somebody. */
	unsigned long nr_reserved;
	/** @nr_used: frames that somebody has, isolated blocks included. */
	unsigned long nr_used;
};

size_t godwit_frames_bytes(unsigned long nr_blocks);
void godwit_frames_init(struct godwit_frames *frames, void *memory, unsigned long nr_blocks);

unsigned long godwit_frames_reserve(struct godwit_frames *frames, unsigned long count);
void godwit_frames_unreserve(struct godwit_frames *frames, unsigned long count);

unsigned long godwit_frames_take(struct godwit_frames *frames, unsigned long near_block);
unsigned long godwit_frames_take_run(struct godwit_frames *frames, unsigned long near_block,
				     unsigned int *count);
unsigned long godwit_frames_take_block(struct godwit_frames *frames);
bool godwit_frames_give(struct godwit_frames *frames, unsigned long frame);

void godwit_frames_pin(struct godwit_frames *frames, unsigned long frame);
void godwit_frames_unpin(struct godwit_frames *frames, unsigned long frame);

bool godwit_frames_isolate(struct godwit_frames *frames, unsigned long block);
void godwit_frames_rejoin(struct godwit_frames *frames, unsigned long block);
unsigned long godwit_frames_oldest(const struct godwit_frames *frames, u64 before);

static inline void godwit_frames_touch(struct godwit_frames *frames, unsigned long block, u64 now)
{
	if (frames->blocks[block].last_use < now)
		frames->blocks[block].last_use = now;
}

static inline bool godwit_frames_used(const struct godwit_frames *frames, unsigned long frame)
{
	const struct godwit_block *block = &frames->blocks[frame / GODWIT_BLOCK_FRAMES];
	unsigned long bit = frame % GODWIT_BLOCK_FRAMES;

	return (block->used[bit / 64] >> (bit % 64)) & 1;
}

#endif /* _GODWIT_STATE_FRAMES_H_ */
