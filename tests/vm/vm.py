#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs a command in a VM with the kernel modules of this tree loaded: `./dev vm`.

In the VM the tree is at /godwit, which is also the working folder, and at its path of the host; both are read-only, as are
Bazel's outputs, at their path of the host. Everything else can be written, and is gone with the VM, except /out (--out).
"""

import argparse
import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import build_module  # noqa: E402
from machine import Kernel, Machine, MachineError, Step  # noqa: E402
from topology import Topology, TopologyError, size  # noqa: E402

# Exit statuses of our own, above those that programs have and below those of signals.
EXIT_USAGE, EXIT_NO_MODULE, EXIT_BAD_LOG, EXIT_LOST, EXIT_SETUP, EXIT_TIMEOUT = 2, 3, 120, 121, 122, 124
# Of our scripts: what --find looks for is not there.
EXIT_MISSING = 4
KERNELS = ("stock", "debug")
LOG_LINES = 60


class Failure(Exception):
    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


def script(name, *arguments):
    """The one line that a script of ours prints: the path of what it made or found."""
    # A session of its own, so that an interrupt ends all that it started, wherever the signal went.
    process = subprocess.Popen([str(HERE / name), *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                               start_new_session=True)
    try:
        said, _ = process.communicate()
    except BaseException:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        raise
    if process.returncode == EXIT_MISSING:
        raise Failure(EXIT_SETUP, f"{name} has not been run: ./dev vm --prepare does that, with --kernel=debug for the debug kernel")
    if process.returncode:
        raise Failure(EXIT_SETUP, f"{name} failed (above)")
    return Path(said.strip())


def find_kernel(cache, name, make=True):
    """(root, Kernel), both made where they are missing, or failing then."""
    find = [] if make else ["--find"]
    root = script("make_root.sh", cache, *find)
    if name == "stock":
        release = (root / ".kernel").read_text().strip()
        return root, Kernel(root / f"boot/vmlinuz-{release}", script("make_initramfs.sh", cache, root, "stock"))
    folder = script("make_kernel.sh", cache, root, *find)
    return root, Kernel(folder / "image", script("make_initramfs.sh", cache, root, folder), folder)


def build(cache, root, kernel, source, to, drivers=(), variant="", changed=None):
    """Builds the modules of a source folder for the kernel; `to` gets them, and drivers that need them in drivers/ there.

    They are built in a folder of the cache, which every run for that source uses, one at a time; `to` is the run's own.
    variant: a name for sources that are `changed`, as for copy_sources().
    """
    owner = f"{root} {kernel.folder} {Path(source).resolve()} {variant}"
    built = cache / f"module-{hashlib.sha256(owner.encode()).hexdigest()[:16]}"
    with open(f"{built}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        built.mkdir(exist_ok=True)
        # Its age is that of its last use.
        os.utime(built)
        build_module.build(root, kernel.folder or "stock", source, built, changed=changed)
        for driver in drivers:
            build_module.build_driver(root, kernel.folder or "stock", driver, built)
        build_module.copy_built(built, to, drivers)


def shares_of(tree):
    shares = {"godwit": (tree, "/godwit", "cache=loose,ro")}
    if str(tree) != "/godwit":
        shares["tree"] = (tree, str(tree), "cache=loose,ro")
    outputs = tree / "bazel-out"
    if outputs.exists():
        # bazel-bin and the like are links to it.
        shares["bazel"] = (outputs.resolve(), str(outputs.resolve()), "cache=loose,ro")
    return shares


def parse(arguments):
    parser = argparse.ArgumentParser(prog="./dev vm", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--tree", type=Path, default=HERE.parent.parent, help=argparse.SUPPRESS)
    parser.add_argument("--kernel", default="stock", metavar="|".join(KERNELS), help="Debian's own, or one that checks itself (slow)")
    parser.add_argument("--memory", default="4G", help="of the VM (4G)")
    parser.add_argument("--cpus", type=int, default=2, help="of the VM (2)")
    parser.add_argument("--timeout", type=int, default=900, help="seconds that the command may take (900)")
    parser.add_argument("--pci", nargs="?", const="256M,256M", metavar="SIZE,SIZE",
                        help="two cards with VRAM in a BAR, an NVMe disk and a DMA engine")
    parser.add_argument("--module", type=Path, metavar="FOLDER", help="kernel modules to build and load (kernel/)")
    parser.add_argument("--driver", type=Path, action="append", default=[], metavar="FOLDER",
                        help="a driver that needs the module, built into /modules/drivers/NAME")
    parser.add_argument("--no-module", action="store_true", help="no kernel module")
    parser.add_argument("--param", action="append", default=[], metavar="MODULE.NAME=VALUE", help="of a module, when it is loaded")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="is /out in the VM, and can be written there")
    parser.add_argument("--log", type=Path, metavar="FILE", help="for the kernel's log (vm/kernel.log in the cache)")
    parser.add_argument("--prepare", action="store_true", help="only make the root, the kernel and the module, if they are missing")
    parser.add_argument("command", nargs="*", metavar="-- COMMAND")
    # argparse would take every -- out.
    at = arguments.index("--") if "--" in arguments else len(arguments)
    options = parser.parse_args(arguments[:at])
    options.command += arguments[at + 1:]
    if options.kernel not in KERNELS:
        parser.error(f"no such kernel: {options.kernel} (there are {' and '.join(KERNELS)})")
    if not options.command and not options.prepare:
        parser.error("no command: ./dev vm -- COMMAND")
    return options


def parameters_of(texts):
    found = {}
    for text in texts:
        module, dot, rest = text.partition(".")
        if not dot or "=" not in rest or "'" in rest:
            raise Failure(EXIT_USAGE, f"not a parameter: {text} (MODULE.NAME=VALUE is one)")
        found.setdefault(module.replace("-", "_"), []).append(rest)
    return found


def remarks(outcome):
    """What to say beside the verdict: boots that were repeated, and why, and which complaints are known mistakes of the kernel."""
    said = []
    for dead in outcome.dead_boots:
        why = dead.lost if dead.hung else f"{dead.log.complaints[0][2]} ({dead.log.panic[2]})"
        said.append(f"the kernel died while it booted, before anything of this tree ran; booted again: {why}")
    left_behind = [f"{line} in {case}" for _, case, line in outcome.log.known if "bad pmd" in line]
    if left_behind:
        said.append(f"a known mistake of the kernel, {len(left_behind)} times (docs/locking.md), the first: {left_behind[0]}")
    return said


def judge(outcome):
    """(exit status, what to say)"""
    complaints = [line for _, _, line in outcome.log.complaints]
    if outcome.log.panic:
        return EXIT_BAD_LOG, f"the kernel panicked: {outcome.log.panic[2]}"
    if outcome.stuck:
        return EXIT_BAD_LOG, f"stuck in the kernel: {outcome.stuck}"
    if outcome.lost or not outcome.done:
        return EXIT_LOST, f"lost the VM: {outcome.lost}"
    if outcome.leaks:
        return EXIT_BAD_LOG, f"kmemleak found:\n{outcome.leaks}"
    if complaints:
        return EXIT_BAD_LOG, f"{len(complaints)} complaints in the kernel's log, the first is: {complaints[0]}"
    if outcome.unload_problem:
        return EXIT_BAD_LOG, outcome.unload_problem
    status = outcome.status[0]
    if status == "module":
        return EXIT_SETUP, outcome.problem[0]
    if status == "timeout":
        return EXIT_TIMEOUT, "the command was ended: it took longer than --timeout"
    return status, ""


def run(options):
    tree = options.tree.resolve()
    cache = options.cache
    cache.mkdir(parents=True, exist_ok=True)
    parameters = parameters_of(options.param)
    topology = Topology([size(text) for text in options.pci.split(",")] if options.pci else [])
    source = None if options.no_module else options.module or tree / "kernel"
    if source and not any((source / name).is_file() for name in ("Makefile", "Kbuild")):
        raise Failure(EXIT_NO_MODULE, f"{source} has no Makefile: there is no module to load (--no-module does without)")
    root, kernel = find_kernel(cache, options.kernel)
    with tempfile.TemporaryDirectory(prefix="godwit-modules.") as folder:
        modules = Path(folder) if source else None
        if source:
            build(cache, root, kernel, source, modules, options.driver)
        return 0 if options.prepare else boot(options, tree, root, kernel, topology, modules, parameters)


def boot(options, tree, root, kernel, topology, modules, parameters):
    shares = shares_of(tree)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        shares["out"] = (options.out.resolve(), "/out", "cache=mmap")
    machine = Machine(root, kernel, options.memory, options.cpus, topology, shares, modules, parameters)
    step = Step("command", options.command, options.timeout, folder="/godwit", live=True)
    outcome = machine.run([step], sys.stdout.buffer, sys.stderr.buffer)
    for text in remarks(outcome):
        print(f"vm: {text}", file=sys.stderr)
    log = options.log or options.cache / "kernel.log"
    log.write_text("\n".join(outcome.log.lines))
    status, text = judge(outcome)
    if text:
        print(f"-- from the kernel's log ({log})", *outcome.log.excerpt(LOG_LINES), f"vm: {text}", sep="\n", file=sys.stderr)
    return status


def stop(number, _):
    raise SystemExit(128 + number)


def handle_signals():
    """Ctrl-C and the like end the VM, and leave nothing behind."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)


def main():
    handle_signals()
    try:
        return run(parse(sys.argv[1:]))
    except Failure as failure:
        status, text = failure.status, str(failure)
    except (MachineError, build_module.BuildError) as error:
        status, text = EXIT_SETUP, str(error)
    except TopologyError as error:
        status, text = EXIT_USAGE, str(error)
    print(f"vm: {text}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
