# SPDX-License-Identifier: MIT
# Sourced. $library is libgodwit_malloc.so; under() runs a program with it, every block of 64 KiB and
# more managed, and a thread that keeps pushing them to VRAM.

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

under() {
    env LD_PRELOAD="$library" GODWIT_CHAOS=evict GODWIT_DEVICE=soft GODWIT_VRAM=64M \
        GODWIT_MIN_BLOCK=64K "$@"
}

failures=0
pass() { echo "PASS $1"; }
skip() { echo "SKIP $1: $2"; }
fail() {
    echo "FAIL $1: $2"
    failures=$((failures + 1))
}

# The reason for a command's end: a status of `timeout`, or the last line it left in a file.
reason() {
    if [ "$1" -eq 124 ] || [ "$1" -eq 137 ]; then
        echo "it did not end in time"
    else
        echo "status $1: $(grep -v '^$' "$2" | tail -n 1)"
    fi
}
