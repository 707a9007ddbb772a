#!/bin/sh
# SPDX-License-Identifier: MIT
# Passes; the VM is gone when the module is unloaded.
echo power_off_at_unload >/sys/module/godwit_selftest/parameters/misbehave
