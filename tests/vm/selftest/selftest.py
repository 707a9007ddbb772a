#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes everything go wrong that can go wrong in the VM, and checks that the harness says so."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

VM = Path(__file__).resolve().parent.parent
MODULE = "tests/vm/selftest/module"
PROGRAMS = ("cases", "crashes", "hangs.sh", "leaves_a_process.sh", "finds_no_process.sh", "reads_data.sh", "panics",
            "gets_stuck.sh", "passes.sh", "powers_off.sh", "never_runs.sh")
TIMEOUT_S = 15
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
LINE = re.compile(r"^(PASS|FAIL|SKIP) (\S+?)(?:: (.*))?$")

failures = 0


def check(name, problem):
    global failures
    failures += bool(problem)
    print(f"FAIL {name}: {problem}" if problem else f"PASS {name}", flush=True)


def reports():
    """Every outcome of a program is reported as what it was."""
    here = Path("tests/vm/selftest")
    command = [str(VM / "guest_test.py"), f"--module={MODULE}", f"--timeout={TIMEOUT_S}", "--pci=64M,16M",
               "--data=tests/vm/debug/debug.config", *(str(here / name) for name in PROGRAMS)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False)
    # Its lines are not ours to be counted.
    print("".join(f"| {line}\n" for line in done.stdout.splitlines()), flush=True)
    got = {name: (word, reason or "") for word, name, reason in (m.groups() for m in map(LINE.match, done.stdout.splitlines()) if m)}
    if "vm" in got:
        check("Setup", got["vm"][1])
        return False
    for name, (word, reason) in WANTED.items():
        word_got, reason_got = got.get(name, ("nothing", ""))
        check(f"Reports_{name}", "" if word_got == word and reason in reason_got else f"{word_got} {reason_got!r}, wanted {word} {reason!r}")
    check("ReportsNothingElse", " ".join(sorted(set(got) - set(WANTED))))
    check("SaysThatTheVmWasLost", "" if done.stdout.splitlines()[-1].startswith("VM LOST: ") else f"last line: {done.stdout.splitlines()[-1]!r}")
    check("ExitStatusOfFailedTests", "" if done.returncode == 1 else f"{done.returncode}")
    return True


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
    check("AnInterruptLeavesNoFolder", " ".join(map(str, mine.glob("godwit-vm.*"))))
    errors = (mine / "stderr").read_text()
    check("StderrIsApart", "" if "to stderr\n" in errors and "to stdout" not in errors else f"{errors!r}")


cache = os.environ.get("GODWIT_VM_CACHE")
if not cache:
    print("SKIP vm: no $GODWIT_VM_CACHE: `./dev test` sets it, and makes the VM's root")
    sys.exit(0)
if reports():
    interrupts(cache)
sys.exit(failures != 0)
