#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What interrupted runs, other runs and age make of the cache. Scripts stand in for what downloads, builds and deletes."""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import build_module  # noqa: E402
import vm  # noqa: E402
from machine import Kernel  # noqa: E402

HERE = Path(__file__).resolve().parent
DAY_S = 24 * 60 * 60
# What make_root.sh and make_kernel.sh ask of the machine. RM_KILLS is the file after which rm takes the script with it.
TOOLS = {
    "mmdebstrap": 'for word; do case $word in /*making-root.*) folder=$word ;; esac; done\nmkdir -p "$folder/lib/modules/9.9-fake/build"',
    "apt-get": 'case $* in *indextargets*) echo http://mirror/debian main ;; *download*) touch linux-source-9.9.deb ;; esac',
    "apt-config": "true",
    "apt-cache": 'case $* in *search*) echo linux-source-9.9 - sources ;; *) echo "linux-source-9.9 | 9.9-1 | mirror" ;; esac',
    "df": "printf 'head\\nfake 1 1 99999 0%% /\\n'",
    "dpkg-query": "echo 9.9-1",
    "dpkg-deb": 'mkdir -p "$3/usr/src"; touch "$3/usr/src/linux-source-9.9.tar.xz"',
    "tar": "true",
    "rm": """if [ "${RM_KILLS:-}" ]; then
  for word; do
    if [ -e "$word/$RM_KILLS" ]; then /bin/rm "$word/$RM_KILLS"; kill -9 $PPID; exit; fi
  done
fi
exec /bin/rm "$@" """,
}
IN_ROOT = """for word; do case $word in /*making-*) build=$word ;; esac; done
case $* in
  *allnoconfig*) cp "$build/source/debug.config" "$build/source/.config" ;;
  *) touch "$build/initramfs" ;;
esac"""

problems = []


def expect(true, *what):
    if not true:
        problems.append(" ".join(" ".join(map(str, what)).split()))


def script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


