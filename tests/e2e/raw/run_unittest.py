#!/usr/bin/env python3
"""Runs the tests of this directory with unittest and writes a JUnit report; needs nothing but the interpreter."""

import argparse
import sys
import time
import unittest
import xml.etree.ElementTree as xml
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]


class JUnitResult(unittest.TextTestResult):
    """Remembers every test for the report."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.cases = []

    def startTest(self, test):
        super().startTest(test)
        self._begun = time.monotonic()
        self.cases.append([test, "passed", ""])

    def _note(self, kind, text):
        self.cases[-1][1:] = [kind, text]

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._note("failure", self.failures[-1][1])

    def addError(self, test, err):
        super().addError(test, err)
        if not self.cases or self.cases[-1][0] is not test:
            self.cases.append([test, "error", ""])
        self._note("error", self.errors[-1][1])

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._note("skipped", reason)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._note("failure", str(err[1]))

    def write(self, path: str) -> None:
        suite = xml.Element("testsuite", name="raw")
        for test, kind, text in self.cases:
            case = xml.SubElement(suite, "testcase", name=str(test))
            if kind != "passed":
                xml.SubElement(case, kind, message=text[:2000])
        xml.ElementTree(suite).write(path)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--report", required=True)
    parser.add_argument("-k", default="")
    options = parser.parse_args()
    loader = unittest.TestLoader()
    if options.k:
        loader.testNamePatterns = [f"*{options.k}*"]
    suite = loader.discover(str(HERE), top_level_dir=str(HERE))
    result = unittest.TextTestRunner(verbosity=2, resultclass=JUnitResult, stream=sys.stdout).run(suite)
    result.write(options.report)
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
