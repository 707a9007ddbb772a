#!/bin/sh
# SPDX-License-Identifier: MIT
# Ends, and leaves a process in a session of its own, which holds the output open.
setsid sleep 4321 &
