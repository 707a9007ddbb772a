/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_JOB_H_
#define _GODWIT_JOB_H_

#include <linux/kref.h>
#include <linux/list.h>
#include <linux/sizes.h>
#include <linux/types.h>

#include <drm/godwit_drm.h>

struct dma_fence;
struct drm_file;
struct godwit_client;
struct godwit_mirror;
struct godwit_queue;
struct godwit_sync;
struct mm_struct;

/* What one job may be, see &struct drm_godwit_limits. */
#define GODWIT_JOB_COMMANDS		1024u
#define GODWIT_JOB_SYNCS		64u
#define GODWIT_JOB_INLINE		SZ_4M
#define GODWIT_JOB_TIMEOUT_MS		60000u
#define GODWIT_JOB_TIMEOUT_DEFAULT_MS	10000u

/**
 * struct godwit_job - commands that a client queued together.
 *
 * Made by the call that submits it, then the queue's thread alone uses it until @done; after
 * that whoever fetches the results.
 */
struct godwit_job {
	/** @refs: the queue, until the results are fetched; the thread; whoever waits. */
	struct kref refs;
	/** @queue: where it is played. */
	struct godwit_queue *queue;
	/** @link: in &godwit_queue.pending, under &godwit_queue.lock. */
	struct list_head link;
	/** @known: in &godwit_queue.jobs, under &godwit_queue.lock. */
	struct list_head known;
	/** @id: names it to the client, from 1. */
	u64 id;
	/** @mirror: whose memory; a reference until @done, then NULL. */
	struct godwit_mirror *mirror;
	/** @mm: who may fetch the results; mmgrab. */
	struct mm_struct *mm;
	/** @timeout_ms: running time that it has. */
	unsigned int timeout_ms;
	/** @deadline: jiffies, of what it does now: to wait for others, then to run. */
	unsigned long deadline;
	/** @count: of @commands and @results. */
	unsigned int count;
	/** @commands: as the client gave them, checked. */
	struct drm_godwit_command *commands;
	/** @results: of each command. */
	struct drm_godwit_result *results;
	/** @data: bytes of the READ and WRITE commands, one after the other. */
	u8 *data;
	/** @data_size: bytes at @data. */
	size_t data_size;
	/** @bounce: a page, for COPY. */
	void *bounce;
	/** @syncs: what it waits for, and what it signals. */
	struct godwit_sync *syncs;
	/** @nr_syncs: how many. */
	unsigned int nr_syncs;
	/** @fence: what it signals with; set up when it ends. NULL where it signals nothing. */
	struct dma_fence *fence;
	/** @status: 0 or the negative errno that ended it. Valid with @done. */
	int status;
	/** @done: it has ended. Under &godwit_queue.lock. */
	bool done;
	/** @claimed: somebody is fetching the results. Under &godwit_queue.lock. */
	bool claimed;
};

struct godwit_job *godwit_job_create(struct drm_file *file,
				     const struct drm_godwit_execute *args);
void godwit_job_put(struct godwit_job *job);
int godwit_job_poll(struct godwit_job *job);
int godwit_job_fetch(const struct godwit_job *job, void __user *results, unsigned int count,
		     unsigned int stride);
int godwit_job_check_results(u64 results, u32 count, u32 stride);

#endif /* _GODWIT_JOB_H_ */
