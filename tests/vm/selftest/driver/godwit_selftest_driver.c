// SPDX-License-Identifier: MIT
// A driver that needs the module.
#include <linux/module.h>

void godwit_selftest_use(void);

static int __init driver_init_module(void)
{
	godwit_selftest_use();
	return 0;
}
module_init(driver_init_module);

static void __exit driver_exit_module(void)
{
}
module_exit(driver_exit_module);

MODULE_DESCRIPTION("Uses a module that misbehaves on demand");
MODULE_LICENSE("Dual MIT/GPL");
