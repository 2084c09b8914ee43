#!/usr/bin/env python3
# peers: searches through servers, filtered or not, of Quiver and others at equal recall
#
# usage: bench/run_peers.py [--rows 200000] [--dim 384] [--engines quiver,postgres,milvus-lite,chroma] [--recall 0.95] [--limit 10]
#                           [--clients 1,8,64] [--queries 200] [--seconds 5] [--folder DIR] [--pause NAMES] [--json FILE]
#
# The rows, filters and exact answers are those of bench/readings.py. Each engine gets an HNSW graph of M 16 and
# efConstruction 200 and an index over each of the other fields, and is asked over its own protocol: Quiver and milvus-lite
# by quiver_load with the same requests, PostgreSQL by processes with psycopg, prepared statements and binary vectors
# (hnsw.iterative_scan relaxed_order), Chroma by processes with its client (it indexes all fields anyhow). For each class
# of filters the effort (ef) is the smallest of a sweep whose mean recall reaches --recall; where none does, the best is
# shown. Closed loops of --clients connections; CPU is that of the server's processes. The engines work one after another
# on an otherwise idle machine; --pause stops other programs whose names match while they are measured. An engine that
# cannot be installed or started is named and left out.
# Exit code 1: Quiver failed, or one of its queries got fewer rows than match.
import argparse
import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import run_storage
from readings import COLLECTION, Readings, Requests, classes_of, create_collection, exact, read_answers, recalls_of
from run_sensors import enter_environment, paused, wait_for_rest
from run_storage import ROOT, Chroma, Failure, MilvusLite, Postgres, Quiver, anonymous_kb, disk_bytes, environment, family

POSTGRES = [*run_storage.POSTGRES, "pgvector==0.4.2"]
EFFORTS = [10, 14, 20, 28, 40, 56, 80, 112, 160, 240, 400, 800]
BATCH = 1000


def family_cpu(pid):
    """CPU seconds of a process, its descendants and those of them that have ended."""
    total = 0
    for each in family(pid):
        with contextlib.suppress(OSError):
            fields = pathlib.Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split()
            total += sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")
    return total


class OverMilvus:
    """An engine that speaks the protocol of Milvus, under quiver_load."""

    def __init__(self, server, options, folder):
        import pymilvus

        self.server, self.options, self.folder, self.requests = server, options, folder, Requests()
        self.client = pymilvus.MilvusClient(uri=f"http://127.0.0.1:{server.port}")

    def load(self, mode, *arguments):
        return run_storage.load(self.server.port, mode, *arguments, timeout=3 * 3600)[0]

    def fill(self, data):
        import pymilvus

        try:  # INVERTED is what milvus-lite has
            create_collection(self.client, self.options.dim, "HNSW", {"M": 16, "efConstruction": 200}, "INVERTED")
        except pymilvus.MilvusException as error:
            raise Failure(str(error)) from error
        path, seconds = self.folder / "inserts", 0
        for first in range(0, data.rows, 50 * BATCH):
            self.requests.write_inserts(path, data, first, min(first + 50 * BATCH, data.rows), BATCH)
            seconds += self.load("replay-insert", "--file", path, "--clients", 2)["seconds"]
        path.unlink()
        begin = time.monotonic()
        self.client.flush(COLLECTION)
        self.client.load_collection(COLLECTION)
        wait_for_rest(self.server.pid, 3 * 3600)
        return {"insert_seconds": seconds, "index_seconds": time.monotonic() - begin}

    def file(self, kind, vectors, effort):
        path = self.folder / "searches"
        self.requests.write_searches(path, vectors, kind, self.options.limit, "ef", max(effort, self.options.limit))
        return path

    def answers(self, kind, vectors, effort):
        answers = self.folder / "answers"
        self.load("replay-search", "--file", self.file(kind, vectors, effort), "--answers", answers)
        return read_answers(answers)

    def measure(self, kind, vectors, effort, clients):
        return self.load("replay-search", "--file", self.file(kind, vectors, effort), "--depth", clients, "--connections", clients,
                         "--seconds", self.options.seconds)


class OverPython:
    """A server under a program of clients in Python, with an environment of its own."""

    def __init__(self, server, options, folder):
        self.server, self.options, self.folder = server, options, folder

    def run(self, mode, *arguments):
        done = subprocess.run([str(self.python()), str(ROOT / "bench" / self.program), mode, "--port", str(self.server.port),
                               "--dim", str(self.options.dim), "--limit", str(self.options.limit), "--folder", str(self.folder),
                               *map(str, arguments)], capture_output=True, text=True, timeout=3 * 3600, check=False)
        if done.returncode != 0:
            raise Failure(f"{self.server.name} {mode}: {done.stderr.strip()[-300:]}")
        return json.loads(done.stdout)

    def fill(self, data):
        for name in ("sensor", "case", "distance"):
            data.numpy.save(self.folder / f"{name}.npy", getattr(data, name))
        data.vectors.flush()
        return self.run("fill")

    def search(self, kind, vectors, effort, *arguments):
        import numpy

        numpy.save(self.folder / "queries.npy", vectors)
        (self.folder / "filters").write_text(json.dumps([self.translate(text) for text in kind.expressions]))
        return self.run("search", "--file", self.folder / "filters", "--effort", max(effort, self.options.limit), *arguments)

    def answers(self, kind, vectors, effort):
        answers = self.folder / "found"
        self.search(kind, vectors, effort, "--answers", answers)
        return json.loads(answers.read_text())

    def measure(self, kind, vectors, effort, clients):
        return self.search(kind, vectors, effort, "--clients", clients, "--seconds", self.options.seconds)


