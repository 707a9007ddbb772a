#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Builds kernel modules in the VM's root, outside the source folder.

usage: build_module.py ROOT KERNEL SOURCE TO [-- MAKE_ARGUMENT...]    (KBUILD_CHECKSRC=1: sparse)

ROOT is of make_root.sh; KERNEL is "stock", or a folder of make_kernel.sh. SOURCE has a Makefile or Kbuild for
`make -C /lib/modules/.../build M=SOURCE`. TO gets a copy of the sources with what was built, and `load` and `unload`: shell
commands that put the modules into the guest's kernel, after those that they depend on, and take them out again.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Where drivers that need the modules are built, in the folder of these.
DRIVERS = "drivers"
# A build in the source folder itself (make -C kernel) leaves these.
BUILT = {".o", ".ko", ".mod", ".cmd", ".order", ".symvers", ".a", ".d"}


WARNING = re.compile(r"([^/\s:][^\s:]*):\d+(:\d+)?: warning: ")


# A driver that uses it, left loaded by a program that died, goes first.
UNLOAD = """\
for user in /sys/module/{name}/holders/*; do
  [ ! -e "$user" ] || rmmod "${{user##*/}}" || exit
done
rmmod {name} || exit
"""


class BuildError(Exception):
    pass


def is_source(path):
    return path.suffix not in BUILT and not path.name.endswith(".mod.c") and not path.name.startswith(".")


def copy_sources(source, to, changed=None):
    """Copies what changed, removes what is gone. Times are the copies' own, so that make sees each change.

    changed: {path in the source: bytes that the copy has in place of its own}.
    """
    wanted = set()
    # Of build_driver().
    others = to / DRIVERS
    for path in source.rglob("*"):
        relative = path.relative_to(source)
        if path.is_file() and is_source(path):
            wanted.add(relative)
            copy = to / relative
            content = (changed or {}).get(relative) or path.read_bytes()
            if not copy.is_file() or copy.read_bytes() != content:
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(content)
    for path in list(to.rglob("*")):
        if others in path.parents:
            continue
        if path.is_file() and is_source(path) and path.relative_to(to) not in wanted and path.name not in ("load", "unload"):
            path.unlink()


def in_root(root, kernel, to, *command, modules=None, **options):
    mounts = ["--rw", str(to), "build"]
    if modules:
        mounts += ["--ro", str(modules), "godwit"]
    if kernel != "stock":
        mounts += ["--ro", str(kernel), "kernel"]
    return subprocess.run([str(HERE / "in_root.sh"), str(root), *mounts, "--", *command], check=False, **options)


def load_order(modules):
    """modules: {name: names it depends on}. Ours, each after those of ours that it depends on."""
    order = []

    def visit(name, above):
        if name in above:
            raise BuildError(f"modules depend on each other: {' '.join(above)}")
        if name in modules and name not in order:
            for other in modules[name]:
                visit(other, (*above, name))
            order.append(name)

    for name in modules:
        visit(name, ())
    return order


def tree_of(root, kernel):
    """What to build with, as a path in the root."""
    return f"/lib/modules/{(Path(root) / '.kernel').read_text().strip()}/build" if kernel == "stock" else "/kernel/build"


def run_make(root, kernel, source, to, *arguments, modules=None):
    """Warnings of the kernel's own headers are the kernel's."""
    made = in_root(root, kernel, to, "make", "-C", tree_of(root, kernel), "M=/build", "-j2", "--no-print-directory", "W=1", *arguments, "modules",
                   modules=modules, stdin=subprocess.DEVNULL, stdout=sys.stderr, stderr=subprocess.PIPE, text=True)
    sys.stderr.write(made.stderr)
    if made.returncode:
        raise BuildError(f"{source} does not build for the {'stock' if kernel == 'stock' else 'debug'} kernel (above)")
    found = [line for line in made.stderr.splitlines() if (match := WARNING.match(line)) and (to / match.group(1)).is_file()]
    if found:
        # The next build is to say it again.
        for built in to.rglob("*.o"):
            built.unlink()
        raise BuildError(f"{source} builds with {len(found)} warnings, the first is: {found[0]}")


def build_driver(root, kernel, source, modules):
    """Builds a driver that uses modules of build(), into a folder of its own in theirs; it is not loaded with them."""
    source, to = Path(source).resolve(), Path(modules) / DRIVERS / Path(source).name
    to.mkdir(parents=True, exist_ok=True)
    copy_sources(source, to)
    run_make(root, kernel, source, to, "GODWIT=/godwit", "KBUILD_EXTRA_SYMBOLS=/godwit/Module.symvers", modules=modules)


def copy_built(built, to, drivers=()):
    """Copies what a VM takes of a folder of build(), with those drivers: the next build in that folder is not to change it."""
    modules = [path for path in built.rglob("*.ko") if built / DRIVERS not in path.parents]
    modules += [path for driver in drivers for path in (built / DRIVERS / Path(driver).resolve().name).rglob("*.ko")]
    for path in (built / "load", built / "unload", *modules):
        copy = to / path.relative_to(built)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)


def build(root, kernel, source, to, make_arguments=(), changed=None):
    """Returns the names of the modules, in the order in which they are loaded. changed: as for copy_sources()."""
    root, source, to = Path(root), Path(source).resolve(), Path(to)
    if not any((source / name).is_file() for name in ("Makefile", "Kbuild")):
        raise BuildError(f"{source} has no Makefile or Kbuild: there is no module to build")
    to.mkdir(parents=True, exist_ok=True)
    copy_sources(source, to, changed)
    run_make(root, kernel, source, to, *make_arguments)
    files = [line.removesuffix(".o") + ".ko" if line.endswith(".o") else line for line in (to / "modules.order").read_text().split()]
    files = {Path(file).stem.replace("-", "_"): file.removeprefix("/build/") for file in files}
    if not files:
        raise BuildError(f"{source} builds no module")
    needs = {}
    for name, file in files.items():
        found = in_root(root, kernel, to, "modinfo", "-F", "depends", f"/build/{file}", capture_output=True, text=True)
        if found.returncode:
            raise BuildError(f"modinfo {file}: {found.stderr.strip()}")
        needs[name] = [other.replace("-", "_") for other in found.stdout.strip().split(",") if other]
    order = load_order(needs)
    others = sorted({other for some in needs.values() for other in some} - set(order))
    lines = [f"modprobe -a {' '.join(others)} || exit"] if others else []
    # GODWIT_PARAM_<module>: its parameters, from the command line of vm.py.
    lines += [f'insmod "$1/{files[name]}" $GODWIT_PARAM_{name} || exit' for name in order]
    (to / "load").write_text("\n".join(lines) + "\n")
    (to / "unload").write_text("".join(UNLOAD.format(name=name) for name in reversed(order)))
    return order


def main(arguments):
    make_arguments = []
    if "--" in arguments:
        at = arguments.index("--")
        arguments, make_arguments = arguments[:at], arguments[at + 1:]
    if len(arguments) != 4:
        sys.exit(__doc__)
    try:
        print(*build(*arguments, make_arguments))
    except BuildError as error:
        sys.exit(f"build_module: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
