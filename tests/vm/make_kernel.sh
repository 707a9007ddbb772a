#!/bin/bash
# SPDX-License-Identifier: MIT
# Makes the debug kernel, once: Debian's source of the version that the VM's root has, configured by debug/debug.config.
# Prints the folder, which has image, release, config, modules (for modprobe -d), build (to build modules against) and selftests.
# With --find it makes nothing: exit status 4 where the kernel is missing. usage: make_kernel.sh CACHE ROOT [--find]
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
source "$here/cache.sh"
usage='usage: make_kernel.sh CACHE ROOT [--find]'
cache=${1:?$usage}
root=${2:?$usage}
find=${3:-}
least_space_mb=7000
jobs=${GODWIT_JOBS:-$(nproc)}

die() {
  printf 'make_kernel: %s\n' "$2" >&2
  exit "$1"
}

release=$(<"$root/.kernel")
version=$(dpkg-query --admindir="$root/var/lib/dpkg" -W -f='${Version}' "linux-image-$release")
series=$(cut -d. -f1,2 <<<"$release")
key=$({ cat "${BASH_SOURCE[0]}" "$here"/debug/*; echo "$version"; } | sha256sum | cut -c1-16)
kernel=$cache/kernel-$key
if [[ -e $kernel/.complete ]]; then
  touch -c "$kernel/.complete" 2>/dev/null || true
  echo "$kernel"
  exit 0
fi
[[ $find != --find ]] || exit 4

((EUID == 0)) || die 1 "making the debug kernel takes root: run this as root, or with sudo"
exec 9>"$cache/kernel.lock"
flock 9
if [[ -e $kernel/.complete ]]; then
  echo "$kernel"
  exit 0
fi
sweep kernel
free_mb=$(df -Pm "$cache" | awk 'NR == 2 { print $4 }')
((free_mb >= least_space_mb)) ||
  die 1 "$cache has $free_mb MB free, building the debug kernel needs $least_space_mb: make space, or set GODWIT_CACHE to another folder"
making=$cache/making-kernel.$$
trap 'rm -rf --one-file-system "$making"' EXIT
mkdir -p "$making"/{apt/lists/partial,apt/archives/partial,apt/parts,source,kernel}

# ---- the source, by an apt that has lists of its own ------------------------------------------------
mirror=$(awk '$1 == "deb" { print $2; exit }' "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/*.list 2>/dev/null)
[[ -n $mirror ]] || die 1 "$root has no sources.list"
keys='[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]'
printf '%s\n' "deb $keys $mirror trixie-backports main" "deb $keys $mirror sid main" >"$making/apt/sources.list"
: >"$making/apt/status"
apt=(-q -o "Dir::Etc::sourcelist=$making/apt/sources.list" -o "Dir::Etc::sourceparts=$making/apt/parts"
  -o "Dir::Etc::preferencesparts=$making/apt/parts" -o "Dir::State::lists=$making/apt/lists" -o "Dir::State::status=$making/apt/status"
  -o "Dir::Cache=$making/apt/archives" -o Acquire::Check-Valid-Until=false -o Acquire::Languages=none -o APT::Sandbox::User=root)
apt-get "${apt[@]}" update >&2 || die 1 "no package lists from $mirror: is there a network?"
# The very version of the stock kernel; else the newest of its series; else the newest of all.
sources=$(apt-cache "${apt[@]}" search --names-only '^linux-source-[0-9]' | cut -d' ' -f1 |
  xargs -r apt-cache "${apt[@]}" madison)
choose() {
  awk -F' *[|] *' -v name="$1" -v version="$2" '
    { sub(/^ */, "", $1) }
    (name == "" || $1 == name) && (version == "" || $2 == version) { print $2, $1 "=" $2 }' <<<"$sources" |
    sort -V | tail -n 1 | cut -d' ' -f2
}
source=$(choose "linux-source-$series" "$version")
source=${source:-$(choose "linux-source-$series" "")}
source=${source:-$(choose "" "")}
[[ -n $source ]] || die 1 "$mirror has no package linux-source-*"
echo "make_kernel: building the debug kernel from $source with $jobs jobs; this takes a while" >&2
(cd "$making" && apt-get "${apt[@]}" download "$source" >&2) || die 1 "cannot download $source from $mirror"
dpkg-deb -x "$making"/linux-source-*.deb "$making/package"
tar -C "$making/source" --strip-components=1 -xf "$making"/package/usr/src/linux-source-*.tar.xz
rm -rf "$making/package" "$making/apt" "$making"/*.deb

# ---- configuration and build -----------------------------------------------------------------------
cp "$here/debug/debug.config" "$making/source/"
cp "$here/debug/Kconfig" "$making/source/godwit.Kconfig"
echo 'source "godwit.Kconfig"' >>"$making/source/Kconfig"
in_root() {
  "$here/in_root.sh" "$root" --rw "$making" build -- "$@"
}
in_root make -s -C /build/source KCONFIG_ALLCONFIG=debug.config allnoconfig >&2
wrong=$(awk -F= '
  FNR == NR { if (/^CONFIG_/) have[$1] = $2; next }
  /^# optional:/ { optional = 1; next }
  optional { optional = 0; next }
  /^CONFIG_/ { is = ($1 in have) ? have[$1] : "n"; if (is != $2) print "  " $0 ", not " is }' \
  "$making/source/.config" "$here/debug/debug.config")
[[ -z $wrong ]] || die 1 "debug.config does not hold for $source:"$'\n'"$wrong"
built=$SECONDS
in_root make -s -C /build/source -j"$jobs" bzImage modules >"$making/log" 2>&1 || {
  tail -n 40 "$making/log" >&2
  die 1 "the debug kernel does not build (above)"
}
echo "make_kernel: built in $((SECONDS - built)) s" >&2

# ---- what is kept ----------------------------------------------------------------------------------
in_root /bin/sh -euc '
  cd /build/source
  make -s modules_install INSTALL_MOD_PATH=/build/kernel/modules INSTALL_MOD_STRIP=1
  rm -f /build/kernel/modules/lib/modules/*/build /build/kernel/modules/lib/modules/*/source
  make -s kernelrelease >/build/kernel/release
  # Not vmlinux by its PVH note, which would spare the unpacking: with KASAN that entry faults.
  cp arch/x86/boot/bzImage /build/kernel/image
  cp .config /build/kernel/config
  make -s run-command KBUILD_RUN_COMMAND="scripts/package/install-extmod-build /build/kernel/build"
  mkdir -p /build/kernel/selftests
  cp -r tools/testing/selftests/mm tools/testing/selftests/*.h /build/kernel/selftests' >>"$making/log" 2>&1 || {
  tail -n 40 "$making/log" >&2
  die 1 "the debug kernel does not install (above)"
}
publish kernel "$making/kernel" "$kernel"
echo "$kernel"
