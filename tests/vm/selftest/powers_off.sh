#!/bin/sh
# SPDX-License-Identifier: MIT
# The VM is gone, and nobody knows why.
echo o >/proc/sysrq-trigger
sleep 1000
