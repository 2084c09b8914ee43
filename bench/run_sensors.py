#!/usr/bin/env python3
# sensors: filtered searches of a growing collection (up to 13 million rows) through the server: recall, latency, memory
#
# usage: bench/run_sensors.py [--sizes 10000,100000,1000000,13000000] [--index IVF_RABITQ] [--recall 0.97] [--queries 200]
#                             [--seconds 10] [--folder DIR] [--server-arg ARG]... [--plot FILE.svg] [--json FILE]
#                             [--pause NAMES]
#
# The case of users who kept vectors and attributes in two systems: readings of 128 dimensions with a sensor, a distance
# and a case, looked up by vector (L2, the best 100) and by attributes that keep 0.01 to 10 % of the rows. Vectors are
# drawn as data M of bench/data_sets.h is (clusters of skewed sizes in 64 latent dimensions, normalised); sensors and
# cases have Zipf shares, half of the sensors follow the cluster, distances are log-normal.
#
# One server is filled over the protocol with quiver_load to each of the sizes in turn; when its background work has come
# to rest, each class of filters is searched: exact answers come from NumPy over the same rows. The effort (nprobe or ef)
# is the smallest whose recall@100 without a filter reaches --recall, and the same for all classes. Latencies are of a
# closed loop with 1 and with 8 clients. Every query must return min(100, matches) rows. --pause stops other programs
# whose names match this expression while latencies are taken. A plot of latency by size goes to --plot.
# Exit code 1: a reply was wrong, a query came short, or the recall cannot be reached.
import argparse
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import run_storage
from readings import COLLECTION, Readings, Requests, classes_of, create_collection, exact, read_answers, recalls_of
from run_storage import CACHE, Failure, Quiver, anonymous_kb, disk_bytes, environment, proc_fields

PACKAGES = ["pymilvus==3.0.2", "numpy==2.4.6", "matplotlib==3.10.8"]
DIM = 128
LIMIT = 100
BATCH = 4000
EFFORTS = [4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024]


