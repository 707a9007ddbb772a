#!/bin/bash
# SPDX-License-Identifier: MIT
# HPC Challenge, as Debian builds it (package hpcc): its Linpack solves a system whose residual tells
# whether every update was right, alone and as two MPI processes whose messages are managed memory.
# usage: hpcc_test.sh LIBGODWIT_MALLOC LIBGODWIT_BLAS DEVICE
set -u
source "$(dirname "$0")/common.sh"
export GODWIT_DEVICE=$3
if ! command -v hpcc >/dev/null || ! command -v mpirun >/dev/null; then
  skip "hpcc_$3" "hpcc or openmpi-bin is not installed"
  exit 0
fi
if [[ $3 == vulkan* ]] && ! have_vulkan; then
  skip "hpcc_$3" "no Vulkan device"
  exit 0
fi
cd "$work" || exit 1

# N, NB, P, Q
input() {
  cat >hpccinf.txt <<END
HPLinpack benchmark input file
Godwit
HPL.out      output file name
8            device out
1            # of problems sizes (N)
$1           Ns
1            # of NBs
$2           NBs
0            PMAP process mapping
1            # of process grids (P x Q)
$3           Ps
$4           Qs
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
}

# name, then the command
judge() {
  local name=$1
  shift
  rm -f hpccoutf.txt
  under_godwit "$@" >output
  local status=$?
  if ((status != 0)); then
    fail "$name" "exit status $status: $(grep -v ' offloaded: ' "$explained" | tail -c 400 | tr '\n' '/')"
    return
  fi
  if grep -q '^||Ax-b||.*PASSED' hpccoutf.txt && ! grep -q 'FAILED' hpccoutf.txt; then
    pass "$name.residual"
  else
    fail "$name.residual" "$(grep -m2 'FAILED\|Ax-b' hpccoutf.txt | tr '\n' '/')"
  fi
  if grep -q '^Success=1' hpccoutf.txt; then pass "$name.all_benchmarks"; else
    fail "$name.all_benchmarks" "no line Success=1"
  fi
  check_offloaded "$name.offloaded" 100
}

ranks() {
  env -u LD_PRELOAD mpirun --allow-run-as-root --oversubscribe -np 2 \
    env LD_PRELOAD="$LD_PRELOAD" timeout 120 hpcc
}
export -f ranks

input 1200 96 1 1
judge one_process timeout 120 hpcc
input 1000 64 1 2
judge two_processes bash -c ranks
export OMPI_MCA_btl_vader_single_copy_mechanism=none
judge two_processes_copying_twice bash -c ranks
exit "$failed"
