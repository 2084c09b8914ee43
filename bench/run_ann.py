#!/usr/bin/env python3
# Vector indexes on one thread beside hnswlib, faiss-cpu and usearch: recall@10 against queries per CPU-second.
#
# usage: bench/run_ann.py [--small] [--sets E,H,M] [--peers hnswlib,faiss,usearch] [--rounds 3] [--build DIR]
#                         [--ours "graph 32 200 1"] [--rebuild] [--json FILE]
#
# Every engine builds on one thread from the same vectors and searches the same held-out queries; ef is swept, rounds
# alternate between the engines, and the median of CPU seconds decides. Figures at a recall are interpolated (log of
# queries per second against logit of recall) and set beside hnswlib's of the same run. The peers search all queries in
# one call on one thread, so that no time of Python is counted; ours takes them one by one. Their indexes are kept under
# ${QUIVER_CACHE:-~/.cache/quiver} with the CPU seconds that building them took; --rebuild builds them again. Ours is built
# every time. --small: 20,000 rows of E, under two minutes. A peer that does not install is skipped with the reason. Exit
# code 1: our program failed, or lost answers.
import argparse
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = pathlib.Path(os.environ.get("QUIVER_CACHE", pathlib.Path.home() / ".cache" / "quiver"))
NUMPY = "numpy"
PEERS = ["hnswlib", "faiss-cpu", "usearch"]
K = 10
AT = [0.90, 0.95, 0.97, 0.98, 0.99, 0.997]
EFS = [10, 14, 20, 28, 40, 56, 80, 112, 160, 240, 360, 540, 800]
SETS = {"E": 200000, "H": 100000, "M": 1000000}


