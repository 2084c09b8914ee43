"""Starts, watches and stops one Quiver server for a test. Only the standard library is used.

    with ServerProcess(binary, data) as server:      # ready when the block begins
        connect(server.uri)

Not thread-safe; one owner starts and stops it.
"""

import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

HOST = "127.0.0.1"
READY_SECONDS = 60.0
STOP_SECONDS = 60.0


def default_binary() -> Path:
    """Binary named by QUIVER_BINARY, or the one in the build directory QUIVER_BUILD (default: the release build)."""
    named = os.environ.get("QUIVER_BINARY")
    build = os.environ.get("QUIVER_BUILD") or Path(__file__).resolve().parents[2] / "build" / "release"
    return Path(named) if named else Path(build) / "quiver"


def free_ports(count: int) -> list[int]:
    """Ports that nobody listened on a moment ago; held together so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class ServerProcess:
    """One `quiver serve` over `data`; the same object may be started again after stop() or kill()."""

    def __init__(self, binary: Path | str | None = None, data: Path | str | None = None, arguments=(), environment=None):
        self.binary = Path(binary) if binary else default_binary()
        self._own_data = None if data else tempfile.TemporaryDirectory(prefix="quiver-e2e-")
        self.data = Path(data) if data else Path(self._own_data.name) / "data"
        self.arguments = list(arguments)
        self.environment = dict(environment or {})
        self.port, self.ops_port = free_ports(2)
        self.process: subprocess.Popen | None = None
        self.log_path = self.data.parent / f"{self.data.name}.log"
        self.seconds_to_ready = 0.0

    @property
    def uri(self) -> str:
        return f"http://{HOST}:{self.port}"

    def __enter__(self) -> "ServerProcess":
        self.start()
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def command(self) -> list[str]:
        return [
            str(self.binary),
            "serve",
            *("--data", str(self.data), "--host", HOST, "--port", str(self.port), "--ops-port", str(self.ops_port)),
            *self.arguments,
        ]

    def launch(self) -> None:
        """Starts the process without waiting for it to be ready."""
        if not self.binary.exists():
            raise FileNotFoundError(f"no server binary at {self.binary}")
        self.data.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **self.environment}
            )

    def start(self, timeout: float = READY_SECONDS) -> None:
        """Starts the process and returns when it says that it is healthy; fails with its log otherwise."""
        begun = time.monotonic()
        self.launch()
        while not self.healthy():
            if self.process.poll() is not None:
                raise RuntimeError(f"server ended with {self.process.returncode} while starting\n{self.log_tail()}")
            if time.monotonic() - begun > timeout:
                self.kill()
                raise TimeoutError(f"server not healthy after {timeout} s\n{self.log_tail()}")
            time.sleep(0.005)
        self.seconds_to_ready = time.monotonic() - begun

    def healthy(self) -> bool:
        try:
            return self.http("/healthz")[0] == 200
        except OSError:
            return False

    def http(self, path: str, port: int | None = None, timeout: float = 10.0) -> tuple[int, str]:
        """Status and body of GET `path` on the ops port, or on `port`."""
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port or self.ops_port}{path}", timeout=timeout) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def cpu_seconds(self) -> float:
        """Processor time of all threads of the running server so far, to the nanosecond."""
        times = [int(task.read_text().split()[0])
                 for task in Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")]
        if not times:
            raise RuntimeError("this kernel does not tell the processor time of threads (schedstat)")
        return sum(times) / 1e9

    def stop(self, timeout: float = STOP_SECONDS) -> int:
        """Asks the server to stop (SIGTERM) and returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise TimeoutError(f"server still running {timeout} s after SIGTERM\n{self.log_tail()}") from None

    def kill(self) -> None:
        """Ends the server at once (SIGKILL)."""
        if self.alive():
            self.process.kill()
        if self.process:
            self.process.wait()

    def restart(self) -> None:
        """Stops gracefully and starts again on the same data and ports."""
        code = self.stop()
        if code != 0:
            raise RuntimeError(f"server ended with {code} after SIGTERM\n{self.log_tail()}")
        self.start()

    def close(self) -> None:
        """Ends the server and removes its data directory when that was a temporary one."""
        self.kill()
        if self._own_data:
            self._own_data.cleanup()

    def log_tail(self, lines: int = 60) -> str:
        if not self.log_path.exists():
            return "(no log)"
        text = self.log_path.read_text(errors="replace").splitlines()
        return "\n".join(["--- server log ---", *text[-lines:], "--- end of server log ---"])
