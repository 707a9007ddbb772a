#!/bin/sh
# SPDX-License-Identifier: MIT
# Sees the file that the test names as data, the devices of --pci, and a kernel with its module.
ok() {
  if eval "$2"; then echo "PASS $1"; else echo "FAIL $1: not so: $2"; fi
}
ok DataIsThere 'grep -q CONFIG_KASAN=y tests/vm/debug/debug.config'
ok ModuleIsLoaded 'test -d /sys/module/godwit_selftest'
ok TwoCards 'test "$(grep -l 0x1110 /sys/bus/pci/devices/*/device | wc -l)" = 2'
ok CardHasItsSize 'test "$(stat -c %s /cards/card0)" = 67108864'
ok DmaEngine 'grep -q 0x11e8 /sys/bus/pci/devices/*/device'
ok NvmeDisk 'modprobe nvme && grep -q 0x010802 /sys/bus/pci/devices/*/class'
