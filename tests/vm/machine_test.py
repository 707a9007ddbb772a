#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Which boots are repeated. A script stands in for QEMU: it writes to the console and to the job's events as a VM would."""

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import vm  # noqa: E402
from machine import BOOTS, Kernel, Machine, Step  # noqa: E402

PANIC = """[    1.82] Oops: int3: 0000 [#1] SMP NOPTI
[    1.83] Kernel panic - not syncing: Fatal exception in interrupt
"""
UP = '{"up": true}\n'
DONE = UP + '{"begin": 0}\n{"end": 0, "status": 0}\n{"done": true}\n'
# Boot N writes console.N and events.N, the last ones from then on.
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
    outcome = machine.run([Step("command", ["true"])])
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


PATH = os.environ["PATH"]
failed = False
for case in (a_boot_that_dies_before_anything_of_ours_ran_is_repeated_and_reported, a_panic_with_the_agent_there_is_the_verdict,
             another_panic_while_it_boots_is_the_verdict, a_kernel_that_never_boots_is_given_up,
             an_emulator_that_ends_without_a_panic_is_not_repeated):
    with tempfile.TemporaryDirectory() as scratch:
        try:
            case(Path(scratch))
            print(f"PASS {case.__name__}")
        except AssertionError as error:
            print(f"FAIL {case.__name__}: {error}")
            failed = True
sys.exit(failed)
