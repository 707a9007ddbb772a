// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Held frames
 *
 * Overview: which frames must not be evicted, and why: pins, advice, objects
 * (&godwit_vram.hold). Eviction, and every way home but the access of a CPU, leave them alone.
 *
 * Locking: &godwit_vram.lock.
 */
#include <linux/mm.h>

#include "client.h"
#include "vram.h"

/**
 * godwit_vram_set_hold_locked() - why a frame must not be evicted.
 * @vram: the VRAM, its lock held.
 * @frame: a frame that somebody has.
 * @hold: &godwit_vram.hold; the counters of the block and of the owner follow.
 */
void godwit_vram_set_hold_locked(struct godwit_vram *vram, unsigned long frame, u16 hold)
{
	u16 before = vram->hold[frame];
	struct godwit_client *owner = vram->owner[frame];
	int advised = !!(hold & GODWIT_HOLD_ADVICE) - !!(before & GODWIT_HOLD_ADVICE);

	lockdep_assert_held(&vram->lock);
	if (hold && !before)
		godwit_frames_pin(&vram->frames, frame);
	if (!hold && before)
		godwit_frames_unpin(&vram->frames, frame);
	if (owner)
		owner->frames_advised += advised;
	vram->frames_advised += advised;
	vram->hold[frame] = hold;
}

/**
 * godwit_vram_held() - must any of these frames not be evicted?
 * @vram: the VRAM.
 * @frame: the first.
 * @count: how many.
 */
bool godwit_vram_held(struct godwit_vram *vram, unsigned long frame, unsigned int count)
{
	bool held = false;
	unsigned int i;

	spin_lock_irq(&vram->lock);
	for (i = 0; i < count && !held; i++)
		held = vram->hold[frame + i];
	spin_unlock_irq(&vram->lock);
	return held;
}

/**
 * godwit_vram_pin() - hold a frame for a pin.
 * @vram: the VRAM.
 * @frame: a frame with somebody's memory, which cannot leave at the moment.
 * @generation: out, for godwit_vram_unpin().
 *
 * Return: false where too many pins hold it.
 */
bool godwit_vram_pin(struct godwit_vram *vram, unsigned long frame, u32 *generation)
{
	u16 hold;
	bool ok;

	spin_lock_irq(&vram->lock);
	hold = vram->hold[frame];
	ok = (hold & GODWIT_HOLD_PINS) != GODWIT_HOLD_PINS;
	if (ok)
		godwit_vram_set_hold_locked(vram, frame, hold + 1);
	*generation = vram->generation[frame];
	spin_unlock_irq(&vram->lock);
	return ok;
}

/**
 * godwit_vram_unpin() - the end of godwit_vram_pin(). Any context.
 * @vram: the VRAM.
 * @frame: the frame; may be free, or somebody else's, by now.
 * @generation: as godwit_vram_pin() gave it.
 */
void godwit_vram_unpin(struct godwit_vram *vram, unsigned long frame, u32 generation)
{
	unsigned long flags;

	spin_lock_irqsave(&vram->lock, flags);
	if (vram->generation[frame] == generation && (vram->hold[frame] & GODWIT_HOLD_PINS))
		godwit_vram_set_hold_locked(vram, frame, vram->hold[frame] - 1);
	spin_unlock_irqrestore(&vram->lock, flags);
}

/**
 * godwit_vram_advise() - frames are in a range that was advised to be pinned,
 *	or no longer.
 * @vram: the VRAM.
 * @client: who advises; frames of others are left alone.
 * @frame: the first; they hold somebody's memory, and cannot leave at the
 *	moment.
 * @count: how many.
 * @pinned: which.
 *
 * Frames beyond max_pinned stay evictable: after mremap a frame can be held whose
 * address has no advice any more, and those must not add up, of one client or of several.
 */
void godwit_vram_advise(struct godwit_vram *vram, const struct godwit_client *client,
			unsigned long frame, unsigned int count, bool pinned)
{
	unsigned long limit_all = godwit_vram_max_pinned_all(vram);
	unsigned long limit = godwit_vram_max_pinned(vram), i;

	spin_lock_irq(&vram->lock);
	for (i = frame; i < frame + count; i++) {
		u16 hold = vram->hold[i] & ~GODWIT_HOLD_ADVICE;

		if (vram->owner[i] != client)
			continue;
		if (pinned && ((vram->hold[i] & GODWIT_HOLD_ADVICE) ||
			       (client->frames_advised < limit &&
				vram->frames_advised < limit_all)))
			hold |= GODWIT_HOLD_ADVICE;
		godwit_vram_set_hold_locked(vram, i, hold);
	}
	spin_unlock_irq(&vram->lock);
}

/**
 * godwit_vram_unadvise() - advice holds no frame of a client any more.
 * @vram: the VRAM.
 * @client: whose.
 */
void godwit_vram_unadvise(struct godwit_vram *vram, const struct godwit_client *client)
{
	unsigned long i, end;
	u16 hold;

	for (i = 0; i < vram->nr_frames && READ_ONCE(client->frames_advised); cond_resched()) {
		spin_lock_irq(&vram->lock);
		for (end = i + GODWIT_BLOCK_FRAMES; i < end; i++)
			if (vram->owner[i] == client) {
				hold = vram->hold[i] & ~GODWIT_HOLD_ADVICE;
				godwit_vram_set_hold_locked(vram, i, hold);
			}
		spin_unlock_irq(&vram->lock);
	}
}
