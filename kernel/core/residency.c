// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Residency
 *
 * Overview: tells where each page of a range is. Nothing is remembered for it: the kernel's
 * page table and the device's are read at the time of the call, 2 MiB at a time, each at one
 * moment as far as notifiers tell of changes: they do not of a page that a CPU touches for the
 * first time or swaps in, which may be told as of before or after it. A page that is just moving
 * is waited for.
 *
 * Locking: godwit_look() leaves the lock of the chunk held; under it the device's table is read
 * as well, so that the two belong together.
 */
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include <drm/drm_file.h>

#include "../state/range.h"
#include "advise.h"
#include "chunk.h"
#include "client.h"
#include "device.h"
#include "look.h"
#include "migrate.h"
#include "mirror.h"
#include "residency.h"

static u32 residency_place(const struct godwit_device *gdev, unsigned long pfn)
{
	struct page *page;

	if (pfn & HMM_PFN_ERROR)
		return GODWIT_PLACE_NONE | GODWIT_PAGE_ERROR;
	if (!(pfn & HMM_PFN_VALID))
		return GODWIT_PLACE_NONE;
	page = hmm_pfn_to_page(pfn);
	if (godwit_pfn_is_zero(pfn))
		return GODWIT_PLACE_SYSTEM | GODWIT_PAGE_ZERO;
	if (!is_zone_device_page(page))
		return GODWIT_PLACE_SYSTEM;
	if (!godwit_is_vram(page))
		return GODWIT_PLACE_ABSENT;
	return godwit_page_device(page) == gdev ? GODWIT_PLACE_VRAM : GODWIT_PLACE_PEER;
}

static u32 residency_page(const struct godwit_device *gdev, unsigned long pfn, u64 pte)
{
	u32 page = residency_place(gdev, pfn);

	if (!(page & GODWIT_PAGE_ERROR)) {
		if (pfn & HMM_PFN_WRITE)
			page |= GODWIT_PAGE_WRITABLE;
		if ((pfn & HMM_PFN_VALID) && hmm_pfn_to_map_order(pfn))
			page |= GODWIT_PAGE_HUGE;
	}
	if (pte & GODWIT_PTE_VALID)
		page |= GODWIT_PAGE_MAPPED;
	if (pte & GODWIT_PTE_WRITE)
		page |= GODWIT_PAGE_MAPPED_WRITE;
	return page;
}

static void residency_count(struct drm_godwit_residency *args, u32 page)
{
	switch (page & GODWIT_PAGE_PLACE) {
	case GODWIT_PLACE_SYSTEM:
		args->in_system++;
		break;
	case GODWIT_PLACE_VRAM:
		args->in_vram++;
		break;
	case GODWIT_PLACE_PEER:
		args->in_peer++;
		break;
	default:
		break;
	}
	args->mapped += !!(page & GODWIT_PAGE_MAPPED);
}

/* One leaf; @pfns and @pages have room for it. */
static int residency_leaf(struct godwit_mirror *mirror, unsigned long start, unsigned long end,
			  unsigned long *pfns, u32 *pages, struct drm_godwit_residency *args)
{
	struct godwit_look look = { .start = start, .end = end, .pfns = pfns, .settled = true };
	unsigned int i, count = (end - start) >> PAGE_SHIFT;
	int ret;

	look.chunk = godwit_chunk_get(mirror, start);
	if (IS_ERR(look.chunk))
		return PTR_ERR(look.chunk);
	ret = godwit_look(&look);
	if (ret)
		return ret;
	for (i = 0; i < count; i++) {
		unsigned long offset = start + i * PAGE_SIZE - look.chunk->start;

		pages[i] = residency_page(mirror->gdev, pfns[i],
					  godwit_ptable_get(&look.chunk->table, offset));
		if (godwit_advice_locked(look.chunk, look.chunk->start + offset))
			pages[i] |= GODWIT_PAGE_ADVISED;
	}
	mutex_unlock(&look.chunk->lock);
	for (i = 0; i < count; i++)
		residency_count(args, pages[i]);
	return 0;
}

static int residency_range(struct godwit_mirror *mirror, struct drm_godwit_residency *args)
{
	unsigned long pos = args->addr, end = args->addr + args->length, next;
	u32 __user *to = u64_to_user_ptr(args->pages);
	unsigned long *pfns;
	u32 *pages;
	int ret = 0;

	pfns = kvcalloc(GODWIT_LEAF_ENTRIES, sizeof(*pfns), GFP_KERNEL);
	pages = kvcalloc(GODWIT_LEAF_ENTRIES, sizeof(*pages), GFP_KERNEL);
	if (!pfns || !pages)
		ret = -ENOMEM;
	for (; pos < end && !ret; pos = next) {
		size_t bytes;

		next = godwit_span_end(pos, end, GODWIT_LEAF_SIZE);
		bytes = ((next - pos) >> PAGE_SHIFT) * sizeof(*pages);
		ret = residency_leaf(mirror, pos, next, pfns, pages, args);
		if (!ret && to && copy_to_user(to, pages, bytes))
			ret = -EFAULT;
		if (to)
			to += bytes / sizeof(*pages);
		if (!ret && task_sigpending(current))
			ret = -EINTR;
		cond_resched();
	}
	kvfree(pages);
	kvfree(pfns);
	return ret;
}

/**
 * godwit_residency_ioctl() - DRM_IOCTL_GODWIT_RESIDENCY.
 * @drm: the device.
 * @data: &struct drm_godwit_residency.
 * @file: the client.
 */
int godwit_residency_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_godwit_residency *args = data;
	struct godwit_mirror *mirror;
	int ret;

	args->in_system = 0;
	args->in_vram = 0;
	args->in_peer = 0;
	args->mapped = 0;
	if (args->flags || args->pad)
		return -EINVAL;
	ret = godwit_migrate_check_range(args->addr, args->length);
	if (ret)
		return ret;
	if (args->pages ? args->pages_size / sizeof(u32) < args->length >> PAGE_SHIFT :
			  args->pages_size)
		return -EINVAL;
	mirror = godwit_mirror_get(file->driver_priv);
	if (IS_ERR(mirror))
		return PTR_ERR(mirror);
	if (!mmget_not_zero(mirror->mm)) {
		godwit_mirror_put(mirror);
		return -ESRCH;
	}
	ret = residency_range(mirror, args);
	mmput(mirror->mm);
	godwit_mirror_put(mirror);
	return ret;
}
