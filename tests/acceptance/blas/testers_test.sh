#!/bin/bash
# SPDX-License-Identifier: MIT
# The level 3 testers of the reference BLAS, as Debian builds them (package libblas-test), unchanged
# and with every GEMM on the device.
# usage: testers_test.sh LIBGODWIT_MALLOC LIBGODWIT_BLAS DEVICE
set -u
source "$(dirname "$0")/common.sh"
export GODWIT_DEVICE=$3
folder=$(dirname "$(dpkg -L libblas-test 2>/dev/null | grep '/xblat3d$')")
if [[ ! -x $folder/xblat3d ]]; then
  skip "testers_$3" "the package libblas-test is not installed"
  exit 0
fi
if [[ $3 == vulkan* ]] && ! have_vulkan; then
  skip "testers_$3" "no Vulkan device"
  exit 0
fi
# The testers in C also need the reference BLAS, which tells them about row-major calls.
export LD_LIBRARY_PATH=$folder
cd "$work" || exit 1

# name, tester, input, what GEMM is called in its output, lines that must be there
tester() {
  local name=$1 program=$2 input=$3 gemm=$4 lines=$5 found
  # A complex product of nine elements takes a software Vulkan driver milliseconds: fewer sizes.
  if [[ $GODWIT_DEVICE == vulkan* && $name == [cz]* ]]; then
    sed -e 's/^6  \( *NUMBER OF VALUES OF N\)/3  \1/' -e 's/^[01] [0-9 ]*\( VALUES OF N\)/1 3 9 \1/' "$input" >"$work/input"
    input=$work/input
  fi
  rm -f -- *.out
  under_godwit timeout 170 "$program" <"$input" >output
  local status=$?
  cat -- *.out >>output 2>/dev/null
  if ((status != 0)); then
    fail "$name" "exit status $status: $(tail_of "$explained")"
    return
  fi
  found=$(grep -ci "^ *$gemm *PASSED THE " output)
  if ((found == lines)) && ! grep -q 'FAIL\|SUSPECT\|ABANDONED\|\*\*\*' output; then
    pass "$name.results"
  else
    fail "$name.results" "$found of $lines lines: $(grep -m3 "FAIL\|SUSPECT\|\*\*\*" output | tr '\n' '/')"
  fi
  check_offloaded "$name.offloaded" "$(grep -i "^ *$gemm *PASSED.*CALLS" output | sed 's/.*( *\([0-9]*\) CALLS.*/\1/' | awk '{ sum += $1 } END { print int(sum / 2) }')"
}

for type in s d c z; do
  tester "${type}_fortran" "$folder/xblat3$type" "$folder/${type}blat3.in" "${type}gemm" 2
  tester "${type}_c" "$folder/x${type}cblat3" "$folder/${type}in3" "cblas_${type}gemm" 3
done
exit "$failed"
