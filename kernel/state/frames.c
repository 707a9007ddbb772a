// SPDX-License-Identifier: GPL-2.0-only
#include "frames.h"

static unsigned long map_words(unsigned long nr_blocks)
{
	return (nr_blocks + 63) / 64;
}

static void map_set(u64 *map, unsigned long bit, bool value)
{
	if (value)
		map[bit / 64] |= (u64)1 << (bit % 64);
	else
		map[bit / 64] &= ~((u64)1 << (bit % 64));
}

static bool map_test(const u64 *map, unsigned long bit)
{
	return (map[bit / 64] >> (bit % 64)) & 1;
}

static unsigned long map_first(const u64 *map, unsigned long words)
{
	unsigned long i;

	for (i = 0; i < words; i++)
		if (map[i])
			return i * 64 + godwit_lowest_bit(map[i]);
	return GODWIT_NO_BLOCK;
}

/* Puts a block into the maps that its counters say, after either has changed. */
static void block_classify(struct godwit_frames *frames, unsigned long index)
{
	const struct godwit_block *block = &frames->blocks[index];

	map_set(frames->empty, index, !block->isolated && !block->nr_used);
	map_set(frames->partial, index, !block->isolated && block->nr_used &&
		block->nr_used < GODWIT_BLOCK_FRAMES);
}

static unsigned long block_free(const struct godwit_block *block)
{
	return GODWIT_BLOCK_FRAMES - block->nr_used;
}

/* Its free frames must not be promised to anybody. */
static bool can_isolate(const struct godwit_frames *frames, const struct godwit_block *block)
{
	return !block->isolated && frames->nr_free - frames->nr_reserved >= block_free(block);
}

/**
 * godwit_frames_bytes() - memory that godwit_frames_init() needs.
 * @nr_blocks: number of blocks.
 */
size_t godwit_frames_bytes(unsigned long nr_blocks)
{
	return nr_blocks * sizeof(struct godwit_block) + 2 * map_words(nr_blocks) * sizeof(u64);
}

/**
 * godwit_frames_init() - all frames free.
 * @frames: to be set.
 * @memory: of godwit_frames_bytes(), zeroed; the caller frees it.
 * @nr_blocks: number of blocks.
 */
void godwit_frames_init(struct godwit_frames *frames, void *memory, unsigned long nr_blocks)
{
	unsigned long i;

	memset(frames, 0, sizeof(*frames));
	frames->blocks = memory;
	frames->empty = (u64 *)(frames->blocks + nr_blocks);
	frames->partial = frames->empty + map_words(nr_blocks);
	frames->nr_blocks = nr_blocks;
	frames->nr_free = nr_blocks * GODWIT_BLOCK_FRAMES;
	for (i = 0; i < nr_blocks; i++)
		block_classify(frames, i);
}

/**
 * godwit_frames_reserve() - promise frames to somebody.
 * @frames: the frames.
 * @count: how many are wanted.
 *
 * Return: how many were reserved, at most @count.
 */
unsigned long godwit_frames_reserve(struct godwit_frames *frames, unsigned long count)
{
	unsigned long available = frames->nr_free - frames->nr_reserved;

	if (count > available)
		count = available;
	frames->nr_reserved += count;
	return count;
}

/**
 * godwit_frames_unreserve() - the promise is not needed any more.
 * @frames: the frames.
 * @count: how many.
 */
void godwit_frames_unreserve(struct godwit_frames *frames, unsigned long count)
{
	frames->nr_reserved -= count;
}

/* Marks up to @want free frames from @first on, as far as they follow each other. */
static unsigned int block_take_run(struct godwit_block *block, unsigned int first,
				   unsigned int want)
{
	unsigned int count = 0;

	while (count < want && first + count < GODWIT_BLOCK_FRAMES) {
		u64 *word = &block->used[(first + count) / 64];
		unsigned int bit = (first + count) % 64;
		u64 rest = *word >> bit;
		unsigned int free = rest ? godwit_lowest_bit(rest) : 64 - bit;

		if (!free)
			break;
		if (free > want - count)
			free = want - count;
		*word |= (free < 64 ? ((u64)1 << free) - 1 : ~(u64)0) << bit;
		count += free;
	}
	block->nr_used = (u16)(block->nr_used + count);
	return count;
}

/**
 * godwit_frames_take_run() - take reserved frames that follow each other.
 * @frames: the frames.
 * @near_block: block to prefer, or GODWIT_NO_BLOCK.
 * @count: in, the most that are wanted, not zero; out, how many were taken, of one block.
 *
 * Return: the first frame; GODWIT_NO_FRAME only where nothing was reserved.
 */
unsigned long godwit_frames_take_run(struct godwit_frames *frames, unsigned long near_block,
				     unsigned int *count)
{
	unsigned long words = map_words(frames->nr_blocks);
	struct godwit_block *block;
	unsigned long index;
	unsigned int i, first;

	if (!frames->nr_reserved)
		return GODWIT_NO_FRAME;
	if (near_block < frames->nr_blocks && map_test(frames->partial, near_block)) {
		index = near_block;
	} else {
		index = map_first(frames->partial, words);
		if (index == GODWIT_NO_BLOCK)
			index = map_first(frames->empty, words);
		if (index == GODWIT_NO_BLOCK)
			return GODWIT_NO_FRAME;
	}
	if (*count > frames->nr_reserved)
		*count = (unsigned int)frames->nr_reserved;

	block = &frames->blocks[index];
	for (i = 0; i < GODWIT_BLOCK_WORDS; i++) {
		if (!~block->used[i])
			continue;
		first = i * 64 + godwit_lowest_bit(~block->used[i]);
		*count = block_take_run(block, first, *count);
		frames->nr_free -= *count;
		frames->nr_reserved -= *count;
		frames->nr_used += *count;
		block_classify(frames, index);
		return index * GODWIT_BLOCK_FRAMES + first;
	}
	return GODWIT_NO_FRAME;
}

