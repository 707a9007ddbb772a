// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Migration
 *
 * Overview: moves a range of addresses to VRAM or home, pass by pass (pass.c), for the ioctl and
 * for everybody else.
 *
 * Locking: none is held on entry, and none across a pass.
 */
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include <drm/drm_file.h>

#include "../state/range.h"
#include "device.h"
#include "export.h"
#include "migrate.h"
#include "mirror.h"
#include "pass.h"

/**
 * godwit_migrate_check_range() - is this a page range of user space?
 * @addr: first byte.
 * @length: bytes.
 */
int godwit_migrate_check_range(u64 addr, u64 length)
{
	return godwit_range_check(addr, length, PAGE_SIZE, TASK_SIZE, GODWIT_MAX_RANGE);
}

/**
 * godwit_migrate_range() - move a range.
 * @mirror: whose.
 * @start: first address, a multiple of the page size.
 * @end: address after the last one, a multiple of the page size.
 * @move: where, why, and what became of it. Times are added up over the threads that took part.
 *
 * Return: 0 also where nothing moved. -EINTR, a signal. -ESRCH, the address space has ended.
 * -EBUSY, the range changed without pause for a second. -EFAULT, &godwit_move.reasons. -ENOMEM.
 */
int godwit_migrate_range(struct godwit_mirror *mirror, unsigned long start, unsigned long end,
			 struct godwit_move *move)
{
	const struct godwit_device *to = move->to_vram ? mirror->gdev : NULL;
	struct godwit_export_move peers;
	struct godwit_pass *pass;
	int ret = 0;

	if (!mmget_not_zero(mirror->mm))
		return -ESRCH;
	pass = godwit_pass_alloc(mirror, move, start, end);
	if (!pass)
		ret = -ENOMEM;
	godwit_export_move_range(&peers, mirror->mm, start, end, to);
	while (start < end && !ret) {
		if (task_sigpending(current)) {
			ret = -EINTR;
			break;
		}
		ret = godwit_pass_step(pass, &start, end);
		cond_resched();
	}
	godwit_export_move_end(&peers);
	godwit_pass_free(pass);
	mmput(mirror->mm);
	return ret;
}

static void migrate_answer(struct drm_godwit_migrate *args, const struct godwit_move *move)
{
	unsigned int i;

	args->moved = move->moved;
	args->moved_huge = move->moved_huge;
	args->already = move->already;
	for (i = 0; i < GODWIT_STAY_SLOTS; i++)
		args->stayed[i] = move->stayed[i];
	args->time_setup_ns = move->time_setup;
	args->time_alloc_ns = move->time_alloc;
	args->time_copy_ns = move->time_copy;
	args->time_finish_ns = move->time_finish;
}

/**
 * godwit_migrate_ioctl() - DRM_IOCTL_GODWIT_MIGRATE.
 * @drm: the device.
 * @data: &struct drm_godwit_migrate.
 * @file: the client.
 */
int godwit_migrate_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	const u32 all_flags = GODWIT_MIGRATE_NO_EVICT | GODWIT_MIGRATE_SMALL |
			      GODWIT_MIGRATE_SKIP_EMPTY;
	struct drm_godwit_migrate *args = data;
	struct godwit_move move = {
		.cause = GODWIT_CAUSE_PREFETCH,
		.to_vram = args->to == GODWIT_PLACE_VRAM,
		.flags = args->flags,
		.patience = GODWIT_MOVE_PATIENCE,
		.reasons = u64_to_user_ptr(args->reasons),
	};
	struct godwit_mirror *mirror;
	int ret;

	migrate_answer(args, &move);
	if (args->reserved[0] || args->reserved[1] || (args->flags & ~all_flags))
		return -EINVAL;
	if (args->to != GODWIT_PLACE_VRAM && args->to != GODWIT_PLACE_SYSTEM)
		return -EINVAL;
	ret = godwit_migrate_check_range(args->addr, args->length);
	if (ret)
		return ret;
	if (args->reasons ? args->reasons_size < args->length >> PAGE_SHIFT : args->reasons_size)
		return -EINVAL;
	if (move.to_vram && !godwit_device_migrates(to_godwit(drm)))
		return -EOPNOTSUPP;

	mirror = godwit_mirror_get(file->driver_priv);
	if (IS_ERR(mirror))
		return PTR_ERR(mirror);
	ret = godwit_migrate_range(mirror, args->addr, args->addr + args->length, &move);
	godwit_mirror_put(mirror);
	migrate_answer(args, &move);
	return ret;
}
