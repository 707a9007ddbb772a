#!/bin/sh
# SPDX-License-Identifier: MIT
# Dies with a driver loaded that needs the module.
insmod /modules/drivers/driver/godwit_selftest_driver.ko || exit 1
echo "PASS loads_a_driver"
kill -9 $$
