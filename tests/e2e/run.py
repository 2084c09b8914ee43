#!/usr/bin/env python3
"""Runs the end-to-end tests: real clients against a real server.

Each client generation lives in its own cached environment under ${QUIVER_CACHE:-~/.cache/quiver}; it is installed on
the first run. A client that cannot be installed skips its suites with the reason, or fails them with
--require-clients (QUIVER_REQUIRE_CLIENTS=1). Every suite starts servers of its own on free ports and temporary data.

    tests/e2e/run.py                          all suites
    tests/e2e/run.py pymilvus-2.6 -k search   one suite, some tests
    tests/e2e/run.py --list                   names of the suites
"""

import argparse
import concurrent.futures
import dataclasses
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree
from pathlib import Path

from server_process import default_binary

HERE = Path(__file__).resolve().parent
SUITE_SECONDS = 900


@dataclasses.dataclass(frozen=True)
class Client:
    """One client generation: `requirements` for pip, or an npm package. Tests that need one of the `optional` packages
    skip themselves where it cannot be installed."""

    name: str
    requirements: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    npm_package: str = ""


@dataclasses.dataclass(frozen=True)
class Suite:
    """Tests at `path`, run with `client`; without a client they need only this interpreter."""

    name: str
    path: str
    client: Client | None


@dataclasses.dataclass
class Outcome:
    suite: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    output: str = ""
    reasons: list[str] = dataclasses.field(default_factory=list)


# 2.3 was written for a marshmallow, an environs and a setuptools of its time; its other dependencies have no upper
# bound that still installs on a current Python.
PYMILVUS_23 = Client(
    "pymilvus-2.3", ("pymilvus==2.3.*", "setuptools<81", "marshmallow<4", "environs<10", "pytest", "numpy")
)
PYMILVUS_26 = Client("pymilvus-2.6", ("pymilvus==2.6.*", "pytest", "numpy", "ml_dtypes"))
PYMILVUS_3 = Client("pymilvus-3", ("pymilvus==3.*", "pytest", "numpy", "ml_dtypes"), ("duckdb==2.*",))
NODE = Client("milvus2-sdk-node", npm_package="@zilliz/milvus2-sdk-node")

SUITES = [
    Suite("raw", "raw", None),
    Suite("pymilvus-2.6", "clients", PYMILVUS_26),
    Suite("pymilvus-3", "clients", PYMILVUS_3),
    Suite("pymilvus-2.3", "handbook", PYMILVUS_23),
    Suite("node", "node", NODE),
]


def cache_directory() -> Path:
    return Path(os.environ.get("QUIVER_CACHE") or Path.home() / ".cache" / "quiver") / "clients"


