#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs clang-tidy over what Bazel compiles.

usage: lint.py ACTIONS [SUBSTRING ...]      in the root of the tree, where Bazel has put bazel-out

ACTIONS is the JSON of `bazel aquery 'mnemonic("CppCompile", ...)'`; with SUBSTRINGs, only sources whose path has one of them.
One line a file on stderr, clang-tidy's findings on stdout; the exit status is 1 where there were any.
"""

import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# Options of gcc that clang does not know.
DROPPED = ("-fno-canonical-system-headers", "-Wno-free-nonheap-object", "-Wunused-but-set-parameter", "-frandom-seed=", "-Werror")


def compile_command(action, external):
    """The entry for compile_commands.json, or None for what is not a source of this tree. External repositories are in `external`."""
    arguments = [text for text in action["arguments"] if not text.startswith(DROPPED)]
    source = arguments[arguments.index("-c") + 1]
    if not source.endswith((".cc", ".c")) or source.startswith(("external/", "bazel-out/")):
        return None
    arguments = [str(external / text[len("external/"):]) if text.startswith("external/") else text for text in arguments]
    return {"directory": os.getcwd(), "file": source, "arguments": arguments}


def main():
    actions = json.loads(Path(sys.argv[1]).read_text())["actions"]
    wanted = sys.argv[2:]
    # The output base, of which bazel-out is part: the tree has no link to them.
    external = Path("bazel-out").resolve().parents[2] / "external"
    commands = {}
    for action in actions:
        entry = compile_command(action, external)
        if entry and (not wanted or any(part in entry["file"] for part in wanted)):
            commands.setdefault(entry["file"], entry)
    if not commands:
        sys.exit(f"lint: no source matches {' '.join(wanted)}")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "compile_commands.json").write_text(json.dumps(list(commands.values())))

        def check(source):
            run = subprocess.run(
                ["clang-tidy", "--quiet", "-p", folder, source], text=True, capture_output=True, check=False
            )
            return source, run.returncode, run.stdout.strip() or (run.stderr.strip() if run.returncode else "")

        failed = 0
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for source, status, output in pool.map(check, sorted(commands)):
                print(f"lint: {source}: {'ok' if status == 0 else 'findings'}", file=sys.stderr, flush=True)
                if status != 0:
                    failed += 1
                    print(output, flush=True)
    print(f"{len(commands) - failed} clean, {failed} with findings")
    sys.exit(1 if failed else 0)


main()
