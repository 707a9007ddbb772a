// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Raw copies
 *
 * Overview: <debugfs>/dri/N/godwit_raw_copy measures what migrations are compared with: the
 * device's copies alone, between pages of RAM and free frames, without a process, page tables
 * or locks. Reading the file measures. Sizes that do not fit into free VRAM are left out.
 *
 * Locking: none is held. The frames are taken like those of a migration, for nobody.
 */
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/sizes.h>

#include <drm/drm_debugfs.h>
#include <drm/drm_drv.h>

#include "copy.h"
#include "debugfs.h"
#include "device.h"

#define RAWCOPY_MAX	SZ_256M

/**
 * struct rawcopy - one measurement.
 */
struct rawcopy {
	/** @gdev: the device. */
	struct godwit_device *gdev;
	/** @pieces: all copies, of @each pages each. */
	struct godwit_copy *pieces;
	/** @count: of @pieces. */
	unsigned int count;
	/** @made: those of @pieces that have page and frame. */
	unsigned int made;
	/** @each: 1 or GODWIT_BLOCK_FRAMES. */
	unsigned int each;
	/** @fences: of the copies that are under way. */
	struct dma_fence *fences[RAWCOPY_MAX / SZ_2M];
	/** @alloc_ns: time to allocate the pages of RAM. */
	u64 alloc_ns;
	/** @to_ns: time to copy to VRAM. */
	u64 to_ns;
	/** @from_ns: time to copy from VRAM. */
	u64 from_ns;
};

static void rawcopy_free(struct rawcopy *raw)
{
	while (raw->made--) {
		__free_pages(raw->pieces[raw->made].page, ilog2(raw->each));
		godwit_vram_release(raw->gdev, raw->pieces[raw->made].frame, raw->each);
	}
	kvfree(raw->pieces);
	kfree(raw);
}

/* Takes @count pieces out of a reservation; what is left of it is given back. */
static int rawcopy_make(struct rawcopy *raw)
{
	unsigned long want = (unsigned long)raw->count * raw->each, reserved;
	gfp_t gfp = GFP_USER | __GFP_NOWARN | __GFP_COMP | __GFP_NORETRY;
	int ret = 0;

	reserved = godwit_vram_reserve(&raw->gdev->vram, want);
	if (reserved < want)
		ret = -ENOSPC;
	while (!ret && raw->made < raw->count) {
		struct godwit_copy *piece = &raw->pieces[raw->made];
		u64 since = ktime_get_ns();

		piece->page = alloc_pages(gfp, ilog2(raw->each));
		raw->alloc_ns += ktime_get_ns() - since;
		if (!piece->page) {
			ret = -ENOMEM;
			break;
		}
		piece->pages = raw->each;
		piece->frame = godwit_vram_take(raw->gdev, NULL, &piece->pages);
		if (piece->frame != GODWIT_NO_FRAME)
			reserved -= piece->pages;
		if (piece->frame == GODWIT_NO_FRAME || piece->pages < raw->each) {
			/* No whole block is left. */
			if (piece->frame != GODWIT_NO_FRAME)
				godwit_vram_release(raw->gdev, piece->frame, piece->pages);
			__free_pages(piece->page, ilog2(raw->each));
			ret = -ENOSPC;
			break;
		}
		raw->made++;
		if (fatal_signal_pending(current))
			ret = -EINTR;
		cond_resched();
	}
	godwit_vram_unreserve(&raw->gdev->vram, reserved);
	return ret;
}

/* As a migration does it, 2 MiB a call, all of which are under way together. */
static int rawcopy_way(struct rawcopy *raw, bool to_vram, u64 *ns)
{
	unsigned int step = GODWIT_BLOCK_FRAMES / raw->each, n;
	u64 since = ktime_get_ns();
	int ret = 0, err;

	for (n = 0; n < raw->count; n += step)
		raw->fences[n / step] = godwit_copy_start(raw->gdev, &raw->pieces[n], step,
							  to_vram);
	for (n = 0; n < raw->count; n += step) {
		err = godwit_copy_wait(raw->fences[n / step]);
		ret = ret ?: err;
	}
	*ns = ktime_get_ns() - since;
	return ret;
}

static int rawcopy_run(struct rawcopy *raw)
{
	return rawcopy_way(raw, true, &raw->to_ns) ?: rawcopy_way(raw, false, &raw->from_ns);
}

static int rawcopy_measure(struct seq_file *m, struct godwit_device *gdev, u64 size,
			   unsigned int each)
{
	struct rawcopy *raw = kzalloc_obj(*raw);
	int ret;

	if (!raw)
		return -ENOMEM;
	raw->gdev = gdev;
	raw->each = each;
	raw->count = (size >> PAGE_SHIFT) / each;
	raw->pieces = kvcalloc(raw->count, sizeof(*raw->pieces), GFP_KERNEL);
	if (!raw->pieces) {
		kfree(raw);
		return -ENOMEM;
	}
	ret = rawcopy_make(raw);
	/* Once before, so that both sides are in the TLB and in the caches like those of others. */
	if (!ret)
		ret = rawcopy_run(raw);
	if (!ret)
		ret = rawcopy_run(raw);
	if (!ret)
		seq_printf(m, "%llu %u %llu %llu %llu\n", size, each, raw->alloc_ns, raw->to_ns,
			   raw->from_ns);
	rawcopy_free(raw);
	/* A size that does not fit is no error. */
	return ret == -ENOSPC || ret == -ENOMEM ? 0 : ret;
}

/**
 * godwit_rawcopy_show() - measure, and print.
 * @m: of debugfs.
 * @unused: not used.
 */
int godwit_rawcopy_show(struct seq_file *m, void *unused)
{
	struct drm_debugfs_entry *entry = m->private;
	struct godwit_device *gdev = to_godwit(entry->dev);
	u64 size;
	int ret = 0, idx;

	if (!godwit_device_migrates(gdev))
		return -EOPNOTSUPP;
	if (!drm_dev_enter(entry->dev, &idx))
		return -ENODEV;
	seq_puts(m, "bytes pages-a-copy alloc-ns to-vram-ns from-vram-ns\n");
	for (size = SZ_2M; size <= RAWCOPY_MAX && !ret; size *= 2) {
		ret = rawcopy_measure(m, gdev, size, 1);
		if (!ret)
			ret = rawcopy_measure(m, gdev, size, GODWIT_BLOCK_FRAMES);
	}
	drm_dev_exit(idx);
	return ret;
}
