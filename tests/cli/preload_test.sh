#!/bin/bash
# SPDX-License-Identifier: MIT
# `godwit run` with the libraries that it is for: a program that knows nothing of them is run, reported and traced.
set -uo pipefail
source tests/cli/check.sh

if ! "$godwit" run -- true 2>err; then
  skip All "no engine can be used here: $(head -n1 err)"
  exit 0
fi
expect LibrariesAreFound 0 "$godwit" run -- sh -c 'echo $LD_PRELOAD'
says LibrariesAreThoseOfThisTree out 'libgodwit_malloc\.so:.*libgodwit_blas\.so$'
expect ProgramWithoutManagedMemoryIsReported 0 "$godwit" run --report -- true
says ProgramWithoutManagedMemorySaysWhy err 'no process used'
expect SmallBlocksAreNotManaged 0 "$godwit" run --min-block=64M --report -- "$worker" touch 8
says SmallBlocksSayWhy err 'no process used'
expect TouchIsReported 0 "$godwit" run --report=json --report-file touch.json -- "$worker" touch 32
evaluates TouchHasManagedMemory touch.json 'len(j["processes"]) == 1 and j["total"]["managed_peak"] >= 32 << 20 and j["processes"][0]["engine"] == "user"'
expect ForkIsReported 0 "$godwit" run --report=json --report-file fork.json -- "$worker" fork 32
evaluates ForkIsCounted fork.json 'len(j["processes"]) == 1 and j["total"]["forks"] >= 1'
expect TwoProcessesAreReported 0 "$godwit" run --report=json --report-file two.json -- sh -c '"$0" touch 16 & "$0" touch 16 & wait' "$worker"
evaluates TwoProcessesHaveTwoEntries two.json 'len(j["processes"]) == 2 and len({p["process"] for p in j["processes"]}) == 2'
expect ProductIsRight 0 "$godwit" run --device=soft --offload=always --report=json --report-file gemm.json --trace gemm.trace -- "$worker" multiply 512
says ProductWasMultiplied out '^right$'
evaluates ProductIsReported gemm.json 'j["total"]["gemm_offloaded"] == 1 and j["total"]["bytes_to_device"] > 0 and j["processes"][0]["device"].startswith("soft")'
evaluates ProductIsTraced gemm.trace 'any(e["ph"] == "X" for e in j["traceEvents"])'
evaluates TraceNamesTheProgram gemm.trace 'any(e["name"] == "process_name" and e["args"]["name"] == "worker" for e in j["traceEvents"])'
expect ExplainSaysWhere 0 "$godwit" run --device=soft --offload=always --explain -- "$worker" multiply 256
says ExplainNamesTheProduct err 'gemm'
expect ChaosKeepsEveryByte 0 "$godwit" run --device=soft --chaos=evict --report=json --report-file chaos.json -- "$worker" touch 64
evaluates ChaosMovesPages chaos.json 'j["total"]["bytes_to_device"] > 0'
expect KilledProgramIsStillReported 137 "$godwit" run --report=json --report-file killed.json -- sh -c '"$0" touch 16; kill -9 $$' "$worker"
evaluates KilledProgramHasNumbers killed.json 'j["signal"] == 9 and len(j["processes"]) == 1'
exit $failures
