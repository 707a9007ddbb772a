#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""One boot of the VM: QEMU, the folders that it shares, and what came out of it."""

import ctypes
import json
import os
import selectors
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from kernel_log import KernelLog
from topology import Topology

HERE = Path(__file__).resolve().parent
QEMU = "qemu-system-x86_64"
# Under software emulation on a busy machine. A kernel that needs longer does not boot.
BOOT_LIMIT_S = 180
# The debug kernel boots in 35 to 60 s, and in several times that beside other machines.
DEBUG_BOOT_LIMIT_S = 600
# The emulator sometimes runs an int3 that the kernel on the other processor has just patched away, and sometimes just stands
# still. A boot that ends so before the agent is there, so without a module of ours, is repeated, and reported. Any other
# panic is the verdict.
EMULATOR_FAULT = "Oops: int3:"
BOOTS = 3
# Of those, as they take the whole boot limit: one may stand still, the next one is the verdict.
HUNG_BOOTS = 1
# Loading and unloading modules, ending a step's processes, kmemleak.
STEP_SLACK_S = 60
PR_SET_PDEATHSIG = 1


class MachineError(Exception):
    """The VM cannot be started at all."""


@dataclass
class Kernel:
    """A kernel for the VM. folder is None for the stock one, which is part of the root."""

    image: Path
    initramfs: Path
    folder: Path | None = None


@dataclass
class Step:
    """A command of the VM: `timeout` in seconds, `folder` to run it in."""

    name: str
    command: list[str]
    timeout: int = 600
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    # The output goes to our own, instead of into the outcome.
    live: bool = False
    # With modules loaded afresh.
    reload: bool = False


@dataclass
class Outcome:
    """What is known of a boot. Steps that are in neither `status` nor `unfinished` did not begin."""
    log: KernelLog
    # The agent was there: mounts are made, and nothing else was done.
    up: bool = False
    done: bool = False
    lost: str = ""
    # The VM had to be ended.
    out_of_time: bool = False
    # Of boots before this one that the emulator ended, or that stood still.
    dead_boots: list["Outcome"] = field(default_factory=list)
    # Exit status, "timeout", or "module" where the modules did not load for it.
    status: dict[int, int | str] = field(default_factory=dict)
    problem: dict[int, str] = field(default_factory=dict)
    # The step that had begun when the VM ended.
    unfinished: int | None = None
    stuck: str = ""
    unload_problem: str = ""
    leaks: str = ""
    seconds: float = 0

    @property
    def emulator_died(self):
        return not self.up and bool(self.log.panic) and EMULATOR_FAULT in self.log.complaints[0][2]

    @property
    def hung(self):
        """It stood still while it booted, and said nothing of it but that it was kept waiting."""
        return not self.up and self.out_of_time and not self.log.panic and self.log.only_waited


