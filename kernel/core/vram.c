// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: VRAM frames
 *
 * Overview: which frame of VRAM is free, whose it is, and what may happen to it next. The free
 * map and the table of states are in ../state, and are tested without a kernel. Nothing here
 * touches the bytes of a frame. Which blocks are evicted is in block.c, and which frames must not
 * be in hold.c.
 *
 * A migration reserves frames (godwit_vram_reserve(), which evict.c surrounds with eviction),
 * takes those it needs when it knows them (godwit_vram_take(), cannot fail then) and gives the
 * rest of the reservation back. From then on a frame belongs to its folio: the last reference
 * to that calls godwit_vram_release(), wherever it is dropped.
 *
 * Locking: &godwit_vram.lock, a spinlock with interrupts off. Under it nothing sleeps, nothing
 * is allocated, and no other lock is taken.
 */
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "client.h"
#include "device.h"
#include "stats.h"
#include "vram.h"

/**
 * godwit_vram_init() - all frames free.
 * @vram: to be set.
 * @nr_frames: a multiple of GODWIT_BLOCK_FRAMES.
 */
int godwit_vram_init(struct godwit_vram *vram, unsigned long nr_frames)
{
	unsigned long nr_blocks = nr_frames / GODWIT_BLOCK_FRAMES;
	void *memory;

	spin_lock_init(&vram->lock);
	init_waitqueue_head(&vram->freed);
	vram->nr_frames = nr_frames;
	memory = kvzalloc(godwit_frames_bytes(nr_blocks), GFP_KERNEL);
	vram->state = kvcalloc(nr_frames, sizeof(*vram->state), GFP_KERNEL);
	vram->owner = kvcalloc(nr_frames, sizeof(*vram->owner), GFP_KERNEL);
	vram->hold = kvcalloc(nr_frames, sizeof(*vram->hold), GFP_KERNEL);
	vram->generation = kvcalloc(nr_frames, sizeof(*vram->generation), GFP_KERNEL);
	vram->lent = kvcalloc(nr_blocks, sizeof(*vram->lent), GFP_KERNEL);
	if (!memory || !vram->state || !vram->owner || !vram->hold || !vram->generation ||
	    !vram->lent) {
		kvfree(memory);
		godwit_vram_fini(vram);
		return -ENOMEM;
	}
	godwit_frames_init(&vram->frames, memory, nr_blocks);
	return 0;
}

/**
 * godwit_vram_fini() - free what godwit_vram_init() allocated.
 * @vram: all its frames are free, or it was never used.
 */
void godwit_vram_fini(struct godwit_vram *vram)
{
	kvfree(vram->frames.blocks);
	kvfree(vram->state);
	kvfree(vram->owner);
	kvfree(vram->hold);
	kvfree(vram->generation);
	kvfree(vram->lent);
	vram->lent = NULL;
	vram->hold = NULL;
	vram->generation = NULL;
	vram->frames.blocks = NULL;
	vram->state = NULL;
	vram->owner = NULL;
}

/**
 * godwit_vram_wake() - something was given back: whoever waits looks again.
 * @vram: the VRAM.
 */
void godwit_vram_wake(struct godwit_vram *vram)
{
	if (wq_has_sleeper(&vram->freed))
		wake_up_all(&vram->freed);
}

/**
 * godwit_vram_reserve() - promise free frames to the caller. Evicts nothing.
 * @vram: the VRAM.
 * @count: how many are wanted.
 *
 * Return: how many were reserved.
 */
unsigned long godwit_vram_reserve(struct godwit_vram *vram, unsigned long count)
{
	unsigned long got = 0;

	spin_lock_irq(&vram->lock);
	if (!vram->closed && !vram->asleep)
		got = godwit_frames_reserve(&vram->frames, count);
	spin_unlock_irq(&vram->lock);
	return got;
}

/**
 * godwit_vram_unreserve() - the rest of a reservation is not needed.
 * @vram: the VRAM.
 * @count: how many.
 */
void godwit_vram_unreserve(struct godwit_vram *vram, unsigned long count)
{
	if (!count)
		return;
	spin_lock_irq(&vram->lock);
	godwit_frames_unreserve(&vram->frames, count);
	spin_unlock_irq(&vram->lock);
	godwit_vram_wake(vram);
}

static bool vram_step(struct godwit_vram *vram, unsigned long frame, enum godwit_frame_event event)
{
	int next = godwit_frame_next(vram->state[frame], event);

	lockdep_assert_held(&vram->lock);
	if (WARN_ONCE(next == GODWIT_FRAME_NEVER, "godwit: frame %lu: %s while %s\n", frame,
		      godwit_frame_event_name(event), godwit_frame_state_name(vram->state[frame])))
		return false;
	vram->state[frame] = next;
	return true;
}

