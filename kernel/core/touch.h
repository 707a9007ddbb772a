/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_TOUCH_H_
#define _GODWIT_TOUCH_H_

#include <linux/mm_types.h>
#include <linux/spinlock.h>

/**
 * struct godwit_touches - the page of a device that CPUs touch in vain, if there is one.
 *
 * One at a time, which is enough to be told of it.
 */
struct godwit_touches {
	/** @lock: protects the others. */
	spinlock_t lock;
	/** @frame: which. */
	unsigned long frame;
	/** @since: jiffies of the first touch of it. */
	unsigned long since;
	/** @last: jiffies of the last one; 0 before the first of all. */
	unsigned long last;
	/** @told: jiffies when the log was told of it, or @since. */
	unsigned long told;
};

vm_fault_t godwit_touch(struct vm_fault *vmf);

#endif /* _GODWIT_TOUCH_H_ */
