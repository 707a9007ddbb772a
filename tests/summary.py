#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Counts test cases over several Bazel test runs.

usage: summary.py --run NAME EXIT_STATUS BUILD_EVENT_JSON_FILE [--run ...]

Which targets ran, and where their test.log and test.xml are, comes from the build events of that very run, so that a stale
bazel-testlogs is never counted. A GoogleTest program is counted by its test.xml; where that was lost in a crash, by the progress in
its test.log. Other tests print lines `PASS name`, `FAIL name: reason`, `SKIP name: reason`. A target that names no cases is
one case; a target that failed with no failed case counts as one failure on top.
The last line is `N passed, N failed, N skipped`; the exit status is 0 where none failed and at least one passed.
"""

import json
import re
import sys
import urllib.parse
import xml.etree.ElementTree as ElementTree
from pathlib import Path

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
# Bazel's exit statuses that the targets themselves can account for.
EXIT_SUCCESS, EXIT_BUILD_FAILED, EXIT_TESTS_FAILED, EXIT_NO_TESTS = 0, 1, 3, 4
SCRIPT_LINE = re.compile(r"^(PASS|FAIL|SKIP) (\S+?)(?::(?:\s+(.*))?|\s+(.*))?$")
SCRIPT_OUTCOME = {"PASS": PASSED, "FAIL": FAILED, "SKIP": SKIPPED}
GTEST_LINE = re.compile(r"^\[ (RUN     |      OK| FAILED | SKIPPED) \] ([\w/]+\.[\w/]+)")
SOURCE_LINE = re.compile(r"^\S+:\d+:?$")


def one_line(text, limit=240):
    """The text without GoogleTest's leading file:line, on one line."""
    lines = [line.strip() for line in (text or "").splitlines() if line.strip()]
    if len(lines) > 1 and SOURCE_LINE.match(lines[0]):
        lines = lines[1:]
    text = " / ".join(lines)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def cases_of_xml(path):
    """[(outcome, name, reason)] of a GoogleTest report; None where the file is not one."""
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError):
        return None
    cases = []
    for case in root.iter("testcase"):
        # Bazel writes a report for programs that wrote none; its cases have no class.
        if case.get("classname") is None:
            return None
        name = f"{case.get('classname')}.{case.get('name')}"
        failures = case.findall("failure") + case.findall("error")
        skipped = case.find("skipped")
        if failures:
            reason = failures[0].get("message") or failures[0].text
            cases.append((FAILED, name, one_line(reason)))
        elif skipped is not None or case.get("result") == "skipped":
            reason = "" if skipped is None else skipped.get("message") or skipped.text
            cases.append((SKIPPED, name, one_line(reason) or "no reason given"))
        elif case.get("status") == "notrun":
            cases.append((SKIPPED, name, "disabled in its source"))
        else:
            cases.append((PASSED, name, ""))
    if not cases and root.get("name") != "AllTests":
        return None
    return cases


def cases_of_log(path):
    """[(outcome, name, reason)] by the lines of a script's log, or of the log of a GoogleTest program that died."""
    try:
        lines = Path(path).read_text(errors="replace").splitlines()
    except OSError:
        return []
    cases = []
    running = None
    for line in lines:
        if match := SCRIPT_LINE.match(line):
            word, name, reason, rest = match.groups()
            reason = one_line(reason or rest or "")
            if SCRIPT_OUTCOME[word] != PASSED and not reason:
                reason = "no reason given"
            cases.append((SCRIPT_OUTCOME[word], name, reason))
        elif match := GTEST_LINE.match(line):
            word, name = match.group(1).strip(), match.group(2)
            if word == "RUN":
                running = name
            elif name == running:
                outcome = {"OK": PASSED, "FAILED": FAILED, "SKIPPED": SKIPPED}[word]
                cases.append((outcome, name, "" if word == "OK" else "see its log"))
                running = None
    if running:
        cases.append((FAILED, running, "the program ended inside this test"))
    return cases


