// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Discarding
 *
 * Overview: drops the pages of a range without copying them anywhere: what MADV_DONTNEED does,
 * which frees frames of VRAM on the spot. The kernel's own zap calls our notifiers and drops
 * the last references; nothing else is needed. It is a call of ours so that a runtime can free
 * ranges of mixed mappings and learn what was left alone.
 *
 * Locking: mmap_lock for reading.
 */
#include <linux/hugetlb.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/userfaultfd_k.h>

#include <drm/drm_file.h>

#include "../state/range.h"
#include "chunk.h"
#include "client.h"
#include "device.h"
#include "discard.h"
#include "migrate.h"
#include "mirror.h"
#include "pin.h"

/* As madvise has it, and only memory that is nobody else's. */
static bool discard_allowed(struct vm_area_struct *vma)
{
	if (vma->vm_flags & (VM_LOCKED | VM_SPECIAL | VM_SHARED))
		return false;
	/* madvise allows it where the caller could write, which only a CPU can tell (pkeys). */
	if (vma->vm_flags & VM_SEALED)
		return false;
	/* Its monitor would have to be told. */
	return vma_is_anonymous(vma) && !userfaultfd_armed(vma);
}

/*
 * Zaps what PIN does not hold through this descriptor: whoever pinned a page would be left with
 * one that is no longer the program's. Pins of other descriptors are not looked for: to them it is
 * what MADV_DONTNEED is.
 */
static unsigned long discard_run(struct godwit_mirror *mirror, struct vm_area_struct *vma,
				 unsigned long start, unsigned long end)
{
	unsigned long pages = 0, pinned, next;

	while (start < end) {
		pinned = start;
		next = end;
		if (!godwit_pin_next(mirror, &pinned, &next))
			pinned = end;
		if (pinned > start)
			zap_vma_range(vma, start, pinned - start);
		pages += (pinned - start) >> PAGE_SHIFT;
		start = next;
	}
	return pages;
}

static unsigned long discard_piece(struct godwit_mirror *mirror, unsigned long start,
				   unsigned long end)
{
	unsigned long pos = start, next, pages = 0;
	struct vm_area_struct *vma;

	for (; pos < end; pos = next) {
		vma = find_vma(current->mm, pos);
		if (!vma || vma->vm_start >= end)
			break;
		pos = max(pos, vma->vm_start);
		next = min(end, vma->vm_end);
		if (!discard_allowed(vma))
			continue;
		pages += discard_run(mirror, vma, pos, next);
	}
	return pages;
}

/**
 * godwit_discard_ioctl() - DRM_IOCTL_GODWIT_DISCARD.
 * @drm: the device.
 * @data: &struct drm_godwit_discard.
 * @file: the client.
 */
int godwit_discard_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_godwit_discard *args = data;
	struct godwit_mirror *mirror;
	unsigned long pos, end, next;
	int ret;

	args->discarded = 0;
	args->skipped = 0;
	if (args->flags || args->pad)
		return -EINVAL;
	ret = godwit_migrate_check_range(args->addr, args->length);
	if (ret)
		return ret;
	mirror = godwit_mirror_get(file->driver_priv);
	if (IS_ERR(mirror))
		return PTR_ERR(mirror);
	end = args->addr + args->length;
	for (pos = args->addr; pos < end && !ret; pos = next) {
		unsigned long pages;

		/* In pieces, so that others get the lock. */
		next = godwit_span_end(pos, end, GODWIT_CHUNK_SIZE);
		if (mmap_read_lock_killable(current->mm)) {
			ret = -EINTR;
			break;
		}
		pages = discard_piece(mirror, pos, next);
		mmap_read_unlock(current->mm);
		args->discarded += pages;
		args->skipped += ((next - pos) >> PAGE_SHIFT) - pages;
		if (task_sigpending(current))
			ret = -EINTR;
	}
	godwit_mirror_put(mirror);
	return ret;
}
