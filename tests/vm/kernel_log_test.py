#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What counts as a complaint of the kernel, to whom it is charged, and what `./dev vm` makes of it. No VM is needed."""

import sys
from pathlib import Path

sys.path[:0] = [str(folder) for folder in Path(__file__).resolve().parents[:2]]

import vm  # noqa: E402
from build_module import BuildError, load_order  # noqa: E402
from checks import check, status  # noqa: E402
from kernel_log import BOOT, LEAKS, MODULES, KernelLog, leak_summary  # noqa: E402
from machine import Outcome  # noqa: E402
from topology import Topology, TopologyError, size  # noqa: E402

COMPLAINTS = (
    "WARNING: mm/memory.c:4711 at do_swap_page+0x12/0x34, CPU#1: test/77",
    "WARNING: CPU: 0 PID: 1 at lib/x.c:12 f+0x1/0x2 [godwit]",
    "WARNING: possible circular locking dependency detected",
    "WARNING: possible recursive locking detected",
    "WARNING: suspicious RCU usage",
    "BUG: KASAN: slab-use-after-free in godwit_put+0x1/0x2 [godwit]",
    "BUG: sleeping function called from invalid context at mm/slab.h:300",
    "BUG: Bad page state in process test  pfn:12345",
    "BUG: unable to handle page fault for address: ffff888000000000",
    "BUG kmalloc-64 (Not tainted): Object already free",
    "kernel BUG at mm/huge_memory.c:3000!",
    "watchdog: BUG: soft lockup - CPU#0 stuck for 61s! [test:77]",
    "UBSAN: array-index-out-of-bounds in drivers/x.c:12:3",
    "refcount_t: underflow; use-after-free.",
    "Oops: general protection fault, probably for non-canonical address 0xdead: 0000 [#1] SMP KASAN",
    "INFO: task test:77 blocked for more than 60 seconds.",
    "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
    "rcu: INFO: rcu_preempt self-detected stall on CPU",
    "kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
    "mm/pgtable-generic.c:56: bad pmd 0000000041184947(80000001360000e7)",
    "list_del corruption. next->prev should be ffff, but was 0000",
    "Kernel panic - not syncing: sysrq triggered crash",
)
HARMLESS = (
    "godwit: loading out-of-tree module taints kernel.",
    "godwit: module verification failed: signature and/or required key missing - tainting kernel",
    "FAULT_INJECTION: forcing a failure.",
    "clocksource: timekeeping watchdog on CPU0: Marking clocksource 'tsc' as unstable because the skew is too large:",
    "RCU CPU stall warnings timeout set to 60 (rcu_cpu_stall_timeout).",
    'PCI: Using host bridge windows from ACPI; if necessary, use "pci=nocrs" and report a bug',
    "debug: unmapping init memory",
)
LOG = """[    0.100000] WARNING: at boot
[    1.000000] godwit-vm: load
[    1.000000] WARNING: while loading
[    1.100000] godwit-vm: begin 0 first
[    1.200000] godwit-vm: case Suite.One
[    1.300000][   T77] WARNING: in one\r
[    1.300000] godwit-vm: case Suite.Two
[    1.400000] godwit-vm: end 0
[    1.450000] WARNING: between
[    1.500000] godwit-vm: begin 12 second
[    1.600000] BUG: before any case
[    1.700000] godwit-vm: end 12
[    1.700000] godwit-vm: unload
[    1.800000] godwit-vm: leaks
[    1.800000] kmemleak: 1 new suspected memory leaks
"""
LEFT_BEHIND = """[    1.0] mm/pgtable-generic.c:56: bad pmd 0000000041184947(cfffffe060fffe02)
[    1.1] godwit-vm: case Suite.Two
[    1.2] BUG: Bad rss-counter state mm:000000003320fc55 type:MM_ANONPAGES val:512 Comm:slow_test Pid:13424
[    1.3] BUG: non-zero pgtables_bytes on freeing mm: 4096
"""
# One line of it made another one: how many are named then.
NOT_LEFT_BEHIND = (
    ("(cfffffe060fffe02)", "(80000001360000e7)", 0),  # a page in memory
    ("(cfffffe060fffe02)", "(0000000000000000)", 0),
    ("val:512", "val:1024", 1),
    ("MM_ANONPAGES", "MM_SHMEMPAGES", 1),
    ("mm: 4096", "mm: 8192", 2),
    ("BUG: Bad rss", "WARNING: else\n[    1.2] BUG: Bad rss", 1),
)
LEAK = """unreferenced object 0xffff888004a4c800 (size 1024):
  comm "sh", pid 141, jiffies 4294938624
  hex dump (first 32 bytes):
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  ................
  backtrace (crc 0):
    __kmalloc_cache_noprof+0x1b4/0x200
    leak+0x2c/0x40 [godwit_selftest]
    [<00000000deadbeef>] param_attr_store+0x100/0x200
unreferenced object 0xffff888004a4d800 (size 64):
"""
CHARGED = [
    (BOOT, None, "WARNING: at boot"),
    (MODULES, None, "WARNING: while loading"),
    (0, "Suite.One", "WARNING: in one"),
    (MODULES, None, "WARNING: between"),
    (12, None, "BUG: before any case"),
    (LEAKS, None, "kmemleak: 1 new suspected memory leaks"),
]


