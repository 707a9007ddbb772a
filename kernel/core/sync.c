// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Synchronization
 *
 * Overview: DRM syncobjs before and after a job.
 *
 * After: a job takes page faults, for which it needs mmap_lock and memory. Nothing in the
 * kernel may wait for such a job: reclaim waits for fences, and the job may wait for reclaim.
 * So no fence of a job is ever to be seen before it is signalled
 * (docs/decisions/0013-signalled-fences-only.md). When the job has ended, its fence is made,
 * given the error, signalled, and only then put into the syncobjs. Whoever waits for a syncobj
 * before that waits for a fence to be there (DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT), which
 * only user space can.
 *
 * Before: what a syncobj has at submission is waited for. Where it has nothing yet, the job
 * waits until something is there; our own jobs are the usual case, see above. DRM tells nobody
 * outside of it of a new fence, so syncobjs are looked at every SYNC_PAUSE; for fences of our
 * own jobs there is sync_published. All in all a job waits for GODWIT_JOB_TIMEOUT_MS at most.
 * An error of what is waited for does not keep the job from running.
 *
 * Locking: none of ours. sync_published has the lock of a wait queue, innermost.
 */
#include <linux/dma-fence-chain.h>
#include <linux/dma-fence.h>
#include <linux/jiffies.h>
#include <linux/slab.h>
#include <linux/wait.h>

#include <drm/drm_file.h>
#include <drm/drm_syncobj.h>

#include "job.h"
#include "sync.h"

#define SYNC_PAUSE	max(HZ / 500, 1)
#define SYNC_SLICE	(HZ / 20)

/* Woken when a job of ours put fences into syncobjs. */
static DECLARE_WAIT_QUEUE_HEAD(sync_published);

/* The fence is independent of us once it is signalled: neither of them has a release or wait. */
static const char *sync_driver_name(struct dma_fence *fence)
{
	return "godwit";
}

static const char *sync_timeline_name(struct dma_fence *fence)
{
	return "queue";
}

static const struct dma_fence_ops sync_fence_ops = {
	.get_driver_name = sync_driver_name,
	.get_timeline_name = sync_timeline_name,
};

/* Has the point been given a fence by now? Does not sleep. */
static bool sync_find(struct godwit_sync *sync)
{
	struct dma_fence *fence;

	if (sync->found)
		return true;
	fence = drm_syncobj_fence_get(sync->syncobj);
	if (!fence)
		return false;
	if (dma_fence_chain_find_seqno(&fence, sync->point)) {
		dma_fence_put(fence);
		return false;
	}
	sync->fence = fence;
	sync->found = true;
	return true;
}

/**
 * godwit_sync_add() - add a point to a job.
 * @job: the job, with room for it.
 * @file: of the client.
 * @args: as the client gave it.
 */
int godwit_sync_add(struct godwit_job *job, struct drm_file *file,
		    const struct drm_godwit_sync *args)
{
	struct godwit_sync *sync = &job->syncs[job->nr_syncs];

	if (args->flags & ~GODWIT_SYNC_SIGNAL)
		return -EINVAL;
	sync->syncobj = drm_syncobj_find(file, args->handle);
	if (!sync->syncobj)
		return -ENOENT;
	job->nr_syncs++;
	sync->point = args->point;
	sync->signal = args->flags & GODWIT_SYNC_SIGNAL;
	if (!sync->signal) {
		sync_find(sync);
		return 0;
	}
	if (!job->fence)
		job->fence = kzalloc_obj(*job->fence, GFP_KERNEL_ACCOUNT);
	if (sync->point)
		sync->chain = dma_fence_chain_alloc();
	return job->fence && (sync->chain || !sync->point) ? 0 : -ENOMEM;
}

static int sync_wait_one(struct godwit_job *job, struct godwit_sync *sync)
{
	int ret = 0;

	while (!sync_find(sync) && !ret) {
		wait_event_idle_timeout(sync_published, sync_find(sync), SYNC_PAUSE);
		ret = godwit_job_poll(job);
	}
	while (!ret && sync->fence && !dma_fence_wait_timeout(sync->fence, false, SYNC_SLICE))
		ret = godwit_job_poll(job);
	return ret;
}

/**
 * godwit_sync_wait() - wait for what a job waits for.
 * @job: a job that is the next to run.
 *
 * Return: 0, or why it is not to run.
 */
int godwit_sync_wait(struct godwit_job *job)
{
	unsigned int i;
	int ret = 0;

	job->deadline = jiffies + msecs_to_jiffies(GODWIT_JOB_TIMEOUT_MS);
	for (i = 0; i < job->nr_syncs && !ret; i++)
		if (!job->syncs[i].signal)
			ret = sync_wait_one(job, &job->syncs[i]);
	return ret;
}

/**
 * godwit_sync_signal() - signal what a job signals.
 * @job: a job that has ended, its status set.
 * @context: of fences of its queue.
 */
void godwit_sync_signal(struct godwit_job *job, u64 context)
{
	struct dma_fence *fence = job->fence;
	unsigned int i;
	bool cookie;

	if (!fence)
		return;
	job->fence = NULL;
	dma_fence_init64(fence, &sync_fence_ops, NULL, context, job->id);
	if (job->status)
		dma_fence_set_error(fence, job->status);
	/* From here on lockdep lets us allocate nothing and take no lock that reclaim needs. */
	cookie = dma_fence_begin_signalling();
	dma_fence_signal(fence);
	for (i = 0; i < job->nr_syncs; i++) {
		struct godwit_sync *sync = &job->syncs[i];

		if (!sync->signal)
			continue;
		if (sync->point) {
			drm_syncobj_add_point(sync->syncobj, sync->chain, fence, sync->point);
			sync->chain = NULL;
		} else {
			drm_syncobj_replace_fence(sync->syncobj, fence);
		}
	}
	dma_fence_end_signalling(cookie);
	dma_fence_put(fence);
	wake_up_all(&sync_published);
}

/**
 * godwit_sync_free() - let go of all points of a job.
 * @job: a job that has ended, or never ran.
 */
void godwit_sync_free(struct godwit_job *job)
{
	unsigned int i;

	for (i = 0; i < job->nr_syncs; i++) {
		dma_fence_put(job->syncs[i].fence);
		dma_fence_chain_free(job->syncs[i].chain);
		drm_syncobj_put(job->syncs[i].syncobj);
	}
	kfree(job->syncs);
	/* Never initialized. */
	kfree(job->fence);
}
