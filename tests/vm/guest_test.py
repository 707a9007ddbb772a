#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs programs in the VM and prints `PASS name`, `FAIL name: reason` or `SKIP name: reason` for each of their test cases.

usage: guest_test.py [OPTION]... PROGRAM...    (godwit_guest_test in defs.bzl; the root is in $GODWIT_VM_CACHE)

All run in one boot. A case during which the kernel complained has failed, whatever the program says. A program that panics the
kernel or hangs in it ends the boot, and those after it run in another. When the VM is lost, nothing is known of what had not
ended: each such program is a failure that says VM LOST, or else the end of the boot is one, and so is the last line.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import vm  # noqa: E402
from build_module import BuildError  # noqa: E402
from kernel_log import BOOT, LEAKS, MODULES, leak_summary  # noqa: E402
from machine import Machine, MachineError, Step  # noqa: E402
from summary import FAILED, PASSED, SKIPPED, cases_of_log, cases_of_xml, one_line  # noqa: E402
from topology import Topology, size  # noqa: E402

WORDS = {PASSED: "PASS", FAILED: "FAIL", SKIPPED: "SKIP"}
RAN_ON = "what came after it in its program did not run"


class Report:
    def __init__(self):
        self.failed = self.counted = 0
        self.lost = ""

    def add(self, outcome, name, reason=""):
        self.counted += 1
        self.failed += outcome == FAILED
        reason = one_line(reason)
        # A reason starts behind a colon, a case's name has none.
        print(f"{WORDS[outcome]} {name.replace(':', '_')}" + (f": {reason}" if reason else ""), flush=True)


def cases_of_program(number, kept):
    """{case: (outcome, reason)} by what the program wrote; its last case is open where it ended in the middle."""
    cases = cases_of_xml(kept / f"xml.{number}") or cases_of_log(kept / f"output.{number}")
    return {name: (outcome, reason) for outcome, name, reason in cases}


def report_program(report, name, number, outcome, kept):
    """The cases of a program that began in this boot."""
    cases = cases_of_program(number, kept)
    status = outcome.status.get(number)
    spoiled = {}
    for where, case, line in outcome.log.complaints:
        if where == number:
            spoiled.setdefault(case, f"kernel log: {line}")
    end = ""
    if outcome.log.panic and outcome.log.panic[0] == number:
        end = f"kernel panic: {outcome.log.panic[2]}"
        # The first complaint says more than the panic that it led to.
        end += "".join(f" ({text})" for text in spoiled.values() if "Kernel panic" not in text)
        spoiled = {}
    elif outcome.unfinished == number:
        end = f"stuck in the kernel: {outcome.stuck}" if outcome.stuck else f"VM LOST: {outcome.lost}"
    elif status == "timeout":
        end = "timed out, and was killed"
    elif status == "module":
        report.add(FAILED, name, outcome.problem[number])
        return
    if end:
        last = next((case for case in reversed(cases) if cases[case][0] == FAILED and "ended inside" in cases[case][1]), None)
        if last:
            cases[last] = (FAILED, end)
        else:
            report.add(FAILED, name, end)
        if outcome.unfinished == number:
            print(f"{name}: {RAN_ON}")
    for case, reason in spoiled.items():
        if case in cases:
            cases[case] = (FAILED, reason)
        else:
            report.add(FAILED, f"{name}/{case or 'kernel_log'}", reason)
    for case, (result, reason) in cases.items():
        report.add(result, f"{name}/{case}", reason)
    accounted = end or spoiled or any(result == FAILED for result, _ in cases.values())
    if not accounted and status != 0:
        report.add(FAILED, name, f"exit status {status}")
    elif not accounted and not cases:
        report.add(PASSED, name)


def report_boot(report, outcome, boot, checks_leaks):
    """What belongs to no program."""
    for where in (BOOT, MODULES, LEAKS):
        # kmemleak's own line says less than its report below.
        lines = [line for at, _, line in outcome.log.complaints if at == where and not (outcome.leaks and "kmemleak: " in line)]
        if lines:
            report.add(FAILED, f"boot{boot}/kernel_log_{where}", lines[0])
    if outcome.unload_problem:
        report.add(FAILED, f"boot{boot}/unload", outcome.unload_problem)
    if outcome.leaks:
        report.add(FAILED, f"boot{boot}/kmemleak", leak_summary(outcome.leaks))
        print("".join(f"| {line}\n" for line in outcome.leaks.splitlines()), end="")
    elif checks_leaks and outcome.done:
        report.add(PASSED, f"boot{boot}/kmemleak")


def show(kept, number, name):
    output = kept / f"output.{number}"
    if output.exists():
        print(f"-- output of {name}")
        # Not to be counted a second time.
        print("".join(f"| {line}\n" for line in output.read_text(errors="replace").splitlines()), end="")


