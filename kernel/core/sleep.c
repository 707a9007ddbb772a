// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Sleep of the system
 *
 * Overview: a card without power forgets its VRAM, and an image for hibernation has none of it. So
 * before the system sleeps, while there are still processes, swap and a disk to swap to, all pages
 * and objects come home, those that advice or GODWIT_GEM_PINNED holds included. From then on until
 * the system has woken up nobody gets a frame: processes that still run, and jobs, use their
 * memory in RAM, where it is.
 *
 * Jobs: the threads of queues stand still before the first page comes home, since the device may
 * not work while it has no power. A job waits where it is; that time is not its time.
 *
 * Refused: where something cannot leave (pinned for I/O, no RAM), the system does not sleep. It
 * is told -EBUSY, and all goes on as before.
 *
 * Afterwards pages come back as they are used, pinned objects at once.
 *
 * Locking: runs in the kernel's chain of notifiers, whose lock is outermost here. Takes what
 * eviction takes.
 */
#include <linux/sched/signal.h>
#include <linux/suspend.h>

#include <drm/drm_print.h>

#include "client.h"
#include "device.h"
#include "drain.h"
#include "evict.h"
#include "gem.h"
#include "queue.h"
#include "sleep.h"

/* How often to try again what somebody else holds, and how long to wait between. */
#define SLEEP_ROUNDS	50
#define SLEEP_PAUSE	(HZ / 20)
/* How long a job may take until it looks whether it may go on. */
#define SLEEP_PATIENCE	(10 * HZ)

/**
 * godwit_sleep_block() - a thread is about to play a job: the system waits for it.
 * @queue: its queue.
 *
 * Waits for the end of a sleep, unless the queue is stopped: then the job will only be ended.
 */
void godwit_sleep_block(struct godwit_queue *queue)
{
	struct godwit_sleep *sleep = &queue->client->gdev->sleep;

	for (;;) {
		atomic_inc(&sleep->playing);
		/* Pairs with sleep_stand_still(): one of the two sees the other. */
		smp_mb__after_atomic();
		if (!READ_ONCE(sleep->asleep) || READ_ONCE(queue->stopped))
			return;
		godwit_sleep_unblock(queue);
		wait_event_idle(sleep->over,
				!READ_ONCE(sleep->asleep) || READ_ONCE(queue->stopped));
	}
}

/**
 * godwit_sleep_unblock() - a thread no longer plays.
 * @queue: its queue.
 */
void godwit_sleep_unblock(struct godwit_queue *queue)
{
	struct godwit_sleep *sleep = &queue->client->gdev->sleep;

	if (atomic_dec_and_test(&sleep->playing))
		wake_up_all(&sleep->still);
}

/**
 * godwit_sleep_pass() - a thread that plays can stand still here.
 * @queue: its queue.
 *
 * Return: for how many jiffies it did.
 */
unsigned long godwit_sleep_pass(struct godwit_queue *queue)
{
	unsigned long since = jiffies;

	if (likely(!READ_ONCE(queue->client->gdev->sleep.asleep)))
		return 0;
	godwit_sleep_unblock(queue);
	godwit_sleep_block(queue);
	return jiffies - since;
}

static int sleep_stand_still(struct godwit_sleep *sleep)
{
	WRITE_ONCE(sleep->asleep, true);
	/* Pairs with godwit_sleep_block(). */
	smp_mb();
	return wait_event_timeout(sleep->still, !atomic_read(&sleep->playing), SLEEP_PATIENCE) ?
	       0 : -EBUSY;
}

/* Brings everything home. 0 where VRAM is empty. */
static int sleep_empty(struct godwit_device *gdev)
{
	struct godwit_eviction eviction = { .advised = true };
	struct godwit_vram *vram = &gdev->vram;
	unsigned int round;
	int ret;

	for (round = 0; round < SLEEP_ROUNDS; round++) {
		godwit_gem_sleep(gdev);
		ret = godwit_evict_pages(gdev, NULL, GODWIT_CAUSE_REQUEST, &eviction);
		if (ret)
			return ret;
		if (wait_event_timeout(vram->freed, godwit_vram_empty(vram), SLEEP_PAUSE))
			return 0;
		/* A page may wait in the lists of another processor. */
		godwit_drain_all();
	}
	return -EBUSY;
}

static int sleep_begin(struct godwit_device *gdev)
{
	int ret;

	ret = sleep_stand_still(&gdev->sleep);
	if (ret) {
		drm_err(&gdev->drm, "a job does not stand still: no sleep\n");
		return ret;
	}
	godwit_vram_set_asleep(&gdev->vram, true);
	ret = sleep_empty(gdev);
	if (ret == -EBUSY)
		drm_err(&gdev->drm, "%lu pages of VRAM are held by somebody, and would be lost: no sleep\n",
			godwit_vram_used(&gdev->vram));
	return ret;
}

static void sleep_end(struct godwit_device *gdev)
{
	godwit_vram_set_asleep(&gdev->vram, false);
	godwit_gem_wake(gdev);
	WRITE_ONCE(gdev->sleep.asleep, false);
	wake_up_all(&gdev->sleep.over);
}

static int sleep_notify(struct notifier_block *notifier, unsigned long what, void *unused)
{
	struct godwit_device *gdev = container_of(notifier, struct godwit_device, sleep.notifier);
	int ret = 0;

	switch (what) {
	case PM_SUSPEND_PREPARE:
	case PM_HIBERNATION_PREPARE:
	case PM_RESTORE_PREPARE:
		ret = sleep_begin(gdev);
		/* Who refuses is not told of the end. */
		if (ret)
			sleep_end(gdev);
		break;
	case PM_POST_SUSPEND:
	case PM_POST_HIBERNATION:
	case PM_POST_RESTORE:
		sleep_end(gdev);
		break;
	}
	return notifier_from_errno(ret);
}

/**
 * godwit_sleep_register() - have VRAM empty when the system sleeps.
 * @gdev: the device.
 */
int godwit_sleep_register(struct godwit_device *gdev)
{
	struct godwit_sleep *sleep = &gdev->sleep;

	init_waitqueue_head(&sleep->still);
	init_waitqueue_head(&sleep->over);
	sleep->notifier.notifier_call = sleep_notify;
	return register_pm_notifier(&sleep->notifier);
}

/**
 * godwit_sleep_unregister() - the device goes away.
 * @gdev: the device.
 */
void godwit_sleep_unregister(struct godwit_device *gdev)
{
	unregister_pm_notifier(&gdev->sleep.notifier);
	/* It may have been told of the beginning only. */
	sleep_end(gdev);
}
