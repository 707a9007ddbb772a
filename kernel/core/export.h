/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_EXPORT_H_
#define _GODWIT_EXPORT_H_

#include <linux/atomic.h>
#include <linux/interval_tree.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include <drm/godwit_drm.h>

/* Of one client. */
#define GODWIT_EXPORT_MAX	1024u

/*
 * Exports that one move waits for, and keeps from being mapped. What are more of a range are
 * revoked by a worker; of frames, they stay mapped, and the frames where they are.
 */
#define GODWIT_MOVE_EXPORTS	16u

/* How long a move waits for the transfers and the unmapping of peers. */
#define GODWIT_EXPORT_PATIENCE	(2 * HZ)

struct device;
struct dma_buf;
struct dma_buf_attachment;
struct drm_device;
struct drm_file;
struct folio;
struct godwit_device;
struct godwit_mirror;
struct godwit_snapshot;
struct mm_struct;

/**
 * struct godwit_attach - an importer.
 */
struct godwit_attach {
	/** @link: in &godwit_export.attached. */
	struct list_head link;
	/** @dev: the device that does the DMA. */
	struct device *dev;
	/** @p2p: it can use addresses that are not of RAM. */
	bool p2p;
	/** @fixed: it cannot follow, and has a pin for as long as it is attached. */
	bool fixed;
	/** @pins: those of dma_buf_pin(). This and @tables under the lock of the dma-buf. */
	unsigned int pins;
	/** @tables: what it has mapped (reach.c). */
	struct list_head tables;
};

/**
 * struct godwit_export - a range of addresses, for the DMA of other devices.
 *
 * Belongs to the dma-buf, and outlives the descriptor that made it, and even the device.
 */
struct godwit_export {
	/** @mirror: whose addresses; a reference. */
	struct godwit_mirror *mirror;
	/** @gdev: the device; a reference. */
	struct godwit_device *gdev;
	/** @dmabuf: whose it is. Set before it is in the tree. */
	struct dma_buf *dmabuf;
	/** @start: first address, a multiple of the page size. */
	unsigned long start;
	/** @end: address after the last one, a multiple of the page size. */
	unsigned long end;

	/** @range: in the tree of ranges.c; this and all up to @moves under its lock. */
	struct interval_tree_node range;
	/** @seq: counts invalidations of the range. */
	u64 seq;
	/** @users: who uses it without holding the dma-buf; release waits for them. */
	unsigned int users;
	/** @dead: the device or the mirror is gone. Never unset. */
	bool dead;
	/** @stale: @snapshot is not what the address space has any more. */
	bool stale;
	/** @pin_stale: something changed since @pinned was looked at: it may be so of that. */
	bool pin_stale;
	/** @untold: an importer that has unpinned it has it mapped still, and was not told. */
	bool untold;
	/** @snapshot: what peers that can follow get, or NULL. */
	struct godwit_snapshot *snapshot;
	/** @pinned: what peers that cannot follow get, or NULL. */
	struct godwit_snapshot *pinned;
	/** @pins: how often it is pinned. */
	unsigned int pins;
	/** @error: why the worker could not find the pages: the next mapping answers it. */
	int error;
	/** @moves: moves of pages of the range that are under way: nothing is mapped then. */
	unsigned int moves;

	/**
	 * @living: snapshots of pages that are not pinned and not let go of yet: @snapshot, and
	 * those that were taken away, or unpinned, while peers had them mapped. Oldest first. This
	 * and @serial under godwit_exports_lock.
	 */
	struct list_head living;
	/** @serial: of the last one in @living. */
	u64 serial;
	/** @idle: woken when one of @living goes, and when @moves or @users becomes 0. */
	wait_queue_head_t idle;
	/** @revoke_work: revokes it, after a notifier asked for that. */
	struct work_struct revoke_work;
	/** @prepare_work: finds its pages, after a mapping did not find them. */
	struct work_struct prepare_work;
	/** @drop_work: lets go of pages that nobody mapped for a while. */
	struct delayed_work drop_work;
	/** @prepare_lock: held while pages are looked for that may have to be faulted in. */
	struct mutex prepare_lock;
	/** @attached_lock: protects @attached. Inside the lock of the dma-buf; nothing in it. */
	struct mutex attached_lock;
	/** @attached: &struct godwit_attach. */
	struct list_head attached;
};

/**
 * struct godwit_export_move - exports that are kept from being mapped while pages move.
 *
 * On the stack of whoever moves them.
 */
struct godwit_export_move {
	/** @count: of @exports. */
	unsigned int count;
	/** @exports: each counts in &godwit_export.users and @moves. */
	struct godwit_export *exports[GODWIT_MOVE_EXPORTS];
};

/* For all works: a notifier that cannot wait relies on its progress. */
extern struct workqueue_struct *godwit_export_queue;

void godwit_export_tell(struct godwit_export *export, u16 type, enum drm_godwit_cause cause,
			u8 place, unsigned long pages, unsigned long detail);
void godwit_export_count(struct godwit_export *export, enum drm_godwit_stat stat, s64 count);

struct godwit_snapshot *godwit_export_detach(struct godwit_export *export);
bool godwit_export_revoke(struct godwit_export *export, enum drm_godwit_cause cause, long patience);
bool godwit_export_unheld(struct godwit_export *export);

void godwit_export_move_range(struct godwit_export_move *move, struct mm_struct *mm,
			      unsigned long start, unsigned long end,
			      const struct godwit_device *to);
void godwit_export_move_frames(struct godwit_export_move *move, unsigned long first_pfn,
			       unsigned long last_pfn);
void godwit_export_move_end(struct godwit_export_move *move);

bool godwit_export_invalidate(struct godwit_mirror *mirror, unsigned long start,
			      unsigned long end, bool fork);
void godwit_export_wait(struct godwit_mirror *mirror, unsigned long start, unsigned long end);
void godwit_export_kill(const struct godwit_device *gdev, const struct godwit_mirror *mirror);

struct godwit_export *godwit_export_of(struct dma_buf *dmabuf);
struct godwit_snapshot *godwit_export_get(struct godwit_export *export,
					  struct godwit_attach *attach);
int godwit_export_publish(struct godwit_export *export, struct godwit_snapshot *snapshot, u64 seq);
int godwit_export_prepare(struct godwit_export *export);
int godwit_export_pin(struct godwit_export *export, bool nowait);
void godwit_export_unpin(struct godwit_export *export, bool mapped);
void godwit_export_unused(struct godwit_export *export);
void godwit_export_outdated(struct godwit_export *export);

int godwit_export_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

int godwit_export_init(void);
void godwit_export_fini(void);

#endif /* _GODWIT_EXPORT_H_ */
