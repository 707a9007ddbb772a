#!/bin/bash
# SPDX-License-Identifier: MIT
# Makes the initramfs that mounts the VM's root over 9p: busybox, guest/init, and those of its modules that the kernel has
# not built in. Prints the file; makes it only where it is missing. usage: make_initramfs.sh CACHE ROOT KERNEL
# KERNEL is "stock", or a folder of make_kernel.sh.
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
cache=${1:?usage: make_initramfs.sh CACHE ROOT KERNEL}
root=$2
kernel=$3
key=$({ cat "${BASH_SOURCE[0]}" "$here/guest/init"; echo "$root $kernel"; cat "$root/.kernel"; } | sha256sum | cut -c1-16)
initramfs=$cache/initramfs-$key
if [[ -e $initramfs ]]; then
  # Its age is that of its last use.
  touch -c "$initramfs" 2>/dev/null || true
else
  making=$(mktemp -d "$cache/making-initramfs.XXXXXX")
  trap 'rm -rf "$making"' EXIT
  cp "$here/guest/init" "$making/init"
  mounts=(--rw "$making" build)
  release=$(<"$root/.kernel")
  modules=/
  if [[ $kernel != stock ]]; then
    mounts+=(--ro "$kernel" kernel)
    release=$(<"$kernel/release")
    modules=/kernel/modules
  fi
  "$here/in_root.sh" "$root" "${mounts[@]}" -- /bin/sh -euc '
    release=$1 modules=$2
    mkdir -p /tmp/tree/bin /tmp/tree/modules
    cd /tmp/tree
    mkdir proc sys dev lower upper newroot
    cp /bin/busybox bin/busybox
    install -m 755 /build/init init
    for name in virtio_pci 9pnet_virtio 9p overlay; do
      modprobe -d "$modules" -S "$release" --ignore-install --show-depends "$name"
    done >/build/depends
    # What is built in has no file. The order is the one to load them in.
    sed -n "s/^insmod \([^ ]*\).*/\1/p" /build/depends | awk "!seen[\$0]++" | while read -r file; do
      name=$(basename "$file")
      case $name in
        *.xz) xz -dc "$file" >"modules/${name%.xz}"; name=${name%.xz} ;;
        *) cp "$file" modules/ ;;
      esac
      echo "$name"
    done >modules/order
    find . | cpio --quiet -o -H newc >/build/initramfs' sh "$release" "$modules"
  mv "$making/initramfs" "$initramfs"
  # Of older roots and kernels, and what interrupted runs left.
  find "$cache" -mindepth 1 -maxdepth 1 -mtime +7 \
    \( -name 'initramfs-*' -o -name 'making-initramfs.*' -o -name 'module-*' \) -exec rm -rf {} +
fi
echo "$initramfs"
