#!/bin/sh
# SPDX-License-Identifier: MIT
# Never ends, and does not want to.
trap '' TERM INT HUP
echo 'PASS before_it_hangs'
while :; do sleep 1000; done
