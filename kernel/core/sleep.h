/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_SLEEP_H_
#define _GODWIT_SLEEP_H_

#include <linux/atomic.h>
#include <linux/notifier.h>
#include <linux/wait.h>

struct godwit_device;
struct godwit_queue;

/**
 * struct godwit_sleep - what a device knows of the sleep of the system.
 */
struct godwit_sleep {
	/** @notifier: is told before it, and afterwards. */
	struct notifier_block notifier;
	/** @asleep: from the one to the other. */
	bool asleep;
	/** @playing: threads of queues that play a job. */
	atomic_t playing;
	/** @still: wakes who waits for none to. */
	wait_queue_head_t still;
	/** @over: wakes threads when it is over. */
	wait_queue_head_t over;
};

int godwit_sleep_register(struct godwit_device *gdev);
void godwit_sleep_unregister(struct godwit_device *gdev);

unsigned long godwit_sleep_pass(struct godwit_queue *queue);
void godwit_sleep_block(struct godwit_queue *queue);
void godwit_sleep_unblock(struct godwit_queue *queue);

#endif /* _GODWIT_SLEEP_H_ */
