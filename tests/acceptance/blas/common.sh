# SPDX-License-Identifier: MIT
# Sourced by the tests here: preloading, and PASS, FAIL and SKIP lines.
# The caller's first two arguments are libgodwit_malloc.so and libgodwit_blas.so.

preload=$(realpath "$1"):$(realpath "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

pass() { echo "PASS $1"; }
skip() { echo "SKIP $1: $2"; }
fail() {
  echo "FAIL $1: $2"
  failed=1
}

# The lines of a file that say why, on one line.
tail_of() { tail -c 400 "$1" | tr '\n' '/'; }

# Runs the rest of its arguments under Godwit with everything offloaded and explained; explanations
# go to the file $explained.
explained=$work/explained
under_godwit() {
  LD_PRELOAD=$preload GODWIT_OFFLOAD=always GODWIT_EXPLAIN=1 "$@" 2>"$explained"
}

offloaded() { grep -c ' offloaded: ' "$explained"; }
passed_on() { grep -c ' passed on: ' "$explained"; }

# PASS where the last program's products went to the device: at least `least`, and none elsewhere.
check_offloaded() {
  local name=$1 least=$2 count elsewhere
  count=$(offloaded)
  elsewhere=$(passed_on)
  if ((count >= least && elsewhere == 0)); then
    pass "$name"
  else
    fail "$name" "$count offloaded, at least $least expected; $elsewhere passed on: $(grep -m1 ' passed on: ' "$explained"); $(tail_of "$explained")"
  fi
}

# 0 where a Vulkan device can be opened at all.
have_vulkan() { vulkaninfo --summary 2>/dev/null | grep -q deviceName; }

devices() {
  case ${GODWIT_DEVICE:-both} in
    both | auto) echo soft vulkan ;;
    *) echo "$GODWIT_DEVICE" ;;
  esac
}
