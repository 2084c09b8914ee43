#!/usr/bin/env python3
# tenants: what a search under `tenant == x` costs the server beside a collection of that tenant's rows alone
#
# usage: bench/run_tenants.py [--rows 200000] [--tenant-rows 14] [--shares 10,5,1] [--together 0+1] [--index HNSW] [--index-params JSON]
#                             [--search-params JSON] [--kinds key,index,none] [--queries 1000] [--rounds 3] [--folder DIR] [--keep DIR] [--json FILE]
#
# One collection holds vectors of 64 dimensions (200 clusters) of many tenants: a tenant for each of --shares has that
# many per cent of the rows, all others have --tenant-rows rows each (--shares "" makes them all alike). Kinds: the
# tenant is the partition key; a field with a scalar index; a field without one. Beside them stands for each tenant that
# is asked about a collection that holds its rows and nothing else, with the same index and no filter. --together names
# tenants, by their place in --shares, that are asked about in one search (tenant in [...]), as in 0+1,0+1+2.
#
# One client asks for the best 10, one query at a time. CPU is that of all threads of the server as the scheduler
# counts it (/proc/PID/task/*/schedstat), the median of --rounds, in which the collections take turns. `small` asks about
# a tenant of --tenant-rows rows, `any` about another such tenant with each query. Recall is compared with NumPy.
# --keep DIR keeps the data of the server there and uses what it finds, so that two builds can be compared on the same
# files. Exit code 1: a query got other rows than its tenant's, or fewer than there are.
import argparse
import json
import os
import pathlib
import signal
import statistics
import sys
import tempfile
import time

import run_storage
from run_sensors import enter_environment, wait_for_rest
from run_storage import Failure, Quiver

DIM = 64
LIMIT = 10
BATCH = 10_000
CLUSTERS = 200


