// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Jobs
 *
 * Overview: takes a job over from its client: copies and checks everything, so that nothing that
 * the client does afterwards matters but to the memory that the commands name; and gives the
 * results back. All that a job needs while it runs is allocated here.
 *
 * Locking: none; a job has one user at a time, see &struct godwit_job.
 */
#include <linux/dma-fence.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <drm/drm_file.h>

#include "../state/range.h"
#include "client.h"
#include "command.h"
#include "job.h"
#include "mirror.h"
#include "queue.h"
#include "sleep.h"
#include "sync.h"

/* Sizes in interface 1.0: no caller has smaller ones. */
#define JOB_COMMAND_SIZE	48u
#define JOB_RESULT_SIZE		56u
#define JOB_SYNC_SIZE		16u

static int job_check_stride(u32 stride, u32 least)
{
	if (stride < least || stride % 8)
		return -EINVAL;
	return stride > PAGE_SIZE ? -E2BIG : 0;
}

/**
 * godwit_job_check_results() - can results be stored there?
 * @results: pointer of the client, or 0.
 * @count: results.
 * @stride: bytes of one.
 */
int godwit_job_check_results(u64 results, u32 count, u32 stride)
{
	if (!results)
		return count || stride ? -EINVAL : 0;
	if (!count)
		return -EINVAL;
	return job_check_stride(stride, JOB_RESULT_SIZE);
}

static void job_free(struct kref *refs)
{
	struct godwit_job *job = container_of(refs, struct godwit_job, refs);

	godwit_sync_free(job);
	if (job->mirror)
		godwit_mirror_put(job->mirror);
	mmdrop(job->mm);
	kfree(job->bounce);
	kvfree(job->data);
	kvfree(job->results);
	kvfree(job->commands);
	kfree(job);
}

/**
 * godwit_job_put() - give back a reference. May sleep.
 * @job: the job.
 */
void godwit_job_put(struct godwit_job *job)
{
	kref_put(&job->refs, job_free);
}

/**
 * godwit_job_poll() - may it go on?
 * @job: a job that has begun to wait or to run.
 *
 * Where the system is about to sleep this returns when it has woken up; that time does not count.
 *
 * Return: 0; otherwise the reason to end it now.
 */
int godwit_job_poll(struct godwit_job *job)
{
	int stopped;

	job->deadline += godwit_sleep_pass(job->queue);
	stopped = READ_ONCE(job->queue->stopped);
	if (stopped)
		return stopped;
	if (READ_ONCE(job->mirror->revoked) || !atomic_read(&job->mm->mm_users))
		return -ECANCELED;
	return time_after(jiffies, job->deadline) ? -ETIMEDOUT : 0;
}

static int job_copy_commands(struct godwit_job *job, const struct drm_godwit_execute *args)
{
	void __user *from = u64_to_user_ptr(args->commands);
	unsigned int i;
	int ret = 0;

	job->commands = kvcalloc(args->command_count, sizeof(*job->commands), GFP_KERNEL_ACCOUNT);
	job->results = kvcalloc(args->command_count, sizeof(*job->results), GFP_KERNEL_ACCOUNT);
	if (!job->commands || !job->results)
		return -ENOMEM;
	job->count = args->command_count;
	for (i = 0; i < job->count && !ret; i++) {
		/* What no command before it kept from running overwrites this. */
		job->results[i].status = -ECANCELED;
		ret = copy_struct_from_user(&job->commands[i], sizeof(*job->commands),
					    from + (size_t)i * args->command_stride,
					    args->command_stride);
		if (!ret)
			ret = godwit_command_check(&job->commands[i]);
	}
	return ret;
}

static bool job_has_data(const struct drm_godwit_command *command)
{
	return command->op == GODWIT_OP_READ || command->op == GODWIT_OP_WRITE;
}

static int job_copy_data(struct godwit_job *job)
{
	size_t size = 0;
	unsigned int i;
	u8 *to;

	for (i = 0; i < job->count; i++) {
		if (!job_has_data(&job->commands[i]))
			continue;
		if (job->commands[i].length > GODWIT_JOB_INLINE - size)
			return -E2BIG;
		size += job->commands[i].length;
	}
	if (!size)
		return 0;
	/* Zeroed: what a READ did not reach must not tell what was here before. */
	job->data = kvzalloc(size, GFP_KERNEL_ACCOUNT);
	if (!job->data)
		return -ENOMEM;
	job->data_size = size;
	for (i = 0, to = job->data; i < job->count; i++) {
		const struct drm_godwit_command *command = &job->commands[i];

		if (command->op == GODWIT_OP_WRITE &&
		    copy_from_user(to, u64_to_user_ptr(command->data), command->length))
			return -EFAULT;
		if (job_has_data(command))
			to += command->length;
	}
	return 0;
}

