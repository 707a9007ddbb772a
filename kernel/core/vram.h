/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_VRAM_H_
#define _GODWIT_VRAM_H_

#include <linux/spinlock.h>
#include <linux/wait.h>

#include "../state/frame_state.h"
#include "../state/frames.h"

struct godwit_client;
struct godwit_device;

/**
 * struct godwit_vram - who has which frame of a device's VRAM.
 */
struct godwit_vram {
	/**
	 * @lock: protects all members. Innermost but for &godwit_client.ring_lock; interrupts
	 * are off, since the last reference to a page can go anywhere.
	 */
	spinlock_t lock;
	/** @frames: which are free. */
	struct godwit_frames frames;
	/** @state: &enum godwit_frame_state of each frame. */
	u8 *state;
	/** @owner: to whom each used frame is accounted; each holds a reference. */
	struct godwit_client **owner;
	/** @clock: counts uses; orders blocks by their last one. */
	u64 clock;
	/** @closed: no frame is reserved any more. */
	bool closed;
	/** @freed: wakes whoever waits for frames to be given back. */
	wait_queue_head_t freed;
	/** @nr_frames: size. */
	unsigned long nr_frames;
};

int godwit_vram_init(struct godwit_vram *vram, unsigned long nr_frames);
void godwit_vram_fini(struct godwit_vram *vram);

unsigned long godwit_vram_reserve(struct godwit_vram *vram, unsigned long count);
void godwit_vram_unreserve(struct godwit_vram *vram, unsigned long count);
unsigned long godwit_vram_take(struct godwit_device *gdev, struct godwit_client *client,
			       unsigned int *count);
void godwit_vram_event(struct godwit_vram *vram, unsigned long frame, unsigned int count,
		       enum godwit_frame_event event);
bool godwit_vram_leave(struct godwit_vram *vram, unsigned long frame, unsigned int count);
void godwit_vram_release(struct godwit_device *gdev, unsigned long frame, unsigned int count);
void godwit_vram_touch(struct godwit_vram *vram, unsigned long frame);
struct godwit_client *godwit_vram_owner_get(struct godwit_vram *vram, unsigned long frame);
void godwit_vram_close(struct godwit_vram *vram);

unsigned long godwit_vram_oldest(struct godwit_vram *vram, u64 before);
u64 godwit_vram_now(struct godwit_vram *vram);
bool godwit_vram_isolate(struct godwit_vram *vram, unsigned long block);
void godwit_vram_rejoin(struct godwit_vram *vram, unsigned long block);
unsigned int godwit_vram_live(struct godwit_vram *vram, unsigned long block,
			      const struct godwit_client *client, unsigned long *frames);
unsigned long godwit_vram_used(struct godwit_vram *vram);
unsigned long godwit_vram_free(struct godwit_vram *vram);

#endif /* _GODWIT_VRAM_H_ */
