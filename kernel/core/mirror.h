/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_MIRROR_H_
#define _GODWIT_MIRROR_H_

#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>
#include <linux/xarray.h>

struct drm_device;
struct drm_file;
struct godwit_client;
struct godwit_device;
struct mm_struct;

/**
 * struct godwit_mirror - what a device knows of one address space, on behalf of one client.
 */
struct godwit_mirror {
	/** @refs: one for the list of the client, one for whoever uses it. */
	struct kref refs;
	/** @link: in &godwit_client.mirrors, under &godwit_client.lock. */
	struct list_head link;
	/** @client: whose; a reference. */
	struct godwit_client *client;
	/** @gdev: the device. */
	struct godwit_device *gdev;
	/**
	 * @mm: the address space; mmgrab: its users must be taken (mmget_not_zero) to use it.
	 */
	struct mm_struct *mm;
	/** @id: names it in events and to the device (asid), never 0. */
	u32 id;
	/** @dead: the address space has ended. Set in the notifier, never unset. */
	bool dead;
	/** @revoked: the device may have no translation any more. Never unset. */
	bool revoked;
	/**
	 * @ended: it is in no list, and gets neither pins, advice nor watches any more; jobs, views
	 * and exports may still refer to it. Never unset.
	 */
	bool ended;
	/** @advised: pages of it were advised to be pinned. Never unset. */
	bool advised;
	/** @chunks_lock: held to add to @chunks. Outside mmap_lock. */
	struct mutex chunks_lock;
	/**
	 * @chunks: &struct godwit_chunk by address / GODWIT_CHUNK_SIZE; they stay until the
	 * end.
	 */
	struct xarray chunks;
	/** @pin_lock: protects @pins and what they hold. Inside &godwit_chunk.lock. */
	spinlock_t pin_lock;
	/** @pins: &struct godwit_pin of this address space. */
	struct list_head pins;
	/** @nr_pins: length of @pins. */
	unsigned int nr_pins;
	/** @advice_leaves: of all chunks. */
	atomic_t advice_leaves;
	/** @watch_lock: protects @watches. Inside &godwit_chunk.lock. */
	spinlock_t watch_lock;
	/** @watches: &struct godwit_watch of this address space. */
	struct list_head watches;
	/** @nr_exports: exports of this address space, under the lock of ranges.c. */
	unsigned int nr_exports;
	/** @views_lock: protects @views. Inside &godwit_chunk.lock; see view.c. */
	struct rw_semaphore views_lock;
	/** @views: &struct godwit_view of this address space; each has a reference. */
	struct list_head views;
};

struct godwit_mirror *godwit_mirror_get(struct godwit_client *client);
void godwit_mirror_put(struct godwit_mirror *mirror);
void godwit_mirror_revoke(struct godwit_mirror *mirror);
void godwit_mirror_detach_all(struct godwit_client *client, bool revoke);

int godwit_attach_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

#endif /* _GODWIT_MIRROR_H_ */