static int job_copy_syncs(struct godwit_job *job, struct drm_file *file,
			  const struct drm_godwit_execute *args)
{
	void __user *from = u64_to_user_ptr(args->syncs);
	unsigned int i;
	int ret = 0;

	if (!args->sync_count)
		return 0;
	job->syncs = kcalloc(args->sync_count, sizeof(*job->syncs), GFP_KERNEL_ACCOUNT);
	if (!job->syncs)
		return -ENOMEM;
	for (i = 0; i < args->sync_count && !ret; i++) {
		struct drm_godwit_sync sync;

		ret = copy_struct_from_user(&sync, sizeof(sync),
					    from + (size_t)i * args->sync_stride,
					    args->sync_stride);
		if (!ret)
			ret = godwit_sync_add(job, file, &sync);
	}
	return ret;
}

static int job_check(const struct drm_godwit_execute *args)
{
	bool wait = args->flags & GODWIT_EXECUTE_WAIT;
	int ret;

	if (args->pad || args->pad2 || (args->flags & ~GODWIT_EXECUTE_WAIT))
		return -EINVAL;
	if (!args->command_count)
		return -EINVAL;
	if (args->command_count > GODWIT_JOB_COMMANDS || args->sync_count > GODWIT_JOB_SYNCS ||
	    args->timeout_ms > GODWIT_JOB_TIMEOUT_MS)
		return -E2BIG;
	ret = job_check_stride(args->command_stride, JOB_COMMAND_SIZE);
	if (!ret && args->sync_count)
		ret = job_check_stride(args->sync_stride, JOB_SYNC_SIZE);
	else if (!ret && (args->sync_stride || args->syncs))
		ret = -EINVAL;
	if (ret)
		return ret;
	if (args->results && !wait)
		return -EINVAL;
	return godwit_job_check_results(args->results, args->results ? args->command_count : 0,
					args->result_stride);
}

/**
 * godwit_job_create() - take a job over.
 * @file: of the client.
 * @args: as the client gave it.
 *
 * Return: the job, with one reference, or an ERR_PTR. Nothing was changed where it failed.
 */
struct godwit_job *godwit_job_create(struct drm_file *file,
				     const struct drm_godwit_execute *args)
{
	struct godwit_mirror *mirror;
	struct godwit_job *job;
	int ret;

	ret = job_check(args);
	if (ret)
		return ERR_PTR(ret);
	mirror = godwit_mirror_get(file->driver_priv);
	if (IS_ERR(mirror))
		return ERR_CAST(mirror);
	job = kzalloc_obj(*job, GFP_KERNEL_ACCOUNT);
	if (!job) {
		godwit_mirror_put(mirror);
		return ERR_PTR(-ENOMEM);
	}
	kref_init(&job->refs);
	INIT_LIST_HEAD(&job->link);
	INIT_LIST_HEAD(&job->known);
	job->mirror = mirror;
	job->mm = mirror->mm;
	mmgrab(job->mm);
	job->timeout_ms = args->timeout_ms ?: GODWIT_JOB_TIMEOUT_DEFAULT_MS;
	job->bounce = kmalloc(PAGE_SIZE, GFP_KERNEL_ACCOUNT);
	ret = job->bounce ? job_copy_commands(job, args) : -ENOMEM;
	if (!ret)
		ret = job_copy_data(job);
	if (!ret)
		ret = job_copy_syncs(job, file, args);
	if (ret) {
		godwit_job_put(job);
		return ERR_PTR(ret);
	}
	return job;
}

static int job_fetch_data(const struct godwit_job *job)
{
	const u8 *from = job->data;
	unsigned int i;

	for (i = 0; i < job->count; i++) {
		const struct drm_godwit_command *command = &job->commands[i];

		if (command->op == GODWIT_OP_READ &&
		    copy_to_user(u64_to_user_ptr(command->data), from, job->results[i].done))
			return -EFAULT;
		if (job_has_data(command))
			from += command->length;
	}
	return 0;
}

/**
 * godwit_job_fetch() - give a client the results of a job.
 * @job: a job that has ended, claimed by the caller.
 * @results: where to, or NULL.
 * @count: results that are wanted, at most &godwit_job.count.
 * @stride: bytes of one, checked.
 *
 * Return: 0 or -EFAULT, and then it can be tried again.
 */
int godwit_job_fetch(const struct godwit_job *job, void __user *results, unsigned int count,
		     unsigned int stride)
{
	size_t size = min_t(size_t, stride, sizeof(*job->results));
	unsigned int i;

	for (i = 0; results && i < count; i++) {
		void __user *to = results + (size_t)i * stride;

		if (copy_to_user(to, &job->results[i], size) ||
		    clear_user(to + size, stride - size))
			return -EFAULT;
	}
	return job_fetch_data(job);
}
