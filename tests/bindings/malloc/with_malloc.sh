#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: with_malloc.sh LIBRARY [NAME=VALUE ...] PROGRAM [ARGUMENT ...]
# Runs the program with the library preloaded, a soft device and little VRAM.
library=$PWD/$1
shift
test -f "$library" || { echo "no $library"; exit 1; }
exec env LD_PRELOAD="$library" GODWIT_DEVICE=soft GODWIT_VRAM=64M "$@"
