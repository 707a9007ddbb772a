// SPDX-License-Identifier: MIT
// A module that misbehaves on demand: what tests/vm must notice.
#include <linux/delay.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/preempt.h>
#include <linux/reboot.h>
#include <linux/slab.h>

/* For a driver that needs this module. */
void godwit_selftest_use(void);

void godwit_selftest_use(void)
{
}
EXPORT_SYMBOL_GPL(godwit_selftest_use);

static void leak(void)
{
	/* Nothing keeps the pointers; but any one of them may linger on some stack. */
	for (int i = 0; i < 16; i++) {
		void *lost = kmalloc(1000, GFP_KERNEL);

		OPTIMIZER_HIDE_VAR(lost);
	}
}

static void use_after_free(void)
{
	char *gone = kmalloc(64, GFP_KERNEL);

	kfree(gone);
	OPTIMIZER_HIDE_VAR(gone);
	if (gone)
		WRITE_ONCE(gone[8], 1);
}

static DEFINE_MUTEX(first);
static DEFINE_MUTEX(second);

static void invert_locks(void)
{
	mutex_lock(&first);
	mutex_lock(&second);
	mutex_unlock(&second);
	mutex_unlock(&first);
	mutex_lock(&second);
	mutex_lock(&first);
	mutex_unlock(&first);
	mutex_unlock(&second);
}

static void sleep_while_atomic(void)
{
	preempt_disable();
	might_sleep();
	preempt_enable();
}

static bool power_off_at_unload;

static int misbehave(const char *how, const struct kernel_param *parameter)
{
	if (sysfs_streq(how, "warn"))
		WARN(1, "asked to warn");
	else if (sysfs_streq(how, "leak"))
		leak();
	else if (sysfs_streq(how, "use_after_free"))
		use_after_free();
	else if (sysfs_streq(how, "invert_locks"))
		invert_locks();
	else if (sysfs_streq(how, "sleep_while_atomic"))
		sleep_while_atomic();
	else if (sysfs_streq(how, "power_off_at_unload"))
		power_off_at_unload = true;
	else if (sysfs_streq(how, "stuck"))
		/* No signal ends this. */
		for (;;)
			msleep(1000);
	else
		return -EINVAL;
	return 0;
}

static const struct kernel_param_ops misbehave_ops = { .set = misbehave };
module_param_cb(misbehave, &misbehave_ops, NULL, 0200);
MODULE_PARM_DESC(misbehave, "write one of the words in misbehave()");

static int __init selftest_init_module(void)
{
	return 0;
}
module_init(selftest_init_module);

static void __exit selftest_exit_module(void)
{
	if (power_off_at_unload)
		kernel_power_off();
}
module_exit(selftest_exit_module);

MODULE_DESCRIPTION("Misbehaves on demand");
MODULE_LICENSE("Dual MIT/GPL");
