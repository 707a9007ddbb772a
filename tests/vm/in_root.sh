#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs a command in the VM's root, without a VM: to compile there. Mounts and processes end with the command.
# usage: in_root.sh ROOT [--ro HOST_DIR DIR | --rw HOST_DIR DIR]... -- COMMAND...
# DIR is below the root and exists there: build, source, kernel, godwit or out.
set -euo pipefail
usage='usage: in_root.sh ROOT [--ro HOST_DIR DIR | --rw HOST_DIR DIR]... -- COMMAND...'
if [[ ${1:-} != --inside ]]; then
  ((EUID == 0)) || { echo "in_root: chroot takes root: run this as root, or with sudo" >&2; exit 1; }
  exec unshare --mount --pid --fork --kill-child -- "$BASH" "$(realpath "${BASH_SOURCE[0]}")" --inside "$@"
fi
shift
root=${1:?$usage}
shift
mount --make-rprivate /
# The root is shared by every run: nothing may change it.
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
while [[ ${1:-} == --r[ow] ]]; do
  mount --bind "$2" "$root/$3"
  [[ $1 == --rw ]] || mount -o remount,bind,ro "$root/$3"
  shift 3
done
[[ ${1:-} == -- ]] || { echo "$usage" >&2; exit 2; }
shift
exec env -i HOME=/tmp LC_ALL=C PATH=/usr/local/bin:/usr/sbin:/usr/bin chroot "$root" "$@"
