#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: octave.sh LIBRARY SCRIPT
# GNU Octave computes the same with its matrices evicted all the time.
library=$PWD/$1
script=$PWD/$2
. "$(dirname "$0")/common.sh"

if ! command -v octave-cli > /dev/null; then
    skip octave "octave-cli is not installed"
    exit 0
fi
# The order of summation depends on the number of threads.
export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 HOME="$scratch"

timeout 60 octave-cli --norc --no-history "$script" > "$scratch/plain" 2> "$scratch/plain.errors" || {
    skip octave "it does not run without the library either: $(reason $? "$scratch/plain.errors")"
    exit 0
}
under timeout -k 5 120 octave-cli --norc --no-history "$script" > "$scratch/managed" 2> "$scratch/errors"
status=$?
if [ $status -eq 0 ]; then pass octave_ends; else fail octave_ends "$(reason $status "$scratch/errors")"; fi
if grep -q 'memory stays in RAM' "$scratch/errors"; then
    skip octave_managed "$(grep -m 1 'memory stays in RAM' "$scratch/errors")"
fi

while read -r name values; do
    got=$(sed -n "s/^$name //p" "$scratch/managed")
    if [ "$got" = "$values" ]; then
        pass "octave_$name"
    else
        fail "octave_$name" "expected $values, got ${got:-nothing}"
    fi
done < "$scratch/plain"
[ "$failures" -eq 0 ]