/* The same for frames that follow each other; as a rule all are in one state. */
static void vram_step_all(struct godwit_vram *vram, unsigned long frame, unsigned int count,
			  enum godwit_frame_event event)
{
	unsigned int i;

	if (!memchr_inv(&vram->state[frame], vram->state[frame], count)) {
		if (vram_step(vram, frame, event))
			memset(&vram->state[frame], vram->state[frame], count);
		return;
	}
	for (i = 0; i < count; i++)
		vram_step(vram, frame + i, event);
}

/**
 * godwit_vram_take() - take frames that the caller has reserved.
 * @gdev: the device.
 * @client: to whom they are accounted, NULL for nobody.
 * @count: in, the most that are wanted; out, how many were taken. GODWIT_BLOCK_FRAMES are a
 *	whole block, if there is one that is free.
 *
 * Return: the first frame of consecutive ones, or GODWIT_NO_FRAME where the reservation is used
 * up.
 */
unsigned long godwit_vram_take(struct godwit_device *gdev, struct godwit_client *client,
			       unsigned int *count)
{
	struct godwit_vram *vram = &gdev->vram;
	unsigned long frame = GODWIT_NO_FRAME;

	spin_lock_irq(&vram->lock);
	if (*count == GODWIT_BLOCK_FRAMES)
		frame = godwit_frames_take_block(&vram->frames);
	if (frame == GODWIT_NO_FRAME)
		frame = godwit_frames_take_run(&vram->frames, GODWIT_NO_BLOCK, count);
	if (frame != GODWIT_NO_FRAME) {
		vram_step_all(vram, frame, *count, GODWIT_FRAME_TAKE);
		memset_p((void **)&vram->owner[frame], client, *count);
		godwit_frames_touch(&vram->frames, frame / GODWIT_BLOCK_FRAMES, ++vram->clock);
	}
	spin_unlock_irq(&vram->lock);
	if (frame == GODWIT_NO_FRAME)
		return frame;

	if (client) {
		godwit_client_get_many(client, *count);
		godwit_stat_vram(gdev, client, (s64)*count << PAGE_SHIFT);
	}
	return frame;
}

/**
 * godwit_vram_event() - move frames on to their next state.
 * @vram: the VRAM.
 * @frame: the first.
 * @count: how many.
 * @event: anything but TAKE and RELEASE.
 */
void godwit_vram_event(struct godwit_vram *vram, unsigned long frame, unsigned int count,
		       enum godwit_frame_event event)
{
	unsigned int i;

	spin_lock_irq(&vram->lock);
	vram_step_all(vram, frame, count, event);
	for (i = 0; i < count && event == GODWIT_FRAME_BIND; i++)
		godwit_vram_set_hold_locked(vram, frame + i, GODWIT_HOLD_OBJECT);
	spin_unlock_irq(&vram->lock);
}

/* With the lock: is a frame somebody's memory, and may it leave? */
static bool vram_may_leave(const struct godwit_vram *vram, unsigned long frame, u16 held)
{
	return vram->state[frame] == GODWIT_FRAME_LIVE && !(vram->hold[frame] & ~held);
}

/**
 * godwit_vram_leave() - frames are about to leave VRAM.
 * @vram: the VRAM.
 * @frame: the first.
 * @count: how many.
 * @whole: all of them leave or none does.
 * @held: what may hold one that leaves all the same, of &godwit_vram.hold.
 *
 * Return: how many of them became LEAVING, from the first one on: up to one that is not LIVE,
 * or is held. Whoever looks for pages without their page tables (evict.c) can lock one that has
 * just moved elsewhere and waits for its last reference to go: that one must not move again.
 */
unsigned int godwit_vram_leave(struct godwit_vram *vram, unsigned long frame, unsigned int count,
			       bool whole, u16 held)
{
	unsigned int may = 0;

	spin_lock_irq(&vram->lock);
	while (may < count && vram_may_leave(vram, frame + may, held))
		may++;
	if (whole && may < count)
		may = 0;
	if (may)
		vram_step_all(vram, frame, may, GODWIT_FRAME_LEAVE);
	spin_unlock_irq(&vram->lock);
	return may;
}

/**
 * godwit_vram_left() - frames were copied home, and their pages switched.
 * @gdev: the device.
 * @frame: the first, LEAVING, of pages that the caller has locked.
 * @count: in, how many at most; out, how many from the first one on are accounted to the same
 *	client. They are accounted to nobody from now on.
 *
 * Return: that client, with as many references as the frames had, for
 * godwit_client_put_many(); or NULL.
 */
