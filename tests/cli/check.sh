# SPDX-License-Identifier: MIT
# Sourced by the tests of the command line: runs it, and prints PASS, FAIL or SKIP for each check.
runfiles=$PWD
godwit=$runfiles/runtime/cli/godwit
worker=$runfiles/tests/cli/worker
scratch=$(mktemp -d "${TEST_TMPDIR:-${TMPDIR:-/tmp}}/cli.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1
failures=0
# What the caller wishes for must not change what is tested here.
unset GODWIT_ENGINE GODWIT_DEVICE GODWIT_VRAM GODWIT_MIN_BLOCK GODWIT_ARENA GODWIT_POOL GODWIT_THREADS
unset GODWIT_LEVEL GODWIT_OFFLOAD GODWIT_EXPLAIN GODWIT_CHAOS GODWIT_REPORT_DIR GODWIT_EVENTS LD_PRELOAD

pass() { echo "PASS $1"; }
fail() {
  echo "FAIL $1: $2"
  failures=1
  [[ ! -e err ]] || sed 's/^/  stderr: /' err | head -n 40
}
skip() { echo "SKIP $1: $2"; }

# expect NAME EXIT_STATUS COMMAND...: leaves stdout in ./out and stderr in ./err.
expect() {
  local name=$1 want=$2 rc=0
  shift 2
  "$@" >out 2>err || rc=$?
  if [[ $rc == "$want" ]]; then pass "$name"; else fail "$name" "exit status $rc, want $want"; fi
}

# says NAME FILE PATTERN: an extended regular expression that a line of the last command's output has.
says() {
  if grep -qE -- "$3" "$2"; then pass "$1"; else fail "$1" "no line like '$3' in $2: $(head -c 400 "$2" | tr '\n' '|')"; fi
}

# one_line NAME: the last command's stderr is one line of godwit's.
one_line() {
  if [[ $(wc -l <err) == 1 && $(head -c 8 err) == "godwit: " ]]; then pass "$1"; else fail "$1" "not one line of godwit's"; fi
}

# evaluates NAME JSON_FILE EXPRESSION: true in Python, with the parsed file as j.
evaluates() {
  if python3 -c 'import json, sys; j = json.load(open(sys.argv[1])); sys.exit(not eval(sys.argv[2]))' "$2" "$3" 2>python.err; then
    pass "$1"
  else
    fail "$1" "not so: $3; $(tail -n1 python.err)"
  fi
}

# wait_for CONDITION...: waits at most 20 s until that command succeeds.
wait_for() {
  local i
  for ((i = 0; i < 2000; ++i)); do
    ! "$@" || return 0
    sleep 0.01
  done
  return 1
}

# Waits until the first line of a file is "ready".
is_ready() { [[ $(head -n1 "$1" 2>/dev/null) == ready ]]; }
wait_ready() { wait_for is_ready "$1"; }

# in_state PROCESS LETTER: as /proc has it.
in_state() { grep -q "^State:[[:space:]]*$2" "/proc/$1/status" 2>/dev/null; }
# Nobody may have been told yet.
has_ended() { ! kill -0 "$1" 2>/dev/null || in_state "$1" Z; }

# folder_gone NAME FILE: the folder whose path is in the file, as GODWIT_REPORT_DIR had it, is not there any more.
folder_gone() {
  local folder
  folder=$(<"$2")
  if [[ -n $folder && ! -e $folder ]]; then pass "$1"; else fail "$1" "left behind: '$folder'"; fi
}

# child_named PARENT NAME: the process id of that child.
child_named() {
  local child
  for child in $(<"/proc/$1/task/$1/children"); do
    [[ $(<"/proc/$child/comm") != "$2" ]] || echo "$child"
  done
}
