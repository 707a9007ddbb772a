#!/bin/bash
# SPDX-License-Identifier: MIT
# How fast lib/test_hmm.c migrates, the kernel's own example of a device with memory, by its own benchmark (hmm-tests.c), and Godwit
# after it in the same boot of the stock kernel. Debian's kernel has no test_hmm, so it is built here as a module of its own.
# LINUX is a source tree of the kernel's series: the package linux-source-7.2, unpacked. Nothing of it is kept.
# usage: test_hmm.sh LINUX BENCH    BENCH: bazel-bin/tests/kernel/bench
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
usage='usage: test_hmm.sh LINUX BENCH'
linux=$(realpath "${1:?$usage}")
bench=$(realpath "${2:?$usage}")
cache=${GODWIT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/godwit}/vm
tests=$linux/tools/testing/selftests

for file in "$linux"/lib/test_hmm.c "$linux"/lib/test_hmm_uapi.h "$linux"/mm/gup_test.h "$tests"/mm/hmm-tests.c; do
  [[ -e $file ]] || { echo "test_hmm: there is no $file: unpack the package linux-source of the VM's kernel there" >&2; exit 2; }
done
root=$("$here/make_root.sh" "$cache")
making=$(mktemp -d)
trap 'rm -rf "$making"' EXIT
mkdir -p "$making"/{module,tests/lib,tests/mm,out}
cp "$linux"/lib/test_hmm{.c,_uapi.h} "$making/module"
echo 'obj-m += test_hmm.o' >"$making/module/Kbuild"
python3 "$here/build_module.py" "$root" stock "$making/module" "$making/built" >&2
# Its benchmark, by the root's compiler: the host's headers may be older than the kernel.
cp -r "$tests"/. "$making/tests"
cp "$linux/lib/test_hmm_uapi.h" "$making/tests/lib"
cp "$linux/mm/gup_test.h" "$making/tests/mm"
"$here/in_root.sh" "$root" --rw "$making/tests" build -- gcc -O2 -w -D_GNU_SOURCE= -I/build -I/build/mm -o /build/hmm-tests \
  /build/mm/hmm-tests.c /build/mm/vm_util.c /build/mm/hugepage_settings.c -lpthread >&2
cp "$making/built/test_hmm.ko" "$making/tests/hmm-tests" "$making/out"
python3 "$here/vm.py" --cache "$cache" --out "$making/out" --timeout=400 -- sh -ec "
  insmod /out/test_hmm.ko
  # It gives up where a page was busy for a moment.
  for try in 1 2 3; do
    /out/hmm-tests -r hmm.hmm_device_private.benchmark_thp_migration && break
  done
  rmmod test_hmm
  $bench 8 256"
