// SPDX-License-Identifier: MIT
// A module that misbehaves on demand: what tests/vm must notice.
#include <linux/delay.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>

static int misbehave(const char *how, const struct kernel_param *parameter)
{
	if (sysfs_streq(how, "warn")) {
		WARN(1, "asked to warn");
	} else if (sysfs_streq(how, "leak")) {
		/* Nothing keeps the pointer. */
		void *volatile lost = kmalloc(1000, GFP_KERNEL);

		lost = NULL;
		(void)lost;
	} else if (sysfs_streq(how, "stuck")) {
		/* No signal ends this. */
		for (;;)
			msleep(1000);
	} else {
		return -EINVAL;
	}
	return 0;
}

static const struct kernel_param_ops misbehave_ops = { .set = misbehave };
module_param_cb(misbehave, &misbehave_ops, NULL, 0200);
MODULE_PARM_DESC(misbehave, "write warn, leak or stuck");

MODULE_DESCRIPTION("Misbehaves on demand");
MODULE_LICENSE("Dual MIT/GPL");
