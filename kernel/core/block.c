// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Blocks of VRAM
 *
 * Overview: the order in which blocks of frames were last used, and the isolation of one that is
 * being evicted: nothing is taken from it until it joins the others again.
 *
 * Locking: &godwit_vram.lock, as in vram.c.
 */
#include "vram.h"

/**
 * godwit_vram_touch() - a frame was used: it is not the next to be evicted.
 * @vram: the VRAM.
 * @frame: the frame.
 */
void godwit_vram_touch(struct godwit_vram *vram, unsigned long frame)
{
	spin_lock_irq(&vram->lock);
	godwit_frames_touch(&vram->frames, frame / GODWIT_BLOCK_FRAMES, ++vram->clock);
	spin_unlock_irq(&vram->lock);
}

/**
 * godwit_vram_now() - the clock that orders uses.
 * @vram: the VRAM.
 */
u64 godwit_vram_now(struct godwit_vram *vram)
{
	u64 now;

	spin_lock_irq(&vram->lock);
	now = ++vram->clock;
	spin_unlock_irq(&vram->lock);
	return now;
}

/**
 * godwit_vram_oldest() - isolate the block that was used longest ago.
 * @vram: the VRAM.
 * @before: only blocks that were last used before this godwit_vram_now().
 *
 * Return: the block, isolated, or GODWIT_NO_BLOCK.
 */
unsigned long godwit_vram_oldest(struct godwit_vram *vram, u64 before)
{
	unsigned long block;

	spin_lock_irq(&vram->lock);
	block = godwit_frames_oldest(&vram->frames, before);
	if (block != GODWIT_NO_BLOCK && !godwit_frames_isolate(&vram->frames, block))
		block = GODWIT_NO_BLOCK;
	spin_unlock_irq(&vram->lock);
	return block;
}

/**
 * godwit_vram_isolate() - let nothing be taken from a block.
 * @vram: the VRAM.
 * @block: its index.
 */
bool godwit_vram_isolate(struct godwit_vram *vram, unsigned long block)
{
	bool ok;

	spin_lock_irq(&vram->lock);
	ok = godwit_frames_isolate(&vram->frames, block);
	spin_unlock_irq(&vram->lock);
	return ok;
}

/**
 * godwit_vram_isolated() - is a block being evicted?
 * @vram: the VRAM.
 * @block: its index.
 */
bool godwit_vram_isolated(struct godwit_vram *vram, unsigned long block)
{
	bool isolated;

	spin_lock_irq(&vram->lock);
	isolated = vram->frames.blocks[block].isolated;
	spin_unlock_irq(&vram->lock);
	return isolated;
}

/**
 * godwit_vram_rejoin() - the end of isolation.
 * @vram: the VRAM.
 * @block: its index.
 */
void godwit_vram_rejoin(struct godwit_vram *vram, unsigned long block)
{
	spin_lock_irq(&vram->lock);
	godwit_frames_rejoin(&vram->frames, block);
	spin_unlock_irq(&vram->lock);
	godwit_vram_wake(vram);
}

/**
 * godwit_vram_live() - the frames of a block that hold somebody's memory.
 * @vram: the VRAM.
 * @block: its index.
 * @client: only frames of this client, or NULL.
 * @held: also those that must not be evicted.
 * @frames: room for GODWIT_BLOCK_FRAMES, set in ascending order.
 *
 * Return: how many. Any of them may be freed as soon as this returns.
 */
unsigned int godwit_vram_live(struct godwit_vram *vram, unsigned long block,
			      const struct godwit_client *client, bool held,
			      unsigned long *frames)
{
	unsigned long first = block * GODWIT_BLOCK_FRAMES, i;
	unsigned int count = 0;

	spin_lock_irq(&vram->lock);
	for (i = first; i < first + GODWIT_BLOCK_FRAMES; i++) {
		if (vram->state[i] != GODWIT_FRAME_LIVE)
			continue;
		if (client && vram->owner[i] != client)
			continue;
		if (!held && vram->hold[i])
			continue;
		frames[count++] = i;
	}
	spin_unlock_irq(&vram->lock);
	return count;
}
