#!/usr/bin/env python3
"""Kill test: SIGKILL at random moments under load, restart, compare with a model. See kill_rounds.py.

    tests/crash/run.py                      50 rounds
    tests/crash/run.py --rounds 1000 --seed 7
    tests/crash/run.py --full-disk          a disk that fills up instead; see full_disk.py
    tests/crash/run.py --damage                only the proof that lost writes are noticed (part of every run)
"""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

import run as e2e  # noqa: E402
from server_process import default_binary  # noqa: E402


def main() -> int:
    if not any(a.startswith("--binary") for a in sys.argv) and not default_binary().exists():
        print(f"no server binary at {default_binary()}; build it first or name it with --binary")
        print("0 passed, 1 failed, 0 skipped")
        return 1
    reasons = []
    for client in (e2e.PYMILVUS_3, e2e.PYMILVUS_26):
        try:
            environment = e2e.install(client)
            break
        except (RuntimeError, OSError) as error:
            reasons.append(f"{client.name} is not available: {error}")
    else:
        required = os.environ.get("QUIVER_REQUIRE_CLIENTS") == "1"
        print("\n".join(reasons))
        print("0 passed, 1 failed, 0 skipped" if required else "0 passed, 0 failed, 1 skipped")
        return 1 if required else 0
    variables = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(HERE.parent / "e2e")}
    full_disk = "--full-disk" in sys.argv
    script = HERE / ("full_disk.py" if full_disk else "kill_rounds.py")
    arguments = [argument for argument in sys.argv[1:] if argument != "--full-disk"]
    command = [str(environment / "venv" / "bin" / "python"), str(script), *arguments]
    return subprocess.run(command, env=variables).returncode


if __name__ == "__main__":
    sys.exit(main())
