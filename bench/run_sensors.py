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
from run_storage import CACHE, Failure, Quiver, anonymous_kb, disk_bytes, environment, proc_fields

PACKAGES = ["pymilvus==3.0.2", "numpy==2.4.6", "matplotlib==3.10.8"]
DIM = 128
LIMIT = 100
SENSORS = 2000
CASES = 400_000
LATENT = 64
CHUNK = 200_000
BATCH = 4000
COLLECTION = "readings"
EFFORTS = [4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024]


class Readings:
    """The rows, in files so that they take no memory: chunk by chunk the same for every number of rows."""

    def __init__(self, folder, rows):
        import numpy

        self.numpy, self.rows = numpy, rows
        random = numpy.random.default_rng(7)
        self.clusters = 6000 * max(1, rows // 1_000_000)
        spectrum = numpy.arange(1, LATENT + 1, dtype="f4") ** -0.5
        self.spectrum = spectrum / numpy.linalg.norm(spectrum)
        self.basis = random.standard_normal((LATENT, DIM), dtype="f4") / DIM**0.5
        topics = random.standard_normal((64, LATENT), dtype="f4") * self.spectrum
        self.centres = (0.632 * topics[random.integers(0, 64, self.clusters)]
                        + 0.775 * random.standard_normal((self.clusters, LATENT), dtype="f4") * self.spectrum).astype("f4")
        self.shares = numpy.cumsum(numpy.arange(1, self.clusters + 1) ** -0.8)
        self.sensor_shares = numpy.cumsum(numpy.arange(1, SENSORS + 1) ** -0.9)
        self.case_shares = numpy.cumsum(numpy.arange(1, CASES + 1) ** -0.9)
        self.sensor_of = random.integers(0, SENSORS, self.clusters)
        self.vectors = numpy.memmap(folder / "vectors.f4", dtype="f4", mode="w+", shape=(rows, DIM))
        self.sensor = numpy.empty(rows, dtype="i8")
        self.distance = numpy.empty(rows, dtype="f4")
        self.case = numpy.empty(rows, dtype="i8")
        for begin in range(0, rows, CHUNK):
            end = min(begin + CHUNK, rows)
            self.vectors[begin:end], clusters = self.draw(numpy.random.default_rng([7, begin]), end - begin)
            random = numpy.random.default_rng([8, begin])
            followed = random.random(end - begin) < 0.5
            self.sensor[begin:end] = numpy.where(followed, self.sensor_of[clusters], self.pick(random, self.sensor_shares, end - begin))
            self.distance[begin:end] = random.lognormal(1, 1.2, end - begin)
            self.case[begin:end] = self.pick(random, self.case_shares, end - begin)

    def pick(self, random, shares, count):
        return self.numpy.searchsorted(shares, random.random(count) * shares[-1])

    def draw(self, random, count):
        numpy = self.numpy
        clusters = self.pick(random, self.shares, count)
        latent = self.centres[clusters] + 0.5 * random.standard_normal((count, LATENT), dtype="f4") * self.spectrum
        vectors = latent.astype("f4") @ self.basis
        vectors += 0.45 / DIM**0.5 * random.standard_normal((count, DIM), dtype="f4")
        vectors /= numpy.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors, clusters


class Class:
    """A kind of filter: one expression and one set of rows per query."""

    def __init__(self, name, expressions, masks):
        self.name, self.expressions, self.masks = name, expressions, masks


def classes_of(data, rows, queries):
    """The classes for the first rows of the data. Values are chosen by their number of rows."""
    numpy = data.numpy
    sensor, distance, case = data.sensor[:rows], data.distance[:rows], data.case[:rows]

    def values_near(column, count):
        """Values whose number of rows is nearest to the one wanted, up to 50."""
        counts = numpy.bincount(column)
        present = numpy.flatnonzero(counts)
        return present[numpy.argsort(abs(numpy.log(counts[present] / max(count, 1))), kind="stable")[:50]]

    def by_value(column, name, count):
        values = values_near(column, count)
        kept = {int(v): numpy.flatnonzero(column == v) for v in values}
        chosen = [int(values[q % len(values)]) for q in range(queries)]
        return [f"{name} == {v}" for v in chosen], [kept[v] for v in chosen]

    quantile = lambda part: float(numpy.quantile(distance, part))
    one, ten = quantile(0.01), quantile(0.9)
    groups, masks = [], []
    for group in range(20):  # sensors and a distance that keep about 1 % together
        some = [int(v) for v in numpy.random.default_rng([9, group]).permutation(values_near(sensor, rows / SENSORS))[:40]]
        inside = numpy.isin(sensor, some)
        limit = float(numpy.quantile(distance[inside], min(1.0, 0.01 * rows / max(int(inside.sum()), 1))))
        groups.append(f"sensor in {some} and distance <= {limit!r}")
        masks.append(numpy.flatnonzero(inside & (distance <= numpy.float32(limit))))
    return [
        Class("no filter", [""] * queries, [None] * queries),
        Class("a rare case", *by_value(case, "case", 30)),
        Class("a case (0.01 %)", *by_value(case, "case", rows * 1e-4)),
        Class("a sensor (0.1 %)", *by_value(sensor, "sensor", rows * 1e-3)),
        Class("40 sensors and a distance (1 %)", [groups[q % 20] for q in range(queries)], [masks[q % 20] for q in range(queries)]),
        Class("near (1 %)", [f"distance < {one!r}"] * queries, [numpy.flatnonzero(distance < numpy.float32(one))] * queries),
        Class("far (10 %)", [f"distance > {ten!r}"] * queries, [numpy.flatnonzero(distance > numpy.float32(ten))] * queries),
    ]


def exact(data, rows, queries, masks):
    """The nearest LIMIT rows of each query, in order; fewer where fewer match."""
    numpy = data.numpy
    best = [(numpy.empty(0, "f4"), numpy.empty(0, "i8")) for _ in queries]

    def merge(q, scores, keys):
        scores, keys = numpy.concatenate([best[q][0], scores]), numpy.concatenate([best[q][1], keys])
        if len(scores) > LIMIT:
            top = numpy.argpartition(-scores, LIMIT - 1)[:LIMIT]
            scores, keys = scores[top], keys[top]
        best[q] = scores, keys

    shared = {id(mask) for mask in masks}
    for begin in range(0, rows, CHUNK):
        end = min(begin + CHUNK, rows)
        chunk = numpy.asarray(data.vectors[begin:end])
        inside = {}
        if len(shared) == 1:  # one product for all queries
            mask = masks[0]
            local = None if mask is None else mask[numpy.searchsorted(mask, begin):numpy.searchsorted(mask, end)] - begin
            part = chunk if local is None else chunk[local]
            products = queries @ part.T
            for q in range(len(queries)):
                floor = best[q][0].min() if len(best[q][0]) >= LIMIT else -2
                found = numpy.flatnonzero(products[q] > floor)
                if len(found):
                    merge(q, products[q][found], begin + (found if local is None else local[found]))
            continue
        for q, mask in enumerate(masks):
            if id(mask) not in inside:
                local = mask[numpy.searchsorted(mask, begin):numpy.searchsorted(mask, end)]
                inside[id(mask)] = local, chunk[local - begin]
            local, part = inside[id(mask)]
            if len(local):
                merge(q, part @ queries[q], local)
    return [set(keys.tolist()) for _, keys in best]


class Requests:
    """Serialized requests, as pymilvus would send them."""

    def __init__(self):
        from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

        self.common, self.milvus, self.schema = common_pb2, milvus_pb2, schema_pb2

    @staticmethod
    def write(file, message):
        data = message.SerializeToString()
        file.write(len(data).to_bytes(4, "little") + data)

    @staticmethod
    def varint(value):
        out = bytearray()
        while value >= 0x80:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        out.append(value)
        return bytes(out)

    def insert(self, data, begin, end):
        request = self.milvus.InsertRequest(collection_name=COLLECTION, num_rows=end - begin)
        for name, kind, column in (("id", "Int64", None), ("sensor", "Int64", data.sensor), ("case", "Int64", data.case),
                                   ("distance", "Float", data.distance)):
            field = request.fields_data.add(field_name=name, type=self.schema.DataType.Value(kind))
            if kind == "Float":
                field.scalars.float_data.data.extend(column[begin:end].tolist())
            else:
                field.scalars.long_data.data.extend(range(begin, end) if column is None else column[begin:end].tolist())
        field = request.fields_data.add(field_name="vector", type=self.schema.DataType.Value("FloatVector"))
        field.vectors.dim = DIM
        raw = data.vectors[begin:end].tobytes()
        field.vectors.float_vector.MergeFromString(b"\x0a" + self.varint(len(raw)) + raw)  # a packed list is its memory
        return request

    def search(self, vector, expression, effort_name, effort):
        group = self.common.PlaceholderGroup()
        group.placeholders.add(tag="$0", type=self.common.PlaceholderType.FloatVector, values=[vector.tobytes()])
        request = self.milvus.SearchRequest(collection_name=COLLECTION, dsl=expression, nq=1, dsl_type=self.common.DslType.BoolExprV1,
                                            placeholder_group=group.SerializeToString(), use_default_consistency=True)
        for key, value in (("anns_field", "vector"), ("topk", LIMIT), ("metric_type", "L2"), ("params", json.dumps({effort_name: effort}))):
            request.search_params.add(key=key, value=str(value))
        return request


def read_answers(path):
    data = path.read_bytes()
    answers, at = [], 0
    while at < len(data):
        count = int.from_bytes(data[at:at + 4], "little")
        answers.append(memoryview(data)[at + 4:at + 4 + 8 * count].cast("q").tolist())
        at += 4 + 8 * count
    return answers


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
    stop = lambda name: names and subprocess.run(["pkill", f"-{name}", "-x", names], check=False)
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
        self.data = Readings(folder, self.sizes[-1])
        self.query_vectors, _ = self.data.draw(self.data.numpy.random.default_rng(99), options.queries)
        print(f"made {self.sizes[-1]:,} rows in {time.monotonic() - begin:.0f} s", flush=True)
        self.server = Quiver(folder, *options.server_arg)
        self.client = pymilvus.MilvusClient(uri=f"http://127.0.0.1:{self.server.port}")
        self.effort_name = "ef" if options.index.startswith("HNSW") else "nprobe"
        self.results = []

    def create(self):
        from pymilvus import DataType

        schema = self.client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("sensor", DataType.INT64)
        schema.add_field("case", DataType.INT64)
        schema.add_field("distance", DataType.FLOAT)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
        indexes = self.client.prepare_index_params()
        indexes.add_index("vector", index_type=self.options.index, metric_type="L2", params=json.loads(self.options.index_params))
        for name, kind in (("sensor", "INVERTED"), ("case", "INVERTED"), ("distance", "STL_SORT")):
            indexes.add_index(name, index_type=kind)
        self.client.create_collection(COLLECTION, schema=schema, index_params=indexes)

    def fill(self, begin, end):
        """Inserts rows and waits for the background work. Returns seconds and CPU seconds of the server."""
        path = self.folder / "inserts"
        cpu, seconds = server_cpu(self.server.pid), 0
        for first in range(begin, end, 50 * BATCH):
            last = min(first + 50 * BATCH, end)
            with open(path, "wb") as file:
                for at in range(first, last, BATCH):
                    self.requests.write(file, self.requests.insert(self.data, at, min(at + BATCH, last)))
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
        with open(path, "wb") as file:
            for vector, expression in zip(self.query_vectors, kind.expressions):
                self.requests.write(file, self.requests.search(vector, expression, self.effort_name, effort))
        return path

    def recall(self, kind, truth, effort):
        answers = self.folder / "answers"
        self.server.load("replay-search", "--file", self.search_file(kind, effort), "--answers", answers)
        recalls = []
        for found, wanted in zip(read_answers(answers), truth):
            if len(set(found)) != min(LIMIT, len(wanted)):
                raise Failure(f"{kind.name}: {len(set(found))} rows where {len(wanted)} match")
            recalls.append(len(wanted.intersection(found)) / max(len(wanted), 1))
        return sorted(recalls)

    def measure(self, rows, filled, begin):
        options = self.options
        classes = classes_of(self.data, rows, options.queries)
        truths = [exact(self.data, rows, self.query_vectors, kind.masks) for kind in classes]
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
        self.create()
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
    python = environment("sensors", PACKAGES)
    if pathlib.Path(sys.prefix) != CACHE / "venv-bench-sensors":
        os.execv(python, [str(python), *sys.argv])
    Quiver.program = pathlib.Path(options.build) / "quiver"
    Quiver.load_program = pathlib.Path(options.build) / "bench" / "quiver_load"
    print(f"load of the machine before: {os.getloadavg()[0]:.1f}")
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