def enter_environment():
    """Re-executes this script inside the cached environment."""
    if os.environ.get("QUIVER_ANN_INSIDE") == "1":
        return
    place = CACHE / "venv-ann"
    python = place / "bin" / "python"
    marker = place / ".installed"
    wanted = " ".join([NUMPY, *PEERS])
    if not (marker.exists() and marker.read_text() == wanted):
        print(f"installing {wanted} into {place}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
        for package in [NUMPY, *PEERS]:
            # A peer may fail alone: importing it says why.
            subprocess.run([str(python), "-m", "pip", "install", "-q", package], check=False)
        marker.write_text(wanted)
    environment = dict(os.environ, QUIVER_ANN_INSIDE="1", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", OMP_WAIT_POLICY="passive")
    sys.stdout.flush()
    os.execve(python, [str(python), *sys.argv], environment)


def lists_of(ef):
    return max(1, ef // 4)


class Ours:
    """Our engine in its own process, driven by lines."""

    def __init__(self, program, data, build, arguments=None):
        self.name = build
        self.build_line = build
        arguments = arguments or [data["base"], data["queries"], data["truth"], str(K), "IP"]
        self.process = subprocess.Popen([program, "run", *arguments],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        result = json.loads(answer) if answer else {"error": "the program ended early"}
        if "error" in result:
            raise RuntimeError(f"{line}: {result['error']}")
        return result

    def make(self):
        built = self.ask(f"build {self.build_line}")
        # Lists are used where their file is mapped.
        return {"build_cpu_s": built["cpu_s"], "memory_bytes": max(built["memory_bytes"], built["file_bytes"])}

    def search(self, ef):
        # One sweep for all engines: a list counts for some candidates.
        effort = f"nprobe {lists_of(ef)}" if self.build_line.startswith("lists") else f"ef {ef}"
        result = self.ask(f"search {effort}")
        if result["short"]:
            raise RuntimeError(f"{result['short']} queries got fewer than {K} rows")
        return result["recall"], result["cpu_s"], result["wall_s"]

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)


class Peer:
    """A library in this process. Subclasses give new, load, save, add, find and memory."""

    def __init__(self, numpy, data, rebuild):
        self.numpy = numpy
        self.path = CACHE / "data" / f"{data['name']}.{self.name.split()[0]}.index"
        self.base = numpy.memmap(data["base"], dtype="<f4", mode="r", offset=8).reshape(data["rows"], -1)
        rows, dim = numpy.fromfile(data["queries"], dtype="<u4", count=2)
        self.queries = numpy.fromfile(data["queries"], dtype="<f4", offset=8).reshape(rows, dim)
        self.truth = numpy.fromfile(data["truth"], dtype="<u4").reshape(rows, K)
        self.rebuild = rebuild

    def make(self):
        note = self.path.with_suffix(".json")
        if not self.rebuild and note.exists():
            built = json.loads(note.read_text())
            if built.get("engine") == self.name:
                self.load(str(self.path))
                return built
        base = self.numpy.ascontiguousarray(self.base)
        cpu = time.process_time()
        self.new(base)
        built = {"engine": self.name, "build_cpu_s": time.process_time() - cpu}
        self.save(str(self.path))
        built["memory_bytes"] = self.path.stat().st_size
        note.write_text(json.dumps(built))
        return built

    def search(self, ef):
        wall, cpu = time.monotonic(), time.process_time()
        ids = self.find(ef)
        cpu, wall = time.process_time() - cpu, time.monotonic() - wall
        found = sum(len(set(a) & set(b)) for a, b in zip(ids.tolist(), self.truth.tolist()))
        return found / self.truth.size, cpu, wall

    def close(self):
        pass


class Hnswlib(Peer):
    name = "hnswlib M16 efC200"

    def new(self, base):
        import hnswlib

        self.index = hnswlib.Index(space="ip", dim=base.shape[1])
        self.index.init_index(max_elements=len(base), M=16, ef_construction=200)
        self.index.add_items(base, num_threads=1)

    def load(self, path):
        import hnswlib

        self.index = hnswlib.Index(space="ip", dim=self.base.shape[1])
        self.index.load_index(path)

    def save(self, path):
        self.index.save_index(path)

    def find(self, ef):
        self.index.set_ef(ef)
        return self.index.knn_query(self.queries, K, num_threads=1)[0]


class Faiss(Peer):
    name = "faiss HNSW16 efC200"

    def new(self, base):
        import faiss

        faiss.omp_set_num_threads(1)
        self.index = faiss.IndexHNSWFlat(base.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
        self.index.hnsw.efConstruction = 200
        self.index.add(base)

    def load(self, path):
        import faiss

        faiss.omp_set_num_threads(1)
        self.index = faiss.read_index(path)

    def save(self, path):
        import faiss

        faiss.write_index(self.index, path)

    def find(self, ef):
        self.index.hnsw.efSearch = ef
        return self.index.search(self.queries, K)[1]


class FaissLists(Faiss):
    name = "faiss-ivf IVF1024,Flat"

    def new(self, base):
        import faiss

        faiss.omp_set_num_threads(1)
        self.index = faiss.index_factory(base.shape[1], "IVF1024,Flat", faiss.METRIC_INNER_PRODUCT)
        self.index.train(base)
        self.index.add(base)

    def find(self, ef):
        self.index.nprobe = lists_of(ef)
        return self.index.search(self.queries, K)[1]


class Usearch(Peer):
    name = "usearch c16 add200"

    def new(self, base):
        import usearch.index

        self.index = usearch.index.Index(ndim=base.shape[1], metric="ip", dtype="f32", connectivity=16, expansion_add=200)
        self.index.add(self.numpy.arange(len(base)), base, threads=1)

    def load(self, path):
        import usearch.index

        self.index = usearch.index.Index.restore(path)

    def save(self, path):
        self.index.save(path)

    def find(self, ef):
        self.index.expansion_search = ef
        return self.index.search(self.queries, K, threads=1).keys


def prepare(program, name, rows):
    """Makes the vectors and the exact answers, once."""
    folder = CACHE / "data"
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"ann-{name}-{rows}-v1"
    data = {"name": stem, "rows": rows, **{part: str(folder / f"{stem}.{part}") for part in ("base", "queries", "truth")}}
    if not os.path.exists(data["truth"]):
        print(f"making {stem}", flush=True)
        subprocess.run([program, "make", name, data["base"], data["queries"], str(rows)], check=True)
        subprocess.run([program, "truth", data["base"], data["queries"], data["truth"] + ".part", str(K)], check=True)
        os.replace(data["truth"] + ".part", data["truth"])
    return data


def at_recall(points, wanted):
    """Queries per CPU-second at a recall, or None where the sweep does not reach it. Points: (recall, q/s)."""
    logit = lambda r: math.log(min(max(r, 1e-4), 0.9999) / (1 - min(max(r, 1e-4), 0.9999)))
    best = None
    for (r0, q0), (r1, q1) in zip(points, points[1:]):
        if r0 <= wanted <= r1 and r1 > r0:
            share = (logit(wanted) - logit(r0)) / max(logit(r1) - logit(r0), 1e-9)
            value = math.exp(math.log(q0) + share * (math.log(q1) - math.log(q0)))
            best = max(best or 0, value)
    if best is None and points and points[0][0] >= wanted:
        best = points[0][1]  # the least effort is better than asked for
    return best


def run_set(program, name, rows, options, efs):
    data = prepare(program, name, rows)
    import numpy

    engines = [Ours(program, data, build) for build in options.ours if build]
    for kind, module in ((Hnswlib, "hnswlib"), (Faiss, "faiss"), (FaissLists, "faiss"), (Usearch, "usearch")):
        if module not in options.peers.split(","):
            continue
        if kind is FaissLists and not any(build.startswith("lists") for build in options.ours):
            continue
        try:
            __import__(module)
            engines.append(kind(numpy, data, options.rebuild))
        except ImportError as error:
            print(f"skipped {kind.name}: {error}")
    queries = len(numpy.fromfile(data["truth"], dtype="<u4")) // K
    print(f"\ndata {name}: {rows} rows, {queries} queries, recall@{K}, one thread")
    rows_out = []
    for engine in engines:
        engine.built = engine.make()
        engine.samples = {}
        print(f"  built {engine.name}: {engine.built['build_cpu_s']:.1f} CPU-s, {engine.built['memory_bytes'] / 1e6:.0f} MB", flush=True)
    for _ in range(options.rounds):
        for ef in efs:
            for engine in engines:
                known = engine.samples.setdefault(ef, [])
                # Beyond this the curve is flat.
                before = [s[0] for e, samples in engine.samples.items() if e < ef for s in samples[:1]]
                if before and max(before) > 0.9985 and not known:
                    continue
                known.append(engine.search(ef))
    for engine in engines:
        points = []
        for ef, samples in engine.samples.items():
            if samples:
                points.append((samples[0][0], queries / statistics.median(s[1] for s in samples), ef,
                               queries / statistics.median(s[2] for s in samples)))
        engine.points = sorted(points)
        engine.close()
    if not options.rounds:
        return rows_out
    peer = next((e for e in engines if isinstance(e, Hnswlib)), None)
    for engine in engines:
        print(f"  {engine.name}")
        print("    " + "  ".join(f"ef{ef} {recall:.4f}:{rate / 1000:.1f}k({wall / 1000:.1f}k)" for recall, rate, ef, wall in engine.points))
        line = []
        row = {"set": name, "engine": engine.name, **{k: v for k, v in engine.built.items() if k != "engine"}, "at": {}}
        for wanted in AT:
            mine = at_recall([p[:2] for p in engine.points], wanted)
            theirs = at_recall([p[:2] for p in peer.points], wanted) if peer else None
            if mine:
                row["at"][str(wanted)] = round(mine)
                line.append(f"{wanted}: {mine / 1000:.1f}k" + (f" ({mine / theirs:.2f}x)" if theirs else ""))
        print("    q/CPU-s at recall (x hnswlib)  " + "  ".join(line), flush=True)
        rows_out.append(row)
    return rows_out


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=os.environ.get("QUIVER_BUILD", str(ROOT / "build" / "release")))
    parser.add_argument("--sets", default="E,H,M")
    parser.add_argument("--peers", default="hnswlib,faiss,usearch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--rebuild", action="store_true")
    parser.add_argument("--ours", action="append", help="a build line of ann_bench, e.g. 'graph 32 200 1'; may be repeated")
    parser.add_argument("--json", help="append one JSON line per engine and set to this file")
    options = parser.parse_args()
    options.ours = options.ours or ["graph 32 200 1"]

    program = pathlib.Path(options.build) / "bench" / "ann_bench"
    if not program.exists():
        print(f"{program} is missing: cmake --build {options.build} --target ann_bench", file=sys.stderr)
        return 1
    enter_environment()
    sets = {"E": 20000} if options.small else {name: SETS[name] for name in options.sets.split(",")}
    efs = EFS[:9] if options.small else EFS
    results = []
    for name, rows in sets.items():
        results += run_set(str(program), name, rows, options, efs)
    if options.json:
        with open(options.json, "a", encoding="utf-8") as out:
            for row in results:
                out.write(json.dumps(row) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
