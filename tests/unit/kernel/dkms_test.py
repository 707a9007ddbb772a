#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""kernel/dkms.conf says of the module what its sources say, and kernels that cannot have it are passed over.

In the root of the tree: python3 tests/unit/kernel/dkms_test.py
"""

import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from checks import check, status  # noqa: E402

# What a conf can set, as DKMS tells it: 3.0.10 and 3.0.11.
OLD = "PACKAGE_NAME AUTOINSTALL BUILD_EXCLUSIVE_KERNEL BUILD_EXCLUSIVE_ARCH BUILD_EXCLUSIVE_CONFIG"
NEW = OLD + " BUILD_EXCLUSIVE_KERNEL_MIN BUILD_EXCLUSIVE_KERNEL_MAX"


def value(name, dkms=NEW):
    """What the conf sets, element by element, as that DKMS reads it: it is a part of a bash script."""
    script = 'dkms_conf_variables=$1 kernel_source_dir=/headers; . kernel/dkms.conf >/dev/null; printf "%s\\n" "${' + name + '[@]}"'
    done = subprocess.run(["bash", "-ec", script, "bash", dkms], check=True, capture_output=True, text=True)
    check(f"{name} is read in silence", done.stderr, "")
    return done.stdout.split("\n")[:-1]


def stated(pattern, path):
    return sorted(set(re.findall(pattern, Path(path).read_text(), re.MULTILINE)))


sources = [path for folder in ("core", "pci", "soft") for path in sorted(Path("kernel", folder).glob("*.c"))]
least = stated(r"^#if LINUX_VERSION_CODE < KERNEL_VERSION\((\d+), (\d+), 0\)\n#error", "kernel/compat/compat.h")
check("the_least_kernel_is_that_of_the_sources", value("BUILD_EXCLUSIVE_KERNEL_MIN"), [".".join(version) for version in least])
modules = {name for line in stated(r"^obj-.*\+= (.*)$", "kernel/Kbuild") for name in re.findall(r"(\w+)\.o", line)}
check("all_modules_are_installed", sorted(value("BUILT_MODULE_NAME")), sorted(modules))
check("each_of_them_somewhere", len(value("DEST_MODULE_LOCATION")), len(modules))
versions = {version for path in sources for version in stated(r'^MODULE_VERSION\("(.*)"\);$', path)}
check("the_version_is_that_of_the_modules", value("PACKAGE_VERSION"), sorted(versions))
needed = value("BUILD_EXCLUSIVE_CONFIG")[0].split()
check("device_private_memory_is_needed", "CONFIG_DEVICE_PRIVATE" in needed, True)
conditions = stated(r"^obj-\$\((CONFIG_\w+)\b", "kernel/Kbuild")
check("what_a_module_depends_on_is_needed", [name for name in conditions if name not in needed], [])
check("kernels_to_come_are_built_for", value("AUTOINSTALL"), ["yes"])
check("not_by_a_dkms_that_fails_for_the_others", value("AUTOINSTALL", OLD), [""])
sys.exit(status())
