# File: bench/ann_peers.py
# Libraries of vector search that the benchmarks set beside ours, each behind the same few functions.
#
# Each gets unit vectors and is asked for the largest inner products. Parameters are those that its own guides give for
# graphs of M 16 and efConstruction 200, the row of hnswlib that figures are divided by. Indexes are built on one
# thread, in steps, so that a build can be stopped, and kept under ${QUIVER_CACHE:-~/.cache/quiver}/data with the CPU
# seconds that building took. A library that does not install is skipped with the reason.
import concurrent.futures
import json
import os
import pathlib
import time

CACHE = pathlib.Path(os.environ.get("QUIVER_CACHE", pathlib.Path.home() / ".cache" / "quiver"))
PACKAGES = ["numpy", "matplotlib==3.10.8", "hnswlib", "faiss-cpu", "usearch", "pyvsag", "zvec", "scipy==1.17.1",
            "pyseismic-lsr"]
K = 10
STEP = 10000  # rows added between two looks at the clock


class TooSlow(Exception):
    """A build did not end within its time."""


def lists_of(ef):
    """One sweep for all engines: a list counts for some candidates."""
    return max(1, ef // 4)


class Peer:
    """A library in this process. Subclasses give module, name, new, load, find, and add and save where new is not all."""

    whole = False  # True: one call builds all, which nothing stops

    def __init__(self, numpy, data, rebuild=False, threads=1, minutes=60):
        self.numpy = numpy
        self.path = CACHE / "data" / f"{data['name']}.{self.name.split()[0]}.index"
        self.base = numpy.memmap(data["base"], dtype="<f4", mode="r", offset=8).reshape(data["rows"], -1)
        self.dim = self.base.shape[1]
        rows, dim = numpy.fromfile(data["queries"], dtype="<u4", count=2)
        self.queries = numpy.fromfile(data["queries"], dtype="<f4", offset=8).reshape(rows, dim)
        self.truth = numpy.fromfile(data["truth"], dtype="<u4").reshape(rows, K)
        self.rebuild = rebuild
        self.threads = threads
        self.minutes = minutes

    def make(self):
        """Builds the index or loads the one that was kept. Returns engine, build_cpu_s, memory_bytes."""
        note = self.path.with_suffix(".json")
        if not self.rebuild and note.exists():
            built = json.loads(note.read_text())
            if built.get("engine") == self.name:
                self.load(str(self.path))
                return built
        base = self.numpy.array(self.base)  # a copy that may be written to, as pyvsag wants it
        cpu, begin = time.process_time(), time.monotonic()
        self.new(base)
        for row in range(0, 0 if self.whole else len(base), STEP):
            if time.monotonic() - begin > self.minutes * 60:
                raise TooSlow(f"{row} of {len(base)} rows after {self.minutes} minutes")
            self.add(base, row, min(row + STEP, len(base)))
        self.finish()
        built = {"engine": self.name, "build_cpu_s": time.process_time() - cpu, "load": os.getloadavg()[0]}
        self.save(str(self.path))
        built["memory_bytes"] = sum(file.stat().st_size for file in [self.path, *self.path.glob("**/*")] if file.is_file())
        note.write_text(json.dumps(built))
        return built

    def finish(self):
        pass

    def rows_of(self, ids):
        """Row numbers of what find returned."""
        return ids.tolist()

    def search(self, ef):
        """Recall, CPU seconds and wall seconds of all queries."""
        wall, cpu = time.monotonic(), time.process_time()
        ids = self.find(ef)
        cpu, wall = time.process_time() - cpu, time.monotonic() - wall
        found = sum(len(set(a) & set(b)) for a, b in zip(self.rows_of(ids), self.truth.tolist()))
        return found / self.truth.size, cpu, wall

    def close(self):
        pass


class OneByOne(Peer):
    """A library that takes one query at a time; with several threads each gets every n-th query."""

    def find(self, ef):
        if self.threads == 1:
            return self.find_some(ef, range(len(self.queries)))
        shares = [range(first, len(self.queries), self.threads) for first in range(self.threads)]
        with concurrent.futures.ThreadPoolExecutor(self.threads) as pool:
            found = list(pool.map(lambda share: self.find_some(ef, share), shares))
        return [found[query % self.threads][query // self.threads] for query in range(len(self.queries))]


class Hnswlib(Peer):
    module = "hnswlib"
    name = "hnswlib M16 efC200"

    def new(self, base):
        import hnswlib

        self.index = hnswlib.Index(space="ip", dim=self.dim)
        self.index.init_index(max_elements=len(base), M=16, ef_construction=200)

    def add(self, base, first, end):
        self.index.add_items(base[first:end], self.numpy.arange(first, end), num_threads=1)

    def load(self, path):
        import hnswlib

        self.index = hnswlib.Index(space="ip", dim=self.dim)
        self.index.load_index(path)

    def save(self, path):
        self.index.save_index(path)

    def find(self, ef):
        self.index.set_ef(ef)
        return self.index.knn_query(self.queries, K, num_threads=self.threads)[0]


class Faiss(Peer):
    module = "faiss"
    name = "faiss HNSW16 efC200"

    def new(self, base):
        import faiss

        faiss.omp_set_num_threads(1)
        self.index = faiss.IndexHNSWFlat(self.dim, 16, faiss.METRIC_INNER_PRODUCT)
        self.index.hnsw.efConstruction = 200

    def add(self, base, first, end):
        self.index.add(base[first:end])

    def load(self, path):
        import faiss

        self.index = faiss.read_index(path)

    def save(self, path):
        import faiss

        faiss.write_index(self.index, path)

    def set_effort(self, ef):
        self.index.hnsw.efSearch = ef

    def find(self, ef):
        import faiss

        faiss.omp_set_num_threads(self.threads)
        self.set_effort(ef)
        return self.index.search(self.queries, K)[1]


class FaissLists(Faiss):
    name = "faiss-ivf IVF1024,Flat"

    def new(self, base):
        import faiss

        faiss.omp_set_num_threads(1)
        self.index = faiss.index_factory(self.dim, "IVF1024,Flat", faiss.METRIC_INNER_PRODUCT)
        self.index.train(base)

    def set_effort(self, ef):
        self.index.nprobe = lists_of(ef)


class Usearch(Peer):
    module = "usearch.index"
    name = "usearch c16 add200"

    def new(self, base):
        import usearch.index

        self.index = usearch.index.Index(ndim=self.dim, metric="ip", dtype="f32", connectivity=16, expansion_add=200)

    def add(self, base, first, end):
        self.index.add(self.numpy.arange(first, end), base[first:end], threads=1)

    def load(self, path):
        import usearch.index

        self.index = usearch.index.Index.restore(path)

    def save(self, path):
        self.index.save(path)

    def find(self, ef):
        self.index.expansion_search = ef
        return self.index.search(self.queries, K, threads=self.threads).keys


class Vsag(OneByOne):
    """A graph over 8-bit codes, the best by exact vectors."""

    module = "pyvsag"
    name = "pyvsag hgraph32 sq8 ef200"
    whole = True

    def empty(self):
        import pyvsag

        pyvsag.set_logger_off()
        parameters = {"base_quantization_type": "sq8_uniform", "precise_quantization_type": "fp32", "use_reorder": True,
                      "max_degree": 32, "ef_construction": 200, "build_thread_count": 1}
        return pyvsag.Index("hgraph", json.dumps({"dtype": "float32", "metric_type": "ip", "dim": self.dim, "index_param": parameters}))

    def new(self, base):
        self.index = self.empty()
        self.index.build(vectors=base, ids=self.numpy.arange(len(base)), num_elements=len(base), dim=self.dim)

    def load(self, path):
        self.index = self.empty()
        self.index.load(path)

    def save(self, path):
        self.index.save(path)

    def find_some(self, ef, queries):
        parameters = json.dumps({"hgraph": {"ef_search": ef}})
        return [self.index.knn_search(vector=self.queries[query], k=K, parameters=parameters)[0] for query in queries]

    def rows_of(self, ids):
        return [row.tolist() for row in ids]


class Zvec(OneByOne):
    """A database in this process; attributes of rows become fields with an inverted index."""

    module = "zvec"
    name = "zvec HNSW m16 efC200"

    def __init__(self, *arguments, fields=None, **options):
        super().__init__(*arguments, **options)
        self.path = self.path.with_suffix(".zvec")
        self.fields = fields or {}

    def start(self):
        import zvec

        try:
            zvec.init(query_threads=1, optimize_threads=1, log_level=zvec.LogLevel.FATAL)
        except RuntimeError:
            pass  # it can be started once in a process
        return zvec

    def new(self, base):
        import shutil

        zvec = self.start()
        shutil.rmtree(self.path, ignore_errors=True)
        types = {int: zvec.DataType.INT64, str: zvec.DataType.STRING, list: zvec.DataType.ARRAY_STRING}
        fields = [zvec.FieldSchema(name, types[type(values[0])], index_param=zvec.InvertIndexParam()) for name, values in self.fields.items()]
        graph = zvec.HnswIndexParam(metric_type=zvec.MetricType.IP, m=16, ef_construction=200)
        vector = zvec.VectorSchema("vector", zvec.DataType.VECTOR_FP32, self.dim, graph)
        self.index = zvec.create_and_open(str(self.path), zvec.CollectionSchema(name="bench", fields=fields, vectors=[vector]))

    def add(self, base, first, end):
        import zvec

        for begin in range(first, end, 500):
            documents = [zvec.Doc(id=str(row), vectors={"vector": base[row]}, fields={name: values[row] for name, values in self.fields.items()})
                         for row in range(begin, min(begin + 500, end))]
            if not all(status.ok() for status in self.index.insert(documents)):
                raise RuntimeError(f"zvec refused a row from {begin} on")

    def finish(self):
        import zvec

        self.index.optimize(zvec.OptimizeOption(concurrency=1))

    def load(self, path):
        zvec = self.start()
        self.index = zvec.open(path, zvec.CollectionOption(read_only=True))

    def save(self, path):
        self.index.flush()
        self.index.close()
        self.load(path)

    def find_some(self, ef, queries, condition=None):
        import zvec

        effort = zvec.HnswQueryParam(ef=ef)
        return [self.index.query_internal_ids(zvec.Query("vector", vector=self.queries[query], param=effort), topk=K, filter=condition)
                for query in queries]

    def rows_of(self, ids):
        return [[int(row) for row in self.index.resolve_internal_ids(some) if row is not None] for some in ids]

    def close(self):
        self.index.close()


PEERS = [Hnswlib, Faiss, FaissLists, Usearch, Vsag, Zvec]


def installed(kinds, wanted):
    """Those of the kinds whose module stands in `wanted` (names up to the first dot) and can be imported."""
    found = []
    for kind in kinds:
        if kind.module.split(".")[0] not in wanted:
            continue
        try:
            __import__(kind.module)
            found.append(kind)
        except ImportError as error:
            print(f"skipped {kind.name}: {error}")
    return found
