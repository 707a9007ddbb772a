#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Which boots are repeated. A script stands in for QEMU: it writes to the console and to the job's events as a VM would."""

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import vm  # noqa: E402
from machine import BOOTS, STEP_SLACK_S, Kernel, Machine, Step  # noqa: E402

PANIC = """[    1.82] Oops: int3: 0000 [#1] SMP NOPTI
[    1.83] Kernel panic - not syncing: Fatal exception in interrupt
"""
UP = '{"up": true}\n'
DONE = UP + '{"begin": 0}\n{"end": 0, "status": 0}\n{"done": true}\n'
# Boot N writes console.N and events.N, the last ones from then on. One whose console ends in STANDS_STILL does not end.
FAKE = """#!/bin/sh
here=$(dirname "$0")
for word; do
  case $word in
    file:*) console=${word#file:} ;;
    local,id=job,*) job=${word#*path=}; job=${job%%,*} ;;
  esac
done
number=$(ls "$here" | grep -c ^boot.)
touch "$here/boot.$number"
[ -e "$here/console.$number" ] || number=$(($(ls "$here" | grep -c ^console.) - 1))
cat "$here/console.$number" > "$console"
cat "$here/events.$number" > "$job/events"
if [ "$(tail -n1 "$console")" = "[    2.50] stands still" ]; then exec sleep 1000; fi
"""
STANDS_STILL = """[    1.82] clocksource: Switched to clocksource tsc-early
[    2.50] stands still
"""
STALLED = """[   62.40] watchdog: BUG: soft lockup - CPU#1 stuck for 30s! [swapper/1:0]
"""


def boot(folder, *boots):
    """(outcome, how often it was booted) of a machine whose boots write these (console, events)."""
    qemu = folder / "qemu-system-x86_64"
    qemu.write_text(FAKE)
    qemu.chmod(0o755)
    for number, (console, events) in enumerate(boots):
        (folder / f"console.{number}").write_text(console)
        (folder / f"events.{number}").write_text(events)
    os.environ["PATH"] = f"{folder}:{PATH}"
    machine = Machine(folder, Kernel(folder / "image", folder / "initramfs"))
    # Those that end by themselves have all the time that they may need; the others one second, whether they are up or not.
    hangs = any(STANDS_STILL in console for console, _ in boots)
    machine.boot_limit = 1 if hangs else machine.boot_limit
    outcome = machine.run([Step("command", ["true"], timeout=-STEP_SLACK_S if hangs else 600)])
    return outcome, len(list(folder.glob("boot.*")))


def a_boot_that_dies_before_anything_of_ours_ran_is_repeated_and_reported(folder):
    outcome, boots = boot(folder, (PANIC, ""), ("", DONE))
    assert boots == 2 and outcome.done and outcome.status == {0: 0}, (boots, outcome)
    assert vm.judge(outcome) == (0, ""), vm.judge(outcome)
    said = vm.remarks(outcome)
    assert len(said) == 1 and "int3" in said[0] and "Fatal exception in interrupt" in said[0], said


def a_panic_with_the_agent_there_is_the_verdict(folder):
    outcome, boots = boot(folder, (PANIC, UP), ("", DONE))
    assert boots == 1 and not outcome.done and not outcome.dead_boots, (boots, outcome)
    assert vm.judge(outcome)[0] == vm.EXIT_BAD_LOG, vm.judge(outcome)


def another_panic_while_it_boots_is_the_verdict(folder):
    outcome, boots = boot(folder, (PANIC.replace("int3", "general protection fault"), ""), ("", DONE))
    assert boots == 1 and vm.judge(outcome)[0] == vm.EXIT_BAD_LOG, (boots, outcome)


def a_kernel_that_never_boots_is_given_up(folder):
    outcome, boots = boot(folder, (PANIC, ""))
    assert boots == BOOTS and len(outcome.dead_boots) == BOOTS - 1, (boots, outcome)
    assert vm.judge(outcome)[0] == vm.EXIT_BAD_LOG, vm.judge(outcome)


def an_emulator_that_ends_without_a_panic_is_not_repeated(folder):
    outcome, boots = boot(folder, ("", ""), ("", DONE))
    assert boots == 1 and vm.judge(outcome)[0] == vm.EXIT_LOST, (boots, outcome)


def a_boot_that_stands_still_is_repeated_and_reported(folder):
    outcome, boots = boot(folder, (STALLED + STANDS_STILL, ""), ("", DONE))
    assert boots == 2 and outcome.done and outcome.status == {0: 0}, (boots, outcome)
    assert vm.judge(outcome) == (0, ""), vm.judge(outcome)
    said = vm.remarks(outcome)
    assert len(said) == 1 and "it did not boot in 1 s" in said[0] and said[0].endswith("last line: stands still"), said


def it_is_repeated_once(folder):
    outcome, boots = boot(folder, (STANDS_STILL, ""))
    assert boots == 2 and len(outcome.dead_boots) == 1 and vm.judge(outcome)[0] == vm.EXIT_LOST, (boots, outcome)


def one_that_stands_still_after_a_complaint_is_the_verdict(folder):
    complaint = "[    1.90] WARNING: possible circular locking dependency detected\n"
    outcome, boots = boot(folder, (complaint + STANDS_STILL, ""), ("", DONE))
    assert boots == 1 and vm.judge(outcome)[0] == vm.EXIT_LOST, (boots, outcome)


def one_that_stands_still_with_the_agent_there_is_the_verdict(folder):
    outcome, boots = boot(folder, (STANDS_STILL, UP), ("", DONE))
    assert boots == 1 and vm.judge(outcome)[0] == vm.EXIT_LOST, (boots, outcome)


PATH = os.environ["PATH"]
failed = False
for case in (a_boot_that_dies_before_anything_of_ours_ran_is_repeated_and_reported, a_panic_with_the_agent_there_is_the_verdict,
             another_panic_while_it_boots_is_the_verdict, a_kernel_that_never_boots_is_given_up,
             an_emulator_that_ends_without_a_panic_is_not_repeated, a_boot_that_stands_still_is_repeated_and_reported,
             it_is_repeated_once, one_that_stands_still_after_a_complaint_is_the_verdict,
             one_that_stands_still_with_the_agent_there_is_the_verdict):
    with tempfile.TemporaryDirectory() as scratch:
        try:
            case(Path(scratch))
            print(f"PASS {case.__name__}")
        except AssertionError as error:
            print(f"FAIL {case.__name__}: {error}")
            failed = True
sys.exit(failed)