def cases_of_target(label, status, files):
    """[(outcome, name, reason)] of one target; status is Bazel's, files has test.log and test.xml."""
    ok = status in ("PASSED", "FLAKY")
    cases = cases_of_xml(files["test.xml"]) if "test.xml" in files else None
    if cases == [] and ok:
        return [(FAILED, label, "it has no test cases")]
    if not cases:
        cases = cases_of_log(files["test.log"]) if "test.log" in files else []
    cases = [(outcome, f"{label} {name}", reason) for outcome, name, reason in cases]
    if not cases and ok:
        return [(PASSED, label, "")]
    if not ok and not any(outcome == FAILED for outcome, _, _ in cases):
        what = {
            "FAILED": "the test failed as a whole (crash, leak or exit status): see its log",
            "TIMEOUT": "timed out",
            "NO_STATUS": "did not build or run: see the errors above",
            "FAILED_TO_BUILD": "did not build: see the errors above",
        }.get(status, f"ended with {status}")
        cases.append((FAILED, label, what))
    elif status == "TIMEOUT":
        cases.append((FAILED, label, "timed out"))
    return cases


def local_path(uri):
    return urllib.parse.unquote(urllib.parse.urlparse(uri).path)


def read_events(path):
    """({label: {(run, shard): (status, files)}}, {label of a test: status}, {other labels that failed}, last event seen)."""
    results, tests, broken, finished = {}, {}, set(), False
    try:
        lines = Path(path).read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            continue
        ident = event.get("id", {})
        if "testResult" in ident:
            key = ident["testResult"]
            result = event.get("testResult", {})
            files = {f["name"]: local_path(f["uri"]) for f in result.get("testActionOutput", []) if "uri" in f}
            shards = results.setdefault(key["label"], {})
            # Attempts come in order: the last one holds.
            shards[(key.get("run", 1), key.get("shard", 1))] = (result.get("status", "NO_STATUS"), files)
        elif "testSummary" in ident:
            status = event.get("testSummary", {}).get("overallStatus", "NO_STATUS")
            tests[ident["testSummary"]["label"]] = status
        elif "targetConfigured" in ident and "testSize" in event.get("configured", {}):
            tests.setdefault(ident["targetConfigured"]["label"], "NO_STATUS")
        elif "targetCompleted" in ident and not event.get("completed", {}).get("success"):
            broken.add(ident["targetCompleted"]["label"])
        elif "buildFinished" in ident:
            finished = True
    return results, tests, broken - set(tests), finished


def cases_of_run(exit_status, path):
    results, tests, broken, finished = read_events(path)
    cases = [(FAILED, label, "did not build: see the errors above") for label in sorted(broken)]
    for label in sorted(set(results) | set(tests)):
        if label not in results:
            cases += cases_of_target(label, tests[label], {})
        for _, (status, files) in sorted(results.get(label, {}).items()):
            cases += cases_of_target(label, status, files)
    explained = {EXIT_SUCCESS, EXIT_NO_TESTS}
    if any(outcome == FAILED for outcome, _, _ in cases):
        explained.add(EXIT_TESTS_FAILED)
    if broken or any(label not in results for label in tests):
        explained.add(EXIT_BUILD_FAILED)
    if exit_status not in explained:
        cases.append((FAILED, "build", f"Bazel exited with {exit_status}: see the errors above"))
    elif not finished:
        cases.append((FAILED, "build", "Bazel left no complete record of this run"))
    return cases


def main(arguments):
    runs = []
    while arguments:
        if arguments[0] != "--run" or len(arguments) < 4 or not arguments[2].isdigit():
            sys.exit(__doc__)
        runs.append((arguments[1], int(arguments[2]), arguments[3]))
        arguments = arguments[4:]
    cases = [(outcome, run, name, reason) for run, status, path in runs for outcome, name, reason in cases_of_run(status, path)]
    count = {wanted: sum(case[0] == wanted for case in cases) for wanted in (PASSED, FAILED, SKIPPED)}
    for wanted in (SKIPPED, FAILED):
        for outcome, run, name, reason in cases:
            if outcome == wanted:
                print(f"{wanted.upper()} [{run}] {name}: {reason}")
    print(f"{count[PASSED]} passed, {count[FAILED]} failed, {count[SKIPPED]} skipped", flush=True)
    return 0 if count[PASSED] and not count[FAILED] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
