"""Fixtures that every pymilvus suite shares: one server per run, and its log beside each failure."""

import itertools
import os
import re

import pytest

from server_process import ServerProcess, default_binary

_counter = itertools.count()


@pytest.fixture(scope="session")
def server():
    """The server most tests share. A test that stops or restarts a server uses `own_server`."""
    with ServerProcess() as running:
        yield running


@pytest.fixture
def own_server(tmp_path):
    """A server for one test alone, on an empty data directory."""
    with ServerProcess(data=tmp_path / "data") as running:
        yield running


@pytest.fixture
def name(request):
    """A collection name that no other test uses."""
    stem = re.sub(r"\W", "_", request.node.name)[:60]
    return f"{stem}_{next(_counter)}"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed:
        for fixture in ("own_server", "server"):
            running = item.funcargs.get(fixture)
            if running is not None:
                state = "running" if running.alive() else f"ended with {running.process.returncode}"
                report.sections.append((f"server ({state})", running.log_tail(40)))
                break


@pytest.fixture(autouse=True)
def server_survives(request):
    """No test may bring the shared server down."""
    yield
    running = request.node.funcargs.get("server")
    assert running is None or running.alive(), f"the server ended with {running.process.returncode}"


def pytest_sessionstart(session):
    if not default_binary().exists():
        pytest.exit(f"no server binary at {default_binary()}; build it or set QUIVER_BINARY", returncode=3)
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
