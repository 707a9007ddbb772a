#!/bin/bash
# SPDX-License-Identifier: MIT
# The main job: unmodified Python and NumPy, with and without Godwit.
# usage: main_job_test.sh SCRIPT BAZEL_BIN_OF_GODWIT
set -u
if ! /usr/bin/python3 -c 'import numpy' 2>/dev/null || [[ ! -e /usr/share/dict/american-english ]]; then
  echo "SKIP main_job: python3-numpy or wamerican is not installed"
  exit 0
fi
# The folder above runtime/cli.
bin=$(realpath "$(dirname "$2")/../..")
if output=$(bash "$1" "$bin" 2>&1); then
  echo "PASS main_job"
else
  echo "$output" | tail -20
  echo "FAIL main_job: $(echo "$output" | tail -1)"
  exit 1
fi
