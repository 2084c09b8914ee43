#!/usr/bin/env python3
"""Installs the library into a folder of its own, builds the example against it and runs that."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("QUIVER_BUILD", ROOT / "build" / "release"))


def run(*command) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=280)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}\n0 passed, 1 failed, 0 skipped")
    return done.stdout


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        prefix, build = Path(folder) / "installed", Path(folder) / "build"
        run("cmake", "--install", BUILD, "--prefix", prefix)
        run("cmake", "-G", "Ninja", "-S", ROOT / "examples" / "library", "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}")
        run("cmake", "--build", build)
        told = run(build / "nearest")
        told += run(prefix / "bin" / "quiver", "version")
    print(told, end="")
    first = re.match(r"row 4711 at distance", told)
    right = re.search(r"^(\d+) of 10 true neighbours, (\d+) of 60000 rows", told, re.MULTILINE)
    passed = first and right and int(right[1]) >= 9 and int(right[2]) < 60000
    print("1 passed, 0 failed, 0 skipped" if passed else "0 passed, 1 failed, 0 skipped")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
