#!/bin/bash
# SPDX-License-Identifier: MIT
# perftest's own programs, unchanged, over rxe, with their buffers from libgodwit_malloc, while a thread of it moves these to VRAM.
# perftest compares no data (rdma_test does): what is shown here is that nothing gets stuck or fails, and that it did move.
#
# As perftest_all: each program with each engine and both kinds of regions.
set -uo pipefail
cd "$(dirname "$(realpath "$0")")/../../.." || exit 1
bin=$PWD
# Debian 12's library, which the VM's system does not have; and what the preloaded ones are linked with.
export LD_LIBRARY_PATH=$bin/tests/contract/kernel:$bin/bindings/c
export GODWIT_LIBRARY_PATH=$bin/bindings/malloc:$bin/bindings/blas
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
pass() { echo "PASS $1"; }
fail() {
  echo "FAIL $1: $2"
  failed=1
}

address=10.77.0.1
if ! modprobe rdma_rxe 2>/dev/null || ! modprobe ib_uverbs; then
  echo "SKIP perftest: this kernel has no rxe"
  exit 0
fi
if ! rdma link show | grep -q rxe0; then
  modprobe dummy && ip link add nic0 type dummy && ip link set nic0 mtu 9000 up && ip address add $address/24 dev nic0 &&
    rdma link add rxe0 type rxe netdev nic0 || {
    echo "FAIL perftest: no NIC can be made"
    exit 1
  }
fi
gid=
for ((tries = 0; tries < 100 && ${#gid} == 0; tries++)); do
  gid=$(grep -il '0000:0000:0000:0000:0000:ffff:0a4d:0001' /sys/class/infiniband/rxe0/ports/1/gids/* 2>/dev/null | head -1)
done
gid=${gid##*/}

moved() { sed -n 's/.* \([0-9]\+\) pages to VRAM.*/\1/p' "$1" | head -1; }

# check PROGRAM ENGINE REGION: a server and a client of it.
check() {
  local program=$1 engine=$2 region=$3
  local name=perftest_${program}_${engine}_$region
  local -a options=(-d rxe0 -x "${gid:-1}" -m 4096 -s 65536 -n 50 -p 18515)
  [[ $region == odp ]] && options+=(--odp)
  local -a under=("$bin/runtime/cli/godwit" run "--engine=$engine" --device=soft --min-block=64K --chaos=evict --report)
  [[ $engine == user ]] && under+=(--vram=16M)
  timeout -k 5 100 "${under[@]}" --report-file="$work/server" -- "$program" "${options[@]}" >"$work/server.out" 2>&1 &
  local server=$! status=0
  # Port 18515, listening.
  for ((tries = 0; tries < 300; tries++)); do
    grep -q ':4853 .* 0A ' /proc/net/tcp /proc/net/tcp6 && break
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
  done
  timeout -k 5 100 "${under[@]}" --report-file="$work/client" -- "$program" "${options[@]}" $address >"$work/client.out" 2>&1 || status=$?
  wait "$server" || status=$((status + $?))
  local pages=$(($(moved "$work/server") + $(moved "$work/client")))
  grep -A1 '#bytes' "$work/client.out" | sed 's/^/| /'
  if ((status != 0)); then
    sed 's/^/| /' "$work/server.out" "$work/client.out"
    fail "$name" "exit status $status: $(grep -hiE 'error|fail|syndrom' "$work/client.out" "$work/server.out" | head -3 | tr '\n' '/')"
  elif ! grep -q '^ *65536 ' "$work/client.out"; then
    fail "$name" "no result: $(tail -n 2 "$work/client.out" | tr '\n' '/')"
  elif ((pages == 0)); then
    fail "$name" "nothing moved"
  else
    echo "| $pages pages went to VRAM meanwhile"
    pass "$name"
  fi
}

if [[ $(basename "$0") == perftest_all ]]; then
  for engine in kernel user; do
    for program in ib_write_bw ib_read_bw ib_send_lat; do
      for region in odp mr; do check $program $engine $region; done
    done
  done
else
  check ib_write_bw kernel odp
  check ib_send_lat kernel odp
  check ib_read_bw kernel mr
  check ib_read_bw user odp
fi
exit "$failed"
