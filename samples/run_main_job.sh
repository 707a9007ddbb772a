#!/bin/bash
# SPDX-License-Identifier: MIT
# The main job: Debian's Python and NumPy, unmodified, multiply matrices that NumPy got from malloc; once as they are,
# and once with Godwit in front, on the best device that this machine has. Both outputs must agree.
# usage: run_main_job.sh FOLDER, which has runtime/cli/godwit below it (Bazel's bazel-bin)
set -euo pipefail
bin=${1:?usage: run_main_job.sh FOLDER_WITH_GODWIT}
script=$(dirname "$(realpath "${BASH_SOURCE[0]}")")/01_numpy/words.py
godwit=$bin/runtime/cli/godwit
python=/usr/bin/python3
# Numbers may differ by this much, absolutely or relatively: single precision, summed in another order.
tolerance=2e-3

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
end() {
  echo "$1"
  exit "$2"
}
[[ -x $godwit ]] || end "FAILED: $godwit is not there" 1
"$python" -c 'import numpy' 2>/dev/null || end "FAILED: $python has no numpy (Debian package python3-numpy)" 1
[[ -e /usr/share/dict/american-english ]] || end "FAILED: no word list (Debian package wamerican)" 1

echo "== without Godwit"
time "$python" "$script" | tee "$work/plain"

echo
echo "== with Godwit"
status=0
time "$godwit" run --engine="${GODWIT_ENGINE:-auto}" --device="${GODWIT_DEVICE:-auto}" --offload=always --report --report-file="$work/report" -- \
  "$python" "$script" >"$work/moved" 2>"$work/errors" || status=$?
cat "$work/moved"
[[ ! -s $work/errors ]] || { echo "-- standard error:"; cat "$work/errors"; }
echo
echo "== what moved"
cat "$work/report" 2>/dev/null || true
echo
((status == 0)) || end "FAILED: exit status $status with Godwit" 1

# Words must be equal, numbers close, and something must have been offloaded.
"$python" - "$work/plain" "$work/moved" "$tolerance" <<'END' || end "FAILED: the outputs differ" 1
import re
import sys

plain, moved = (re.split(r"[\s,:]+", open(path).read().strip()) for path in sys.argv[1:3])
tolerance = float(sys.argv[3])
number = re.compile(r"^[-+]?[0-9.]+(e[-+]?[0-9]+)?$")
worst = 0.0
if len(plain) != len(moved) or len(plain) < 50:
    sys.exit(f"{len(plain)} words and numbers without Godwit, {len(moved)} with it")
for one, other in zip(plain, moved):
    if number.match(one) and number.match(other):
        difference = abs(float(one) - float(other)) / max(1.0, abs(float(one)))
        worst = max(worst, difference)
        if not difference <= tolerance:
            sys.exit(f"{one} without Godwit, {other} with it: more than {tolerance} apart")
    elif one != other:
        sys.exit(f"'{one}' without Godwit, '{other}' with it")
print(f"both agree: {len(plain)} words and numbers, numbers within {worst:.1e} (allowed: {tolerance})")
END
products=$(sed -n 's/.*matrix products *\([0-9]\+\) on the device.*/\1/p' "$work/report" | head -1)
[[ ${products:-0} != 0 ]] || end "FAILED: nothing was offloaded" 1
end "OK: $products matrix products ran on the device, through NumPy's own pointers" 0
