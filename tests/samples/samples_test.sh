#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs the samples in C++ and C, and compares what they print with what their READMEs show.
set -uo pipefail
godwit=$PWD/runtime/cli/godwit
samples=$PWD/samples
work=$(mktemp -d "${TEST_TMPDIR:-${TMPDIR:-/tmp}}/samples.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
# What the caller wishes for must not change what is tested here, the device excepted.
unset GODWIT_ENGINE GODWIT_VRAM GODWIT_MIN_BLOCK GODWIT_ARENA GODWIT_POOL GODWIT_THREADS GODWIT_LEVEL
unset GODWIT_OFFLOAD GODWIT_EXPLAIN GODWIT_CHAOS GODWIT_REPORT_DIR GODWIT_EVENTS LD_PRELOAD
export GODWIT_DEVICE=${GODWIT_DEVICE:-soft}
failures=0

pass() { echo "PASS $1"; }
skip() { echo "SKIP $1: $2"; }
fail() {
  echo "FAIL $1: $2"
  failures=1
}

# prints NAME EXPECTED COMMAND...: the command succeeds, and its stdout is that file.
prints() {
  local name=$1 expected=$2 status=0
  shift 2
  timeout -k 5 120 "$@" >out 2>err || status=$?
  if ((status != 0)); then
    if grep -q 'no engine can be used here' err; then
      skip "$name" "$(head -n 1 err)"
    else
      fail "$name" "exit status $status: $(tail -n 1 err)"
    fi
  elif diff "$expected" out >difference; then
    pass "$name"
  else
    fail "$name" "the first difference is: $(sed -n 2p difference)"
    cat difference
  fi
}

# shown NAME README EXPECTED: the README has every line of the expected output.
shown() {
  local line
  while IFS= read -r line; do
    if ! grep -qF -- "$line" "$2"; then
      fail "$1" "the README does not have the line: $line"
      return
    fi
  done <"$3"
  pass "$1"
}

for level in full resident; do
  expected=$samples/03_context/expected_$level.txt
  prints "context_cpp_$level" "$expected" env GODWIT_LEVEL=$level "$samples/03_context/residency"
  # The C program prints the same up to its end, which comes sooner.
  head -n 5 "$expected" >expected_c
  prints "context_c_$level" expected_c env GODWIT_LEVEL=$level "$samples/03_context/residency_c"
done
shown context_readme "$samples/03_context/README.md" "$samples/03_context/expected_full.txt"

heat=$samples/04_heat/heat
expected=$samples/04_heat/expected.txt
prints heat_alone "$expected" "$heat"
prints heat_evicted_all_the_time "$expected" "$godwit" run --vram=64M --chaos=evict --report=json \
  --report-file report.json -- "$heat"
if [[ ! -s report.json ]]; then
  skip heat_migrates "there is no report"
elif python3 -c 'import json, sys; sys.exit(json.load(open("report.json"))["total"]["bytes_to_device"] == 0)'; then
  pass heat_migrates
else
  fail heat_migrates "no byte went to the device"
fi
shown heat_readme "$samples/04_heat/README.md" "$expected"
exit "$failures"
