#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Judges a kernel log: which of its lines are complaints, and in which step of the agent each was made."""

import re

# Lines by which the kernel says that something is wrong with itself, not with a program.
COMPLAINT = re.compile(
    r"\bBUG\b|\bWARNING: |\bUBSAN: |\bOops\b|refcount_t: |Kernel panic|general protection fault|kernel NULL pointer"
    r"|INFO: possible |INFO: lockdep|INFO: suspicious|INFO: task .* blocked|INFO: rcu_|rcu: INFO: .* stall|soft lockup|hard LOCKUP"
    r"|DEBUG_LOCKS_WARN_ON|list_(?:add|del) corruption|kmemleak: \d+ new suspected|unreferenced object|nobody cared"
    r"|Unable to handle|Bad page state|bad pagetable|scheduling while atomic|held lock freed|lock held when returning"
    r"|module verification failed: .* BUG|slab-[\w-]*(?:free|bounds)"
)
# What an emulated machine makes every kernel say.
HARMLESS = re.compile(r"WARNING: (?:Spectre|CPU: \d+ PID: \d+ Comm: swapper.*clocksource)|module verification failed")
PANIC = re.compile(r"Kernel panic - not syncing: (.*)")
MARK = re.compile(r"godwit-vm: (begin|end|load|unload|leaks)(?: (\d+))?")
STAMP = re.compile(r"^(?:<\d+>)?\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? ")

# Steps of complaints that were made in none.
BOOT, MODULES, LEAKS = "boot", "modules", "leaks"


def message(line):
    return STAMP.sub("", line).strip()


class KernelLog:
    """complaints: {step number, BOOT, MODULES or LEAKS: [line]}; panic: its reason, or None."""

    def __init__(self, text):
        self.lines = [line.rstrip("\r") for line in text.split("\n")]
        self.complaints = {}
        self.panic = None
        self.panicked_in = None
        self.open_step = None
        where = BOOT
        for line in self.lines:
            if mark := MARK.search(line):
                word, number = mark.groups()
                where = {"begin": number, "end": MODULES, "load": where if self.open_step is not None else MODULES,
                         "unload": where if self.open_step is not None else MODULES, "leaks": LEAKS}[word]
                if word == "begin":
                    where = self.open_step = int(number)
                elif word == "end":
                    self.open_step = None
                continue
            if (panic := PANIC.search(line)) and self.panic is None:
                self.panic, self.panicked_in = panic.group(1), where
            if COMPLAINT.search(line) and not HARMLESS.search(line):
                self.complaints.setdefault(where, []).append(message(line))

    def all_complaints(self):
        return [line for lines in self.complaints.values() for line in lines]
