#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`godwit info` in the VM: both engines, every device of the module with its kind of VRAM, and its limits."""

import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

GODWIT = Path(__file__).resolve().parents[3] / "runtime/cli/godwit"
SYS = Path("/sys/module")
LIMITS = ("bytes in one call", "bytes pinned by a client", "views of a client", "commands in a job", "jobs of a client",
          "milliseconds of a job", "records of an event ring", "watched ranges of a client")


def expected():
    """[(kind, bytes of VRAM)] by what the modules were loaded with."""
    soft = (SYS / "godwit_soft/parameters/devices").read_text().strip()
    found = [(kind, int(mib) << 20) for kind, mib in re.findall(r"(\w+):(\d+)M", soft)]
    kind = (SYS / "godwit_pci/parameters/kind").read_text().strip()
    for card in Path("/sys/bus/pci/drivers/godwit_pci").glob("0000:*"):
        # ivshmem's BAR 2 is its memory.
        start, end, _ = (int(number, 16) for number in (card / "resource").read_text().splitlines()[2].split())
        found.append((kind, end - start + 1))
    return found


@functools.cache
def info(*arguments):
    # Vulkan is not what this is about, and slow to start on an emulated machine.
    environment = {**os.environ, "VK_DRIVER_FILES": "/nonexistent", "VK_ICD_FILENAMES": "/nonexistent"}
    run = subprocess.run([GODWIT, "info", *arguments], capture_output=True, text=True, check=False, env=environment)
    if run.returncode:
        raise AssertionError(f"godwit info: exit status {run.returncode}: {run.stderr}")
    return run.stdout


def both_engines():
    seen = json.loads(info("--json"))
    assert seen["auto"]["engine"] == "kernel", seen["auto"]
    engines = {engine["name"]: engine for engine in seen["engines"]}
    assert set(engines) == {"user", "kernel"}, engines
    for engine in engines.values():
        assert engine["usable"] and engine["level"] == "full", engine
    assert re.search(r"/dev/dri/renderD\d+, .* VRAM, interface \d+\.\d+", engines["kernel"]["access"]), engines["kernel"]


def every_device_with_its_kind_and_size():
    devices = json.loads(info("--json"))["kernel_devices"]
    # What drives a card keeps some of its VRAM for itself.
    wanted = sorted(expected())
    assert wanted, "the module has no device"
    seen = sorted((device["kind"], device["vram_bytes"]) for device in devices)
    assert [kind for kind, _ in seen] == [kind for kind, _ in wanted], f"{seen} is not {wanted}"
    for (_, is_bytes), (_, all_bytes) in zip(seen, wanted):
        assert all_bytes / 2 < is_bytes <= all_bytes, f"{seen} is not {wanted}"
    assert len({device["node"] for device in devices}) == len(devices)
    for device in devices:
        assert Path(device["node"]).is_char_device(), device
        assert device["usable"] == ("migrate" in device["capabilities"]), device


def every_limit():
    for device in json.loads(info("--json"))["kernel_devices"]:
        for limit in LIMITS:
            assert device["limits"].get(limit, 0) > 0, f"{limit}: {device['limits']}"


def in_words():
    text = info()
    print("".join(f"| {line}\n" for line in text.splitlines()), end="")
    for device in json.loads(info("--json"))["kernel_devices"]:
        for part in (device["name"], f"{device['kind']} VRAM, {device['node']}", f"{device['limits'][LIMITS[2]]} {LIMITS[2]}"):
            assert part in text, f"no \"{part}\""
    assert re.search(r"^  kernel +level full", text, re.M) and re.search(r"^  user +level full", text, re.M), "not both engines"


failed = False
for case in (both_engines, every_device_with_its_kind_and_size, every_limit, in_words):
    try:
        case()
        print(f"PASS {case.__name__}")
    except (AssertionError, LookupError, OSError, ValueError) as error:
        print(f"FAIL {case.__name__}: {error}")
        failed = True
sys.exit(failed)
