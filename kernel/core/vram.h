/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_VRAM_H_
#define _GODWIT_VRAM_H_

#include <linux/atomic.h>
#include <linux/bits.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "../state/frame_state.h"
#include "../state/frames.h"

struct godwit_client;
struct godwit_device;

#define GODWIT_HOLD_ADVICE	BIT(15)
#define GODWIT_HOLD_OBJECT	BIT(14)
#define GODWIT_HOLD_PINS	(BIT(14) - 1)

/**
 * struct godwit_vram - who has which frame of a device's VRAM.
 */
struct godwit_vram {
	/**
	 * @lock: protects all members but @pinned and @lent. Innermost but for
	 * &godwit_client.ring_lock; interrupts are off, since the last reference to a page can
	 * go anywhere.
	 */
	spinlock_t lock;
	/** @frames: which are free. */
	struct godwit_frames frames;
	/** @state: &enum godwit_frame_state of each frame. */
	u8 *state;
	/** @owner: to whom each used frame is accounted; each holds a reference. NULL: nobody. */
	struct godwit_client **owner;
	/**
	 * @hold: of each frame, why it must not be evicted: GODWIT_HOLD_ADVICE,
	 * and in the other bits how many pins hold it. An object's frames have
	 * GODWIT_HOLD_OBJECT. 0 once the frame is free.
	 */
	u16 *hold;
	/**
	 * @generation: of each frame, counts how often it was given back. Tells
	 * whether a frame still is the one that somebody pinned.
	 */
	u32 *generation;
	/** @clock: counts uses; orders blocks by their last one. */
	u64 clock;
	/** @closed: no frame is reserved any more. */
	bool closed;
	/** @asleep: none for as long as this says so (sleep.c). */
	bool asleep;
	/** @freed: wakes whoever waits for frames to be given back. */
	wait_queue_head_t freed;
	/** @nr_frames: size. */
	unsigned long nr_frames;
	/** @pinned: frames charged against godwit_vram_max_pinned_all(); see pin.c. No lock. */
	atomic_long_t pinned;
	/** @lent: of each block, how many pages snapshots hold (lent.c). No lock. */
	atomic_long_t *lent;
	/** @frames_advised: frames that advice holds, of all clients. */
	unsigned long frames_advised;
};

/* Frames that one client may hold: the others must be left something to evict. */
static inline unsigned long godwit_vram_max_pinned(const struct godwit_vram *vram)
{
	return vram->nr_frames / 2;
}

/* That all of them may hold together: a client is a descriptor, and anybody can have many. */
static inline unsigned long godwit_vram_max_pinned_all(const struct godwit_vram *vram)
{
	return vram->nr_frames / 4 * 3;
}

int godwit_vram_init(struct godwit_vram *vram, unsigned long nr_frames);
void godwit_vram_fini(struct godwit_vram *vram);
void godwit_vram_wake(struct godwit_vram *vram);

unsigned long godwit_vram_reserve(struct godwit_vram *vram, unsigned long count);
void godwit_vram_unreserve(struct godwit_vram *vram, unsigned long count);
unsigned long godwit_vram_take(struct godwit_device *gdev, struct godwit_client *client,
			       unsigned int *count);
void godwit_vram_event(struct godwit_vram *vram, unsigned long frame, unsigned int count,
		       enum godwit_frame_event event);
unsigned int godwit_vram_leave(struct godwit_vram *vram, unsigned long frame, unsigned int count,
			       bool whole, u16 held);
struct godwit_client *godwit_vram_left(struct godwit_device *gdev, unsigned long frame,
				       unsigned int *count);
void godwit_vram_release(struct godwit_device *gdev, unsigned long frame, unsigned int count);
struct godwit_client *godwit_vram_owner_get(struct godwit_vram *vram, unsigned long frame);
void godwit_vram_close(struct godwit_vram *vram);
void godwit_vram_set_asleep(struct godwit_vram *vram, bool asleep);
bool godwit_vram_empty(struct godwit_vram *vram);

void godwit_vram_touch(struct godwit_vram *vram, unsigned long frame);
unsigned long godwit_vram_oldest(struct godwit_vram *vram, u64 before);
u64 godwit_vram_now(struct godwit_vram *vram);
bool godwit_vram_isolate(struct godwit_vram *vram, unsigned long block);
bool godwit_vram_isolated(struct godwit_vram *vram, unsigned long block);
void godwit_vram_rejoin(struct godwit_vram *vram, unsigned long block);
unsigned int godwit_vram_live(struct godwit_vram *vram, unsigned long block,
			      const struct godwit_client *client, bool held,
			      unsigned long *frames);

void godwit_vram_set_hold_locked(struct godwit_vram *vram, unsigned long frame, u16 hold);
bool godwit_vram_held(struct godwit_vram *vram, unsigned long frame, unsigned int count);
bool godwit_vram_pin(struct godwit_vram *vram, unsigned long frame, u32 *generation);
void godwit_vram_unpin(struct godwit_vram *vram, unsigned long frame, u32 generation);
void godwit_vram_advise(struct godwit_vram *vram, const struct godwit_client *client,
			unsigned long frame, unsigned int count, bool pinned);
void godwit_vram_unadvise(struct godwit_vram *vram, const struct godwit_client *client);
unsigned long godwit_vram_used(struct godwit_vram *vram);
unsigned long godwit_vram_available(struct godwit_vram *vram);
unsigned long godwit_vram_free(struct godwit_vram *vram);

#endif /* _GODWIT_VRAM_H_ */
