#!/bin/bash
# SPDX-License-Identifier: MIT
# In the VM: samples/06_pointers prints what its README shows.
set -uo pipefail
cd "$(dirname "$(realpath "$0")")/../.." || exit 1
sample=samples/06_pointers
status=0
timeout -k 5 240 "$sample/pointers" >/tmp/out || status=$?
sed 's/^/| /' /tmp/out
if ((status == 0)) && diff "$sample/expected.txt" /tmp/out; then echo "PASS pointers"; else
  echo "FAIL pointers: exit status $status, or not the expected output"
  exit 1
fi
while IFS= read -r line; do
  grep -qF -- "$line" "$sample/README.md" || { echo "FAIL readme: it does not have: $line"; exit 1; }
done <"$sample/expected.txt"
echo "PASS readme"
