/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_QUEUE_H_
#define _GODWIT_QUEUE_H_

#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/types.h>
#include <linux/wait.h>

/* Jobs of one client that are queued, or whose results were not fetched. */
#define GODWIT_QUEUE_JOBS	256u

/*
 * Of all queues of a device. More than there are processes that compute on one device at a time,
 * one for each processor of a large machine; and about 16 MiB of memory that nobody is charged for,
 * 32 KiB a thread.
 */
#define GODWIT_QUEUE_THREADS	512

struct drm_device;
struct drm_file;
struct godwit_client;
struct task_struct;

/**
 * struct godwit_queue - the jobs of a client, and the thread that plays the device for them.
 */
struct godwit_queue {
	/** @client: whose. */
	struct godwit_client *client;
	/** @thread: a reference, or NULL; it may have ended. Under &godwit_client.lock. */
	struct task_struct *thread;
	/** @context: of the fences of its jobs. */
	u64 context;
	/**
	 * @lock: protects all that follows, and the members of jobs that say so. Nothing is
	 * allocated and nothing is waited for in it; fences are signalled in it.
	 */
	struct mutex lock;
	/** @pending: jobs that have not begun, in order. */
	struct list_head pending;
	/** @jobs: all jobs whose results were not fetched, in order. */
	struct list_head jobs;
	/** @nr_jobs: of @jobs. */
	unsigned int nr_jobs;
	/** @last: id of the newest job. */
	u64 last;
	/** @served: there is a thread, which has not decided to end. */
	bool served;
	/** @stopped: 0, or the negative errno that all jobs end with. Never unset. */
	int stopped;
	/** @wake: the thread waits here for jobs, a command that never ends for being stopped. */
	wait_queue_head_t wake;
	/** @ended: whoever waits for a job waits here. */
	wait_queue_head_t ended;
};

void godwit_queue_stop(struct godwit_client *client, int error);
void godwit_queue_destroy(struct godwit_client *client);

int godwit_execute_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int godwit_wait_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

#endif /* _GODWIT_QUEUE_H_ */
