#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes everything go wrong that can go wrong in the VM, and checks that the harness says so.

usage: selftest.py [debug]    (debug: what only the debug kernel sees)
"""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

VM = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(VM))

import build_module  # noqa: E402
import vm  # noqa: E402

MODULE = "tests/vm/selftest/module"
PROGRAMS = ("cases", "crashes", "hangs.sh", "leaves_a_process.sh", "finds_no_process.sh", "reads_data.sh", "panics",
            "gets_stuck.sh", "passes.sh", "powers_off.sh", "never_runs.sh")
TIMEOUT_S = 25
# {case: (word, what its reason has)}
WANTED = {
    "cases/Cases.Passes": ("PASS", ""),
    "cases/Cases.Fails": ("FAIL", "as it should"),
    "cases/Cases.Skips": ("SKIP", "not today"),
    "cases/Cases.MakesTheKernelWarn": ("FAIL", "kernel log: WARNING: "),
    "cases/Cases.PassesAfterTheWarning": ("PASS", ""),
    "crashes/Crashes.PassesBefore": ("PASS", ""),
    "crashes/Crashes.Aborts": ("FAIL", "the program ended inside this test"),
    "hangs.sh/before_it_hangs": ("PASS", ""),
    "hangs.sh": ("FAIL", "timed out"),
    "leaves_a_process.sh": ("PASS", ""),
    "finds_no_process.sh": ("PASS", ""),
    "reads_data.sh/DataIsThere": ("PASS", ""),
    "reads_data.sh/ModuleIsLoaded": ("PASS", ""),
    "reads_data.sh/TwoCards": ("PASS", ""),
    "reads_data.sh/CardHasItsSize": ("PASS", ""),
    "reads_data.sh/DmaEngine": ("PASS", ""),
    "reads_data.sh/NvmeDisk": ("PASS", ""),
    "panics/Panics.PassesBefore": ("PASS", ""),
    "panics/Panics.CrashesTheKernel": ("FAIL", "kernel panic: sysrq triggered crash"),
    "gets_stuck.sh": ("FAIL", "stuck in the kernel"),
    "passes.sh": ("PASS", ""),
    "powers_off.sh": ("FAIL", "VM LOST"),
    "never_runs.sh": ("FAIL", "VM LOST before it ran"),
}
DEBUG_PROGRAMS = ("debug_checks", "passes.sh")
DEBUG_TIMEOUT_S = 120
DEBUG_WANTED = {
    "debug_checks/DebugChecks.PassesBefore": ("PASS", ""),
    "debug_checks/DebugChecks.UsesMemoryAfterFree": ("FAIL", "kernel log: BUG: KASAN: slab-use-after-free in misbehave"),
    "debug_checks/DebugChecks.UsesMemoryAfterFreeAgain": ("FAIL", "kernel log: BUG: KASAN: slab-use-after-free in misbehave"),
    "debug_checks/DebugChecks.SleepsWhileAtomic": ("FAIL", "kernel log: BUG: sleeping function called from invalid context"),
    "debug_checks/DebugChecks.InvertsLocks": ("FAIL", "kernel log: WARNING: possible circular locking dependency detected"),
    "debug_checks/DebugChecks.LeaksMemory": ("PASS", ""),
    "debug_checks/DebugChecks.PassesAfter": ("PASS", ""),
    "passes.sh": ("PASS", ""),
    # By name: the scan was made while the module was there.
    "boot0/kmemleak": ("FAIL", "misbehave"),
}
# One boot that ends in good order, with the modules loaded afresh in between.
RELOAD_PROGRAMS = ("leaves_a_driver.sh", "passes.sh")
RELOAD_WANTED = {
    "leaves_a_driver.sh/loads_a_driver": ("PASS", ""),
    "leaves_a_driver.sh": ("FAIL", "exit status 137"),
    "passes.sh": ("PASS", ""),
}
# One that is gone when every program has had its turn.
LATE_PROGRAMS = ("powers_off_later.sh",)
LATE_WANTED = {
    "powers_off_later.sh": ("PASS", ""),
    "boot0/end": ("FAIL", "VM LOST"),
}
LINE = re.compile(r"^(PASS|FAIL|SKIP) (\S+?)(?:: (.*))?$")

failures = 0


def check(name, problem):
    global failures
    failures += bool(problem)
    print(f"FAIL {name}: {problem}" if problem else f"PASS {name}", flush=True)


def run(programs, *options):
    """{case: (word, reason)}, last line and exit status of a guest test."""
    command = [str(VM / "guest_test.py"), f"--module={MODULE}", *options, *(f"tests/vm/selftest/{name}" for name in programs)]
    # What is kept of one run is not to be taken for another one's.
    kept = Path(os.environ.get("TEST_UNDECLARED_OUTPUTS_DIR") or os.environ.get("TEST_TMPDIR", "/tmp")) / programs[0]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False,
                          env={**os.environ, "TEST_UNDECLARED_OUTPUTS_DIR": str(kept)})
    # Its lines are not ours to be counted.
    print("".join(f"| {line}\n" for line in done.stdout.splitlines()), flush=True)
    matches = map(LINE.match, done.stdout.splitlines())
    got = {name: (word, reason or "") for word, name, reason in (match.groups() for match in matches if match)}
    return got, (done.stdout.splitlines() or [""])[-1], done.returncode


def compare(got, wanted, prefix=""):
    for name, (word, reason) in wanted.items():
        word_got, reason_got = got.get(name, ("nothing", ""))
        right = word_got == word and reason in reason_got
        check(f"{prefix}Reports_{name}", "" if right else f"{word_got} {reason_got!r}, wanted {word} {reason!r}")
    check(f"{prefix}ReportsNothingElse", " ".join(f"{name} {got[name]}" for name in sorted(set(got) - set(wanted))))


def reports():
    """Every outcome of a program is reported as what it was."""
    got, last, status = run(PROGRAMS, f"--timeout={TIMEOUT_S}", "--pci=64M,16M", "--data=tests/vm/debug/debug.config")
    if "vm" in got:
        check("Setup", got["vm"][1])
        return False
    compare(got, WANTED)
    check("SaysThatTheVmWasLost", "" if last.startswith("VM LOST: ") else f"last line: {last!r}")
    check("ExitStatusOfFailedTests", "" if status == 1 else f"{status}")
    return True


def unloads():
    """What a program left loaded is in nobody's way."""
    got, _, _ = run(RELOAD_PROGRAMS, "--reload", "--driver=tests/vm/selftest/driver", f"--timeout={TIMEOUT_S}")
    compare(got, RELOAD_WANTED, "AfterADriver_")


