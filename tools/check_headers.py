"""Compiles each header alone: a header must include what it needs.

Usage: check_headers.py --cache DIR [--jobs N]. Needs build/release to be configured and its generated headers built.
"""

import argparse
import pathlib
import shlex
import subprocess
import sys

import source_tree
import verdict_cache


def flags_by_layer():
    """Layer -> compiler and flags of one of its files, without input, output and debug information."""
    flags = {}
    for path, command in sorted(source_tree.compile_commands(source_tree.ROOT / "build/release").items()):
        parts = pathlib.PurePosixPath(path).parts
        if parts[0] != "src" or parts[1] in flags or path.endswith("_test.cc"):
            continue
        words = shlex.split(command)
        cut = words.index("-o")
        flags[parts[1]] = [word for word in words[:cut] if not word.startswith(("-g", "-O"))]
    return flags


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cache", required=True)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    flags = flags_by_layer()
    # A folder that holds only headers so far is compiled as the topmost layer, which sees everything.
    fallback = flags.get("api") or next(iter(flags.values()))

    def command(path):
        return flags.get(pathlib.PurePosixPath(path).parts[1], fallback)

    def check(path):
        name = path.removeprefix("src/")
        done = subprocess.run([*command(path), "-fsyntax-only", "-x", "c++", "-"], input=f'#include "{name}"\n', text=True,
                              capture_output=True, check=False, cwd=source_tree.ROOT / "build/release")
        return done.stderr if done.returncode else ""

    headers = source_tree.files("src/*.h")
    items = [(path, source_tree.fingerprint(path, *command(path))) for path in headers]
    findings, _ = verdict_cache.run(items, check, verdict_cache.VerdictCache(arguments.cache), arguments.jobs)
    for path, text in findings.items():
        print(f"{path}:1: does not compile alone\n{text}")
    if not findings:
        print(f"headers: {len(headers)} compile alone")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