def raises(kind, function, *arguments):
    try:
        function(*arguments)
    except kind:
        return True
    return False


def outcome(log="", **known):
    return Outcome(log=KernelLog(log), **{"done": True, "status": {0: 0}, **known})


check("EachKindOfComplaintIsSeen", [line for line in COMPLAINTS if not KernelLog(f"[   12.345678] {line}").complaints], [])
check("HarmlessLinesAreNoComplaints", [line for line in HARMLESS if KernelLog(f"[   12.345678] {line}").complaints], [])
check("ComplaintsAreChargedToTheCaseThatWasRunning", KernelLog(LOG).complaints, CHARGED)
check("WhatNoModuleCanHelpIsNamed", len(KernelLog(LEFT_BEHIND * 2).known), 6)
check("AndChargedAllTheSame", (len(KernelLog(LEFT_BEHIND).complaints), vm.judge(outcome(LEFT_BEHIND))[0]), (3, vm.EXIT_BAD_LOG))
check("AndReported", ["bad pmd" in text for text in vm.remarks(outcome(LEFT_BEHIND))], [True])
check("AndNothingThatIsSimilar",
      [len(KernelLog(LEFT_BEHIND.replace(old, new)).known) for old, new, _ in NOT_LEFT_BEHIND],
      [named for _, _, named in NOT_LEFT_BEHIND])
check("APanicIsChargedToTheCaseThatWasRunning",
      KernelLog("[ 1.0] godwit-vm: begin 3 x\n[ 1.1] godwit-vm: case A.B\n[ 1.2] Kernel panic - not syncing: why").panic, (3, "A.B", "why"))

# The second one would be a step that never was, were it taken for whole.
check("ALogThatEndsInsideAMarkIsReadUpToIt",
      [KernelLog(LOG + f"[    1.9] godwit-vm: {mark}{after}").complaints for mark in ("", "beg", "begin", "begin ", "begin 1", "case", "en", "end")
       for after in ("", "\nBUG: after")],
      [CHARGED, [*CHARGED, (LEAKS, None, "BUG: after")]] * 8)

check("ALeakIsSummedUp", leak_summary(LEAK),
      "2 unreferenced objects, the first (size 1024) of __kmalloc_cache_noprof < leak < param_attr_store")

check("TheCommandsStatusIsTheVmsStatus", vm.judge(outcome(status={0: 7}))[0], 7)
check("AComplaintWinsOverSuccess", vm.judge(outcome("WARNING: x"))[0], vm.EXIT_BAD_LOG)
check("ALeakIsAComplaint", vm.judge(outcome(leaks="unreferenced object"))[0], vm.EXIT_BAD_LOG)
check("AModuleThatDoesNotUnloadIsAComplaint", vm.judge(outcome(unload_problem="in use"))[0], vm.EXIT_BAD_LOG)
check("APanicIsNoLostVm", vm.judge(outcome("Kernel panic - not syncing: x", done=False, status={}))[0], vm.EXIT_BAD_LOG)
check("AVmWithoutAVerdictIsLost", vm.judge(outcome(done=False, lost="QEMU ended"))[0], vm.EXIT_LOST)
check("ATimeoutHasItsOwnStatus", vm.judge(outcome(status={0: "timeout"}))[0], vm.EXIT_TIMEOUT)
check("AModuleThatDoesNotLoadHasItsOwnStatus", vm.judge(outcome(status={0: "module"}, problem={0: "no"}))[0], vm.EXIT_SETUP)

check("ModulesLoadAfterThoseTheyDependOn", load_order({"a": ["drm", "b"], "b": ["c"], "c": []}), ["c", "b", "a"])
check("ModulesThatDependOnEachOtherAreAnError", raises(BuildError, load_order, {"a": ["b"], "b": ["a"]}), True)
check("SizesHaveUnits", [size("4096"), size("64K"), size("256M"), size("1G")], [4096, 65536, 256 << 20, 1 << 30])
check("ASizeThatIsNoneIsAnError", [raises(TopologyError, size, text) for text in ("", "M", "1T", "-1", "1.5G")], [True] * 5)
check("ABarIsAPowerOfTwo", [raises(TopologyError, Topology, some) for some in ([1 << 20], [3 << 20, 1 << 20], [1 << 20, 2 << 20])],
      [True, True, False])
sys.exit(status())
