/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_COPY_H_
#define _GODWIT_COPY_H_

#include <linux/types.h>

#include <godwit/device.h>

struct dma_fence;
struct godwit_device;

struct dma_fence *godwit_copy_start(struct godwit_device *gdev, const struct godwit_copy *pieces,
				    unsigned int count, bool to_vram);
int godwit_copy_wait(struct godwit_device *gdev, struct dma_fence *fence);
int godwit_copy_wait_idle(struct dma_fence *fence);

int godwit_copy(struct godwit_device *gdev, const struct godwit_copy *pieces, unsigned int count,
		bool to_vram);
int godwit_copy_clear(struct godwit_device *gdev, unsigned long frame, unsigned int pages);

#endif /* _GODWIT_COPY_H_ */
