// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Raw copies
 *
 * Overview: <debugfs>/dri/N/godwit_raw_copy measures what migrations are compared with: the
 * device's copies alone, between pages of RAM and free frames, without a process, page tables
 * or locks. Reading the file measures. Sizes that do not fit into free VRAM are left out.
 *
 * The pages that go were written just before, as those of a migration. Copies of less than
 * RAWCOPY_BURST are made several times in a row, each time written anew: the first finds caches,
 * TLBs and an idle engine as whatever was before has left them, and the best of all finds them
 * warm. A migration is to be compared with that which was measured as it was.
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
/* Bytes that are copied in a row, or all of a copy that has more; as kBurst of the benchmark. */
#define RAWCOPY_BURST	SZ_32M

/**
 * struct rawcopy - one measurement.
 */
struct rawcopy {
	/** @gdev: the device. */
	struct godwit_device *gdev;
	/** @out: all copies to VRAM, of @each pages each. */
	struct godwit_copy *out;
	/** @home: copies of the same frames, to other pages. */
	struct godwit_copy *home;
	/** @count: of @out, and of @home. */
	unsigned int count;
	/** @made: those of them that have pages and frames. */
	unsigned int made;
	/** @each: 1 or GODWIT_BLOCK_FRAMES. */
	unsigned int each;
	/** @fences: of the copies that are under way. */
	struct dma_fence *fences[RAWCOPY_MAX / SZ_2M];
	/** @alloc_ns: time to allocate the pages of @home. */
	u64 alloc_ns;
};

/**
 * struct rawcopy_time - what was measured.
 */
struct rawcopy_time {
	/** @to: time to copy to VRAM, ns. */
	u64 to;
	/** @from: time to copy from VRAM, ns. */
	u64 from;
};

/* Frees the pages of piece @n, or those of them that were allocated. */
static void rawcopy_put(struct rawcopy *raw, unsigned int n)
{
	if (raw->out[n].page)
		__free_pages(raw->out[n].page, ilog2(raw->each));
	if (raw->home[n].page)
		__free_pages(raw->home[n].page, ilog2(raw->each));
}

static void rawcopy_free(struct rawcopy *raw)
{
	while (raw->made--) {
		rawcopy_put(raw, raw->made);
		godwit_vram_release(raw->gdev, raw->out[raw->made].frame, raw->each);
	}
	kvfree(raw->out);
	kvfree(raw->home);
	kfree(raw);
}

/* Pages for one more piece each way. */
static bool rawcopy_pages(struct rawcopy *raw)
{
	gfp_t gfp = GFP_USER | __GFP_NOWARN | __GFP_COMP | __GFP_NORETRY;
	struct godwit_copy *out = &raw->out[raw->made], *home = &raw->home[raw->made];
	unsigned int order = ilog2(raw->each);
	u64 since = ktime_get_ns();

	home->page = alloc_pages(gfp, order);
	raw->alloc_ns += ktime_get_ns() - since;
	out->page = home->page ? alloc_pages(gfp, order) : NULL;
	return out->page;
}

/* A frame for them, out of the reservation. */
static bool rawcopy_frame(struct rawcopy *raw, unsigned long *reserved)
{
	struct godwit_copy *out = &raw->out[raw->made], *home = &raw->home[raw->made];

	out->pages = raw->each;
	home->pages = raw->each;
	out->frame = godwit_vram_take(raw->gdev, NULL, &out->pages);
	home->frame = out->frame;
	if (out->frame == GODWIT_NO_FRAME)
		return false;
	if (out->pages == raw->each) {
		*reserved -= raw->each;
		return true;
	}
	/* No whole block is left. */
	*reserved -= out->pages;
	godwit_vram_release(raw->gdev, out->frame, out->pages);
	return false;
}

