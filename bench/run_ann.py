#!/usr/bin/env python3
# Vector indexes on one or two threads beside hnswlib, faiss-cpu, usearch, pyvsag and zvec: recall@10 against queries per CPU-second.
#
# usage: bench/run_ann.py [--small] [--sets E,H,M,T,S] [--rows N] [--peers hnswlib,faiss,usearch,pyvsag,zvec] [--rounds 3]
#                         [--threads 1] [--ours "graph 32 200 1"] [--minutes 60] [--prepare] [--rebuild] [--build DIR]
#                         [--json FILE] [--plots FOLDER]
#
# Sets: E, H and M are made by bench/data_sets.h; T (real text through LSA) and S (real sentences through a model) by
# bench/text_sets.py, from packages; E, H, M, T and S have 200, 100, 1,000, 110 and 300 thousand rows unless --rows says
# otherwise. All are unit vectors, compared by inner product, with 1,000 held-out queries and exact answers.
#
# Every engine builds on one thread from the same vectors and searches the same queries on --threads; ef is swept, rounds
# alternate between the engines, and the median of CPU seconds decides. Figures at a recall are interpolated (log of
# queries per second against logit of recall) and set beside hnswlib's of the same run; with more than one thread, the
# same by the clock. hnswlib, faiss and usearch search all queries in one call, so that no time of Python is counted;
# pyvsag and zvec take them one by one from Python; ours one by one. Peers' indexes (bench/ann_peers.py) and the data are
# kept under ${QUIVER_CACHE:-~/.cache/quiver} with the CPU seconds that building took; --rebuild builds them again. Ours
# is built every time. --prepare makes what is kept and ends: it may run at any time, the measurement wants an idle
# machine. A peer that does not build within --minutes is left out. --small: 20,000 rows (of E unless --sets says
# otherwise), two minutes a set. A plot per set goes to --plots. A peer that does not install is skipped with the reason.
# Exit code 1: our program failed, or lost answers.
import argparse
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys

import plots
from ann_peers import CACHE, K, PACKAGES, PEERS, FaissLists, Hnswlib, TooSlow, installed, lists_of

ROOT = pathlib.Path(__file__).resolve().parent.parent
AT = [0.90, 0.95, 0.97, 0.98, 0.99, 0.997]
EFS = [10, 14, 20, 28, 40, 56, 80, 112, 160, 240, 360, 540, 800]
SETS = {"E": 200000, "H": 100000, "M": 1000000, "T": 110000, "S": 300000}
SMALL = 20000


