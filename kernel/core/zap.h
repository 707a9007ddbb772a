/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_ZAP_H_
#define _GODWIT_ZAP_H_

#include <linux/fs.h>
#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>

struct task_struct;

/**
 * struct godwit_zapper - the thread that plays the MMU of a device for its views.
 */
struct godwit_zapper {
	/** @lock: protects @commands. Innermost. */
	spinlock_t lock;
	/** @commands: zaps to be done, in order. */
	struct list_head commands;
	/** @wake: the thread waits here. */
	wait_queue_head_t wake;
	/** @thread: NULL where the device has no views. */
	struct task_struct *thread;
};

int godwit_zapper_start(struct godwit_zapper *zapper, u32 device);
void godwit_zapper_stop(struct godwit_zapper *zapper);

void godwit_zap(struct godwit_zapper *zapper, struct address_space *mapping, loff_t start,
		loff_t length);
bool godwit_zap_is_current(void);

#endif /* _GODWIT_ZAP_H_ */
