"""Runs clang-tidy with the rules of .clang-tidy on each source file that changed since it last passed.

Usage: check_tidy.py --cache DIR [--jobs N] [--budget SECONDS] [--all]
Files that differ from main come first. After the budget (240 s unless told) the rest is left for the next run and
counted; --all knows no budget. Needs build/release to be configured and its generated headers built.
"""

import argparse
import os
import re
import subprocess
import sys

import source_tree
import verdict_cache

# The compile commands are those of g++: clang does not know all of its warnings, and counts more into -Wconversion.
EXTRA_FLAGS = ["--extra-arg=-Wno-unknown-warning-option", "--extra-arg=-Wno-sign-conversion"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cache", required=True)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--budget", type=float, default=240)
    parser.add_argument("--all", action="store_true")
    arguments = parser.parse_args()

    commands = source_tree.compile_commands(source_tree.ROOT / "build/release")
    rules = (source_tree.ROOT / ".clang-tidy").read_text()
    changed = source_tree.changed_files()
    paths = [path for path in source_tree.files("src/*.cc", "bench/*.cc", "tests/*.cc") if path in commands]
    paths.sort(key=lambda path: (path not in changed, changed.isdisjoint(source_tree.closure(path)), path))

    def check(path):
        done = subprocess.run(
            ["clang-tidy-19", "-p", "build/release", "--quiet", *EXTRA_FLAGS, path],
            text=True, capture_output=True, check=False, cwd=source_tree.ROOT)
        if done.returncode == 0:
            return ""
        return done.stdout.replace(f"{source_tree.ROOT}{os.sep}", "") or done.stderr

    items = [(path, source_tree.fingerprint(path, rules, " ".join(EXTRA_FLAGS),
                                            commands[path].replace(str(source_tree.ROOT), "")))
             for path in paths]
    findings, left = verdict_cache.run(items, check, verdict_cache.VerdictCache(arguments.cache), arguments.jobs,
                                       None if arguments.all else arguments.budget)
    # A finding in a header comes once per file that includes it; one is enough.
    shown = set()
    for text in findings.values():
        for finding in re.split(r"\n(?=\S+:\d+:\d+: (?:warning|error))", text.strip()):
            if finding not in shown:
                shown.add(finding)
                print(finding)
    rest = f"; {left} not looked at within {arguments.budget:.0f} s (--all looks at all)" if left else ""
    if findings:
        print(f"tidy: {len(findings)} of {len(paths)} files have findings{rest}")
        return 1
    print(f"tidy: {len(paths) - left} files clean{rest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
