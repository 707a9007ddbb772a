#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs gemm_program under libgodwit_blas.so, with and without libgodwit_malloc.so, and by itself.
# usage: gemm_test.sh PROGRAM FAKE_BLAS LIBGODWIT_BLAS LIBGODWIT_MALLOC FORKING_DRIVER
set -u
program=$1 fake=$(realpath "$2") blas=$(realpath "$3") malloc=$(realpath "$4") driver=$(realpath "$5")
export GODWIT_DEVICE=${GODWIT_DEVICE:-soft}
failed=0
log=$(mktemp) icd=$(mktemp --suffix=.json)
trap 'rm -f "$log" "$icd"' EXIT

# Prefixes the program's lines with the name of the case.
run() {
  local name=$1
  shift
  "$@" >"$log" 2>&1
  local status=$?
  sed "s/^\(PASS\|FAIL\) /\1 $name./" "$log"
  if ((status != 0)); then
    grep -q '^FAIL' "$log" || echo "FAIL $name: exit status $status"
    failed=1
  fi
}

run plain.names "$program" names "$fake" 1
for preload in "$blas" "$malloc:$blas"; do
  case $preload in *:*) with=both ;; *) with=blas ;; esac
  run "$with.never.names" env LD_PRELOAD="$preload" GODWIT_OFFLOAD=never "$program" names "$fake" 1
  # Too small for any device, so that auto passes them on.
  run "$with.auto.names" env LD_PRELOAD="$preload" "$program" names "$fake" 1
  run "$with.always.names" env LD_PRELOAD="$preload" GODWIT_OFFLOAD=always "$program" names "$fake" 0
  run "$with.always.threads" env LD_PRELOAD="$preload" GODWIT_OFFLOAD=always "$program" threads "$fake" 0
  run "$with.always.fork" env LD_PRELOAD="$preload" GODWIT_OFFLOAD=always "$program" fork "$fake" 0
  run "$with.always.cancelled" env LD_PRELOAD="$preload" GODWIT_OFFLOAD=always GODWIT_EXPLAIN=1 "$program" cancelled "$fake" 0
  run "$with.no_next.invalid" env LD_PRELOAD="$preload" "$program" invalid - 0
  for round in 1 2 3 4 5; do
    run "$with.no_next.first.$round" env LD_PRELOAD="$preload" "$program" first - 0
  done
  run "$with.no_next.auto" env LD_PRELOAD="$preload" GODWIT_OFFLOAD=auto "$program" alone - 0
  run "$with.no_next.never" env LD_PRELOAD="$preload" GODWIT_OFFLOAD=never "$program" alone - 0
done

# Where the device is made, a driver may fork; the loader takes the one that is named here.
printf '{"file_format_version": "1.0.0", "ICD": {"library_path": "%s", "api_version": "1.3.0"}}' "$driver" >"$icd"
for preload in "$blas" "$malloc:$blas"; do
  case $preload in *:*) with=both ;; *) with=blas ;; esac
  run "$with.driver_that_forks" env LD_PRELOAD="$preload" GODWIT_DEVICE=auto GODWIT_OFFLOAD=always \
    VK_ICD_FILENAMES="$icd" VK_DRIVER_FILES="$icd" timeout -s KILL 30 "$program" fork "$fake" 0
  if grep -q '^driver: helper ran' "$log"; then echo "PASS $with.driver_forked"; else
    echo "FAIL $with.driver_forked: $(tail -c 300 "$log" | tr '\n' '/')"
    failed=1
  fi
done

# What goes wrong is said in words.
said() {
  local name=$1 text=$2
  if grep -q -- "$text" "$log"; then
    echo "PASS $name"
  else
    echo "FAIL $name: no line with '$text' but: $(tail -c 300 "$log" | tr '\n' '/')"
    failed=1
  fi
}
LD_PRELOAD=$blas GODWIT_OFFLOAD=sometimes "$program" alone "$fake" 1 >"$log" 2>&1
said unknown_offload 'GODWIT_OFFLOAD is "sometimes"'
LD_PRELOAD=$blas GODWIT_OFFLOAD=always GODWIT_DEVICE=nonsense "$program" threads "$fake" 1 >"$log" 2>&1
said no_context_passes_on '^PASS threads'
said no_context_says_so 'unknown device "nonsense"'
lines=$(grep -c '^godwit:' "$log")
if ((lines == 1)); then echo "PASS no_context_says_so_once"; else
  echo "FAIL no_context_says_so_once: $lines lines"
  failed=1
fi
(LD_PRELOAD=$blas GODWIT_DEVICE=nonsense "$program" alone - 0) >"$log" 2>&1
said nobody_can 'no other BLAS is loaded'
LD_PRELOAD=$blas GODWIT_OFFLOAD=always GODWIT_EXPLAIN=1 "$program" alone "$fake" 0 >"$log" 2>&1
said explains 'godwit: dgemm_ NT m=300 n=310 k=60 offloaded: '
LD_PRELOAD=$blas GODWIT_OFFLOAD=never GODWIT_EXPLAIN=1 "$program" alone "$fake" 1 >"$log" 2>&1
said explains_passing_on 'godwit: dgemm_ NT m=300 n=310 k=60 passed on: GODWIT_OFFLOAD is never'
exit "$failed"
