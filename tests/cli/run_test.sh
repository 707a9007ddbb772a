#!/bin/bash
# SPDX-License-Identifier: MIT
# `godwit run` and `godwit info` from the outside: exit statuses, messages, signals, reports, traces. The preloaded library is a
# stand-in with made-up statistics: preload_test.sh has the real ones.
set -uo pipefail
source tests/cli/check.sh
deny=$runfiles/tests/cli/deny_userfaultfd
export GODWIT_LIBRARY_PATH=$runfiles/tests/cli/made_up

# ---- without an engine -------------------------------------------------------------------------
expect NoCommandIsAUsageError 125 "$godwit"
says NoCommandPrintsUsage err '^usage: godwit'
expect HelpIsNoError 0 "$godwit" help
says HelpIsOnStdout out '^usage: godwit'
expect RunHelpIsNoError 0 "$godwit" run --help
says RunHelpListsOptions out '--min-block'
expect VersionIsNoError 0 "$godwit" --version
says VersionIsANumber out '^godwit [0-9]+\.[0-9]+$'
expect UnknownCommandIsRefused 125 "$godwit" fly
says UnknownCommandIsNamed err 'fly'
expect UnknownInfoOptionIsRefused 125 "$godwit" info --xml
if "$godwit" --version >/dev/full 2>err; then fail FullStdoutIsAnError "exit status 0"; else pass FullStdoutIsAnError; fi
says FullStdoutIsNamed err 'No space left'
expect MissingProgramIsRefused 125 "$godwit" run --
one_line MissingProgramIsOneLine
expect UnknownOptionIsRefused 125 "$godwit" run --bogus=3 --vram 1G -- true
says UnknownOptionIsNamed err '--bogus'
expect WrongEngineIsRefused 125 "$godwit" run --engine=warp -- true
says WrongEngineIsNamedWithTheChoice err "warp.*auto, user, kernel"
expect WrongDeviceIsRefused 125 "$godwit" run --device=cuda -- true
says WrongDeviceIsNamedWithTheChoice err "cuda.*auto, soft, vulkan"
expect WrongSizeIsRefused 125 "$godwit" run --vram=12Q -- true
says WrongSizeIsNamedWithAnExample err '--vram.*12Q.*64K'
expect NegativeSizeIsRefused 125 "$godwit" run --pool=-1 -- true
expect TinyBlockIsRefused 125 "$godwit" run --min-block=17 -- true
expect WrongThreadsAreRefused 125 "$godwit" run --threads=many -- true
expect WrongLevelIsRefused 125 "$godwit" run --level=half -- true
expect WrongOffloadIsRefused 125 "$godwit" run --offload=maybe -- true
expect WrongChaosIsRefused 125 "$godwit" run --chaos=fire -- true
expect WrongReportIsRefused 125 "$godwit" run --report=xml -- true
expect WrongVariableIsRefused 125 env GODWIT_LEVEL=half "$godwit" run -- true
says WrongVariableIsNamed err 'GODWIT_LEVEL.*half'
expect KernelEngineIsRefused 125 "$godwit" run --engine=kernel -- true
says KernelEngineSaysWhatToDo err 'module.*--engine=user'
one_line KernelEngineIsOneLine
expect MissingLibrariesAreRefused 125 env GODWIT_LIBRARY_PATH="$scratch" "$godwit" run -- true
says MissingLibrariesAreNamed err 'libgodwit_malloc.so.*GODWIT_LIBRARY_PATH'
mkdir "with space" && cp "$GODWIT_LIBRARY_PATH"/*.so "with space/"
expect PathThatThePreloaderSplitsIsRefused 125 env GODWIT_LIBRARY_PATH="$scratch/with space" "$godwit" run -- true

# ---- info --------------------------------------------------------------------------------------
expect InfoSucceeds 0 "$godwit" info
says InfoNamesEngine out '^  user '
says InfoSaysWhyNotKernel out 'kernel.*unavailable'
says InfoNamesSoftDevice out '^  soft '
expect InfoJsonSucceeds 0 "$godwit" info --json
cp out info.json
evaluates InfoJsonHasEnginesAndDevices info.json '{e["name"] for e in j["engines"]} == {"user", "kernel"} and {d["kind"] for d in j["devices"]} == {"soft", "vulkan"}'
evaluates InfoJsonAgreesWithUname info.json 'j["system"]["kernel"] == __import__("os").uname().release'
expect InfoWithoutVulkanSucceeds 0 env VK_ICD_FILENAMES=/nonexistent VK_DRIVER_FILES=/nonexistent "$godwit" info --json
cp out novulkan.json
evaluates InfoSaysWhyNotVulkan novulkan.json 'any(d["kind"] == "vulkan" and not d["usable"] and d["reasons"] for d in j["devices"])'
evaluates InfoTakesSoftWithoutVulkan novulkan.json 'j["auto"]["device"] == "soft"'
expect InfoWithoutUserfaultfdSucceeds 0 "$deny" "$godwit" info --json
cp out nouffd.json
evaluates InfoSaysThatNothingIsUsable nouffd.json 'j["auto"]["engine"] is None and not any(e["usable"] for e in j["engines"])'
evaluates InfoSaysWhy nouffd.json 'any("Operation not permitted" in r for e in j["engines"] for r in e["reasons"])'
expect InfoTextWithoutUserfaultfdSucceeds 0 "$deny" "$godwit" info
says InfoTextSaysThatNothingIsUsable out 'No engine is usable'
expect RunWithoutUserfaultfdIsRefused 125 "$deny" "$godwit" run -- true
says RunWithoutUserfaultfdSaysWhy err 'userfaultfd.*Operation not permitted'
one_line RunWithoutUserfaultfdIsOneLine
expect RunWithoutVulkanIsRefused 125 env VK_ICD_FILENAMES=/nonexistent VK_DRIVER_FILES=/nonexistent "$godwit" run --device=vulkan -- true
says RunWithoutVulkanSaysWhy err '--device=vulkan.*Vulkan'

as_nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
if ((EUID == 0)) && "${as_nobody[@]}" test -x "$godwit" 2>/dev/null; then
  expect UnprivilegedInfoSucceeds 0 "${as_nobody[@]}" "$godwit" info --json
  cp out nobody.json
  evaluates UnprivilegedInfoSaysWhatItLacks nobody.json 'j["system"]["uid"] == 65534 and not j["system"]["cap_sys_ptrace"]'
  evaluates UnprivilegedEngineHasAReason nobody.json 'j["system"]["unprivileged_userfaultfd"] == 1 or all(e["level"] != "full" and e["reasons"] for e in j["engines"])'
else
  # Not every checkout can be read by others: a copy can.
  plain=$(mktemp -d /tmp/godwit-cli.XXXXXX) && chmod 755 "$plain" && cp "$godwit" "$plain/godwit"
  if ((EUID == 0)) && "${as_nobody[@]}" test -x "$plain/godwit" 2>/dev/null; then
    expect UnprivilegedInfoSucceeds 0 "${as_nobody[@]}" "$plain/godwit" info --json
    cp out nobody.json
    evaluates UnprivilegedInfoSaysWhatItLacks nobody.json 'j["system"]["uid"] == 65534 and not j["system"]["cap_sys_ptrace"]'
    evaluates UnprivilegedEngineHasAReason nobody.json 'j["system"]["unprivileged_userfaultfd"] == 1 or all(e["level"] != "full" and e["reasons"] for e in j["engines"])'
  else
    skip UnprivilegedInfoSucceeds "needs root and setpriv"
  fi
  rm -rf "$plain"
fi

if ! "$godwit" run -- true 2>err; then
  skip TheRest "no engine can be used here: $(head -n1 err)"
  exit $failures
fi

# ---- exit statuses -----------------------------------------------------------------------------
expect SuccessIsPassedOn 0 "$godwit" run -- true
expect ExitStatusIsPassedOn 3 "$godwit" run -- sh -c 'exit 3'
expect OptionsEndAtTheProgram 7 "$godwit" run sh -c 'exit $(($# + 4))' sh --report --vram --
expect MissingProgramIs127 127 "$godwit" run -- ./no-such-program
says MissingProgramIsNamed err 'no-such-program'
touch plain-file
expect FileThatIsNoProgramIs126 126 "$godwit" run -- ./plain-file
expect DeathBySignalIs128AndN 137 "$godwit" run -- sh -c 'kill -9 $$'
expect DeathByTermIs143 143 "$godwit" run -- sh -c 'kill -TERM $$'
printf 'a\nb\n' | "$godwit" run -- cat >out 2>err
[[ $(<out) == $'a\nb' && ! -s err ]] && pass StreamsAreTheProgramsOwn || fail StreamsAreTheProgramsOwn "$(<out)"
expect OptionsReachTheProgram 0 "$godwit" run --vram=1.5G --min-block 64K --offload=never --explain --threads 3 -- \
  sh -c 'echo $GODWIT_VRAM $GODWIT_MIN_BLOCK $GODWIT_OFFLOAD $GODWIT_EXPLAIN $GODWIT_THREADS ${GODWIT_REPORT_DIR-none}'
says OptionsReachTheProgramAsNumbers out '^1610612736 65536 never 1 3 none$'
expect VariablesAreInherited 0 env GODWIT_VRAM=2M GODWIT_OFFLOAD=always "$godwit" run --offload=never -- sh -c 'echo $GODWIT_VRAM $GODWIT_OFFLOAD'
says OptionsWinOverVariables out '^2097152 never$'
expect PreloadKeepsWhatWasThere 0 env LD_PRELOAD=libm.so.6 "$godwit" run -- sh -c 'echo $LD_PRELOAD'
says PreloadIsInOrder out 'libgodwit_malloc\.so:.*libgodwit_blas\.so:libm\.so\.6$'
expect VerboseNamesEngineAndDevice 0 "$godwit" run -v --device=soft -- true
says VerboseNamesThem err 'engine user.*device soft'
(trap '' CHLD && exec "$godwit" run -- sh -c 'exit 5') 2>err
[[ $? == 5 ]] && pass CallerThatIgnoresChildrenGetsTheStatus || fail CallerThatIgnoresChildrenGetsTheStatus "another status"
"$godwit" run --report -- sh -c 'exit 6' 2>&1 >/dev/null | true
[[ ${PIPESTATUS[0]} =~ ^(6|125)$ ]] && pass ReportThatNobodyReadsIsNotFatal || fail ReportThatNobodyReadsIsNotFatal "${PIPESTATUS[*]}"

# ---- reports -----------------------------------------------------------------------------------
expect ReportOfNothingSaysSo 0 "$godwit" run --report -- true
says ReportOfNothingSaysWhy err 'statically linked'
expect ReportSucceeds 0 "$godwit" run --report -- "$worker" touch 1
says ReportNamesProgram err 'program +worker \(process [0-9]+\)'
says ReportNamesEngineAndDevice err 'device +soft: made up'
says ReportCountsByCause err 'device access +2\.0 MiB +0 B +0 B +2 +1\.50 ms'
says ReportCountsTheWayBack err 'cpu fault +0 B +1\.0 MiB +64\.0 KiB +1'
says ReportCountsFaults err 'faults +7 read, 9 write'
says ReportSaysWhyPagesStayed err 'pages stayed +3 pinned'
says ReportCountsProducts err 'matrix products +1 on the device.*2 passed on; 64\.0 KiB'
if grep -q LOST err; then fail ReportIsCalm "LOST without a loss"; else pass ReportIsCalm; fi
expect LostPagesAreLoud 0 env MADE_UP=lost "$godwit" run --report -- "$worker" touch 1
says LostPagesAreCounted err '\*\*\* LOST: 5 pages'
expect ForeignStatisticsAreNamed 0 env MADE_UP=foreign "$godwit" run --report -- "$worker" touch 1
says ForeignStatisticsAreComplainedOf err 'is not a statistics file'
expect ReportOfSeveralProcesses 0 "$godwit" run --report -- sh -c '"$0" touch 1 & "$0" touch 1 & wait' "$worker"
says ReportHasATotal err 'total of 2 processes'
says ReportAddsUp err 'device access +4\.0 MiB'
expect JsonReportSucceeds 9 "$godwit" run --report=json --report-file report.json -- sh -c '"$0" touch 1 & "$0" touch 1; wait; exit 9' "$worker"
if [[ -s err ]]; then fail ReportFileLeavesStderrAlone "$(<err)"; else pass ReportFileLeavesStderrAlone; fi
evaluates JsonReportHasProcesses report.json 'len(j["processes"]) == 2 and all(p["program"] == "worker" for p in j["processes"])'
evaluates JsonReportAddsUp report.json 'j["total"]["causes"]["device_access"]["pages_to_device"] == 1024 and j["total"]["bytes_to_host"] == 512 * 4096'
evaluates JsonReportHasTheEnd report.json 'j["exit_status"] == 9 and j["signal"] is None and j["command"][0] == "sh"'
expect JsonReportOfASignal 139 "$godwit" run --report=json -- sh -c 'kill -SEGV $$'
cp err signal.json
evaluates JsonReportHasTheSignal signal.json 'j["exit_status"] == 139 and j["signal"] == 11'
expect ReportFileAloneIsText 0 "$godwit" run --report-file report.txt -- "$worker" touch 1
says ReportFileHasIt report.txt 'device access'
expect ReportToAFullDiskIsAFailure 125 "$godwit" run --report-file /dev/full -- true
says ReportToAFullDiskSaysWhy err '^godwit: cannot write report /dev/full: No space left on device$'

# ---- traces ------------------------------------------------------------------------------------
expect TraceSucceeds 0 "$godwit" run --trace trace.json -- sh -c '"$0" touch 1 & "$0" touch 1; wait' "$worker"
if python3 -m json.tool trace.json >/dev/null; then pass TraceParses; else fail TraceParses "not JSON"; fi
evaluates TraceHasEvents trace.json 'sum(e["ph"] == "X" for e in j["traceEvents"]) == 6'
evaluates TraceNamesProcesses trace.json '[e["args"]["name"] for e in j["traceEvents"] if e["name"] == "process_name"] == ["worker"] * 2'
evaluates TraceTimesAreRelative trace.json 'all(0 <= e["ts"] < 60e6 and e["dur"] >= 0 for e in j["traceEvents"] if e["ph"] == "X")'
evaluates TraceEventsSayWhatMoved trace.json 'any(e["name"] == "migrate: device access" and e["args"]["bytes"] == 2097152 and e["args"]["direction"] == "to VRAM" for e in j["traceEvents"])'
evaluates TraceCountsTheLost trace.json 'j["otherData"]["lost"] == 0'
expect TraceToAFullDiskIsAFailure 125 "$godwit" run --trace /dev/full -- true
says TraceToAFullDiskSaysWhy err '^godwit: cannot write trace /dev/full: No space left on device$'
expect TraceToAFullDiskKeepsTheStatus 4 "$godwit" run --trace /dev/full -- sh -c 'exit 4'
expect TraceToNowhereFailsEarly 125 "$godwit" run --trace /nonexistent/trace.json -- touch started
if [[ -e started ]]; then fail TraceToNowhereStartsNothing "it was started"; else pass TraceToNowhereStartsNothing; fi
expect FolderIsPassedOn 0 "$godwit" run --report -- sh -c 'echo $GODWIT_REPORT_DIR; stat -c %a $GODWIT_REPORT_DIR >mode; touch $GODWIT_REPORT_DIR/stray'
says FolderIsForItsOwnerAlone mode '^700$'
folder_gone FolderIsRemovedWithWhatIsInIt out
expect FolderIsRemovedWhenTheProgramIsNotFound 127 "$godwit" run --report -- ./no-such-program

# ---- signals -----------------------------------------------------------------------------------
# signal_case NAME SIGNAL HOW: the program must get the signal once; HOW: alone or group.
signal_case() {
  local name=$1 signal=$2 how=$3 rc=0 target
  rm -f signals report
  # A job of its own group, as in an interactive shell.
  set -m
  "$godwit" run --report-file report -- sh -c 'echo $GODWIT_REPORT_DIR >folder; exec "$0" signals signals' "$worker" 2>err &
  local pid=$!
  set +m
  if ! wait_ready signals; then
    fail "$name" "the program did not start"
    kill -KILL -- "-$pid"
    return
  fi
  target=$pid
  [[ $how == alone ]] || target=-$pid
  kill "-$signal" -- "$target"
  wait "$pid" || rc=$?
  if [[ $rc == 0 && $(<signals) == "ready"$'\n'"$(kill -l "$signal") 1"$'\n'"end" ]]; then
    pass "$name"
  else
    fail "$name" "exit status $rc, the program got: $(tr '\n' '|' <signals)"
  fi
  says "${name}StillReports" report 'device access'
  folder_gone "${name}RemovesItsFolder" folder
}
for signal in INT TERM HUP QUIT USR1 USR2 WINCH CONT TSTP; do
  signal_case "${signal}ToGodwitAloneIsHandedOnOnce" $signal alone
done
for signal in INT TERM HUP USR1 TSTP; do
  signal_case "${signal}ToTheGroupIsNotHandedOn" $signal group
done
# held_up NAME WHO WANTED: of a signal to the group hears WHO (godwit, witness) only after a while; the program must get it once,
# and what else is WANTED.
held_up() {
  local name=$1 who=$2 wanted=$3 rc=0 pid late
  rm -f signals
  set -m
  "$godwit" run -- "$worker" signals signals 2>err &
  pid=$!
  set +m
  if ! wait_ready signals; then
    fail "$name" "the program did not start"
    kill -KILL -- "-$pid"
    return
  fi
  if [[ $who == godwit ]]; then late=$pid; else late=$(child_named "$pid" godwit-witness); fi
  kill -STOP "$late"
  wait_for in_state "$late" T
  kill -USR1 -- "-$pid"
  # Longer than who does not get it is waited for.
  sleep 0.2
  kill -CONT "$late"
  wait "$pid" || rc=$?
  if [[ $rc == 0 && $(<signals) == "ready"$'\n'"10 1"$'\n'"${wanted}end" ]]; then
    pass "$name"
  else
    fail "$name" "exit status $rc, the program got: $(tr '\n' '|' <signals)"
  fi
}
held_up AWitnessThatIsHeldUpIsWaitedFor witness ""
held_up AGodwitThatIsHeldUpHandsNothingOn godwit "18 1"$'\n'
rm -f signals
expect CtrlCAtATerminalComesOnce 0 "$runfiles/tests/cli/terminal.py" interrupt signals "$godwit" run --report -- "$worker" signals signals
says CtrlCStillReports out 'device access'
says CtrlCCountsOne signals '^2 1$'
rm -f signals
expect CtrlZStopsAndContinues 0 "$runfiles/tests/cli/terminal.py" suspend signals "$godwit" run --report -- "$worker" stop signals
says ContinuedProgramGetsOneSigcont signals '^18 1$'
says ContinuedProgramGetsOneSigint signals '^2 1$'
says ContinuedProgramIsReported out 'device access'
expect CtrlCThatKillsIsReported 130 "$runfiles/tests/cli/terminal.py" interrupt ready "$godwit" run --report -- sh -c '"$0" touch 1; echo ready >ready; exec sleep 30' "$worker"
says KilledProgramIsReported out 'killed by signal 2'
# kill -9 of godwit leaves the program alone.
rm -f signals
"$godwit" run -- "$worker" signals signals &
pid=$!
if wait_ready signals; then
  child=$(child_named "$pid" worker)
  witness=$(child_named "$pid" godwit-witness)
  kill -KILL "$pid"
  wait "$pid" 2>/dev/null
  kill -USR1 "$child"
  wait_for grep -q end signals
  says ProgramOutlivesAKilledGodwit signals '^10 1$'
  if [[ -z $witness ]] || ! wait_for has_ended "$witness"; then
    fail NothingElseIsLeft "the witness: '$witness'"
  else
    pass NothingElseIsLeft
  fi
else
  fail ProgramOutlivesAKilledGodwit "the program did not start"
fi
exit $failures
