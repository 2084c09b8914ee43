#!/usr/bin/env python3
# Sparse vectors on one thread beside seismic, vsag's sparse index and an exact product: recall@10 and queries per CPU-second.
#
# usage: bench/run_sparse.py [--small] [--rows 200000] [--rounds 3] [--peers scipy,seismic,pyvsag] [--build DIR]
#                            [--json FILE] [--plots FOLDER]
#
# Data B: passages of real text as BM25 weights (bench/text_sets.py), queries of up to eight words. Ours is the inverted
# index that SPARSE_INVERTED_INDEX means, which is exact, and our exact scan of all rows (100 queries); the floor is SciPy's
# product of all rows with each query and a selection of the best. seismic and vsag (its index "sindi") are approximate:
# their effort is swept. All are built each time, on one thread, and are called once for each query, the peers from Python.
# An answer counts when its true score is at least the tenth best: equal scores are common here. The median of the CPU
# seconds of the rounds decides. --small: 20,000 rows, under a minute on an idle machine.
# Exit code 1: our program failed, or its scores are not those of the scan.
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import plots
from ann_peers import CACHE, K
from run_ann import ROOT, enter_environment

SCANNED = 100


class Matrix:
    """A .csr file: CSR arrays of SciPy."""

    def __init__(self, path, width=0):
        import numpy
        from scipy import sparse

        data = numpy.memmap(path, "u1", "r")
        rows, entries = data[:16].view("<u8").tolist()
        starts = data[16 : 24 + 8 * rows].view("<u8").astype("i8")
        pairs = data[24 + 8 * rows :].view("<u4").reshape(entries, 2)
        columns, values = pairs[:, 0].astype("i4"), numpy.ascontiguousarray(pairs[:, 1]).view("<f4")
        self.starts, self.columns, self.values = starts, columns, values
        self.csr = sparse.csr_matrix((values, columns, starts), (rows, max(int(columns.max()) + 1, width)))

    def row(self, number):
        part = slice(self.starts[number], self.starts[number + 1])
        return self.columns[part], self.values[part]


class Peer:
    """Subclasses give module, name, efforts, build and find_one."""

    efforts = [None]

    def __init__(self, base, queries):
        self.base, self.queries = base, queries

    def search(self, effort):
        cpu = time.process_time()
        found = [self.find_one(query, effort) for query in range(self.queries.csr.shape[0])]
        return found, time.process_time() - cpu


class Scipy(Peer):
    module = "scipy"
    name = "scipy product"

    def build(self):
        import numpy

        self.wide = numpy.zeros(self.base.csr.shape[1], "f4")

    def find_one(self, query, _):
        import numpy

        columns, values = self.queries.row(query)
        self.wide[columns] = values
        scores = self.base.csr @ self.wide
        self.wide[columns] = 0
        return numpy.argpartition(scores, -K)[-K:].tolist()


class Seismic(Peer):
    module = "seismic"
    name = "seismic"
    efforts = [(cut, factor) for cut in (4, 8) for factor in (1.0, 0.8, 0.6, 0.4, 0.2)]

    def build(self):
        import numpy
        import seismic

        self.word = seismic.get_seismic_string()
        names = numpy.arange(self.base.csr.shape[1]).astype(self.word)
        dataset = seismic.SeismicDataset()
        for row in range(self.base.csr.shape[0]):
            columns, values = self.base.row(row)
            dataset.add_document(str(row), names[columns], values)
        self.index = seismic.SeismicIndex.build_from_dataset(dataset, num_threads=1)
        self.prepared = [(names[columns], numpy.array(values)) for columns, values in map(self.queries.row, range(self.queries.csr.shape[0]))]

    def find_one(self, query, effort):
        names, values = self.prepared[query]
        found = self.index.search(str(query), names, values, k=K, query_cut=effort[0], heap_factor=effort[1])
        return [int(document) for _, _, document in found]


class Vsag(Peer):
    module = "pyvsag"
    name = "pyvsag sindi"
    efforts = [100, 20, 10]

    def build(self):
        import numpy
        import pyvsag

        pyvsag.set_logger_off()
        parameters = {"dim": 1024, "dtype": "sparse", "metric_type": "ip",
                      "index_param": {"term_id_limit": self.base.csr.shape[1] + 1, "window_size": 50000, "doc_prune_ratio": 0.0}}
        self.index = pyvsag.Index("sindi", json.dumps(parameters))
        rows = self.base.csr.shape[0]
        self.index.build(index_pointers=self.base.starts.astype("u4"), indices=self.base.columns.astype("u4"),
                         values=numpy.array(self.base.values), ids=numpy.arange(rows))

    def find_one(self, query, effort):
        import numpy

        columns, values = self.queries.row(query)
        parameters = json.dumps({"sindi": {"query_prune_ratio": 0.0, "n_candidate": effort * K, "term_prune_ratio": 0.0}})
        found = self.index.knn_search(index_pointers=numpy.array([0, len(columns)], "u4"), indices=columns.astype("u4"),
                                       values=numpy.array(values), k=K, parameters=parameters)
        # Of its pair the scores come first here, other than for dense vectors: the row numbers are the integers.
        return next(part for part in map(numpy.asarray, found) if part.dtype.kind in "iu").ravel().tolist()


