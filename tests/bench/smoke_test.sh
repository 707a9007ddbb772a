#!/bin/bash
# SPDX-License-Identifier: MIT
# The benchmark runs through with tiny sizes and prints a row of each group.
set -euo pipefail
output=$(tests/bench/bench --smoke) || {
  printf '%s\n' "$output"
  echo "bench --smoke: exit status $?"
  exit 1
}
printf '%s\n' "$output"
failed=0
for row in migrate/demote/4KiB/1t/warm migrate/promote/4MiB/2t/cold parts/4MiB/ fault/4KiB/read \
  fault/2MiB/write residency/4MiB/device malloc/small/1t/glibc malloc/large/2t/mimalloc \
  gemm/double/256/soft gemm/float/256/openblas; do
  if ! grep -q "^$row" <<<"$output"; then
    echo "no row $row"
    failed=1
  fi
done
exit "$failed"
