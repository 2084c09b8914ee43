"""A server on a small file system that fills up: writes are refused clearly, reads go on, writes work again once there
is space, and everything acknowledged is there after SIGKILL. Needs the right to mount a tmpfs; says so and skips if not.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from server_process import ServerProcess
from wire import Refused, Wire

NAME = "full"
BATCH = 1000
DISK_FULL = 7


def keys_of(batch: int) -> list[int]:
    return list(range(batch * BATCH, (batch + 1) * BATCH))


def check(condition: bool, text: str) -> None:
    if not condition:
        raise AssertionError(text)


def run(binary: Path | None, disk: Path) -> None:
    ballast = disk / "ballast"
    ballast.write_bytes(b"x" * (24 << 20))
    server = ServerProcess(binary, disk / "data", arguments=["--wal.max-bytes=8MB", "--segment.seal-bytes=2MB"])
    server.log_path = disk.parent / f"{disk.name}.log"  # the server's own log must not fill the disk
    try:
        server.start()
        wire = Wire(server.port)
        wire.create_collection(NAME)
        wire.create_index(NAME)
        wire.load(NAME)
        expected: dict[int, int] = {}
        refused = None
        for batch in range(2000):
            try:
                wire.write("Insert", NAME, keys_of(batch), 1, 0)
            except Refused as error:
                refused = error
                break
            expected.update((key, 1) for key in keys_of(batch))
        check(refused is not None, "the disk never filled up")
        print(f"  refused after {len(expected)} rows: {refused}")
        check(str(refused).startswith(f"Insert: {DISK_FULL} disk limit exceeded: "), f"another error: {refused}")
        for _ in range(3):
            check(wire.count(NAME) == len(expected), "a count while the disk is full is wrong")
        check(wire.rows(NAME, 0) == expected, "rows read while the disk is full are wrong")

        ballast.unlink()
        first = 5000
        for attempt in range(200):
            try:
                wire.write("Insert", NAME, keys_of(first), 2, 0)
                break
            except Refused as error:
                check(str(error).startswith(f"Insert: {DISK_FULL} "), f"another error after space was freed: {error}")
                time.sleep(0.1)
        else:
            raise AssertionError("writes did not come back after space was freed")
        expected.update((key, 2) for key in keys_of(first))
        print(f"  writes are taken again {attempt * 0.1:.1f} s after space was freed")
        wire.flush(NAME)
        check(wire.rows(NAME, 0) == expected, "rows are wrong after space was freed")
        wire.close()
        server.kill()
        server.start()
        wire = Wire(server.port)
        check(wire.rows(NAME, 0) == expected, "rows are wrong after SIGKILL")
        wire.close()
        check(server.stop() == 0, "the server did not stop cleanly")
    except Exception:
        print(server.log_tail())
        raise
    finally:
        server.kill()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, default=None)
    options, _ = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="quiver-full-") as scratch:
        disk = Path(scratch) / "disk"
        disk.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "quiver-full", str(disk)], capture_output=True, text=True)
        if mounted.returncode != 0:
            print(f"full disk: no tmpfs may be mounted here: {mounted.stderr.strip()}\n0 passed, 0 failed, 1 skipped")
            return 0
        try:
            print("full disk:", flush=True)
            run(options.binary, disk)
        except Exception as error:
            print(f"full disk failed: {type(error).__name__}: {error}\n0 passed, 1 failed, 0 skipped")
            return 1
        finally:
            subprocess.run(["umount", str(disk)], check=False)
    print("1 passed, 0 failed, 0 skipped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
