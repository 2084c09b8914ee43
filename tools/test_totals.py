"""Counts the single test cases of one test stage.

Usage:
  test_totals.py gtest DIR    DIR holds ctest.xml (ctest --output-junit) and one XML report per GoogleTest program
  test_totals.py script LOG   LOG ends with "N passed, N failed, N skipped" and may hold pytest's short summary lines, or
                              "  skipped: reason" lines

Prints "passed failed skipped", then "F name" for each failed case and "S name: reason" for each skipped one.
A program that died, timed out or failed after its last case (a leak, a sanitizer report) counts as one failed case.
"""

import pathlib
import re
import sys
import xml.etree.ElementTree as xml


class Totals:
    """Counts, and the names behind them; one line of names may stand for several skipped cases."""

    def __init__(self):
        self.passed = 0
        self.failed = 0
        self.skipped = 0
        self.failures = []
        self.skips = []

    def fail(self, name):
        self.failed += 1
        self.failures.append(name)

    def print(self):
        print(self.passed, self.failed, self.skipped)
        for name in self.failures:
            print("F", name)
        for name in self.skips:
            print("S", name)


def last_line(text, otherwise):
    lines = [line.strip() for line in (text or "").splitlines() if line.strip()]
    return lines[-1] if lines else otherwise


def add_gtest_report(report, totals):
    """Adds the cases of one program and returns how many of them failed."""
    failed = 0
    for case in report.iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}"
        skipped = case.find("skipped")
        if case.find("failure") is not None:
            failed += 1
            totals.fail(name)
        elif skipped is not None:
            totals.skipped += 1
            totals.skips.append(f"{name}: {last_line(skipped.get('message'), 'no reason given')}")
        elif case.get("status") == "run":
            totals.passed += 1
    return failed


def count_gtest(results):
    totals = Totals()
    summary = results / "ctest.xml"
    if not summary.exists():
        totals.fail("ctest wrote no report")
        return totals
    for program in xml.parse(summary).getroot().iter("testcase"):
        name = program.get("name")
        report = results / f"{name}.xml"
        failed = add_gtest_report(xml.parse(report).getroot(), totals) if report.exists() else 0
        failure = program.find("failure")
        if failure is not None and failed == 0:
            totals.fail(f"{name} ({failure.get('message') or 'ended with an error'})")
        elif failure is None and not report.exists():
            # Not a GoogleTest program: the program is the case.
            totals.passed += 1
    return totals


def count_script(log):
    totals = Totals()
    lines = log.read_text(errors="replace").splitlines()
    counts = None
    for line in lines:
        match = re.fullmatch(r"(\d+) passed, (\d+) failed(?:, (\d+) skipped)?", line.strip())
        if match:
            counts = [int(group or 0) for group in match.groups()]
        elif line.startswith(("FAILED ", "ERROR ")):
            totals.failures.append(line.split(" ", 1)[1])
        elif line.startswith(("SKIPPED ", "  skipped: ")):
            totals.skips.append(line.strip().split(" ", 1)[1])
    if counts is None:
        totals.fail(f"ended without a result: {last_line(chr(10).join(lines), 'no output')}")
        return totals
    totals.passed, totals.failed, totals.skipped = counts
    return totals


def main():
    kind, path = sys.argv[1], pathlib.Path(sys.argv[2])
    (count_gtest(path) if kind == "gtest" else count_script(path)).print()


if __name__ == "__main__":
    main()
