#!/bin/bash
# SPDX-License-Identifier: MIT
# In the VM: the comparison of the engines still runs, and has a ratio in every row.
set -uo pipefail
cd "$(dirname "$(realpath "$0")")/../.." || exit 1
status=0
timeout -k 5 100 tests/bench/engines --smoke >/tmp/engines 2>&1 || status=$?
sed 's/^/| /' /tmp/engines
rows=$(grep -c ' [0-9]\+\.[0-9]\+ ([0-9.]\+\.\.[0-9.]\+)' /tmp/engines)
if ((status == 0 && rows == 12)); then echo "PASS engines"; else
  echo "FAIL engines: exit status $status, $rows rows of 12"
  exit 1
fi
