# SPDX-License-Identifier: MIT
"""Runs the steps of /job/job.json in the VM, as the only process beside PID 1 that lives on.

The file, written by machine.py: mounts [{tag, at, options}], steps [{name, command, environment, folder, timeout, live, reload}].
/job/load and /job/unload, where they exist, are shell commands for the kernel modules.
What happens goes to /job/events, one JSON object a line, at once: the VM may be gone the next moment. For the same reason step N
writes its output to /job/output.N itself; it comes through here, to two virtio ports, where it is live. Marks in the kernel's log
say where a step begins and ends.
"""

import ctypes
import json
import os
import selectors
import signal
import subprocess
import time
from pathlib import Path

JOB = Path("/job")
PORTS = ("/dev/vport0p1", "/dev/vport0p2")
KMEMLEAK = Path("/sys/kernel/debug/kmemleak")
# mm/kmemleak.c: it reports nothing younger than this (MSECS_MIN_AGE).
KMEMLEAK_AGE_S = 5.5
# A killed process that lives longer than this sits in the kernel.
KILL_LIMIT_S = 10
RB_POWER_OFF = 0x4321FEDC


class Stuck(Exception):
    """A process that cannot be killed: nothing that comes after it in this VM would mean anything."""


def report(**event):
    with open(JOB / "events", "a", encoding="utf-8") as events:
        events.write(json.dumps(event) + "\n")


def mark(text):
    Path("/dev/kmsg").write_text(f"<6>godwit-vm: {text}\n", encoding="utf-8")