def run_all(machine, programs, options, report, logs):
    """Boots until every program has had its turn, or the VM is lost."""
    left = list(programs)
    boot = 0
    while left:
        steps = [
            Step(name, ["/programs/" + path], options.timeout, folder="/programs", reload=options.reload,
                 environment={"GTEST_OUTPUT": f"xml:/job/xml.{number}", **filters()})
            for number, (name, path) in enumerate(left)
        ]
        kept = logs / f"boot{boot}"
        outcome = machine.run(steps, keep=kept)
        (kept / "kernel.log").write_text("\n".join(outcome.log.lines))
        for number, dead in enumerate(outcome.dead_boots):
            (kept / f"dead.{number}.kernel.log").write_text("\n".join(dead.log.lines))
        begun = [number for number in range(len(left)) if number in outcome.status or number == outcome.unfinished]
        for number in begun:
            show(kept, number, left[number][0])
            report_program(report, left[number][0], number, outcome, kept)
        report_boot(report, outcome, boot, options.kernel == "debug")
        for text in vm.remarks(outcome):
            print(f"-- boot {boot}: {text}")
        print(f"-- boot {boot}: {len(begun)} programs in {outcome.seconds:.0f} s")
        ended_by_program = outcome.unfinished is not None and (outcome.log.panic or outcome.stuck)
        lost = outcome.lost or not outcome.done
        if lost:
            print("".join(f"| {line}\n" for line in outcome.log.excerpt(vm.LOG_LINES)), end="")
        left = left[len(begun):]
        if lost and not ended_by_program:
            report.lost = outcome.lost or (f"kernel panic: {outcome.log.panic[2]}" if outcome.log.panic else outcome.stuck)
            for name, _ in left:
                report.add(FAILED, name, f"VM LOST before it ran: {report.lost}")
            if not left and outcome.unfinished is None:
                report.add(FAILED, f"boot{boot}/end", f"VM LOST after its last program: {report.lost}")
            return
        boot += 1


def other_versions(cache, root, kernel, source, folder):
    """Builds of the same modules whose interface has other versions, each in a folder of that name."""
    header = Path("include/uapi/drm/godwit_drm.h")
    text = (source / header).read_text()
    major, minor = (int(re.search(rf"^#define GODWIT_UAPI_{part}\s+(\d+)$", text, re.M)[1]) for part in ("MAJOR", "MINOR"))
    for name, numbers in (("newer_minor", (major, minor + 1)), ("newer_major", (major + 1, 0)), ("older_minor", (major, minor - 1))):
        changed = text
        for part, number in zip(("MAJOR", "MINOR"), numbers):
            changed = re.sub(rf"^(#define GODWIT_UAPI_{part}\s+)\d+$", rf"\g<1>{number}", changed, flags=re.M)
        vm.build(cache, root, kernel, source, folder / name, variant=name, changed={header: changed.encode()})
        (folder / name / "version").write_text(f"{numbers[0]}.{numbers[1]}\n")


def filters():
    """`bazel test --test_filter`: GoogleTest reads it by itself."""
    return {name: os.environ[name] for name in ("TESTBRIDGE_TEST_ONLY",) if name in os.environ}


def stage(programs, data, folder):
    """Copies to share with the VM; Bazel has links. Returns [(name, path below the folder)]."""
    for path in (*programs, *data):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / path)
    names = [Path(path).name for path in programs]
    return list(zip(names if len(set(names)) == len(names) else programs, programs))


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernel", choices=vm.KERNELS, default="stock")
    parser.add_argument("--memory", default="4G")
    parser.add_argument("--timeout", type=int, default=120, help="seconds for one program")
    parser.add_argument("--pci", nargs="?", const="256M,256M", help="sizes of the cards")
    parser.add_argument("--module", help="folder of kernel modules, from the root of the tree")
    parser.add_argument("--driver", action="append", default=[], help="folder of a driver that needs them, as --module")
    parser.add_argument("--param", action="append", default=[])
    parser.add_argument("--reload", action="store_true")
    parser.add_argument("--other-versions", action="store_true", help="modules of other versions at modules/NAME for the programs")
    parser.add_argument("--data", action="append", default=[])
    parser.add_argument("programs", nargs="+")
    return parser.parse_args()


def end(report):
    """The exit status."""
    if report.lost:
        print(f"VM LOST: {report.lost}")
    return 1 if report.failed or report.lost or not report.counted else 0


def main():
    options = parse()
    report = Report()
    cache = os.environ.get("GODWIT_VM_CACHE")
    if not cache:
        print("SKIP vm: no $GODWIT_VM_CACHE: `./dev test` sets it, and makes the VM's root")
        return 0
    try:
        root, kernel = vm.find_kernel(Path(cache), options.kernel, make=False)
        tree = HERE.parent.parent
        topology = Topology([size(text) for text in options.pci.split(",")] if options.pci else [])
        parameters = vm.parameters_of(options.param)
        with tempfile.TemporaryDirectory(prefix="godwit-programs.") as scratch:
            folder, modules = Path(scratch) / "programs", Path(scratch) / "modules" if options.module else None
            if options.module:
                vm.build(Path(cache), root, kernel, tree / options.module, modules, [tree / driver for driver in options.driver])
            data = [path for paths in options.data for path in paths.split()]
            programs = stage(options.programs, data, folder)
            if options.other_versions:
                other_versions(Path(cache), root, kernel, tree / options.module, folder / "modules")
            machine = Machine(root, kernel, options.memory, topology=topology, modules=modules, parameters=parameters,
                              shares={"programs": (folder, "/programs", "cache=loose,ro")})
            # Bazel keeps this folder beside test.log.
            logs = Path(os.environ.get("TEST_UNDECLARED_OUTPUTS_DIR") or Path(scratch) / "logs")
            run_all(machine, programs, options, report, logs)
    except (vm.Failure, BuildError, MachineError) as error:
        report.add(FAILED, "vm", str(error))
    return end(report)


if __name__ == "__main__":
    vm.handle_signals()
    sys.exit(main())
