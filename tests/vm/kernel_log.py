#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Judges a kernel log: which of its lines are complaints, and in which step of the agent each was made."""

import re

# Lines by which the kernel says that something is wrong with itself, not with a program.
COMPLAINT = re.compile(
    r"\bBUG\b|\bWARNING: |\bUBSAN: |\bOops\b|refcount_t: |Kernel panic|general protection fault|kernel NULL pointer"
    r"|INFO: possible |INFO: lockdep|INFO: suspicious|INFO: task .* blocked|INFO: rcu_|rcu: INFO: .* stall|soft lockup|hard LOCKUP"
    r"|DEBUG_LOCKS_WARN_ON|list_(?:add|del) corruption|kmemleak: \d+ new suspected|unreferenced object|nobody cared"
    r"|Unable to handle|Bad page state|bad pagetable|: bad p[gu4m]d |scheduling while atomic|held lock freed|lock held when returning"
)
# Said of the processor, not of the kernel's state.
HARMLESS = re.compile(r"WARNING: Spectre")
# What it says when it does not get on, whoever keeps it waiting.
WAITED = re.compile(r"INFO: rcu_|rcu: INFO: .* stall|soft lockup|hard LOCKUP|INFO: task .* blocked")
# What set_pmd_migration_entry() of Linux 7.2 and 7.3 does to an exit that looks at the wrong moment (docs/locking.md): it
# leaves the entry of a huge page behind. Entries of pages in memory and counts of anything else are something else.
LEFT_BEHIND = (
    re.compile(r"mm/pgtable-generic\.c:\d+: bad pmd [0-9a-f]+\(([0-9a-f]+)\)"),
    re.compile(r"BUG: Bad rss-counter state mm:[0-9a-f]+ type:MM_ANONPAGES val:512 "),
    re.compile(r"BUG: non-zero pgtables_bytes on freeing mm: 4096$"),
)
PRESENT = 0x181  # bits of an entry of x86
PANIC = re.compile(r"Kernel panic - not syncing: (.*)")
# Whole ones: the log of a VM that was lost may end inside of one.
MARK = re.compile(r"godwit-vm: (?:begin (\d+) \S|case (\S+)|(end(?= \d)|load|unload|leaks)\b)")
STAMP = re.compile(r"^(?:<\d+>)?\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? ")

# Instead of a step's number, for complaints that were made in none.
BOOT, MODULES, LEAKS = "boot", "modules", "leaks"


def message(line):
    return STAMP.sub("", line).strip()


def leak_summary(text):
    """One line of what kmemleak said: how many, and of the first one its size and who allocated it."""
    count = text.count("unreferenced object")
    first = text.split("unreferenced object")[1] if count else text
    size = re.search(r"\(size \d+\)", first)
    callers = re.findall(r"^\s+(?:\[<[0-9a-f]+>\] )?([\w.]+)\+0x", first, re.MULTILINE)
    return f"{count} unreferenced objects, the first {size.group(0) if size else ''} of {' < '.join(callers[:8]) or 'unknown'}"


def known(line, step):
    """How far LEFT_BEHIND has come with this line, or 0."""
    if step and step < len(LEFT_BEHIND) and LEFT_BEHIND[step].search(line):
        return step + 1
    first = LEFT_BEHIND[0].search(line)
    return 1 if first and int(first.group(1), 16) and not int(first.group(1), 16) & PRESENT else 0


class KernelLog:
    """A log, read by its marks.

    complaints: [(where, case, line)]: where is a step's number, or BOOT, MODULES or LEAKS; case is the test case that was
    running, or None. known: those of them that are a mistake of the kernel which no module can help: charged as any other,
    but named. panic: such an entry with the reason, or None. Marks are the agent's and guest_main.cc's.
    """

    def __init__(self, text):
        self.lines = [line.rstrip("\r") for line in text.split("\n")]
        self.complaints = []
        self.known = []
        self.panic = None
        where, case, step = BOOT, None, 0
        for line in self.lines:
            if mark := MARK.search(line):
                number, name, word = mark.groups()
                if number:
                    where, case = int(number), None
                elif name:
                    case = name
                elif word == "end":
                    where, case = MODULES, None
                elif word == "leaks":
                    where = LEAKS
                elif where == BOOT:
                    where = MODULES
                continue
            if (panic := PANIC.search(line)) and self.panic is None:
                self.panic = (where, case, panic.group(1))
            if not COMPLAINT.search(line) or HARMLESS.search(line):
                continue
            self.complaints.append((where, case, message(line)))
            step = known(line, step)
            if step:
                self.known.append(self.complaints[-1])

    @property
    def only_waited(self):
        return all(WAITED.search(line) for _, _, line in self.complaints)

    @property
    def last(self):
        return next((message(line) for line in reversed(self.lines) if message(line)), "")

    def excerpt(self, count):
        """The first complaint and what led to it; without one, the end."""
        lines = [line for line in self.lines if line.strip()]
        first = next((at for at, line in enumerate(lines) if self.complaints and self.complaints[0][2] in line), len(lines))
        begin = max(0, min(first - count // 6, len(lines) - count))
        return lines[begin:begin + count]