def hardware_virtualisation():
    """/dev/kvm alone says nothing: it exists, and hangs, in virtual machines without nested virtualisation."""
    flags = next((line.split() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")), [])
    return ("vmx" in flags or "svm" in flags) and os.access("/dev/kvm", os.R_OK | os.W_OK)


def end_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Machine:
    """shares: {tag: (folder on the host, folder in the VM, 9p options, `ro` last)}; modules: of vm.build()."""

    def __init__(self, root, kernel, memory="4G", cpus=2, topology=None, shares=None, modules=None, parameters=None):
        self.root, self.kernel, self.memory, self.cpus = Path(root), kernel, memory, cpus
        self.topology = topology or Topology()
        self.shares = dict(shares or {})
        self.modules = modules
        self.parameters = parameters or {}
        self.boot_limit = DEBUG_BOOT_LIMIT_S if kernel.folder else BOOT_LIMIT_S
        if kernel.folder:
            self.shares["kernel"] = (kernel.folder, "/kernel", "cache=loose,ro")
        if not shutil.which(QEMU):
            raise MachineError(f"{QEMU} is missing: apt-get install qemu-system-x86")

    def run(self, steps, out=None, err=None, keep=None):
        """Boots, runs the steps, and ends the VM.

        out, err: where live output goes, as binary files. keep: a folder for what the VM wrote into /job: output.N of step
        N, and whatever its command put there.
        """
        dead = []
        while True:
            outcome = self._boot(steps, out, err, keep)
            outcome.dead_boots = dead
            repeat = outcome.emulator_died or outcome.hung and sum(other.hung for other in dead) < HUNG_BOOTS
            if not repeat or len(dead) + 1 == BOOTS:
                return outcome
            dead.append(outcome)

    def _boot(self, steps, out, err, keep):
        folder = Path(tempfile.mkdtemp(prefix="godwit-vm."))
        try:
            with self.topology.backing(folder) as devices:
                return self._run(folder, steps, devices, out, err, keep)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _run(self, folder, steps, devices, out, err, keep):
        job = folder / "job"
        job.mkdir()
        self._write_job(job, steps)
        console = folder / "console"
        console.touch()
        pipes = [os.pipe(), os.pipe()]
        started = time.monotonic()
        command = self._command(job, console, [write for _, write in pipes], devices)
        # Not in our process group: Ctrl-C is for us, and we end it.
        qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(folder / "qemu", "wb"),
                                pass_fds=[write for _, write in pipes], start_new_session=True, preexec_fn=end_with_parent)
        try:
            for _, write in pipes:
                os.close(write)
            lost = self._relay(qemu, job, {pipes[0][0]: out, pipes[1][0]: err}, steps)
        finally:
            qemu.kill()
            qemu.wait()
            for read, _ in pipes:
                os.close(read)
        outcome = self._outcome(job, console, lost)
        if keep:
            shutil.copytree(job, keep, dirs_exist_ok=True)
        outcome.seconds = time.monotonic() - started
        if not outcome.done and not outcome.log.panic and not outcome.stuck and not outcome.lost:
            said = (folder / "qemu").read_text(errors="replace").strip()
            outcome.lost = f"QEMU ended (status {qemu.returncode}) without a verdict" + (f": {said}" if said else "")
        return outcome

    def _write_job(self, job, steps):
        for name in ("start", "agent.py"):
            shutil.copy(HERE / "guest" / name, job)
        if self.modules:
            self.shares["modules"] = (self.modules, "/modules", "cache=loose,ro")
            for name in ("load", "unload"):
                shutil.copy(Path(self.modules) / name, job)
            values = "".join(f"GODWIT_PARAM_{module}='{' '.join(some)}'\n" for module, some in self.parameters.items())
            (job / "load").write_text(values + (job / "load").read_text())
        if self.topology.cards:
            self.shares["cards"] = (None, "/cards", "cache=none,ro")
        mounts = [{"tag": tag, "at": str(at), "options": options} for tag, (_, at, options) in self.shares.items()]
        (job / "job.json").write_text(json.dumps({"mounts": mounts, "steps": [vars(step) for step in steps]}))
        (job / "events").touch()

    def _command(self, job, console, ports, devices):
        kvm = hardware_virtualisation()
        # Emulated, `rep stosb` goes byte by byte and `rep movsq` word by word: zeroing a page took four times as long as
        # copying one. Without these two the kernel clears with `rep stosq`, and costs have the order of hardware's.
        processor = "host" if kvm else "max,-erms,-fsrm"
        # KASAN would only report its first find. kmemleak is blind for what a stale pointer leads to: those in fresh
        # memory, and those in the slab allocator's per-CPU sheaves, which it has not with slab_debug.
        more = " kasan_multi_shot init_on_alloc=1 slab_debug=F kunit.enable=1" if self.kernel.folder else ""
        arguments = [
            QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", "q35",
            "-accel", "kvm" if kvm else "tcg,thread=multi", "-cpu", processor, "-smp", str(self.cpus), "-m", self.memory,
            "-kernel", str(self.kernel.image), "-initrd", str(self.kernel.initramfs),
            # An oops is a panic, and a panic the end. Emulated processors are late without being stuck.
            "-append", "console=ttyS0 loglevel=7 printk.devkmsg=on panic=-1 oops=panic panic_on_warn=0 watchdog_thresh=30 "
                       "rcupdate.rcu_cpu_stall_timeout=60 sysctl.kernel.hung_task_timeout_secs=60" + more,
            "-serial", f"file:{console}", "-device", "virtio-serial-pci", "-device", "virtio-rng-pci",
        ]
        for number, port in enumerate(ports, start=1):
            arguments += ["-chardev", f"file,id=port{number},path=/dev/fd/{port}", "-device",
                          f"virtserialport,chardev=port{number},nr={number}"]
        folders = {"root": (self.root, True), "job": (job, False)}
        folders.update({tag: (folder, options.endswith(",ro")) for tag, (folder, _, options) in self.shares.items() if folder})
        for tag, (folder, readonly) in folders.items():
            # A comma ends a value for QEMU, two are one.
            path = str(folder).replace(",", ",,")
            fsdev = f"local,id={tag},path={path},security_model=none,multidevs=remap" + (",readonly=on" if readonly else "")
            arguments += ["-fsdev", fsdev, "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]
        return arguments + devices

    def _relay(self, qemu, job, targets, steps):
        """Copies live output until QEMU has ended; returns why it had to be ended, or nothing."""
        begun = time.monotonic()
        limit = self.boot_limit + sum(step.timeout + STEP_SLACK_S for step in steps)
        up = False
        ended = os.pidfd_open(qemu.pid)
        with selectors.DefaultSelector() as selector:
            for source in (ended, *targets):
                selector.register(source, selectors.EVENT_READ)
            try:
                while True:
                    deadline = begun + (limit if up else self.boot_limit)
                    ready = selector.select(max(0, deadline - time.monotonic()))
                    data_came = False
                    for key, _ in ready:
                        if key.fd != ended:
                            data = os.read(key.fd, 65536)
                            data_came = data_came or bool(data)
                            if not data:
                                selector.unregister(key.fd)
                            elif targets[key.fd]:
                                targets[key.fd].write(data)
                                targets[key.fd].flush()
                    # What it wrote before it ended is still in the pipes.
                    if not data_came and any(key.fd == ended for key, _ in ready):
                        return ""
                    if time.monotonic() >= deadline:
                        up = up or b'"up"' in (job / "events").read_bytes()
                        if not up:
                            return f"it did not boot in {self.boot_limit} s"
                        if time.monotonic() >= begun + limit:
                            return f"no verdict after {limit} s"
            finally:
                os.close(ended)

    def _outcome(self, job, console, lost):
        outcome = Outcome(log=KernelLog(console.read_text(errors="replace")), lost=lost, out_of_time=bool(lost))
        for line in (job / "events").read_text().splitlines():
            try:
                event = json.loads(line)
            except json.JSONDecodeError:
                # The VM ended while it wrote this.
                continue
            if "begin" in event:
                outcome.unfinished = event["begin"]
            elif "end" in event:
                outcome.unfinished = None
                outcome.status[event["end"]] = event["status"]
                if "problem" in event:
                    outcome.problem[event["end"]] = event["problem"]
            outcome.up = outcome.up or "up" in event
            outcome.done = outcome.done or "done" in event
            outcome.stuck = event.get("stuck", outcome.stuck)
            outcome.unload_problem = (event.get("problem") or "") if "unloaded" in event else outcome.unload_problem
        if outcome.out_of_time and not outcome.up:
            outcome.lost += f"; the kernel's last line: {outcome.log.last or 'none'}"
        if (job / "leaks").exists():
            outcome.leaks = (job / "leaks").read_text(errors="replace").strip()
        if not outcome.done and (job / "agent.output").exists():
            said = (job / "agent.output").read_text(errors="replace").strip()
            if said and not outcome.lost:
                outcome.lost = f"its agent failed: {said.splitlines()[-1]}"
        return outcome