def server_nanoseconds(pid):
    """CPU time of all threads."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except OSError:
            continue  # a thread that ended meanwhile
    return total


class KeptQuiver(Quiver):
    """A server on a data folder that outlives the run."""

    def __init__(self, data):
        data.parent.mkdir(parents=True, exist_ok=True)
        self.data, self.process, self.port, self.arguments = data, None, 0, ()
        self.start()


class Data:
    def __init__(self, rows, tenant_rows, shares, together):
        import numpy

        self.numpy = numpy
        random = numpy.random.default_rng(1)
        self.centres = random.standard_normal((CLUSTERS, DIM), dtype="f4")
        self.vectors = self.draw(random, rows)
        large = [round(rows * share / 100) for share in shares]
        small = max(1, (rows - sum(large)) // tenant_rows)
        tenants = numpy.concatenate([numpy.full(count, number) for number, count in enumerate(large)]
                                    + [len(large) + numpy.arange(rows - sum(large)) % small])
        self.tenant = random.permutation(tenants)
        self.first_small, self.tenants = len(large), len(large) + small
        self.cases = {f"{share:g} %": (number,) for number, share in enumerate(shares)} | {"small": (self.first_small,)}
        self.cases |= {"+".join(f"{shares[number]:g}" for number in some) + " %": some for some in together}

    def draw(self, random, count):
        noise = random.standard_normal((count, DIM), dtype="f4")
        return self.centres[random.integers(0, CLUSTERS, count)] + 0.5 * noise

    def rows_of(self, tenants):
        return self.numpy.flatnonzero(self.numpy.isin(self.tenant, tenants))

    def nearest(self, rows, query):
        distances = ((self.vectors[rows] - query) ** 2).sum(axis=1)
        return set(rows[self.numpy.argsort(distances, kind="stable")[:LIMIT]].tolist())


def filter_of(tenants):
    return f"tenant == {tenants[0]}" if len(tenants) == 1 else f"tenant in {list(tenants)}"


def alone_name(tenants):
    return "alone_" + "_".join(map(str, tenants))


class Run:
    def __init__(self, options, data, folder):
        import pymilvus

        self.options, self.data, self.pymilvus = options, data, pymilvus
        self.server = KeptQuiver(folder)
        self.client = pymilvus.MilvusClient(uri=f"http://127.0.0.1:{self.server.port}")
        random = data.numpy.random.default_rng(2)
        self.queries = data.draw(random, options.queries)
        self.any = [(tenant,) for tenant in random.integers(data.first_small, data.tenants, options.queries).tolist()]
        self.results = []

    def make(self, name, kind, rows):
        """A collection of these rows, unless it is there."""
        if self.client.has_collection(name):
            return self.client.load_collection(name)
        types = self.pymilvus.DataType
        schema = self.client.create_schema()
        schema.add_field("id", types.INT64, is_primary=True)
        schema.add_field("tenant", types.INT64, is_partition_key=kind == "key")
        schema.add_field("v", types.FLOAT_VECTOR, dim=DIM)
        indexes = self.client.prepare_index_params()
        indexes.add_index("v", index_type=self.options.index, metric_type="L2", params=json.loads(self.options.index_params))
        if kind == "index":
            indexes.add_index("tenant", index_type="INVERTED")
        self.client.create_collection(name, schema=schema, index_params=indexes)
        data = self.data
        for begin in range(0, len(rows), BATCH):
            self.client.insert(name, [{"id": int(row), "tenant": int(data.tenant[row]), "v": data.vectors[row]}
                                      for row in rows[begin:begin + BATCH]])
        self.client.flush(name)

    def search(self, name, query, expression):
        parameters = {"search_params": json.loads(self.options.search_params)} if self.options.search_params else {}
        hits = self.client.search(name, [query], filter=expression, limit=LIMIT, output_fields=[], **parameters)[0]
        return [hit["id"] for hit in hits]

    def check(self, name, tenants, filtered):
        """Mean recall of some of the queries; every hit belongs to the tenants, and none is missing."""
        found = []
        for query, some in list(zip(self.queries, tenants))[:100]:
            rows = self.data.rows_of(some)
            ids = self.search(name, query, filter_of(some) if filtered else "")
            if len(set(ids)) != min(LIMIT, len(rows)) or not set(ids) <= set(rows.tolist()):
                raise Failure(f"{name}: the search of {filter_of(some)} gave {sorted(ids)}")
            found.append(len(set(ids) & self.data.nearest(rows, query)) / len(ids))
        return statistics.mean(found)

    def cpu(self, name, tenants, filtered):
        """Microseconds of the server per query."""
        begin = server_nanoseconds(self.server.pid)
        for query, some in zip(self.queries, tenants):
            self.search(name, query, filter_of(some) if filtered else "")
        return (server_nanoseconds(self.server.pid) - begin) / len(self.queries) / 1000

    def run(self):
        data, kinds = self.data, self.options.kinds.split(",")
        begin = time.monotonic()
        for kind in kinds:
            self.make(f"all_{kind}", kind, data.numpy.arange(len(data.tenant)))
        for tenants in data.cases.values():
            self.make(alone_name(tenants), "", data.rows_of(tenants))
        wait_for_rest(self.server.pid, 3600)
        print(f"{len(data.tenant):,} rows of {data.tenants:,} tenants, {self.options.index}, ready after {time.monotonic() - begin:.0f} s")
        print(f"{'tenant':<8} {'rows':>8}  {'collection':<10} {'CPU us':>8} {'alone':>6}  recall")
        cases = {case: [tenants] * len(self.queries) for case, tenants in data.cases.items()} | {"any": self.any}
        for case, tenants in cases.items():
            own = data.cases.get(case, data.cases["small"])
            alone = alone_name(own)
            asked = [(alone, [own] * len(self.queries), False)]
            asked += [(f"all_{kind}", tenants, True) for kind in kinds]
            recall = {name: self.check(name, their, filtered) for name, their, filtered in asked}
            times = {name: [] for name, _, _ in asked}
            for _ in range(self.options.rounds):
                for name, their, filtered in asked:
                    times[name].append(self.cpu(name, their, filtered))
            base = statistics.median(times[alone])
            for name, their, _ in asked:
                cpu = statistics.median(times[name])
                rows = len(data.rows_of(their[0]))
                print(f"{case:<8} {rows:>8,}  {name.split('_')[0] if name == alone else name.split('_')[1]:<10} {cpu:>8.1f} "
                      f"{cpu / base:>5.2f}x  {recall[name]:.4f}", flush=True)
                self.results.append({"tenant": case, "rows": rows, "collection": name, "cpu_us": cpu, "ratio": cpu / base,
                                     "recall": recall[name], "rounds_us": times[name]})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=os.environ.get("QUIVER_BUILD", str(run_storage.ROOT / "build" / "release")))
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--tenant-rows", type=int, default=14)
    parser.add_argument("--shares", default="10,5,1")
    parser.add_argument("--together", default="")
    parser.add_argument("--index", default="HNSW")
    parser.add_argument("--index-params", default="{}")
    parser.add_argument("--search-params", default="")
    parser.add_argument("--kinds", default="key,index,none")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", default=tempfile.gettempdir())
    parser.add_argument("--keep")
    parser.add_argument("--json")
    options = parser.parse_args()
    enter_environment(options.build)
    shares = [float(share) for share in options.shares.split(",") if share]
    together = [tuple(map(int, some.split("+"))) for some in options.together.split(",") if some]
    with tempfile.TemporaryDirectory(prefix="quiver-tenants-", dir=options.folder) as folder:
        run = Run(options, Data(options.rows, options.tenant_rows, shares, together), pathlib.Path(options.keep or folder) / "data")
        try:
            run.run()
        except Failure as failure:
            print(f"failed: {failure}", file=sys.stderr)
            return 1
        finally:
            run.server.end(signal.SIGTERM if options.keep else signal.SIGKILL)
            if options.json:
                pathlib.Path(options.json).write_text(json.dumps(run.results, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