struct godwit_client *godwit_vram_left(struct godwit_device *gdev, unsigned long frame,
				       unsigned int *count)
{
	struct godwit_vram *vram = &gdev->vram;
	struct godwit_client *owner;
	unsigned int i;

	spin_lock_irq(&vram->lock);
	owner = vram->owner[frame];
	for (i = 0; i < *count && vram->owner[frame + i] == owner; i++) {
		/* What holds a frame counts for its owner. */
		if (vram->hold[frame + i])
			godwit_vram_set_hold_locked(vram, frame + i, 0);
		vram->owner[frame + i] = NULL;
	}
	spin_unlock_irq(&vram->lock);
	*count = i;
	if (owner)
		godwit_stat_vram(gdev, owner, -((s64)i << PAGE_SHIFT));
	return owner;
}

/**
 * godwit_vram_release() - frames are free. From any context.
 * @gdev: the device.
 * @frame: the first.
 * @count: how many.
 */
void godwit_vram_release(struct godwit_device *gdev, unsigned long frame, unsigned int count)
{
	struct godwit_vram *vram = &gdev->vram;
	unsigned int i, same = 0;
	struct godwit_client *owner = NULL;
	unsigned long flags;

	spin_lock_irqsave(&vram->lock, flags);
	for (i = 0; i < count; i++) {
		if (!vram_step(vram, frame + i, GODWIT_FRAME_RELEASE))
			continue;
		/* The frames of a folio that was split can have one owner only: it moved as one. */
		if (vram->hold[frame + i])
			godwit_vram_set_hold_locked(vram, frame + i, 0);
		vram->generation[frame + i]++;
		owner = vram->owner[frame + i];
		vram->owner[frame + i] = NULL;
		WARN_ON_ONCE(!godwit_frames_give(&vram->frames, frame + i));
		same++;
	}
	spin_unlock_irqrestore(&vram->lock, flags);

	if (owner) {
		godwit_stat_vram(gdev, owner, -((s64)same << PAGE_SHIFT));
		godwit_client_put_many(owner, same);
	}
	godwit_vram_wake(vram);
}

/**
 * godwit_vram_owner_get() - to whom a frame is accounted.
 * @vram: the VRAM.
 * @frame: a frame whose page the caller has locked.
 *
 * Return: the client, with a reference, or NULL.
 */
struct godwit_client *godwit_vram_owner_get(struct godwit_vram *vram, unsigned long frame)
{
	struct godwit_client *client;

	spin_lock_irq(&vram->lock);
	client = vram->owner[frame];
	if (client)
		godwit_client_get_many(client, 1);
	spin_unlock_irq(&vram->lock);
	return client;
}

/**
 * godwit_vram_close() - let nobody reserve frames any more.
 * @vram: the VRAM.
 */
void godwit_vram_close(struct godwit_vram *vram)
{
	spin_lock_irq(&vram->lock);
	vram->closed = true;
	spin_unlock_irq(&vram->lock);
}

/**
 * godwit_vram_set_asleep() - let nobody reserve frames for a while.
 * @vram: the VRAM.
 * @asleep: whether.
 */
void godwit_vram_set_asleep(struct godwit_vram *vram, bool asleep)
{
	spin_lock_irq(&vram->lock);
	vram->asleep = asleep;
	spin_unlock_irq(&vram->lock);
}

/**
 * godwit_vram_empty() - nobody has a frame, or is about to.
 * @vram: the VRAM.
 */
bool godwit_vram_empty(struct godwit_vram *vram)
{
	bool empty;

	spin_lock_irq(&vram->lock);
	empty = !vram->frames.nr_used && !vram->frames.nr_reserved;
	spin_unlock_irq(&vram->lock);
	return empty;
}

/**
 * godwit_vram_used() - frames that somebody has.
 * @vram: the VRAM.
 */
unsigned long godwit_vram_used(struct godwit_vram *vram)
{
	return READ_ONCE(vram->frames.nr_used);
}

/**
 * godwit_vram_available() - frames that could be reserved without eviction.
 * @vram: the VRAM.
 */
unsigned long godwit_vram_available(struct godwit_vram *vram)
{
	unsigned long available;

	spin_lock_irq(&vram->lock);
	available = vram->frames.nr_free - vram->frames.nr_reserved;
	spin_unlock_irq(&vram->lock);
	return available;
}

/**
 * godwit_vram_free() - frames that nobody has.
 * @vram: the VRAM.
 */
unsigned long godwit_vram_free(struct godwit_vram *vram)
{
	return vram->nr_frames - godwit_vram_used(vram);
}