class OverSql(OverPython):
    """PostgreSQL under psycopg."""

    program = "postgres_readings.py"

    @staticmethod
    def python():
        return environment("postgres-search", POSTGRES)

    @staticmethod
    def translate(expression):
        text = expression.replace("==", "=").replace("case", '"case"')
        return re.sub(r"in \[([^]]*)\]", r"IN (\1)", text)


class OverChroma(OverPython):
    """Chroma under its own client."""

    program = "chroma_readings.py"

    def python(self):
        return self.server.python

    @staticmethod
    def translate(expression):
        """Its form of a filter; None where there is none."""
        operators = {"==": "$eq", "in": "$in", "<": "$lt", "<=": "$lte", ">": "$gt"}
        terms = []
        for term in expression.split(" and ") if expression else []:
            field, operator, value = term.split(" ", 2)
            terms.append({field: {operators[operator]: json.loads(value)}})
        return {"$and": terms} if len(terms) > 1 else terms[0] if terms else None


def mean_recall(answers, truth):
    return sum(len(wanted.intersection(found)) / max(len(wanted), 1) for found, wanted in zip(answers, truth)) / len(truth)


def effort_for(engine, options, kind, vectors, truth):
    """The smallest effort that reaches the recall, and that recall; else the best there was."""
    best = (0.0, EFFORTS[0])
    for effort in EFFORTS:
        answers = engine.answers(kind, vectors, effort)
        if isinstance(engine.server, Quiver) and recalls_of(answers, truth) is None:
            raise Failure(f"{kind.name}: fewer rows than match, or one twice")
        recall = mean_recall(answers, truth)
        if recall >= options.recall:
            return recall, effort
        best = max(best, (recall, effort))
    return best


def run_engine(name, options, data, vectors, classes, truths, folder):
    starts = {"quiver": (lambda: Quiver(folder), OverMilvus), "milvus-lite": (lambda: MilvusLite(folder), OverMilvus),
              "postgres": (lambda: Postgres(folder), OverSql), "chroma": (lambda: Chroma(folder), OverChroma)}
    start, over = starts[name]
    results = []
    with start() as server:
        engine = over(server, options, folder)
        filled = engine.fill(data)
        print(f"{server.name}: inserted at {data.rows / filled['insert_seconds']:,.0f} rows/s, ready "
              f"{filled['index_seconds']:.0f} s later; {anonymous_kb(server.pid) / 1024:,.0f} MiB of its own, "
              f"{disk_bytes(server.data) / 2**20:,.0f} MiB on disk", flush=True)
        for kind, truth in zip(classes, truths):
            recall, effort = effort_for(engine, options, kind, vectors, truth)
            for clients in (int(count) for count in options.clients.split(",")):
                with paused(options.pause):
                    cpu, begin = family_cpu(server.pid), time.monotonic()
                    load = engine.measure(kind, vectors, effort, clients)
                    # Clients connect and warm up inside of this time, too.
                    cpu_ms = load.get("server_cpu_us", -1) / 1e3
                    if cpu_ms < 0:
                        cpu_ms = (family_cpu(server.pid) - cpu) / max(time.monotonic() - begin, 1e-9) / max(load["calls_per_second"], 1e-9) * 1e3
                print(f"  {kind.name:<34} recall {recall:.4f} (ef {effort:>3})  {clients:>2} clients: {load['calls_per_second']:>8,.0f}/s  "
                      f"p50 {load['p50_us'] / 1e3:>7.2f} p95 {load['p95_us'] / 1e3:>7.2f} p99 {load['p99_us'] / 1e3:>7.2f} ms  "
                      f"CPU {cpu_ms:.3f} ms", flush=True)
                results.append({"engine": name, "class": kind.name, "recall": recall, "effort": effort, "clients": clients, "cpu_ms": cpu_ms,
                                **{key: load[key] for key in ("calls_per_second", "p50_us", "p95_us", "p99_us")}})
    return results


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=os.environ.get("QUIVER_BUILD", str(ROOT / "build" / "release")))
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--engines", default="quiver,postgres,milvus-lite,chroma")
    parser.add_argument("--recall", type=float, default=0.95)
    parser.add_argument("--limit", type=int, default=10)
    parser.add_argument("--clients", default="1,8,64")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--folder", default=tempfile.gettempdir())
    parser.add_argument("--pause", default="")
    parser.add_argument("--json")
    options = parser.parse_args()
    enter_environment(options.build)
    results, failed = [], False
    with tempfile.TemporaryDirectory(prefix="quiver-peers-", dir=options.folder) as folder:
        place = pathlib.Path(folder)
        os.chmod(place, 0o755)  # PostgreSQL runs as another user where we are root
        data = Readings(place, options.rows, options.dim)
        vectors, _ = data.draw(data.numpy.random.default_rng(99), options.queries)
        classes = classes_of(data, options.rows, options.queries)
        truths = [exact(data, options.rows, vectors, kind.masks, options.limit) for kind in classes]
        for name in options.engines.split(","):
            try:
                results += run_engine(name, options, data, vectors, classes, truths, place)
            except (Failure, subprocess.TimeoutExpired) as failure:
                print(f"{'failed' if name == 'quiver' else 'left out'}: {name}: {failure}", flush=True)
                failed = failed or name == "quiver"
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(results, indent=1))
    print("ratios to Quiver, calls per second:")
    ours = {(row["class"], row["clients"]): row["calls_per_second"] for row in results if row["engine"] == "quiver"}
    for row in results:
        if row["engine"] != "quiver" and (row["class"], row["clients"]) in ours:
            print(f"  {row['engine']:<12} {row['class']:<34} {row['clients']:>2} clients: "
                  f"{ours[row['class'], row['clients']] / row['calls_per_second']:.1f} times slower, recall {row['recall']:.3f}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