class Ours:
    def __init__(self, program, data):
        self.process = subprocess.Popen([program, data["base"], data["queries"], str(K)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        text = self.process.stdout.readline()
        result = json.loads(text) if text else {"error": "the program ended early"}
        if "error" in result:
            raise RuntimeError(f"{line}: {result['error']}")
        return result


def recall_of(found, base, queries, least, wanted):
    """The share of the wanted answers whose true score reaches the k-th best."""
    hits = 0
    for query, rows in enumerate(found):
        rows = [row for row in dict.fromkeys(rows) if 0 <= row < base.shape[0]]
        scores = (base[rows] @ queries[query].T).toarray().ravel() if rows else []
        hits += min(wanted[query], sum(score >= least[query] - 1e-4 and score > 0 for score in scores))
    return hits / sum(wanted)


def prepare(rows):
    folder = CACHE / "data"
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"sparse-B-{rows}-v1"
    data = {part: f"{stem}.{part}" for part in ("base", "queries", "truth")}
    if not os.path.exists(data["queries"]):
        print(f"making {stem.name}", flush=True)
        subprocess.run([sys.executable, str(ROOT / "bench" / "text_sets.py"), "B", str(stem), str(rows)], check=True)
    return data


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=os.environ.get("QUIVER_BUILD", str(ROOT / "build" / "release")))
    parser.add_argument("--rows", type=int, default=200000)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--peers", default="scipy,seismic,pyvsag")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plots", default=str(CACHE / "plots"), help="folder of the plots")
    parser.add_argument("--json", help="append one JSON line per point to this file")
    options = parser.parse_args()
    program = pathlib.Path(options.build) / "bench" / "sparse_bench"
    if not program.exists():
        print(f"{program} is missing: cmake --build {options.build} --target sparse_bench", file=sys.stderr)
        return 1
    enter_environment()
    import numpy

    rows = 20000 if options.small else options.rows
    data = prepare(rows)
    ours = Ours(str(program), data)
    built = ours.ask("build")
    ours.ask(f"truth {data['truth']}")
    base = Matrix(data["base"])
    queries = Matrix(data["queries"], base.csr.shape[1])
    count = queries.csr.shape[0]
    truth = numpy.fromfile(data["truth"], "<u4", count=count * K).reshape(count, K)
    scores = numpy.fromfile(data["truth"], "<f4", offset=truth.nbytes).reshape(count, K)
    wanted = ((truth != 0xFFFFFFFF) & (scores > 0)).sum(1).tolist()
    least = [row[given - 1] if given else 0 for row, given in zip(scores.tolist(), wanted)]
    print(f"\ndata B: {rows} rows, {base.csr.nnz / rows:.0f} weights each, {count} queries of {queries.csr.nnz / count:.1f}, recall@{K}, one thread, load {os.getloadavg()[0]:.1f}")
    print(f"  built ours: {built['cpu_s']:.1f} CPU-s, {built['file_bytes'] / 1e6:.0f} MB")
    peers = []
    for kind in (Scipy, Seismic, Vsag):
        if kind.module not in options.peers.split(","):
            continue
        try:
            __import__(kind.module)
            peer, cpu = kind(base, queries), time.process_time()
            peer.build()
        except (ImportError, RuntimeError, ValueError) as error:
            print(f"  left out {kind.name}: {error}")
            continue
        peer.built = time.process_time() - cpu
        print(f"  built {peer.name}: {peer.built:.1f} CPU-s", flush=True)
        peers.append(peer)

    samples = {}
    for _ in range(options.rounds):
        result = ours.ask("search")
        if result["exact"] < 1:
            raise RuntimeError(f"only {result['exact']:.4f} of the answers are those of the scan")
        samples.setdefault(("ours", None), []).append((1.0, count / result["cpu_s"]))
        samples.setdefault(("our scan", None), []).append((1.0, SCANNED / ours.ask(f"scan {SCANNED}")["cpu_s"]))
        for peer in peers:
            for effort in peer.efforts:
                found, cpu = peer.search(effort)
                samples.setdefault((peer.name, effort), []).append((recall_of(found, base.csr, queries.csr, least, wanted), count / cpu))
    ours.process.stdin.close()
    ours.process.wait(timeout=60)

    points = [{"engine": name, "effort": effort, "rows": rows, "load": os.getloadavg()[0], "recall": some[0][0],
               "rate": statistics.median(rate for _, rate in some)} for (name, effort), some in samples.items()]
    series = {}
    for point in points:
        print(f"  {point['engine']:16} {str(point['effort'] or ''):10} recall {point['recall']:.4f}  {point['rate'] / 1000:8.2f}k q/CPU-s")
        series.setdefault(point["engine"], []).append((point["recall"], point["rate"]))
    if options.plots:
        pathlib.Path(options.plots).mkdir(parents=True, exist_ok=True)
        path = pathlib.Path(options.plots) / f"sparse-B-{rows}.svg"
        plots.draw_recall(path, f"data B, {rows:,} rows", f"recall@{K}", {name: sorted(some) for name, some in series.items()})
    if options.json:
        with open(options.json, "a", encoding="utf-8") as out:
            for point in points:
                out.write(json.dumps(point) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
