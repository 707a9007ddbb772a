#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a guest test reports of boots that do not end in good order. No VM is needed."""

import argparse
import contextlib
import io
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import guest_test  # noqa: E402
from kernel_log import KernelLog  # noqa: E402
from machine import Outcome  # noqa: E402

NO_VERDICT = "no verdict after 420 s"
RAN = "[ 1.0] godwit-vm: begin 0 one\n[ 1.1] godwit-vm: end 0\n[ 1.2] godwit-vm: begin 1 two\n[ 1.3] godwit-vm: end 1\n"
UNLOADS = RAN + "[ 1.4] godwit-vm: unload\n"


class Boots:
    """A machine whose boots come to these outcomes."""

    def __init__(self, *outcomes):
        self.left = list(outcomes)

    def run(self, steps, keep):
        keep.mkdir(parents=True)
        return self.left.pop(0)


def boot(log=UNLOADS, status=(0, 0), **known):
    return Outcome(log=KernelLog(log), up=True, status=dict(enumerate(status)), **known)


def reported(*outcomes):
    """(lines of cases, exit status, last line) of a guest test of two programs."""
    options = argparse.Namespace(kernel="stock", timeout=120, reload=False)
    report = guest_test.Report()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as said:
        guest_test.run_all(Boots(*outcomes), [("one", "one"), ("two", "two")], options, report, Path(folder))
        status = guest_test.end(report)
    lines = said.getvalue().splitlines()
    cases = [line for line in lines if line.split()[0] in guest_test.WORDS.values()]
    return cases, status, lines[-1]


def programs_that_end_well_pass():
    cases, status, _ = reported(boot(done=True))
    assert (cases, status) == (["PASS one", "PASS two"], 0), (cases, status)


def a_vm_that_is_lost_after_the_last_program_is_a_failure():
    for why in (NO_VERDICT, "QEMU ended (status -9) without a verdict", "its agent failed: OSError: [Errno 5]"):
        cases, status, last = reported(boot(lost=why))
        assert cases == ["PASS one", "PASS two", f"FAIL boot0/end: VM LOST after its last program: {why}"], cases
        assert (status, last) == (1, f"VM LOST: {why}"), (status, last)


def one_that_does_not_end_is_a_failure():
    cases, status, _ = reported(boot(done=True, lost=NO_VERDICT))
    assert cases[2:] == [f"FAIL boot0/end: VM LOST after its last program: {NO_VERDICT}"] and status == 1, (cases, status)


def one_that_is_lost_in_the_last_program_is_that_programs_failure():
    cases, status, last = reported(boot(RAN, status=(0,), unfinished=1, lost=NO_VERDICT))
    assert (cases, status) == (["PASS one", f"FAIL two: VM LOST: {NO_VERDICT}"], 1), (cases, status)
    assert last == f"VM LOST: {NO_VERDICT}", last


def one_that_is_lost_between_programs_is_a_failure_of_the_next():
    cases, status, _ = reported(boot(RAN, status=(0,), lost=NO_VERDICT))
    assert (cases, status) == (["PASS one", f"FAIL two: VM LOST before it ran: {NO_VERDICT}"], 1), (cases, status)


def one_that_is_lost_before_the_first_program_is_a_failure_of_each():
    cases, status, _ = reported(boot("", status=(), lost=NO_VERDICT))
    assert cases == [f"FAIL {name}: VM LOST before it ran: {NO_VERDICT}" for name in ("one", "two")] and status == 1, (cases, status)


def after_a_panic_in_a_program_the_others_run_in_another_boot():
    panics = "[ 1.0] godwit-vm: begin 0 one\n[ 1.1] Kernel panic - not syncing: why\n"
    cases, status, _ = reported(boot(panics, status=(), unfinished=0), boot(status=(0,), done=True))
    assert (cases, status) == (["FAIL one: kernel panic: why", "PASS two"], 1), (cases, status)


failed = False
for case in (programs_that_end_well_pass, a_vm_that_is_lost_after_the_last_program_is_a_failure, one_that_does_not_end_is_a_failure,
             one_that_is_lost_in_the_last_program_is_that_programs_failure, one_that_is_lost_between_programs_is_a_failure_of_the_next,
             one_that_is_lost_before_the_first_program_is_a_failure_of_each,
             after_a_panic_in_a_program_the_others_run_in_another_boot):
    try:
        case()
        print(f"PASS {case.__name__}")
    except AssertionError as error:
        print(f"FAIL {case.__name__}: {error}")
        failed = True
sys.exit(failed)