def enter_environment():
    """Re-executes this script inside the cached environment."""
    if os.environ.get("QUIVER_ANN_INSIDE") == "1":
        return
    place = CACHE / "venv-ann"
    python = place / "bin" / "python"
    marker = place / ".installed"
    wanted = " ".join(PACKAGES)
    if not (marker.exists() and marker.read_text() == wanted):
        print(f"installing {wanted} into {place}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
        for package in PACKAGES:
            # A peer may fail alone: importing it says why.
            subprocess.run([str(python), "-m", "pip", "install", "-q", package], check=False)
        marker.write_text(wanted)
    environment = dict(os.environ, QUIVER_ANN_INSIDE="1", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", OMP_WAIT_POLICY="passive")
    sys.stdout.flush()
    os.execve(python, [str(python), *sys.argv], environment)


class Ours:
    """Our engine in its own process, driven by lines."""

    def __init__(self, program, data, build, arguments=None, threads=1):
        self.name = build
        self.threads = threads
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
        result = self.ask(f"search {effort} threads {self.threads}")
        if result["short"]:
            raise RuntimeError(f"{result['short']} queries got fewer than {K} rows")
        return result["recall"], result["cpu_s"], result["wall_s"]

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)


def prepare(program, name, rows):
    """Makes the vectors and the exact answers, once."""
    folder = CACHE / "data"
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"ann-{name}-{rows}-v1"
    data = {"name": stem, "rows": rows, **{part: str(folder / f"{stem}.{part}") for part in ("base", "queries", "truth")}}
    if not os.path.exists(data["truth"]):
        print(f"making {stem}", flush=True)
        if name in "TS":
            subprocess.run([sys.executable, str(ROOT / "bench" / "text_sets.py"), name, str(folder / stem), str(rows)], check=True)
        else:
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


def make_engines(numpy, program, data, options):
    """Our engines and the peers that install."""
    kinds = [kind for kind in PEERS if kind is not FaissLists or any(build.startswith("lists") for build in options.ours)]
    peers = [kind(numpy, data, options.rebuild, options.threads, options.minutes)
             for kind in installed(kinds, options.peers.split(","))]
    ours = [] if options.prepare else [Ours(program, data, build, threads=options.threads) for build in options.ours if build]
    return ours + peers


def run_set(program, name, rows, options, efs):
    data = prepare(program, name, rows)
    import numpy

    engines = make_engines(numpy, program, data, options)
    queries = len(numpy.fromfile(data["truth"], dtype="<u4")) // K
    print(f"\ndata {name}: {rows} rows, {queries} queries, recall@{K}, {options.threads} thread(s), load {os.getloadavg()[0]:.1f}")
    rows_out = []
    for engine in list(engines):
        engine.samples = {}
        try:
            engine.built = engine.make()
        except TooSlow as reason:
            print(f"  left out {engine.name}: {reason}", flush=True)
            engines.remove(engine)
            continue
        print(f"  built {engine.name}: {engine.built['build_cpu_s']:.1f} CPU-s, {engine.built['memory_bytes'] / 1e6:.0f} MB", flush=True)
    if options.prepare:
        return rows_out
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
    peer = next((e for e in engines if isinstance(e, Hnswlib)), None)
    clocks = [("CPU-s", 1, "at")] + ([("s", 3, "wall_at")] if options.threads > 1 else [])
    for engine in engines:
        print(f"  {engine.name}")
        print("    " + "  ".join(f"ef{ef} {recall:.4f}:{rate / 1000:.1f}k({wall / 1000:.1f}k)" for recall, rate, ef, wall in engine.points))
        row = {"set": name, "rows": rows, "threads": options.threads, "load": os.getloadavg()[0], "engine": engine.name,
               **{k: v for k, v in engine.built.items() if k not in ("engine", "load")}}
        for unit, place, key in clocks:
            line, row[key] = [], {}
            for wanted in AT:
                mine = at_recall([(p[0], p[place]) for p in engine.points], wanted)
                theirs = at_recall([(p[0], p[place]) for p in peer.points], wanted) if peer else None
                if mine:
                    row[key][str(wanted)] = round(mine)
                    line.append(f"{wanted}: {mine / 1000:.1f}k" + (f" ({mine / theirs:.2f}x)" if theirs else ""))
            print(f"    q/{unit} at recall (x hnswlib)  " + "  ".join(line), flush=True)
        rows_out.append(row)
    if options.plots:
        path = pathlib.Path(options.plots) / f"ann-{name}-{rows}{'' if options.threads == 1 else f'-{options.threads}-threads'}.svg"
        plots.draw_recall(path, f"data {name}, {rows:,} rows", f"recall@{K}", {e.name: [p[:2] for p in e.points] for e in engines})
    return rows_out


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=os.environ.get("QUIVER_BUILD", str(ROOT / "build" / "release")))
    parser.add_argument("--sets")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--peers", default="hnswlib,faiss,usearch,pyvsag,zvec")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60, help="that one index of a peer may take to build")
    parser.add_argument("--prepare", action="store_true", help="make data and the peers' indexes, measure nothing")
    parser.add_argument("--plots", default=str(CACHE / "plots"), help="folder of the plots")
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
    if options.plots:
        pathlib.Path(options.plots).mkdir(parents=True, exist_ok=True)
    efs = EFS[:9] if options.small else EFS
    results = []
    for name in (options.sets or ("E" if options.small else ",".join(SETS))).split(","):
        results += run_set(str(program), name, options.rows or (SMALL if options.small else SETS[name]), options, efs)
    if options.json:
        with open(options.json, "a", encoding="utf-8") as out:
            for row in results:
                out.write(json.dumps(row) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
