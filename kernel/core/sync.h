/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_SYNC_H_
#define _GODWIT_SYNC_H_

#include <linux/types.h>

#include <drm/godwit_drm.h>

struct dma_fence;
struct dma_fence_chain;
struct drm_file;
struct drm_syncobj;
struct godwit_job;

/**
 * struct godwit_sync - a point that a job waits for, or signals.
 */
struct godwit_sync {
	/** @syncobj: a reference. */
	struct drm_syncobj *syncobj;
	/** @point: of the timeline, 0 for a binary one. */
	u64 point;
	/** @signal: it is signalled; otherwise it is waited for. */
	bool signal;
	/** @found: to wait for: @fence is what the syncobj had at the point. */
	bool found;
	/** @fence: to wait for: a reference, or NULL where nothing is left to wait for. */
	struct dma_fence *fence;
	/** @chain: to signal a timeline: what carries the point. */
	struct dma_fence_chain *chain;
};

int godwit_sync_add(struct godwit_job *job, struct drm_file *file,
		    const struct drm_godwit_sync *args);
int godwit_sync_wait(struct godwit_job *job);
void godwit_sync_signal(struct godwit_job *job, u64 context);
void godwit_sync_free(struct godwit_job *job);

#endif /* _GODWIT_SYNC_H_ */
