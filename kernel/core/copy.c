// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Copies
 *
 * Overview: what the framework asks of a device's engine: godwit_copy_start() and, before
 * anybody relies on it, godwit_copy_wait(). Whoever has nothing to do meanwhile calls
 * godwit_copy().
 *
 * Locking: none. A copy may be waited for with pages locked and mmap_lock held, as a fence may
 * be: an engine needs neither to come to its end.
 */
#include <linux/dma-fence.h>
#include <linux/err.h>

#include "copy.h"
#include "device.h"

/**
 * godwit_copy_start() - have the device copy.
 * @gdev: the device.
 * @pieces: what; stays until godwit_copy_wait() has returned.
 * @count: how many.
 * @to_vram: which way.
 *
 * Return: for godwit_copy_wait(), which must be called.
 */
struct dma_fence *godwit_copy_start(struct godwit_device *gdev, const struct godwit_copy *pieces,
				    unsigned int count, bool to_vram)
{
	return to_vram ? gdev->ops->copy_to_vram(gdev, pieces, count) :
			 gdev->ops->copy_from_vram(gdev, pieces, count);
}

/**
 * godwit_copy_wait_idle() - wait for the end of a copy, and leave it to the engine.
 * @fence: what godwit_copy_start() gave. Its reference is given back.
 *
 * Return: the device's error. Nothing is known of any of the pieces then.
 */
int godwit_copy_wait_idle(struct dma_fence *fence)
{
	int ret;

	if (IS_ERR_OR_NULL(fence))
		return PTR_ERR_OR_ZERO(fence);
	/* Not interruptible: the pages must not be let go of while the engine writes them. */
	dma_fence_wait(fence, false);
	ret = dma_fence_get_status(fence);
	dma_fence_put(fence);
	return ret < 0 ? ret : 0;
}

/**
 * godwit_copy_wait() - wait for the end of a copy, or help where the device lets us.
 * @gdev: the device.
 * @fence: as for godwit_copy_wait_idle().
 *
 * Return: as godwit_copy_wait_idle().
 */
int godwit_copy_wait(struct godwit_device *gdev, struct dma_fence *fence)
{
	if (!IS_ERR_OR_NULL(fence) && gdev->ops->copy_help && !dma_fence_is_signaled(fence))
		gdev->ops->copy_help(gdev, fence);
	return godwit_copy_wait_idle(fence);
}

/**
 * godwit_copy() - have the device copy, and wait.
 * @gdev: the device.
 * @pieces: what.
 * @count: how many.
 * @to_vram: which way.
 *
 * Return: as godwit_copy_wait().
 */
int godwit_copy(struct godwit_device *gdev, const struct godwit_copy *pieces, unsigned int count,
		bool to_vram)
{
	return godwit_copy_wait(gdev, godwit_copy_start(gdev, pieces, count, to_vram));
}

/**
 * godwit_copy_clear() - fill frames with zeros.
 * @gdev: the device.
 * @frame: the first.
 * @pages: how many.
 *
 * Return: as godwit_copy_wait().
 */
int godwit_copy_clear(struct godwit_device *gdev, unsigned long frame, unsigned int pages)
{
	const struct godwit_copy nothing = { .frame = frame, .pages = pages };

	return godwit_copy(gdev, &nothing, 1, true);
}