class Cache:
    """The scripts of this folder, with a cache of their own, and of the tools only those in TOOLS."""

    def __init__(self, folder):
        self.here, self.folder = folder / "vm", folder / "cache"
        shutil.copytree(HERE, self.here, ignore=shutil.ignore_patterns("selftest", "__pycache__"))
        script(self.here / "in_root.sh", IN_ROOT)
        for name, text in TOOLS.items():
            script(folder / "tools" / name, text)
        self.path = f"{folder / 'tools'}:{os.environ['PATH']}"
        self.folder.mkdir()
        self.root = folder / "root"
        (self.root / "etc/apt").mkdir(parents=True)
        (self.root / "etc/apt/sources.list").write_text("deb http://mirror/debian trixie main\n")
        (self.root / ".kernel").write_text("9.9-fake\n")

    def make(self, what, *arguments, kills=""):
        """What make_WHAT.sh makes, as a path, or None where it was killed."""
        arguments = arguments or (() if what == "root" else (self.root,))
        done = subprocess.run([self.here / f"make_{what}.sh", self.folder, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              check=False, env={**os.environ, "PATH": self.path, "RM_KILLS": kills})
        expect(done.returncode == (-9 if kills else 0), f"make_{what}.sh: status {done.returncode}:", done.stderr)
        return None if kills or done.returncode else Path(done.stdout.strip())

    def age(self, *paths):
        for path in paths:
            os.utime(path, (time.time() - 8 * DAY_S,) * 2)

    def old(self, what):
        """A folder that has not been used for long."""
        folder = self.folder / f"{what}-0123"
        folder.mkdir()
        for name in ("part", ".complete"):
            (folder / name).touch()
        self.age(folder / ".complete")
        return folder

    def names(self, pattern):
        return sorted(path.name for path in self.folder.glob(pattern))


def old_ones_go(cache, what):
    old = cache.old(what)
    new = cache.make(what)
    expect(cache.names(f"{what}-*") == [new.name], cache.names("*"))
    expect((new / ".complete").exists() and not old.exists(), cache.names("*"))
    expect(cache.names("making-*") == [], cache.names("*"))


def an_interrupted_removal_leaves_none_that_looks_whole(cache, what):
    old = cache.old(what)
    cache.make(what, kills="part")
    expect(not old.exists(), old.name, "is there without its part, with", [path.name for path in old.glob(".*")])
    new = cache.make(what)
    shutil.rmtree(new)
    cache.make(what)
    expect(cache.names(f"*{what}-*") == [new.name] and cache.names(f"making-{what}.*") == [], cache.names("*"))


def half_of_one_is_replaced(cache, what):
    new = cache.make(what)
    (new / ".complete").unlink()
    (new / "half").touch()
    expect(cache.make(what) == new and (new / ".complete").exists() and not (new / "half").exists(), cache.names("*"))
    expect(cache.names("making-*") == [], cache.names("*"))


def an_initramfs_in_use_does_not_age(cache):
    used = cache.make("initramfs", cache.root, "stock")
    unused = cache.folder / "initramfs-0123"
    unused.touch()
    cache.age(used, unused)
    expect(cache.make("initramfs", cache.root, "stock") == used, used)
    # Of another kernel: makes one, and removes what is old.
    (cache.root / ".kernel").write_text("10.0-fake\n")
    other = cache.make("initramfs", cache.root, "stock")
    expect(other != used, "another kernel has the same initramfs")
    expect(used.exists() and not unused.exists(), cache.names("*"))


def is_locked(built):
    with open(f"{built}.lock", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


class Builds:
    """Stands in for build_module.py: what it builds says which build it was of."""

    def __init__(self):
        self.count, self.copy_built = 0, build_module.copy_built

    def build(self, root, kernel, source, to, changed=None):
        self.count += 1
        expect(is_locked(to), "not locked while it builds")
        for name in ("m.ko", "load", "unload"):
            (to / name).write_text(f"{self.count} {changed}")

    def build_driver(self, root, kernel, source, modules):
        folder = modules / build_module.DRIVERS / source
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "d.ko").write_text(f"{self.count}")

    def copy(self, built, *arguments):
        expect(is_locked(built), "not locked while it copies")
        self.copy_built(built, *arguments)


def the_modules_of_a_run_are_its_own(cache):
    real = build_module.build, build_module.build_driver, build_module.copy_built
    stub = Builds()
    build_module.build, build_module.build_driver, build_module.copy_built = stub.build, stub.build_driver, stub.copy
    runs = [cache.folder / f"run{number}" for number in range(3)]
    try:
        vm.build(cache.folder, cache.root, Kernel(None, None), "source", runs[0], ["one", "two"])
        built = [path for path in cache.folder.glob("module-*") if path.is_dir()]
        cache.age(*built)
        vm.build(cache.folder, cache.root, Kernel(None, None), "source", runs[1], ["two"])
        vm.build(cache.folder, cache.root, Kernel(None, None), "source", runs[2], variant="other", changed={})
    finally:
        build_module.build, build_module.build_driver, build_module.copy_built = real
    got = [{str(path.relative_to(run)): path.read_text() for path in run.rglob("*") if path.is_file()} for run in runs]
    names = ("m.ko", "load", "unload")
    expect(got[0] == {**dict.fromkeys(names, "1 None"), "drivers/one/d.ko": "1", "drivers/two/d.ko": "1"}, got[0])
    expect(got[1] == {**dict.fromkeys(names, "2 None"), "drivers/two/d.ko": "2"}, got[1])
    expect(got[2] == dict.fromkeys(names, "3 {}"), got[2])
    expect(len(built) == 1 and (built[0] / "m.ko").read_text() == "2 None", "sources and variants share a folder")
    expect(time.time() - built[0].stat().st_mtime < DAY_S, "what is in use ages")


def run(case, *arguments):
    problems.clear()
    with tempfile.TemporaryDirectory() as scratch:
        case(Cache(Path(scratch)), *arguments)
    name = ".".join((case.__name__, *arguments))
    print(f"FAIL {name}: {problems[0]}" if problems else f"PASS {name}", flush=True)
    return bool(problems)


if os.geteuid():
    print("SKIP cache: making a root takes root")
    sys.exit(0)
failed = [run(case, what) for case in (old_ones_go, an_interrupted_removal_leaves_none_that_looks_whole, half_of_one_is_replaced)
          for what in ("root", "kernel")]
failed += [run(case) for case in (an_initramfs_in_use_does_not_age, the_modules_of_a_run_are_its_own)]
sys.exit(any(failed))
