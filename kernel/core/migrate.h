/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_MIGRATE_H_
#define _GODWIT_MIGRATE_H_

#include <linux/time64.h>
#include <linux/types.h>

#include <drm/godwit_drm.h>

struct drm_device;
struct drm_file;
struct godwit_device;
struct godwit_mirror;

/* &godwit_move.patience of who asked for a range. A fault is served in place at once. */
#define GODWIT_MOVE_PATIENCE	(10 * NSEC_PER_MSEC)

/**
 * struct godwit_move - a migration of a range.
 */
struct godwit_move {
	/** @to_vram: where to. */
	bool to_vram;
	/** @flags: GODWIT_MIGRATE_*. */
	u32 flags;
	/** @cause: why. */
	enum drm_godwit_cause cause;
	/** @only: to RAM: only pages of this device, or NULL for all of ours. */
	struct godwit_device *only;
	/** @except: to RAM: not pages of this device. */
	struct godwit_device *except;
	/**
	 * @patience: ns that may be spent in all on trying pages again that were busy. Most are
	 * so for microseconds, as reclaim or compaction looks at them, or until another
	 * processor drains its lists (drain.c).
	 */
	u64 patience;
	/** @drained: all processors were asked to. */
	bool drained;
	/** @reasons: NULL, or where to store an &enum drm_godwit_stay for each page. */
	u8 __user *reasons;
	/** @moved: out, pages. */
	unsigned long moved;
	/** @moved_huge: out, those in huge folios. */
	unsigned long moved_huge;
	/** @already: out, pages that were there. */
	unsigned long already;
	/** @stayed: out, pages by &enum drm_godwit_stay. */
	unsigned long stayed[GODWIT_STAY_SLOTS];
	/** @time_setup: out, ns. */
	u64 time_setup;
	/** @time_alloc: out, ns. */
	u64 time_alloc;
	/** @time_copy: out, ns. */
	u64 time_copy;
	/** @time_finish: out, ns. */
	u64 time_finish;
};

int godwit_migrate_check_range(u64 addr, u64 length);
int godwit_migrate_range(struct godwit_mirror *mirror, unsigned long start, unsigned long end,
			 struct godwit_move *move);

int godwit_migrate_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

#endif /* _GODWIT_MIGRATE_H_ */
