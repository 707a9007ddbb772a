#!/bin/bash
# SPDX-License-Identifier: MIT
# Makes the Debian 13 root of the VM, once: kernel, its headers and compiler, and what the guest's programs need.
# Prints the folder. usage: make_root.sh CACHE [--find]
# With --find it makes nothing: exit status 4 where the root is missing.
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
source "$here/cache.sh"
cache=${1:?usage: make_root.sh CACHE [--find]}
find=${2:-}
release=trixie
# The first kernel with everything that the module is written to. Any newer one will do.
least_kernel=7.2
least_space_mb=4000

packages=(
  linux-image-amd64 linux-headers-amd64
  # To build kernels and modules.
  gcc make binutils flex bison bc libelf-dev libssl-dev xz-utils lz4 cpio kmod
  # To run in the guest.
  busybox-static e2fsprogs util-linux iproute2 procps strace
  libstdc++6 libdrm2 liburing2 libvulkan1 mesa-vulkan-drivers libgomp1 libblas3
  python3-minimal python3-numpy rdma-core ibverbs-utils ibverbs-providers perftest fio v4l-utils hpcc
)

die() {
  printf 'make_root: %s\n' "$2" >&2
  exit "$1"
}

# The mirror that this machine's apt has for Debian itself.
mirror_of_apt() {
  apt-get indextargets --format '$(REPO_URI) $(COMPONENT)' 'Identifier: Packages' 2>/dev/null |
    awk '$2 == "main" && $1 !~ /security|backports/ && $1 ~ /\/debian\/?$/ { print $1; exit }'
}

key=$(sha256sum <"${BASH_SOURCE[0]}" | cut -c1-16)
root=$cache/root-$key
if [[ -e $root/.complete ]]; then
  # Its age is that of its last use.
  touch -c "$root/.complete" 2>/dev/null || true
  echo "$root"
  exit 0
fi
[[ $find != --find ]] || exit 4

((EUID == 0)) || die 1 "making the VM's root takes root: run this as root, or with sudo"
command -v mmdebstrap >/dev/null || die 1 "mmdebstrap is missing: apt-get install mmdebstrap"
mkdir -p "$cache"
exec 9>"$cache/root.lock"
flock 9
if [[ -e $root/.complete ]]; then
  echo "$root"
  exit 0
fi
# Under the lock nobody else is making one: these are left from interrupted runs.
sweep root
free_mb=$(df -Pm "$cache" | awk 'NR == 2 { print $4 }')
((free_mb >= least_space_mb)) ||
  die 1 "$cache has $free_mb MB free, the VM's root needs $least_space_mb: make space, or set GODWIT_CACHE to another folder"
mirror=$(mirror_of_apt)
[[ -n $mirror ]] || die 1 "apt knows no mirror of Debian: see /etc/apt/sources.list"

making=$cache/making-root.$$
trap 'rm -rf --one-file-system "$making" "$making.log" "$making.hook" "$making.sparse"' EXIT
cat >"$making.hook" <<'END'
#!/bin/sh
# Before the first package: kernels come from backports, and no initramfs is made (the VM has its own).
set -e
mkdir -p "$1/etc/apt/preferences.d" "$1/etc/initramfs-tools"
printf 'Package: linux-*\nPin: release n=*-backports\nPin-Priority: 900\n' >"$1/etc/apt/preferences.d/kernel"
END
chmod +x "$making.hook"
cat >"$making.sparse" <<END
#!/bin/sh
# After the last package: the release's own sparse is too old for the kernel's headers, and that of sid runs here.
set -e
echo "deb $mirror sid main" >"\$1/etc/apt/sources.list.d/sid.list"
chroot "\$1" sh -ec 'cd /tmp && apt-get -q update && apt-get -q -o APT::Sandbox::User=root download sparse/sid && dpkg-deb -x sparse_*.deb sparse'
install "\$1/tmp/sparse/usr/bin/sparse" "\$1/usr/local/bin/sparse"
rm -rf "\$1"/tmp/sparse* "\$1/etc/apt/sources.list.d/sid.list"
END
chmod +x "$making.sparse"
options=()
while read -r name value; do
  options+=(--aptopt="$name $value")
done < <(apt-config dump Acquire::http::Proxy Acquire::https::Proxy | sed 's/;$//')
echo "make_root: making the Debian root of the VM with ${#packages[@]} packages, a few minutes" >&2
list=$(IFS=,; echo "${packages[*]}")
INITRD=No mmdebstrap --mode=root --variant=minbase --include="$list" --setup-hook="$making.hook" --customize-hook="$making.sparse" \
  --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Retries "3"' "${options[@]}" \
  --dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  "$release" "$making" \
  "deb $mirror $release main" "deb $mirror $release-backports main" >"$making.log" 2>&1 || {
  tail -n 25 "$making.log" >&2
  die 1 "mmdebstrap failed (above): is $mirror reachable, and does it have $release-backports?"
}
kernels=("$making"/lib/modules/*/build)
version=$(basename "$(dirname "${kernels[0]}")")
((${#kernels[@]} == 1)) || die 1 "the root has ${#kernels[@]} kernels, not one: ${kernels[*]}"
dpkg --compare-versions "$version" ge "$least_kernel" ||
  die 1 "$release-backports has kernel $version, older than $least_kernel: its mirror is out of date"
mkdir -p "$making"/{build,source,kernel,godwit,out}
echo "$version" >"$making/.kernel"
publish root "$making" "$root"
echo "$root"