def install(client: Client) -> Path:
    """Directory of the client's environment, installed unless it is there; raises RuntimeError with the reason."""
    directory = cache_directory() / client.name
    directory.mkdir(parents=True, exist_ok=True)
    wanted = "\n".join((*client.requirements, *client.optional) or (client.npm_package,))
    stamp = directory / "installed"
    with open(directory / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted:
            return directory
        print(f"installing {client.name} into {directory}", flush=True)
        if client.npm_package:
            npm = shutil.which("npm")
            if not npm or not shutil.which("node"):
                raise RuntimeError("node and npm are not installed")
            commands = [[npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(directory), client.npm_package]]
        else:
            environment = directory / "venv"
            shutil.rmtree(environment, ignore_errors=True)
            commands = [
                [sys.executable, "-m", "venv", str(environment)],
                [str(environment / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *client.requirements],
            ]
        for command in commands:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
            if done.returncode != 0:
                last = (done.stderr or done.stdout).strip().splitlines()[-3:]
                raise RuntimeError(f"{' '.join(command[:3])} failed: {' / '.join(last) or done.returncode}")
        for package in client.optional:
            command = [str(directory / "venv" / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", package]
            if subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True).returncode != 0:
                print(f"{package} cannot be installed: tests that need it are skipped", flush=True)
        stamp.write_text(wanted)
    return directory


def read_junit(path: Path, outcome: Outcome) -> None:
    """Adds the counts of a JUnit report (pytest's and node's forms)."""
    for case in xml.etree.ElementTree.parse(path).getroot().iter("testcase"):
        kinds = {child.tag: child for child in case}
        if "failure" in kinds or "error" in kinds:
            outcome.failed += 1
        elif "skipped" in kinds:
            outcome.skipped += 1
            reason = kinds["skipped"].get("message") or "no reason given"
            outcome.reasons.append(f"{case.get('name')}: {reason}")
        else:
            outcome.passed += 1


def command_of(suite: Suite, environment: Path | None, report: Path, keyword: str) -> tuple[list[str], dict[str, str]]:
    """Command line and extra environment variables that run one suite and write its JUnit report."""
    target = HERE / suite.path
    if suite.client is None:
        return [sys.executable, str(target / "run_unittest.py"), "--report", str(report), "-k", keyword], {}
    if suite.client.npm_package:
        command = ["node", "--test", "--test-reporter=junit", f"--test-reporter-destination={report}"]
        command += ["--test-reporter=spec", "--test-reporter-destination=stdout"]
        command += [f"--test-name-pattern={keyword}"] if keyword else []
        tests = sorted(str(path) for path in target.glob("*.test.mjs"))
        return command + tests, {"QUIVER_NODE_MODULES": str(environment / "node_modules")}
    python = environment / "venv" / "bin" / "python"
    command = [str(python), "-m", "pytest", "-c", str(HERE / "pytest.ini"), "--rootdir", str(HERE), str(target)]
    command += ["-q", f"--junitxml={report}", "--durations=5"]
    return command + (["-k", keyword] if keyword else []), {"PYTHONPATH": str(HERE)}


def run_suite(suite: Suite, options: argparse.Namespace) -> Outcome:
    outcome = Outcome(suite.name)
    begun = time.monotonic()
    environment = None
    if suite.client:
        try:
            environment = install(suite.client)
        except (RuntimeError, OSError) as error:
            reason = f"{suite.client.name} is not available: {error}"
            outcome.reasons.append(reason)
            if options.require_clients:
                outcome.failed, outcome.output = 1, reason
            else:
                outcome.skipped = 1
            return outcome
    with tempfile.TemporaryDirectory(prefix="quiver-e2e-report-") as scratch:
        report = Path(scratch) / "report.xml"
        command, extra = command_of(suite, environment, report, options.keyword)
        variables = {**os.environ, **extra, "QUIVER_BINARY": str(options.binary), "PYTHONDONTWRITEBYTECODE": "1"}
        variables["PYTHON"] = sys.executable
        runner = subprocess.Popen(
            command,
            env=variables,
            cwd=HERE,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            output, _ = runner.communicate(timeout=SUITE_SECONDS)
            outcome.output = output.decode(errors="replace")
            if report.exists():
                read_junit(report, outcome)
            counted = outcome.passed + outcome.failed + outcome.skipped
            nothing_chosen = options.keyword and counted == 0 and runner.returncode in (0, 5)
            if runner.returncode != 0 and outcome.failed == 0 and not nothing_chosen:
                outcome.failed += 1
                outcome.output += f"\n{suite.name}: the runner ended with {runner.returncode} and no failed test"
        except subprocess.TimeoutExpired:
            # The runner leads a group of its own: its servers end with it.
            os.killpg(runner.pid, signal.SIGKILL)
            output, _ = runner.communicate()
            outcome.output = output.decode(errors="replace")
            outcome.failed += 1
            outcome.output += f"\n{suite.name}: still running after {SUITE_SECONDS} s, ended"
    outcome.seconds = time.monotonic() - begun
    return outcome


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suites", nargs="*", help="suites to run, by name or part of it (default all)")
    parser.add_argument("-k", dest="keyword", default="", help="run only tests whose name matches")
    parser.add_argument("--binary", type=Path, default=default_binary())
    parser.add_argument("--jobs", type=int, default=3, help="suites at the same time (default %(default)s)")
    parser.add_argument(
        "--require-clients", action="store_true", default=os.environ.get("QUIVER_REQUIRE_CLIENTS") == "1",
        help="a client that cannot be installed is a failure (also QUIVER_REQUIRE_CLIENTS=1)",
    )
    parser.add_argument("--list", action="store_true", help="print the suites and end")
    parser.add_argument("--install", action="store_true", help="install the clients and end")
    parser.add_argument("-v", "--verbose", action="store_true", help="print the output of passing suites too")
    options = parser.parse_args()
    options.binary = options.binary.resolve()

    chosen = [s for s in SUITES if not options.suites or any(part in s.name for part in options.suites)]
    if options.list or not chosen:
        print("\n".join(suite.name for suite in SUITES))
        return 0 if options.list else 2
    if options.install:
        for suite in chosen:
            if suite.client:
                print(suite.name, install(suite.client))
        return 0
    if not options.binary.exists():
        print(f"no server binary at {options.binary}; build it first or name it with --binary")
        print("0 passed, 1 failed, 0 skipped")
        return 1

    printing = threading.Lock()
    outcomes = []
    with concurrent.futures.ThreadPoolExecutor(max(1, options.jobs)) as pool:
        for finished in concurrent.futures.as_completed([pool.submit(run_suite, s, options) for s in chosen]):
            outcome = finished.result()
            outcomes.append(outcome)
            with printing:
                if outcome.failed or options.verbose:
                    print(f"===== {outcome.suite} =====\n{outcome.output}")
                counts = f"{outcome.passed} passed, {outcome.failed} failed, {outcome.skipped} skipped"
                print(f"e2e {outcome.suite}: {counts} ({outcome.seconds:.0f} s)", flush=True)
                for reason in outcome.reasons:
                    print(f"  skipped: {reason}" if not outcome.failed or outcome.skipped else f"  {reason}")
    total = [sum(getattr(o, kind) for o in outcomes) for kind in ("passed", "failed", "skipped")]
    if sum(total) == 0:
        print(f"no test matches {options.keyword!r}")
    print("{} passed, {} failed, {} skipped".format(*total))
    return 1 if total[1] else 0


if __name__ == "__main__":
    sys.exit(main())
