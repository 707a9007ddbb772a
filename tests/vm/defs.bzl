# SPDX-License-Identifier: MIT
"""Tests that run in the VM, on a kernel with our module."""

load("//runtime/build:defs.bzl", "godwit_cc_binary")

def godwit_guest_program(name, deps = [], **kwargs):
    """A GoogleTest program for the VM. Its main names each case in the kernel's log."""
    godwit_cc_binary(
        name = name,
        testonly = True,
        deps = deps + ["//tests/vm:guest_main"],
        **kwargs
    )

def godwit_guest_test(
        name,
        programs,
        module = None,
        module_sources = [],
        drivers = [],
        parameters = {},
        kernel = "stock",
        pci = False,
        reload = False,
        other_versions = False,
        memory = "4G",
        program_timeout_s = 600,
        tsan = False,
        data = [],
        tags = [],
        **kwargs):
    """Programs that run one after the other in one boot of the VM, each case reported as one.

    A program that panics the kernel or hangs in it ends the boot; those after it run in another. Without the VM's root
    (`./dev vm --prepare`, which `./dev test` does by itself) the test is skipped, or fails in `./dev test`.

    Args:
      name: of the test.
      programs: godwit_guest_program, or any program that says PASS, FAIL and SKIP by lines or only by its exit status.
      module: folder of the kernel modules to load, by its path from the root of this tree; none by default.
      module_sources: what is in it, so that the test runs again when it changes.
      drivers: folders of drivers that need the modules, built into /modules/drivers/NAME, not loaded; what is in them is data.
      parameters: of modules, as {"module.name": "value"}.
      kernel: stock or debug. Tests on the debug kernel are manual.
      pci: with the devices of topology.py; "16M,16M" gives the sizes of its cards.
      reload: load the modules afresh for each program.
      other_versions: the programs find builds of the modules with other versions of the interface, in the folders
        modules/newer_minor, modules/newer_major and modules/older_minor, each with a file `version`.
      memory: of the VM.
      program_timeout_s: for one program, which other work beside an emulated machine can make twenty times as long.
      tsan: also runs with --config=tsan.
      data: files that the programs read, at their paths below the working folder.
      tags: beside those that are always there.
      **kwargs: as for sh_test.
    """
    arguments = ["--kernel=" + kernel, "--memory=" + memory, "--timeout=%d" % program_timeout_s]
    arguments += ["--pci"] if pci == True else ["--pci=" + pci] if pci else []
    arguments += ["--reload"] if reload else []
    arguments += ["--other-versions"] if other_versions else []
    arguments += ["--module=" + module] if module else []
    arguments += ["--driver=" + driver for driver in drivers]
    arguments += ["--param=%s=%s" % (key, value) for key, value in parameters.items()]
    # Quoted: one label can have many files.
    arguments += ["'--data=$(rootpaths %s)'" % label for label in data]
    arguments += ["$(rootpath %s)" % label for label in programs]
    native.sh_test(
        name = name,
        srcs = ["//tests/vm:guest_test.py"],
        args = arguments,
        data = programs + data + module_sources + ["//tests/vm:harness"],
        tags = ["vm", "no-asan", "exclusive"] + ([] if tsan else ["no-tsan"]) + (["vm-debug", "manual"] if kernel == "debug" else []) + tags,
        # The limit of each program is the one that is meant.
        timeout = kwargs.pop("timeout", "eternal"),
        **kwargs
    )
