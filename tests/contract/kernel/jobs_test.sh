#!/bin/bash
# SPDX-License-Identifier: MIT
# Programs that know nothing of Godwit, under `godwit run --engine=kernel`, in the VM: the main job of `./dev run`, and
# Linpack. Both check their own results; VRAM has half the size of their matrices, or less.
set -uo pipefail
cd "$(dirname "$(realpath "$0")")/../../.." || exit 1
bin=$PWD
# Debian 12's library, which the VM's system does not have; and what the preloaded ones are linked with.
export LD_LIBRARY_PATH=$bin/tests/contract/kernel:$bin/bindings/c
export GODWIT_LIBRARY_PATH=$bin/bindings/malloc:$bin/bindings/blas
export GODWIT_ENGINE=kernel
device=${GODWIT_DEVICE:-soft}
export GODWIT_DEVICE=$device
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
pass() { echo "PASS $1"; }
fail() {
  echo "FAIL $1: $2"
  failed=1
}

vram=$("$bin/runtime/cli/godwit" info --json | python3 -c '
import json, sys
print(next(device["vram_bytes"] for device in json.load(sys.stdin)["kernel_devices"] if device["usable"]))')
[[ -n $vram ]] || { echo "FAIL vram: godwit info names no device"; exit 1; }

# The job has a matrix of 1 KiB a word, Linpack one of doubles: each of twice the VRAM.
words=$((2 * vram / 1024))
order=$(python3 -c "import math; print(math.isqrt(2 * $vram // 8 - 1) + 1)")
echo "| VRAM of $vram bytes; $words words, Linpack of order $order"
mkdir -p /usr/share/dict
{
  printf '%s\n' teaching friendship nation unhappy mathematics bird
  grep -E '^[a-z]+$' "$bin/tests/contract/kernel/words" | grep -vxE 'teaching|friendship|nation|unhappy|mathematics|bird' |
    awk -v wanted=$((words - 6)) '{ all[NR] = $0 } END { for (i = 0; i < wanted && i < NR; ++i) print all[1 + int(i * NR / wanted)] }'
} >/usr/share/dict/american-english
if [[ ! -s tests/contract/kernel/words ]]; then
  echo "SKIP main_job: no word list (Debian package wamerican)"
elif timeout -k 5 800 bash samples/run_main_job.sh "$bin" >"$work/main" 2>&1; then pass main_job; else
  fail main_job "$(tail -n 3 "$work/main" | tr '\n' '/')"
fi
sed 's/^/| /' "$work/main" 2>/dev/null

cd "$work" || exit 1
cat >hpccinf.txt <<END
HPLinpack benchmark input file
Godwit
HPL.out      output file name
8            device out
1            # of problems sizes (N)
$order         Ns
1            # of NBs
96           NBs
0            PMAP process mapping
1            # of process grids (P x Q)
1            Ps
1            Qs
16.0         threshold
1            # of panel fact
2            PFACTs (0=left, 1=Crout, 2=Right)
1            # of recursive stopping criterium
4            NBMINs (>= 1)
1            # of panels in recursion
2            NDIVs
1            # of recursive panel fact.
1            RFACTs (0=left, 1=Crout, 2=Right)
1            # of broadcast
1            BCASTs
1            # of lookahead depth
1            DEPTHs (>=0)
2            SWAP (0=bin-exch,1=long,2=mix)
64           swapping threshold
0            L1 in (0=transposed,1=no-transposed) form
0            U  in (0=transposed,1=no-transposed) form
1            Equilibration (0=no,1=yes)
8            memory alignment in double (> 0)
END
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
status=0
timeout -k 5 800 "$bin/runtime/cli/godwit" run --engine=kernel --offload=always --min-block=64K --report \
  --report-file=report -- hpcc >output 2>errors || status=$?
sed 's/^/| /' report
if ((status != 0)); then
  fail linpack "exit status $status: $(tail -c 300 errors | tr '\n' '/')"
elif grep -q '^||Ax-b||.*PASSED' hpccoutf.txt && ! grep -q FAILED hpccoutf.txt; then
  grep '^||Ax-b||' hpccoutf.txt | sed 's/^/| /'
  products=$(sed -n 's/.*matrix products *\([0-9]\+\) on the device.*/\1/p' report | head -1)
  # In VRAM of half the size a product's operands go through it piece by piece. Its last ones fit.
  staged=$(sed -n 's/.*passed on; \([0-9.]\+ .iB\) of operands staged.*/\1/p' report | head -1)
  in_place=$(sed -n 's/^ *device access *\([1-9][0-9.]* .iB\).*/\1/p' report | head -1)
  if ((${products:-0} < 10)); then
    fail linpack "${products:-0} products on the device"
  elif [[ -z $staged ]]; then
    fail linpack "every operand fitted into VRAM of half the size"
  elif [[ -z $in_place ]]; then
    fail linpack "no operand was used where the program has it"
  else
    pass linpack
  fi
else
  fail linpack "$(grep -m2 'FAILED\|Ax-b' hpccoutf.txt | tr '\n' '/')"
fi
exit "$failed"
