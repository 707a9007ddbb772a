#!/bin/bash
# SPDX-License-Identifier: MIT
# fio, unchanged, with its own verification: the NVMe to and from objects of VRAM, which object_mmap gives it as its buffers.
set -uo pipefail
cd "$(dirname "$(realpath "$0")")" || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
pass() { echo "PASS $1"; }
fail() {
  echo "FAIL $1: $2"
  failed=1
}

# Addresses of the cards, the one below the switch first.
cards() {
  local device
  for device in /sys/bus/pci/devices/*; do
    [[ $(<"$device/vendor") == 0x1af4 && $(<"$device/device") == 0x1110 ]] || continue
    printf '%s %s\n' "$(realpath "$device" | tr -cd / | wc -c)" "${device##*/}"
  done | sort -rn | cut -d' ' -f2
}

driver=/sys/bus/pci/drivers/godwit_pci
mapfile -t card < <(cards)
for address in "${card[@]}"; do
  [[ ! -e $driver/$address ]] || echo "$address" >$driver/unbind
  echo explicit >/sys/module/godwit_pci/parameters/kind
  echo "$address" >$driver/bind
done
# fio removes the file when it is done.
vram() { ln -sf "$(ls -d /dev/dri/"$(basename /sys/bus/pci/devices/"$1"/drm/renderD*)")" "$work/vram"; }

modprobe nvme
for ((tries = 0; tries < 400; tries++)); do
  [[ -b /dev/nvme0n1 ]] && break
  sleep 0.05
done

# run CARD ARG..: fio with its buffers on that card.
run() {
  vram "$1"
  LD_PRELOAD=$PWD/libobject_mmap.so fio --name=x --thread --filename=/dev/nvme0n1 --offset=128M --direct=1 --verify=crc32c \
    --verify_fatal=1 --verify_state_save=0 --iomem="mmapshared:$work/vram" "${@:2}" >"$work/output" 2>"$work/errors"
}

# check NAME MOVES ARG..: passes where fio is content, and its buffers were in VRAM (or moved) all the time.
check() {
  local name=$1 moves=$2
  shift 2
  local status=0
  if [[ $moves == moves ]]; then export OBJECT_MMAP_MOVES=1; else unset OBJECT_MMAP_MOVES; fi
  run "${card[0]}" "$@" || status=$?
  sed 's/^/| /' "$work/errors"
  grep -E 'READ|WRITE' "$work/output" | sed 's/^/| /'
  local line
  line=$(grep -m1 '^object_mmap' "$work/errors")
  if ((status != 0)); then
    fail "$name" "exit status $status: $(tail -n 2 "$work/errors" | tr '\n' '/')"
  elif [[ -z $line ]]; then
    fail "$name" "fio took no buffers from VRAM"
  elif [[ $moves == still && $line != *"in vram, 0 moves, 0 refused, 0 pages home" ]]; then
    fail "$name" "not in place: $line"
  elif [[ $moves == moves && $line =~ \ [0-4]\ moves ]]; then
    fail "$name" "hardly moved: $line"
  else
    pass "$name"
  fi
}

check fio_random_read_write still --rw=randrw --bs=64k --size=2M
check fio_io_uring still --rw=randwrite --bs=4k-128k --size=1M --ioengine=io_uring --iodepth=4
check fio_while_its_buffers_move moves --rw=randrw --bs=256k --size=8M

# Across root ports the kernel refuses, and fio says so.
unset OBJECT_MMAP_MOVES
if run "${card[1]}" --rw=write --bs=64k --size=1M; then
  fail fio_across_root_ports "it worked, and no bus between these two carries it"
elif grep -Eq 'Remote I/O error|Invalid argument|Input/output error' "$work/errors" "$work/output"; then
  pass fio_across_root_ports
else
  fail fio_across_root_ports "$(tail -n 2 "$work/errors" | tr '\n' '/')"
fi
sed 's/^/| /' "$work/errors"

for address in "${card[@]}"; do echo "$address" >$driver/unbind; done
exit "$failed"