/**
 * godwit_frames_take() - take one reserved frame.
 * @frames: the frames.
 * @near_block: block to prefer, or GODWIT_NO_BLOCK.
 *
 * Return: the frame; GODWIT_NO_FRAME only where nothing was reserved.
 */
unsigned long godwit_frames_take(struct godwit_frames *frames, unsigned long near_block)
{
	unsigned int count = 1;

	return godwit_frames_take_run(frames, near_block, &count);
}

/**
 * godwit_frames_take_block() - take a whole block, 512 reserved frames.
 * @frames: the frames.
 *
 * Return: the first frame; GODWIT_NO_FRAME where fewer are reserved, or no block is empty.
 */
unsigned long godwit_frames_take_block(struct godwit_frames *frames)
{
	unsigned long index;
	struct godwit_block *block;

	if (frames->nr_reserved < GODWIT_BLOCK_FRAMES)
		return GODWIT_NO_FRAME;
	index = map_first(frames->empty, map_words(frames->nr_blocks));
	if (index == GODWIT_NO_BLOCK)
		return GODWIT_NO_FRAME;
	block = &frames->blocks[index];
	memset(block->used, 0xff, sizeof(block->used));
	block->nr_used = GODWIT_BLOCK_FRAMES;
	frames->nr_free -= GODWIT_BLOCK_FRAMES;
	frames->nr_reserved -= GODWIT_BLOCK_FRAMES;
	frames->nr_used += GODWIT_BLOCK_FRAMES;
	block_classify(frames, index);
	return index * GODWIT_BLOCK_FRAMES;
}

/**
 * godwit_frames_give() - give a frame back.
 * @frames: the frames.
 * @frame: the frame.
 *
 * Return: false, and nothing changed, where the frame was free.
 */
bool godwit_frames_give(struct godwit_frames *frames, unsigned long frame)
{
	unsigned long index = frame / GODWIT_BLOCK_FRAMES;
	unsigned long bit = frame % GODWIT_BLOCK_FRAMES;
	struct godwit_block *block;

	if (index >= frames->nr_blocks || !godwit_frames_used(frames, frame))
		return false;
	block = &frames->blocks[index];
	block->used[bit / 64] &= ~((u64)1 << (bit % 64));
	block->nr_used--;
	frames->nr_used--;
	if (!block->isolated)
		frames->nr_free++;
	/* In between it is in the same map as before. */
	if (!block->nr_used || block->nr_used == GODWIT_BLOCK_FRAMES - 1)
		block_classify(frames, index);
	return true;
}

/**
 * godwit_frames_pin() - a frame must not be evicted any more.
 * @frames: the frames.
 * @frame: a frame that somebody has, not pinned.
 */
void godwit_frames_pin(struct godwit_frames *frames, unsigned long frame)
{
	frames->blocks[frame / GODWIT_BLOCK_FRAMES].nr_pinned++;
}

/**
 * godwit_frames_unpin() - the end of godwit_frames_pin(), before the frame is
 *	given back.
 * @frames: the frames.
 * @frame: a frame that is pinned.
 */
void godwit_frames_unpin(struct godwit_frames *frames, unsigned long frame)
{
	frames->blocks[frame / GODWIT_BLOCK_FRAMES].nr_pinned--;
}

/**
 * godwit_frames_isolate() - let nothing be taken from a block.
 * @frames: the frames.
 * @block: index of the block.
 *
 * Return: false where it is isolated already, or where its free frames are promised to
 * somebody.
 */
bool godwit_frames_isolate(struct godwit_frames *frames, unsigned long block)
{
	struct godwit_block *b = &frames->blocks[block];

	if (!can_isolate(frames, b))
		return false;
	b->isolated = true;
	frames->nr_free -= block_free(b);
	block_classify(frames, block);
	return true;
}

/**
 * godwit_frames_rejoin() - the end of godwit_frames_isolate().
 * @frames: the frames.
 * @block: index of the block.
 */
void godwit_frames_rejoin(struct godwit_frames *frames, unsigned long block)
{
	struct godwit_block *b = &frames->blocks[block];

	if (!b->isolated)
		return;
	b->isolated = false;
	frames->nr_free += block_free(b);
	block_classify(frames, block);
}

/**
 * godwit_frames_oldest() - the block to evict first.
 * @frames: the frames.
 * @before: only blocks that were last used before.
 *
 * Return: the block that was used longest ago among those that can be isolated and have a frame
 * which can be evicted, or GODWIT_NO_BLOCK.
 */
unsigned long godwit_frames_oldest(const struct godwit_frames *frames, u64 before)
{
	unsigned long best = GODWIT_NO_BLOCK;
	unsigned long i;

	for (i = 0; i < frames->nr_blocks; i++) {
		const struct godwit_block *block = &frames->blocks[i];

		if (block->nr_used == block->nr_pinned || block->last_use >= before ||
		    !can_isolate(frames, block))
			continue;
		best = i;
		before = block->last_use;
	}
	return best;
}
