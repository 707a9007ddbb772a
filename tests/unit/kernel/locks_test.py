#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""docs/locking.md names each lock that the kernel module declares, with its kind, and no other; kernel/core/drv.c those of core/.

In the root of the tree: python3 tests/unit/kernel/locks_test.py
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from checks import check, status  # noqa: E402

MUTEX, SEMAPHORE, SPINLOCK = "mutex", "rw_semaphore", "spinlock"
KINDS = {
    "struct mutex": MUTEX,
    "DEFINE_MUTEX": MUTEX,
    "struct rw_semaphore": SEMAPHORE,
    "DECLARE_RWSEM": SEMAPHORE,
    "spinlock_t": SPINLOCK,
    "DEFINE_SPINLOCK": SPINLOCK,
}
# One that is none of these has to be put among them first.
OTHERS = re.compile(
    r"\b(raw_spinlock_t|rwlock_t|seqlock_t|seqcount\w*_t|struct (semaphore|ww_mutex|rt_mutex|srcu_struct)|DEFINE_\w*(LOCK|SEM|SRCU)\w*)\b"
)
STRUCT = re.compile(r"(?:static )?struct (\w+) \{")
MEMBER = re.compile(r"\t+(struct mutex|struct rw_semaphore|spinlock_t) (\w+);")
VARIABLE = re.compile(
    r"(?:static )?(?:(struct mutex|struct rw_semaphore|spinlock_t) (\w+)\b|(DEFINE_MUTEX|DECLARE_RWSEM|DEFINE_SPINLOCK)\((\w+)\))"
)


def declared(text):
    """{name: kind} of the locks that a source declares, those of a structure as structure.member."""
    locks, structure = {}, None
    for line in text.splitlines():
        if match := STRUCT.match(line):
            structure = match[1]
        elif line.startswith("}"):
            structure = None
        elif structure and (match := MEMBER.match(line)):
            locks[f"{structure}.{match[2]}"] = KINDS[match[1]]
        elif match := VARIABLE.match(line):
            locks[match[2] or match[4]] = KINDS[match[1] or match[3]]
        if (match := OTHERS.search(line)) and match[1] not in KINDS:
            locks[line.strip()] = match[1]
    return locks


def documented(text):
    """{name: kind} of the locks of the table that are not the kernel's."""
    table = text.split("\n## ", 1)[0]
    return {name: kind for name, kind in re.findall(r"^\| `([\w.]+)`.* \| (\w+)[^|]* \|$", table, re.MULTILINE) if kind != "the"}


def difference(one, other):
    return sorted(set(one.items()) - set(other.items()))


SAMPLE = """
struct one {
\t/** @lock: protects nothing. */
\tspinlock_t lock;
\tspinlock_t *other;
\tstruct mutex wide;
};
static struct one first = {
\t.lock = __SPIN_LOCK_UNLOCKED(first.lock),
};
static DEFINE_MUTEX(two);
extern spinlock_t elsewhere;
static seqlock_t three;
static void f(spinlock_t *lock)
{
\tspinlock_t *mine = lock;
}
"""
check(
    "declarations_are_found",
    declared(SAMPLE),
    {"one.lock": SPINLOCK, "one.wide": MUTEX, "two": MUTEX, "static seqlock_t three;": "seqlock_t"},
)

sources = sorted(Path("kernel").rglob("*.[ch]"))
locks = {name: kind for path in sources for name, kind in declared(path.read_text()).items()}
document = Path("docs/locking.md").read_text()
table = documented(document)
check("there_are_locks", len(locks) > 10, True)
check("every_lock_is_in_the_table", difference(locks, table), [])
check("the_table_has_no_other", difference(table, locks), [])
check("every_lock_has_its_section", sorted(name for name in locks if f"\n## {name}\n" not in document), [])

comment = Path("kernel/core/drv.c").read_text().split("Locks, outermost first", 1)[1].split("*/", 1)[0]
named = {name.lstrip("&") for name in re.findall(r"&\w+\.\w+|\bgodwit_\w+_lock\b", comment)}
core = {name for path in sources if path.parent.name == "core" for name in declared(path.read_text())}
check("drv_c_names_all_of_the_core", sorted(core - named), [])
check("drv_c_names_no_other", sorted(named - core), [])
sys.exit(status())
