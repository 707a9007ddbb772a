#!/bin/sh
# SPDX-License-Identifier: MIT
# What leaves_a_process.sh left is gone.
! pgrep -f 'sleep 4321' >/dev/null
