#!/bin/bash
# SPDX-License-Identifier: MIT
# In the VM: samples/07_rdma prints what its README shows, over both engines, on a NIC in software.
set -uo pipefail
cd "$(dirname "$(realpath "$0")")/../.." || exit 1
sample=samples/07_rdma
program=$sample/rdma
[[ -x $program ]] || program=bazel-bin/$program  # run by hand
if ! { modprobe rdma_rxe && modprobe ib_uverbs && modprobe dummy; } 2>/dev/null; then
  echo "SKIP rdma: this kernel has no rxe"
  exit 0
fi
if ! rdma link show | grep -q rxe0; then
  # Packets of a page and their heads have to fit.
  { ip link add nic0 type dummy && ip link set nic0 mtu 9000 up && ip address add 10.77.0.1/24 dev nic0 &&
    rdma link add rxe0 type rxe netdev nic0; } || { echo "FAIL nic: cannot be made"; exit 1; }
fi
# The kernel gives the NIC its address in a worker.
for ((turn = 0; turn < 1000; turn++)); do
  grep -qs 'ffff:0a4d:0001' /sys/class/infiniband/rxe0/ports/1/gids/* && break
done
failed=0
for engine in user kernel; do
  status=0
  GODWIT_ENGINE=$engine GODWIT_DEVICE=soft GODWIT_VRAM=16M GODWIT_ARENA=256M timeout -k 5 150 "$program" rxe0 100 >/tmp/out || status=$?
  sed 's/^/| /' /tmp/out
  if ((status == 0)) && diff "$sample/expected.txt" /tmp/out; then echo "PASS rdma_$engine"; else
    echo "FAIL rdma_$engine: exit status $status, or not the expected output"
    failed=1
  fi
done
while IFS= read -r line; do
  grep -qF -- "$line" "$sample/README.md" || { echo "FAIL readme: it does not have: $line"; exit 1; }
done <"$sample/expected.txt"
echo "PASS readme"
exit "$failed"
