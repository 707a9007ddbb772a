/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_CLIENT_H_
#define _GODWIT_CLIENT_H_

#include <linux/atomic.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/spinlock.h>

#include "stats.h"

struct drm_device;
struct drm_file;
struct godwit_device;
struct godwit_queue;
struct godwit_ring;

/**
 * struct godwit_client - an open render node, and who owns frames of VRAM.
 *
 * Outlives the descriptor for as long as a frame of VRAM is accounted to it: after a fork a
 * child's pages can do that.
 */
struct godwit_client {
	/** @refs: the descriptor has one, every frame has one, whoever looks has one. */
	refcount_t refs;
	/** @gdev: the device. Valid while the descriptor is open or a frame is accounted. */
	struct godwit_device *gdev;
	/** @id: names it to user space, unique on its device, never 0. */
	u32 id;
	/** @stats: its counters. */
	struct godwit_stats stats;

	/** @views: how many there are. */
	atomic_t views;

	/** @exports: how many there are. */
	atomic_t exports;

	/** @pinned: frames of VRAM charged against max_pinned; see pin.c. */
	atomic_long_t pinned;
	/** @next_pin: the last handle of a pin. */
	atomic_t next_pin;
	/**
	 * @frames_advised: frames of its that advice holds in VRAM. Under
	 * &godwit_vram.lock.
	 */
	unsigned long frames_advised;

	/**
	 * @lock: protects @mirrors and @queue. Outermost; held across attaching and detaching,
	 * and across stopping the queue.
	 */
	struct mutex lock;
	/** @mirrors: address spaces that use this descriptor. */
	struct list_head mirrors;
	/** @queue: made by the first job, stays to the end; or NULL. */
	struct godwit_queue *queue;

	/** @advise_lock: held by the one call that changes what advice pins; see advise.c. */
	struct mutex advise_lock;

	/** @ring_lock: protects @ring; innermost, taken anywhere, interrupts off. */
	spinlock_t ring_lock;
	/** @ring: event ring, or NULL. */
	struct godwit_ring *ring;
};

int godwit_client_open(struct drm_device *drm, struct drm_file *file);
void godwit_client_close(struct drm_device *drm, struct drm_file *file);

struct godwit_client *godwit_client_find(struct godwit_device *gdev, u32 id);

static inline void godwit_client_get_many(struct godwit_client *client, unsigned int count)
{
	refcount_add(count, &client->refs);
}

void godwit_client_put_many(struct godwit_client *client, unsigned int count);

static inline void godwit_client_put(struct godwit_client *client)
{
	godwit_client_put_many(client, 1);
}

#endif /* _GODWIT_CLIENT_H_ */
