#!/bin/bash
# SPDX-License-Identifier: MIT
# Feeds tests/summary.py the records of made-up test runs.
set -euo pipefail
summary=$PWD/tests/summary.py
scratch=$(mktemp -d "${TEST_TMPDIR:-${TMPDIR:-/tmp}}/summary.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
failures=0

# event LABEL STATUS: one finished test whose files are in the folder named like the label.
event() {
  printf '{"id":{"testResult":{"label":"//t:%s","run":1,"shard":1,"attempt":1}},"testResult":{"status":"%s","testActionOutput":[' "$1" "$2"
  printf '{"name":"test.log","uri":"file://%s/%s/test.log"},{"name":"test.xml","uri":"file://%s/%s/test.xml"}]}}\n' "$PWD" "$1" "$PWD" "$1"
}
finished() { printf '{"id":{"buildFinished":{}},"finished":{}}\n'; }

# expect NAME EXIT_STATUS LAST_LINE ARGUMENTS...
expect() {
  local name=$1 want_rc=$2 want=$3 rc=0
  shift 3
  python3 "$summary" "$@" >out 2>err || rc=$?
  if [[ $rc == "$want_rc" && $(tail -n1 out) == "$want" ]]; then
    echo "PASS $name"
  else
    echo "FAIL $name: exit status $rc, want $want_rc; last line '$(tail -n1 out)', want '$want'"
    cat err
    failures=1
  fi
}

# contains NAME TEXT: the output of the last expect has this line.
contains() {
  if grep -qxF -- "$2" out; then
    echo "PASS $1"
  else
    echo "FAIL $1: no line '$2' in: $(tr '\n' '|' <out)"
    failures=1
  fi
}

mkdir gtest script crash whole leak empty slow good
cat >gtest/test.xml <<'X'
<testsuites tests="4" failures="1" name="AllTests"><testsuite name="A">
<testcase name="Passes" status="run" result="completed" classname="A"/>
<testcase name="Fails" status="run" result="completed" classname="A"><failure message="a.cc:3&#x0A;Expected 1&#x0A;Got 2"/></testcase>
<testcase name="Lacks" status="run" result="skipped" classname="A"><skipped message="a.cc:9&#x0A;needs a GPU&#x0A;"/></testcase>
<testcase name="DISABLED_Off" status="notrun" result="suppressed" classname="A"/>
</testsuite></testsuites>
X
bazel_xml='<testsuites><testsuite name="t" tests="1"><testcase name="t" status="run"/></testsuite></testsuites>'
for folder in script crash whole slow; do echo "$bazel_xml" >$folder/test.xml; done
printf 'noise\nPASS one\nFAIL two::part: wrong sum\nSKIP three: needs octave\n' >script/test.log
printf '%s\n' '[ RUN      ] B.First' '[       OK ] B.First (0 ms)' '[ RUN      ] B.Lacks' '[  SKIPPED ] B.Lacks (0 ms)' \
  '[ RUN      ] B.Wrong/Soft' '[  FAILED  ] B.Wrong/Soft, where GetParam() = Soft (3 ms)' '[ RUN      ] B.Second' 'Segmentation fault' >crash/test.log
echo 'nothing of note' >whole/test.log
printf 'PASS early\n' >slow/test.log
printf '<testsuites tests="0" name="AllTests"></testsuites>' >empty/test.xml
printf '<testsuites name="AllTests"><testcase classname="C" name="X" status="run" result="completed"/></testsuites>' | tee leak/test.xml >good/test.xml

{ event gtest FAILED; finished; } >gtest.json
expect GtestReportIsCountedByCase 1 "1 passed, 1 failed, 2 skipped" --run default 3 gtest.json
contains SkipSaysWhatItLacks "SKIPPED [default] //t:gtest A.Lacks: needs a GPU"
contains FailureSaysWhy "FAILED [default] //t:gtest A.Fails: Expected 1 / Got 2"
{ event script FAILED; finished; } >script.json
expect ScriptIsCountedByLine 1 "1 passed, 1 failed, 1 skipped" --run default 3 script.json
contains ScriptNameMayHaveColons "FAILED [default] //t:script two::part: wrong sum"
contains ScriptSkipKeepsItsReason "SKIPPED [default] //t:script three: needs octave"
{ event crash FAILED; finished; } >crash.json
expect CrashKeepsWhatCameBeforeAndNamesTheTest 1 "1 passed, 2 failed, 1 skipped" --run default 3 crash.json
contains FailureBeforeACrashIsNamed "FAILED [default] //t:crash B.Wrong/Soft: see its log"
contains SkipBeforeACrashIsNamed "SKIPPED [default] //t:crash B.Lacks: see its log"
contains CrashedTestIsNamed "FAILED [default] //t:crash B.Second: the program ended inside this test"
{ event whole FAILED; finished; } >whole.json
expect FailedTargetWithoutCasesIsOneFailure 1 "0 passed, 1 failed, 0 skipped" --run default 3 whole.json
{ event leak FAILED; finished; } >leak.json
expect LeakAfterPassingCasesIsAFailure 1 "1 passed, 1 failed, 0 skipped" --run asan 3 leak.json
{ event slow TIMEOUT; finished; } >slow.json
expect TimeoutIsAFailure 1 "1 passed, 1 failed, 0 skipped" --run default 3 slow.json
{ event empty PASSED; finished; } >empty.json
expect ProgramWithoutCasesIsAFailure 1 "0 passed, 1 failed, 0 skipped" --run default 0 empty.json
{ event good PASSED; finished; } >good.json
expect RunsAddUp 0 "2 passed, 0 failed, 0 skipped" --run default 0 good.json --run asan 0 good.json
expect BuildFailureIsAFailure 1 "1 passed, 1 failed, 0 skipped" --run default 0 good.json --run asan 1 missing.json
event good PASSED >cut.json
expect CutRecordIsAFailure 1 "1 passed, 1 failed, 0 skipped" --run default 0 cut.json
finished >none.json
expect NothingRanIsNotASuccess 1 "0 passed, 0 failed, 0 skipped" --run default 4 none.json
{ printf '{"id":{"targetConfigured":{"label":"//t:broken"}},"configured":{"testSize":"SMALL"}}\n'; event good PASSED; finished; } >broken.json
expect TestThatDidNotBuildIsNamed 1 "1 passed, 1 failed, 0 skipped" --run default 1 broken.json
contains UnbuiltTestIsNamed "FAILED [default] //t:broken: did not build or run: see the errors above"
{ printf '{"id":{"targetCompleted":{"label":"//t:tool"}},"completed":{}}\n'; event good PASSED; finished; } >tool.json
expect BrokenLibraryIsOneFailure 1 "1 passed, 1 failed, 0 skipped" --run default 1 tool.json
contains BrokenLibraryIsNamed "FAILED [default] //t:tool: did not build: see the errors above"
exit $failures