def shell(script):
    """(exit status, output) of a script of the host's."""
    done = subprocess.run(["sh", str(JOB / script), "/modules"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    return done.returncode, done.stdout.decode(errors="replace").strip()


def user_processes():
    """{pid} of all but this one, PID 1 and kernel threads, which have no executable."""
    found = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) not in (1, os.getpid()):
            try:
                os.readlink(f"/proc/{entry}/exe")
                found.add(int(entry))
            except OSError:
                pass
    return found


def kill_leftovers():
    """Ends what a step has left behind, so that it neither holds the module nor disturbs the next one."""
    deadline = time.monotonic() + KILL_LIMIT_S
    while left := user_processes():
        handles = []
        for pid in left:
            try:
                handles.append(os.pidfd_open(pid))
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        with selectors.DefaultSelector() as selector:
            for handle in handles:
                selector.register(handle, selectors.EVENT_READ)
            pending = len(handles)
            while pending and time.monotonic() < deadline:
                for key, _ in selector.select(deadline - time.monotonic()):
                    selector.unregister(key.fd)
                    pending -= 1
        for handle in handles:
            os.close(handle)
        if time.monotonic() >= deadline:
            raise Stuck(f"processes {sorted(left)} cannot be killed")


def write_all(target, data):
    """A virtio port takes no more than 32 KiB at a time."""
    while data:
        data = data[os.write(target, data):]


def relay(process, targets, timeout):
    """Copies the process's output until it has ended; returns whether it did so in time. Its descendants may live on."""
    deadline = time.monotonic() + timeout
    ended = os.pidfd_open(process.pid)
    in_time = True
    with selectors.DefaultSelector() as selector:
        selector.register(ended, selectors.EVENT_READ)
        for source in targets:
            selector.register(source, selectors.EVENT_READ)
        alive = True
        while alive:
            ready = selector.select(max(0, deadline - time.monotonic()))
            for key, _ in ready:
                if key.fd == ended:
                    alive = False
                elif data := os.read(key.fd, 65536):
                    write_all(targets[key.fd], data)
                else:
                    selector.unregister(key.fd)
            if alive and time.monotonic() >= deadline:
                if not in_time:
                    raise Stuck(f"process {process.pid} cannot be killed")
                in_time = False
                os.killpg(process.pid, signal.SIGKILL)
                deadline = time.monotonic() + KILL_LIMIT_S
    os.close(ended)
    return in_time


def drain(targets):
    """What is still in the pipes, once nobody can write any more."""
    for source, target in targets.items():
        while data := os.read(source, 65536):
            write_all(target, data)


def run_step(number, step, ports):
    environment = {**os.environ, **step["environment"]}
    file = None if step["live"] else os.open(JOB / f"output.{number}", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
    try:
        process = subprocess.Popen(step["command"], cwd=step["folder"], env=environment, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE if step["live"] else file,
                                   stderr=subprocess.PIPE if step["live"] else file, start_new_session=True)
    except OSError as error:
        write_all(ports[-1] if step["live"] else file, f"{error.filename}: {error.strerror}\n".encode())
        # As a shell has it.
        return 127 if isinstance(error, FileNotFoundError) else 126
    finally:
        if file is not None:
            os.close(file)
    targets = {process.stdout.fileno(): ports[0], process.stderr.fileno(): ports[1]} if step["live"] else {}
    in_time = relay(process, targets, step["timeout"])
    process.wait()
    kill_leftovers()
    drain(targets)
    # As a shell has it: 128 and the signal.
    status = process.returncode if process.returncode >= 0 else 128 - process.returncode
    return status if in_time else "timeout"


class Modules:
    """The modules of /job/load: loaded when first needed."""

    def __init__(self):
        self.loaded = not (JOB / "load").exists()
        self.any = not self.loaded

    def load(self):
        if self.loaded:
            return None
        mark("load")
        status, output = shell("load")
        self.loaded = status == 0
        return None if self.loaded else f"the module does not load: {output}"

    def unload(self):
        if not (self.any and self.loaded):
            return None
        mark("unload")
        status, output = shell("unload")
        self.loaded = status != 0
        return None if status == 0 else f"the module does not unload: {output}"


def leaks(modules):
    """What kmemleak finds, and why the modules did not unload, if so. Before the unload it can name functions."""
    time.sleep(KMEMLEAK_AGE_S)
    # Its first look at an object only takes a checksum.
    for _ in range(2):
        KMEMLEAK.write_text("scan", encoding="utf-8")
    before = KMEMLEAK.read_text(encoding="utf-8", errors="replace")
    problem = modules.unload()
    KMEMLEAK.write_text("scan", encoding="utf-8")
    after = KMEMLEAK.read_text(encoding="utf-8", errors="replace")
    return before or after, problem


def run_steps(job, ports):
    modules = Modules()
    for number, step in enumerate(job["steps"]):
        problem = modules.unload() if step["reload"] else None
        mark(f"begin {number} {step['name']}")
        report(begin=number)
        problem = problem or modules.load()
        if problem:
            report(end=number, status="module", problem=problem)
        else:
            status = run_step(number, step, ports)
            report(end=number, status=status)
        mark(f"end {number}")
    if KMEMLEAK.exists():
        mark("leaks")
        found, problem = leaks(modules)
        (JOB / "leaks").write_text(found, encoding="utf-8")
    else:
        problem = modules.unload()
    report(unloaded=problem is None, problem=problem)


def main():
    job = json.loads((JOB / "job.json").read_text(encoding="utf-8"))
    for mount in job["mounts"]:
        Path(mount["at"]).mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "9p", "-o", f"trans=virtio,version=9p2000.L,msize=512000,{mount['options']}",
                        mount["tag"], mount["at"]], check=True)
    if Path("/kernel/modules/lib/modules").exists():
        subprocess.run(["mount", "--bind", "/kernel/modules/lib/modules", "/lib/modules"], check=True)
    ports = [os.open(port, os.O_WRONLY) for port in PORTS]
    if KMEMLEAK.exists():
        # What the kernel itself lost while it booted is not ours.
        KMEMLEAK.write_text("clear", encoding="utf-8")
    report(up=True)
    try:
        run_steps(job, ports)
        report(done=True)
    except Stuck as stuck:
        # Where everybody is, for the log.
        for key in "wlt":
            Path("/proc/sysrq-trigger").write_text(key, encoding="utf-8")
        report(stuck=str(stuck))
        # An ordinary exit would wait for it.
        ctypes.CDLL(None).reboot(RB_POWER_OFF)


main()
