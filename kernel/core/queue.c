// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Execution queue
 *
 * Overview: plays the part of a device's command processor: one thread for each client that has
 * jobs (player.c), which plays them one after the other (command.c). A job belongs to the address
 * space that submitted it; only that can fetch its results.
 *
 * How a job ends: all its commands are done; one fails; its time is over; its process or its
 * client ends, or detaches; the device goes away. In each case every command has a result, the
 * syncobjs are signalled, waiters are woken, and the queue goes on with the next job.
 *
 * Bounded: jobs by GODWIT_QUEUE_JOBS, a job by its timeout, what it waits for by
 * GODWIT_JOB_TIMEOUT_MS. Between two looks at whether it may go on (godwit_job_poll()) a job
 * serves one fault, which takes seconds at the most.
 *
 * Sleep of the system (sleep.c): who waits for a job sleeps on, unless it was not asleep yet
 * (EINTR).
 *
 * Stopping: with &godwit_queue.stopped set no job is accepted, and the thread ends those that
 * it has, with this error. godwit_device_unregister() does so after it let no call begin any
 * more, so the thread uses the driver's operations only while they are there, without holding
 * drm_dev_enter(), which it would have to hold against all DRM devices.
 *
 * Locking: &godwit_client.lock, held to make and to stop the thread, is outside of
 * &godwit_queue.lock. In &godwit_queue.lock: locks of syncobjs and fences. The thread holds neither
 * while it plays, and never takes the former, with which it is waited for.
 */
#include <linux/dma-fence.h>
#include <linux/freezer.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>
#include <drm/drm_file.h>

#include "client.h"
#include "device.h"
#include "job.h"
#include "mirror.h"
#include "player.h"
#include "queue.h"

static struct godwit_queue *queue_create(struct godwit_client *client)
{
	struct godwit_queue *queue;

	queue = kzalloc_obj(*queue, GFP_KERNEL_ACCOUNT);
	if (!queue)
		return ERR_PTR(-ENOMEM);
	queue->client = client;
	queue->context = dma_fence_context_alloc(1);
	mutex_init(&queue->lock);
	INIT_LIST_HEAD(&queue->pending);
	INIT_LIST_HEAD(&queue->jobs);
	init_waitqueue_head(&queue->wake);
	init_waitqueue_head(&queue->ended);
	return queue;
}

/* With a thread, as godwit_player_start() has it. */
static struct godwit_queue *queue_get(struct godwit_client *client)
{
	struct godwit_queue *queue;
	int ret;

	mutex_lock(&client->lock);
	queue = client->queue;
	if (!queue) {
		queue = queue_create(client);
		if (!IS_ERR(queue))
			/* Pairs with the dependency in godwit_wait_ioctl(), which has no lock. */
			smp_store_release(&client->queue, queue);
	}
	ret = IS_ERR(queue) ? PTR_ERR(queue) : godwit_player_start(queue);
	mutex_unlock(&client->lock);
	return ret ? ERR_PTR(ret) : queue;
}

/*
 * Forgets jobs that nobody can fetch any more: their address spaces have ended. With the lock; the
 * caller lets go of those in @gone without it.
 */
static void queue_reap(struct godwit_queue *queue, struct list_head *gone)
{
	struct godwit_job *job, *next;

	list_for_each_entry_safe(job, next, &queue->jobs, known) {
		if (!job->done || job->claimed || atomic_read(&job->mm->mm_users))
			continue;
		list_move(&job->known, gone);
		queue->nr_jobs--;
	}
}

/* -EOWNERDEAD: there is no thread any more. */
static int queue_add(struct godwit_queue *queue, struct godwit_job *job)
{
	struct godwit_job *old, *next;
	LIST_HEAD(gone);
	int ret = 0;

	mutex_lock(&queue->lock);
	if (queue->nr_jobs >= GODWIT_QUEUE_JOBS)
		queue_reap(queue, &gone);
	if (queue->stopped) {
		ret = queue->stopped;
	} else if (!queue->served) {
		ret = -EOWNERDEAD;
	} else if (queue->nr_jobs >= GODWIT_QUEUE_JOBS) {
		ret = -EAGAIN;
	} else {
		job->queue = queue;
		job->id = ++queue->last;
		/* One for each list; the caller keeps its own. */
		kref_get(&job->refs);
		kref_get(&job->refs);
		list_add_tail(&job->link, &queue->pending);
		list_add_tail(&job->known, &queue->jobs);
		queue->nr_jobs++;
	}
	mutex_unlock(&queue->lock);
	list_for_each_entry_safe(old, next, &gone, known) {
		list_del_init(&old->known);
		godwit_job_put(old);
	}
	if (!ret)
		wake_up_all(&queue->wake);
	return ret;
}

/**
 * godwit_queue_stop() - end all jobs of a client, and accept none any more.
 * @client: the client.
 * @error: what they end with.
 *
 * Returns when none is running.
 */
void godwit_queue_stop(struct godwit_client *client, int error)
{
	struct godwit_queue *queue;

	mutex_lock(&client->lock);
	queue = client->queue;
	if (queue && !queue->stopped) {
		mutex_lock(&queue->lock);
		WRITE_ONCE(queue->stopped, error);
		mutex_unlock(&queue->lock);
		wake_up_all(&queue->wake);
		wake_up_all(&client->gdev->sleep.over);
		godwit_player_stop(queue);
	}
	mutex_unlock(&client->lock);
}

/**
 * godwit_queue_destroy() - the descriptor is closed.
 * @client: the client, in no call.
 */