/* Takes @count pieces out of a reservation; what is left of it is given back. */
static int rawcopy_make(struct rawcopy *raw)
{
	unsigned long want = (unsigned long)raw->count * raw->each, reserved;
	int ret = 0;

	reserved = godwit_vram_reserve(&raw->gdev->vram, want);
	if (reserved < want)
		ret = -ENOSPC;
	while (!ret && raw->made < raw->count) {
		if (!rawcopy_pages(raw))
			ret = -ENOMEM;
		else if (!rawcopy_frame(raw, &reserved))
			ret = -ENOSPC;
		if (ret) {
			rawcopy_put(raw, raw->made);
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

/* As a migration does it, 2 MiB a call, all of which are under way together; the engine alone. */
static int rawcopy_way(struct rawcopy *raw, bool to_vram, u64 *ns)
{
	const struct godwit_copy *pieces = to_vram ? raw->out : raw->home;
	unsigned int step = GODWIT_BLOCK_FRAMES / raw->each, n;
	u64 since = ktime_get_ns();
	int ret = 0, err;

	for (n = 0; n < raw->count; n += step)
		raw->fences[n / step] = godwit_copy_start(raw->gdev, &pieces[n], step,
							  to_vram);
	for (n = 0; n < raw->count; n += step) {
		err = godwit_copy_wait_idle(raw->fences[n / step]);
		ret = ret ?: err;
	}
	*ns = ktime_get_ns() - since;
	return ret;
}

/* There and back. */
static int rawcopy_once(struct rawcopy *raw, unsigned int value, struct rawcopy_time *time)
{
	unsigned int n;

	for (n = 0; n < raw->count; n++) {
		memset(page_address(raw->out[n].page), value, raw->each * PAGE_SIZE);
		cond_resched();
	}
	return rawcopy_way(raw, true, &time->to) ?: rawcopy_way(raw, false, &time->from);
}

static int rawcopy_burst(struct rawcopy *raw, struct rawcopy_time *first,
			 struct rawcopy_time *best)
{
	size_t bytes = (size_t)raw->count * raw->each * PAGE_SIZE;
	unsigned int times = max(1, RAWCOPY_BURST / bytes), n;
	struct rawcopy_time time;
	int ret;

	ret = rawcopy_once(raw, 0, first);
	*best = *first;
	for (n = 1; n < times && !ret; n++) {
		ret = rawcopy_once(raw, n, &time);
		best->to = min(best->to, time.to);
		best->from = min(best->from, time.from);
		if (fatal_signal_pending(current))
			ret = -EINTR;
	}
	return ret;
}

static int rawcopy_measure(struct seq_file *m, struct godwit_device *gdev, u64 size,
			   unsigned int each)
{
	struct rawcopy_time first, best;
	struct rawcopy *raw = kzalloc_obj(*raw);
	int ret = -ENOMEM;

	if (!raw)
		return -ENOMEM;
	raw->gdev = gdev;
	raw->each = each;
	raw->count = (size >> PAGE_SHIFT) / each;
	raw->out = kvcalloc(raw->count, sizeof(*raw->out), GFP_KERNEL);
	raw->home = kvcalloc(raw->count, sizeof(*raw->home), GFP_KERNEL);
	if (raw->out && raw->home)
		ret = rawcopy_make(raw);
	if (!ret)
		ret = rawcopy_burst(raw, &first, &best);
	if (!ret)
		seq_printf(m, "%llu %u %llu %llu %llu %llu %llu\n", size, each, raw->alloc_ns,
			   best.to, best.from, first.to, first.from);
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
	seq_puts(m, "bytes pages-a-copy alloc-ns to-vram-ns from-vram-ns first-to-ns first-from-ns\n");
	for (size = SZ_2M; size <= RAWCOPY_MAX && !ret; size *= 2) {
		ret = rawcopy_measure(m, gdev, size, 1);
		if (!ret)
			ret = rawcopy_measure(m, gdev, size, GODWIT_BLOCK_FRAMES);
	}
	drm_dev_exit(idx);
	return ret;
}