def server_cpu(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_for_rest(pid, seconds):
    """Waits until a process has used next to no processor for four seconds: its background work is done."""
    end, since, last = time.monotonic() + seconds, time.monotonic(), server_cpu(pid)
    while time.monotonic() < end:
        time.sleep(0.5)
        now = server_cpu(pid)
        if now - last > 0.02:
            since = time.monotonic()
        elif time.monotonic() - since > 4:
            return
        last = now
    raise Failure(f"the server is still at work after {seconds} s")


@contextlib.contextmanager
def paused(names):
    """Stops other programs whose names match, so that they do not count."""
    stop = lambda name: names and subprocess.run(["pkill", f"-{name}", "-x", names], check=False, stderr=subprocess.DEVNULL)
    stop("STOP")
    try:
        yield
    finally:
        stop("CONT")


class Run:
    def __init__(self, options, folder):
        import pymilvus

        self.options, self.folder, self.requests = options, folder, Requests()
        self.sizes = sorted(int(size) for size in options.sizes.split(","))
        begin = time.monotonic()
        self.data = Readings(folder, self.sizes[-1], DIM)
        self.query_vectors, _ = self.data.draw(self.data.numpy.random.default_rng(99), options.queries)
        print(f"made {self.sizes[-1]:,} rows in {time.monotonic() - begin:.0f} s", flush=True)
        self.server = Quiver(folder, *options.server_arg)
        self.client = pymilvus.MilvusClient(uri=f"http://127.0.0.1:{self.server.port}")
        self.effort_name = "ef" if options.index.startswith("HNSW") else "nprobe"
        self.results = []

    def fill(self, begin, end):
        """Inserts rows and waits for the background work. Returns seconds and CPU seconds of the server."""
        path = self.folder / "inserts"
        cpu, seconds = server_cpu(self.server.pid), 0
        for first in range(begin, end, 50 * BATCH):
            last = min(first + 50 * BATCH, end)
            self.requests.write_inserts(path, self.data, first, last, BATCH)
            seconds += self.server.load("replay-insert", "--file", path, "--clients", 2)[0]["seconds"]
        path.unlink()
        inserted = server_cpu(self.server.pid) - cpu
        start = time.monotonic()
        self.client.flush(COLLECTION)
        wait_for_rest(self.server.pid, 3 * 3600)
        return {"insert_seconds": seconds, "insert_cpu": inserted, "rest_seconds": time.monotonic() - start,
                "cpu": server_cpu(self.server.pid) - cpu}

    def search_file(self, kind, effort):
        path = self.folder / "searches"
        self.requests.write_searches(path, self.query_vectors, kind, LIMIT, self.effort_name, effort)
        return path

    def recall(self, kind, truth, effort):
        answers = self.folder / "answers"
        self.server.load("replay-search", "--file", self.search_file(kind, effort), "--answers", answers)
        recalls = recalls_of(read_answers(answers), truth)
        if recalls is None:
            raise Failure(f"{kind.name}: fewer rows than match, or one twice")
        return recalls

    def measure(self, rows, filled, begin):
        options = self.options
        classes = classes_of(self.data, rows, options.queries)
        truths = [exact(self.data, rows, self.query_vectors, kind.masks, LIMIT) for kind in classes]
        for effort in EFFORTS:
            recalls = self.recall(classes[0], truths[0], effort)
            if sum(recalls) / len(recalls) >= options.recall:
                break
        else:
            raise Failure(f"recall {options.recall} is not reached: {sum(recalls) / len(recalls):.4f} at {self.effort_name} {effort}")
        memory = anonymous_kb(self.server.pid) / 1024
        mapped = proc_fields(self.server.pid, "status")["RssFile"] / 1024
        disk = disk_bytes(self.server.data) / 2**20
        new = rows - begin
        print(f"{rows:,} rows: inserted at {new / filled['insert_seconds']:,.0f} rows/s, at rest after {filled['rest_seconds']:.0f} s, "
              f"{filled['cpu'] / new * 1e6:.1f} CPU-s per million in all; {memory:,.0f} MiB of its own, {mapped:,.0f} MiB mapped, "
              f"{disk:,.0f} MiB on disk; {self.effort_name} {effort}", flush=True)
        result = {"rows": rows, "effort": effort, "anonymous_mib": memory, "mapped_mib": mapped, "disk_mib": disk, "classes": [], **filled}
        for kind, truth in zip(classes, truths):
            recalls = self.recall(kind, truth, effort)
            kept = [rows if mask is None else len(mask) for mask in kind.masks]
            line = {"class": kind.name, "kept": sorted(kept)[len(kept) // 2], "recall": sum(recalls) / len(recalls),
                    "recall_p5": recalls[len(recalls) // 20]}
            path = self.search_file(kind, effort)
            with paused(options.pause):
                for depth in (1, 8):
                    load = self.server.load("replay-search", "--file", path, "--depth", depth, "--connections", depth,
                                            "--seconds", options.seconds)[0]
                    line[f"at_{depth}"] = {key: load[key] for key in ("calls_per_second", "p50_us", "p95_us", "p99_us", "server_cpu_us")}
            one, eight = line["at_1"], line["at_8"]
            print(f"  {kind.name:<34} keeps {line['kept']:>10,}  recall {line['recall']:.4f} (p5 {line['recall_p5']:.3f})  "
                  f"1 client: p50 {one['p50_us'] / 1e3:.2f} p95 {one['p95_us'] / 1e3:.2f} p99 {one['p99_us'] / 1e3:.2f} ms  "
                  f"8 clients: {eight['calls_per_second']:,.0f}/s p99 {eight['p99_us'] / 1e3:.2f} ms  "
                  f"CPU {eight['server_cpu_us'] / 1e3:.3f} ms", flush=True)
            result["classes"].append(line)
        self.results.append(result)

    def run(self):
        create_collection(self.client, DIM, self.options.index, json.loads(self.options.index_params))
        begin = 0
        for size in self.sizes:
            self.measure(size, self.fill(begin, size), begin)
            begin = size


def plot(results, path):
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5))
    sizes = [result["rows"] for result in results]
    for number, kind in enumerate(results[0]["classes"]):
        axes.plot(sizes, [result["classes"][number]["at_1"]["p99_us"] / 1e3 for result in results], marker="o", label=kind["class"])
    axes.axhline(10, color="grey", linestyle=":")
    axes.set(xscale="log", yscale="log", xlabel="rows", ylabel="p99, ms, one client", title=f"best {LIMIT} of {DIM} dimensions")
    axes.legend(fontsize="small")
    figure.savefig(path, metadata={"Date": None})


def enter_environment(build):
    """Goes on with this script in an environment with its packages, and finds the programs of a build."""
    python = environment("sensors", PACKAGES)
    if pathlib.Path(sys.prefix) != CACHE / "venv-bench-sensors":
        os.execv(python, [str(python), *sys.argv])
    Quiver.program = pathlib.Path(build) / "quiver"
    Quiver.load_program = pathlib.Path(build) / "bench" / "quiver_load"
    print(f"load of the machine before: {os.getloadavg()[0]:.1f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=os.environ.get("QUIVER_BUILD", str(run_storage.ROOT / "build" / "release")))
    parser.add_argument("--sizes", default="10000,100000,1000000,13000000")
    parser.add_argument("--index", default="IVF_RABITQ")
    parser.add_argument("--index-params", default="{}")
    parser.add_argument("--recall", type=float, default=0.97)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--folder", default=tempfile.gettempdir())
    parser.add_argument("--server-arg", action="append", default=[])
    parser.add_argument("--pause", default="")
    parser.add_argument("--plot")
    parser.add_argument("--json")
    options = parser.parse_args()
    enter_environment(options.build)
    with tempfile.TemporaryDirectory(prefix="quiver-sensors-", dir=options.folder) as folder:
        run = Run(options, pathlib.Path(folder))
        try:
            run.run()
        except Failure as failure:
            print(f"failed: {failure}", file=sys.stderr)
            return 1
        finally:
            run.server.end(signal.SIGKILL)
            if options.json:
                pathlib.Path(options.json).write_text(json.dumps(run.results, indent=1))
            if options.plot and run.results:
                plot(run.results, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
