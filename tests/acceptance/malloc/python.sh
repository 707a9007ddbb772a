#!/bin/bash
# SPDX-License-Identifier: MIT
# usage: python.sh LIBRARY ARRAYS_PY
# Debian's Python: its own tests of fork and subprocess, and NumPy arrays over multiprocessing.
library=$PWD/$1
arrays=$PWD/$2
. "$(dirname "$0")/common.sh"

python=/usr/bin/python3.11
if [ ! -x $python ]; then
    skip python "$python is not installed"
    exit 0
fi
export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 HOME="$scratch"
cd "$scratch" || exit 1

# With malloc for all of Python's objects, instead of its own pools in mmap.
if ! under timeout 60 $python -c 'import ctypes, sys
get = ctypes.CDLL(None).godwit_malloc_context
get.restype = ctypes.c_void_p
sys.exit(0 if get(1) else 1)' 2> errors; then
    skip python_managed "$(tail -n 1 errors)"
fi

# It wants to see in a child exactly the descriptors that it passed on; the library has its own.
skip python_test_pass_fds_redirected "the library holds descriptors in each process"
for test in test_fork1 test_subprocess; do
    if ! $python -c "import test.$test" 2> errors; then
        skip "python_$test" "libpython3.11-testsuite is not installed"
        continue
    fi
    under PYTHONMALLOC=malloc timeout -k 5 200 \
        $python -m test -v -i test_pass_fds_redirected $test > "$test.log" 2>&1
    status=$?
    if [ $status -eq 0 ]; then
        pass "python_$test"
    else
        cat "$test.log"
        fail "python_$test" "$(reason $status "$test.log"); $(grep -E '^(FAIL|ERROR):' "$test.log" | tr '\n' ' ')"
    fi
done

if ! $python -c "import numpy" 2> errors; then
    skip python_arrays "python3-numpy is not installed"
    [ "$failures" -eq 0 ]
    exit
fi
timeout 60 $python "$arrays" > plain 2> errors || {
    skip python_arrays "they do not run without the library either: $(reason $? errors)"
    [ "$failures" -eq 0 ]
    exit
}
under timeout -k 5 100 $python "$arrays" > managed 2> errors
status=$?
if [ $status -eq 0 ]; then pass python_arrays_end; else cat errors; fail python_arrays_end "$(reason $status errors)"; fi
while read -r name values; do
    got=$(sed -n "s/^$name //p" managed)
    if [ "$got" = "$values" ]; then
        pass "python_$name"
    else
        fail "python_$name" "expected $values, got ${got:-nothing}"
    fi
done < plain
[ "$failures" -eq 0 ]