void godwit_queue_destroy(struct godwit_client *client)
{
	struct godwit_queue *queue;
	struct godwit_job *job, *next;

	godwit_queue_stop(client, -ECANCELED);
	mutex_lock(&client->lock);
	queue = client->queue;
	client->queue = NULL;
	mutex_unlock(&client->lock);
	if (!queue)
		return;
	list_for_each_entry_safe(job, next, &queue->jobs, known) {
		list_del_init(&job->known);
		godwit_job_put(job);
	}
	mutex_destroy(&queue->lock);
	kfree(queue);
}

/* A job of the calling process that can be fetched, with a reference. */
static struct godwit_job *queue_find(struct godwit_queue *queue, u64 id)
{
	struct godwit_job *job;

	mutex_lock(&queue->lock);
	list_for_each_entry(job, &queue->jobs, known) {
		if (job->id != id || job->mm != current->mm || job->claimed)
			continue;
		kref_get(&job->refs);
		mutex_unlock(&queue->lock);
		return job;
	}
	mutex_unlock(&queue->lock);
	return NULL;
}

static bool queue_done(struct godwit_queue *queue, struct godwit_job *job)
{
	bool done;

	mutex_lock(&queue->lock);
	done = job->done;
	mutex_unlock(&queue->lock);
	return done;
}

static int queue_wait_done(struct godwit_queue *queue, struct godwit_job *job, long timeout)
{
	long left;

	/* The look before the last wake-up is with the lock, so syncobjs are signalled. */
	left = wait_event_freezable_timeout(queue->ended, READ_ONCE(job->done), timeout);
	if (left < 0)
		return -EINTR;
	return queue_done(queue, job) ? 0 : -ETIME;
}

static int queue_fetch(struct godwit_queue *queue, struct godwit_job *job, u64 results,
		       u32 count, u32 stride)
{
	int ret;

	mutex_lock(&queue->lock);
	if (job->claimed) {
		mutex_unlock(&queue->lock);
		return -ENOENT;
	}
	job->claimed = true;
	mutex_unlock(&queue->lock);

	ret = godwit_job_fetch(job, u64_to_user_ptr(results), count, stride);

	mutex_lock(&queue->lock);
	if (ret) {
		job->claimed = false;
	} else {
		list_del_init(&job->known);
		queue->nr_jobs--;
	}
	mutex_unlock(&queue->lock);
	if (!ret)
		godwit_job_put(job);
	return ret;
}

static int execute_submit(struct drm_device *drm, struct drm_godwit_execute *args,
			  struct drm_file *file, struct godwit_job **out)
{
	struct godwit_queue *queue;
	struct godwit_job *job;
	int ret;

	if (!(godwit_device_capabilities(to_godwit(drm)) & GODWIT_CAP_EXECUTE))
		return -EOPNOTSUPP;
	job = godwit_job_create(file, args);
	if (IS_ERR(job))
		return PTR_ERR(job);
	do {
		queue = queue_get(file->driver_priv);
		ret = IS_ERR(queue) ? PTR_ERR(queue) : queue_add(queue, job);
	} while (ret == -EOWNERDEAD);
	if (ret) {
		godwit_job_put(job);
		return ret;
	}
	args->job = job->id;
	*out = job;
	return 0;
}

/**
 * godwit_execute_ioctl() - DRM_IOCTL_GODWIT_EXECUTE.
 * @drm: the device.
 * @data: &struct drm_godwit_execute.
 * @file: the client.
 *
 * The client needs a thread. A device has GODWIT_QUEUE_THREADS of them; beyond these it is -EAGAIN,
 * as where the client has too many jobs. One that had no job for two seconds has gone.
 *
 * Not within drm_dev_enter(), which would be held for as long as it waits.
 */
int godwit_execute_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_godwit_execute *args = data;
	struct godwit_job *job = NULL;
	int ret, idx;

	args->job = 0;
	args->status = 0;
	if (!drm_dev_enter(drm, &idx))
		return -ENODEV;
	ret = execute_submit(drm, args, file, &job);
	drm_dev_exit(idx);
	if (ret)
		return ret;
	if (args->flags & GODWIT_EXECUTE_WAIT) {
		/* Ends: each job before it, and the job itself, has a limit. */
		ret = queue_wait_done(job->queue, job, MAX_SCHEDULE_TIMEOUT);
		if (!ret)
			args->status = job->status;
		if (!ret)
			ret = queue_fetch(job->queue, job, args->results,
					  args->results ? args->command_count : 0,
					  args->result_stride);
	}
	godwit_job_put(job);
	return ret;
}

/**
 * godwit_wait_ioctl() - DRM_IOCTL_GODWIT_WAIT.
 * @drm: the device.
 * @data: &struct drm_godwit_wait.
 * @file: the client.
 *
 * As godwit_execute_ioctl(), not within drm_dev_enter().
 */
int godwit_wait_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct godwit_client *client = file->driver_priv;
	struct drm_godwit_wait *args = data;
	struct godwit_queue *queue;
	struct godwit_job *job;
	int ret;

	args->status = 0;
	ret = godwit_job_check_results(args->results, args->result_count, args->result_stride);
	if (ret)
		return ret;
	/* Once made it stays for as long as the descriptor is open. */
	queue = READ_ONCE(client->queue);
	job = queue ? queue_find(queue, args->job) : NULL;
	if (!job)
		return -ENOENT;
	ret = args->result_count > job->count ? -EINVAL : 0;
	if (!ret)
		ret = queue_wait_done(queue, job, msecs_to_jiffies(args->timeout_ms));
	if (!ret)
		args->status = job->status;
	if (!ret)
		ret = queue_fetch(queue, job, args->results, args->result_count,
				  args->result_stride);
	godwit_job_put(job);
	return ret;
}
