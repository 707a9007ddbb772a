// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: The thread of a queue
 *
 * Overview: plays the jobs of a queue one after the other. Made by the job that finds none, it ends
 * when there was no job for a while (godwit.queue_idle), when the descriptor is closed, or when the
 * device goes away.
 *
 * Bounded: it is a kernel thread, which no limit of a process or of a group counts, so a device has
 * GODWIT_QUEUE_THREADS of them at most.
 *
 * That it ends when it is idle is decided with &godwit_queue.lock, with which jobs are added: so no
 * job is left without a thread. Whoever adds one after that makes another.
 *
 * Sleep of the system (sleep.c): it stops before a job or in godwit_job_poll(), until that is over.
 *
 * Locking: as queue.c.
 */
#include <linux/kthread.h>
#include <linux/moduleparam.h>
#include <linux/sched/task.h>

#include "client.h"
#include "command.h"
#include "device.h"
#include "event.h"
#include "job.h"
#include "mirror.h"
#include "player.h"
#include "queue.h"
#include "sleep.h"
#include "sync.h"
#include "trace.h"

/*
 * Longer than a program that goes on takes between two jobs, so that it is not the making of
 * threads that it waits for; short enough for threads of programs that do something else to go.
 */
static unsigned int queue_idle = 2000;
module_param(queue_idle, uint, 0644);
MODULE_PARM_DESC(queue_idle,
		 "End the thread of a queue that had no job for this many milliseconds (default 2000)");

static struct godwit_job *player_next(struct godwit_queue *queue)
{
	struct godwit_job *job;

	mutex_lock(&queue->lock);
	job = list_first_entry_or_null(&queue->pending, struct godwit_job, link);
	/* With the reference that the list had. */
	if (job)
		list_del_init(&job->link);
	mutex_unlock(&queue->lock);
	return job;
}

static int player_run(struct godwit_job *job)
{
	u8 *data = job->data;
	unsigned int i;
	int ret;

	/* A job that waits for nothing would begin without having looked. */
	ret = READ_ONCE(job->queue->stopped) ?: godwit_sync_wait(job);
	if (ret) {
		job->results[0].status = ret;
		return ret;
	}
	job->deadline = jiffies + msecs_to_jiffies(job->timeout_ms);
	for (i = 0; i < job->count && !ret; i++) {
		const struct drm_godwit_command *command = &job->commands[i];

		ret = godwit_command_play(job, i, data);
		if (command->op == GODWIT_OP_READ || command->op == GODWIT_OP_WRITE)
			data += command->length;
	}
	return ret;
}

static void player_tell(struct godwit_queue *queue, const struct godwit_job *job)
{
	struct drm_godwit_event event = {
		.type = GODWIT_EVENT_JOB,
		.mirror_id = job->mirror->id,
		.detail = job->id,
		.length = -job->status,
	};
	struct godwit_client *client = queue->client;

	godwit_stat_add(client->gdev, client, GODWIT_STAT_JOBS, 1);
	godwit_stat_add(client->gdev, client, GODWIT_STAT_JOBS_FAILED, !!job->status);
	godwit_stat_add(client->gdev, client, GODWIT_STAT_JOB_TIMEOUTS,
			job->status == -ETIMEDOUT);
	godwit_event_post(client, &event);
	trace_godwit_job(job->mirror, job->id, job->count, job->status);
}

static void player_play(struct godwit_queue *queue, struct godwit_job *job)
{
	struct godwit_mirror *mirror = job->mirror;

	job->status = player_run(job);
	player_tell(queue, job);
	/* Together: whoever sees one of them sees the other. */
	mutex_lock(&queue->lock);
	godwit_sync_signal(job, queue->context);
	job->mirror = NULL;
	job->done = true;
	mutex_unlock(&queue->lock);
	wake_up_all(&queue->ended);
	godwit_mirror_put(mirror);
	godwit_job_put(job);
}

/* With the lock: its thread plays no job any more, or never did. */
static void player_gone(struct godwit_queue *queue)
{
	lockdep_assert_held(&queue->lock);
	queue->served = false;
	atomic_dec(&queue->client->gdev->queue_threads);
}

/* The thread ends, unless there is a job by now: whoever adds one later sees that. */
static bool player_end_idle(struct godwit_queue *queue)
{
	bool idle;

	mutex_lock(&queue->lock);
	idle = list_empty(&queue->pending);
	if (idle)
		player_gone(queue);
	mutex_unlock(&queue->lock);
	return idle;
}

static int player_thread(void *data)
{
	struct godwit_queue *queue = data;
	struct godwit_job *job;
	long left;

	for (;;) {
		left = wait_event_idle_timeout(queue->wake, kthread_should_stop() ||
					       !list_empty_careful(&queue->pending),
					       msecs_to_jiffies(READ_ONCE(queue_idle)));
		job = player_next(queue);
		if (job) {
			godwit_sleep_block(queue);
			player_play(queue, job);
			godwit_sleep_unblock(queue);
		} else if (kthread_should_stop() || (!left && player_end_idle(queue))) {
			return 0;
		}
	}
}

/* Also of one that has decided to end: it uses the queue until it has. */
static void player_join(struct godwit_queue *queue)
{
	if (queue->thread)
		kthread_stop_put(queue->thread);
	queue->thread = NULL;
}

/**
 * godwit_player_start() - see to it that a queue has a thread, which may end when it is idle.
 * @queue: the queue; with &godwit_client.lock. One that is stopped gets none, and takes no job.
 *
 * Return: -EAGAIN, the device has all threads that it may have.
 */
int godwit_player_start(struct godwit_queue *queue)
{
	atomic_t *threads = &queue->client->gdev->queue_threads;
	struct task_struct *thread;
	bool served;

	mutex_lock(&queue->lock);
	served = queue->served || queue->stopped;
	mutex_unlock(&queue->lock);
	if (served)
		return 0;
	player_join(queue);
	if (!atomic_add_unless(threads, 1, GODWIT_QUEUE_THREADS))
		return -EAGAIN;
	thread = kthread_create(player_thread, queue, "godwit-queue/%u", queue->client->id);
	if (IS_ERR(thread)) {
		atomic_dec(threads);
		return PTR_ERR(thread);
	}
	/* It may end before it is stopped. */
	queue->thread = get_task_struct(thread);
	mutex_lock(&queue->lock);
	queue->served = true;
	mutex_unlock(&queue->lock);
	wake_up_process(thread);
	return 0;
}

/**
 * godwit_player_stop() - wait until all jobs of a queue have ended, and its thread.
 * @queue: the queue, which is &godwit_queue.stopped; with &godwit_client.lock.
 */
void godwit_player_stop(struct godwit_queue *queue)
{
	struct godwit_job *job;

	player_join(queue);
	/* A thread that is stopped before it ran for the first time never does. */
	while ((job = player_next(queue)))
		player_play(queue, job);
	mutex_lock(&queue->lock);
	if (queue->served)
		player_gone(queue);
	mutex_unlock(&queue->lock);
}