def sees_the_end():
    """That every program has passed does not make a VM that is lost while it unloads the module a success."""
    got, last, status = run(LATE_PROGRAMS, f"--timeout={TIMEOUT_S}")
    compare(got, LATE_WANTED, "AtTheEnd_")
    check("SaysThatTheVmWasLostAtTheEnd", "" if last.startswith("VM LOST: ") else f"last line: {last!r}")
    check("ExitStatusOfAVmLostAtTheEnd", "" if status == 1 else f"{status}")


def reports_of_debug_kernel():
    got, _, _ = run(DEBUG_PROGRAMS, "--kernel=debug", f"--timeout={DEBUG_TIMEOUT_S}")
    if "vm" in got:
        check("Setup", got["vm"][1])
        return
    compare(got, DEBUG_WANTED)


def refuses_warnings(cache):
    """A module that builds with a warning is none, also when it is built again."""
    mine = Path(os.environ.get("TEST_TMPDIR", "/tmp")) / "warns"
    (mine / "source").mkdir(parents=True)
    (mine / "source" / "Kbuild").write_text("obj-m := warns.o\n")
    (mine / "source" / "warns.c").write_text("#include <linux/module.h>\nstatic int unused;\nMODULE_LICENSE(\"GPL\");\n"
                                             "MODULE_DESCRIPTION(\"Warns\");\n")
    root, _ = vm.find_kernel(cache, "stock", make=False)
    for time in ("", "Again"):
        problem = "it was built"
        try:
            build_module.build(root, "stock", mine / "source", mine / "to")
        except build_module.BuildError as error:
            problem = "" if "1 warnings, the first is: warns.c:2:" in str(error) else str(error)
        check(f"RefusesAModuleThatWarns{time}", problem)


def processes_with(text):
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if text in (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace") and int(folder.name) != os.getpid():
                found.append(folder.name)
        except OSError:
            pass
    return found


def interrupts(cache):
    """Output comes out while the command runs, and SIGINT leaves neither a process nor a folder behind."""
    mine = Path(os.environ.get("TEST_TMPDIR", "/tmp")) / "interrupted"
    mine.mkdir()
    script = "echo to stdout; echo to stderr >&2; grep -c . /godwit/dev; sleep 1000"
    process = subprocess.Popen([str(VM / "vm.py"), f"--cache={cache}", f"--module={VM / 'selftest/module'}", f"--log={mine}/log", "--",
                                "sh", "-c", script],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=open(mine / "stderr", "wb"), text=True,
                               env={**os.environ, "TMPDIR": str(mine)})
    lines = [process.stdout.readline().strip() for _ in range(2)]
    check("OutputIsLive", "" if lines[0] == "to stdout" else f"{lines[0]!r}")
    check("TheTreeIsThere", "" if lines[1].isdigit() and int(lines[1]) > 100 else f"{lines[1]!r}")
    check("TheVmRuns", "" if processes_with(f"{mine}/godwit-vm.") else "no QEMU found")
    process.send_signal(signal.SIGINT)
    check("AnInterruptHasItsStatus", "" if process.wait() == 128 + signal.SIGINT else f"{process.returncode}")
    check("AnInterruptLeavesNoProcess", " ".join(processes_with(f"{mine}/godwit-vm.")))
    check("AnInterruptLeavesNoFolder", " ".join(map(str, mine.glob("godwit-*"))))
    errors = (mine / "stderr").read_text()
    check("StderrIsApart", "" if "to stderr\n" in errors and "to stdout" not in errors else f"{errors!r}")


cache = os.environ.get("GODWIT_VM_CACHE")
if not cache:
    print("SKIP vm: no $GODWIT_VM_CACHE: `./dev test` sets it, and makes the VM's root")
    sys.exit(0)
if sys.argv[1:] == ["debug"]:
    reports_of_debug_kernel()
elif reports():
    unloads()
    sees_the_end()
    refuses_warnings(Path(cache))
    interrupts(cache)
sys.exit(failures != 0)
