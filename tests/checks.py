# SPDX-License-Identifier: MIT
"""Checks of tests that are written in Python: a line for each, and the exit status of them all."""

failures = 0


def check(name, got, wanted):
    global failures
    if got == wanted:
        print(f"PASS {name}")
    else:
        failures += 1
        print(f"FAIL {name}: got {got!r}, wanted {wanted!r}")


def status():
    return 1 if failures else 0
