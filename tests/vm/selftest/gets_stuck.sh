#!/bin/sh
# SPDX-License-Identifier: MIT
# A task that no signal ends.
echo stuck >/sys/module/godwit_selftest/parameters/misbehave
