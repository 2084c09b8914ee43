#!/usr/bin/env python3
# Filtered vector search on one thread beside hnswlib and faiss-cpu: recall@10 and queries per CPU-second by the share kept.
#
# usage: bench/run_filtered.py [--small] [--peers hnswlib,faiss] [--kinds random,near,far] [--shares 0.01,0.1,...] (per cent)
#                              [--recall 0.98] [--queries 1000] [--rounds 3] [--ours "graph 32 200 1"] [--build DIR]
#                              [--rebuild] [--json FILE] [--streams]
#
# Data E. Filters keep rows at random, or of each query the rows of the nearest (near) or of the farthest groups (far)
# first, see bench/filtered_bench.cc. Every engine gets the same masks and queries; its effort is swept, and the cheapest
# whose mean recall reaches --recall counts; where none does, the best recall is shown. Beside it stand the fifth
# percentile of the queries' recalls, the plan that was chosen, the ratio to our own unfiltered rate and to scoring all
# matches. --peers "" leaves our own loop. hnswlib's filter is a Python function, called for every row that it meets: its
# figures contain that, as a user's would. faiss takes a bitmap. usearch has no filter in Python. Our index is kept under
# ${QUIVER_CACHE:-~/.cache/quiver}; --rebuild builds it again. --streams measures range searches and iterators instead, beside
# the scans that they were before. Exit code 1: our program failed, or a query got fewer rows
# than match.
import argparse
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

import run_ann
from run_ann import CACHE, K, ROOT

SHARES = [0.01, 0.1, 1, 5, 20, 50, 90, 99]
EFS = [10, 14, 20, 28, 40, 56, 80, 112, 160, 240]
WHOLE = 10000  # of filtered_bench: a share is in 1 / (100 * WHOLE)


class Ours(run_ann.Ours):
    """filtered_bench in its own process."""

    def __init__(self, program, data, build, queries):
        super().__init__(program, data, build, [data["base"], data["queries"], str(queries), str(K), "IP"])

    def ready(self, path, rebuild):
        if rebuild or not path.exists():
            self.ask(f"build {self.build_line}")
            self.ask(f"save {path}")
        else:
            self.ask(f"load {path}")

    def filter(self, kind, share, path):
        return self.ask(f"filter {kind} {round(share * WHOLE)} {path}")["kept"]

    def measure(self, effort):
        result = self.ask(effort)
        if result["short"]:
            raise RuntimeError(f"{result['short']} queries got fewer rows than match")
        return result

    def at(self, ef):
        name = "nprobe" if self.build_line.startswith("lists") else "ef"
        return self.measure(f"search {name} {run_ann.lists_of(ef) if name == 'nprobe' else ef}")


class Masks:
    """What filtered_bench wrote: masks and exact answers."""

    def __init__(self, numpy, path, queries, kept):
        words, masks, k = (int(value) for value in numpy.fromfile(path, dtype="<u8", count=3))
        self.bits = numpy.fromfile(path, dtype="<u8", count=words * masks, offset=24).view("u1").reshape(masks, words * 8)
        self.truth = numpy.fromfile(path, dtype="<u4", offset=24 + words * masks * 8).reshape(queries, k)[:, : min(k, kept)]

    def of(self, query):
        return self.bits[query if len(self.bits) > 1 else 0]


class Filtered:
    """A peer under a filter. Mixed into the peers of run_ann."""

    def at(self, ef, masks, queries):
        cpu = time.process_time()
        answers = [self.find_one(ef, self.queries[q : q + 1], masks.of(q)) for q in range(queries)]
        cpu = time.process_time() - cpu
        wanted = masks.truth.shape[1]
        recalls = sorted(len(set(a) & set(t)) / wanted for a, t in zip(answers, masks.truth.tolist()))
        plans = {"short": short} if (short := sum(len(a) < wanted for a in answers)) else {}
        return {"recall": statistics.mean(recalls), "p5": recalls[len(recalls) // 20], "cpu_s": cpu, "queries": queries, "plans": plans}


class Hnswlib(Filtered, run_ann.Hnswlib):
    def find_one(self, ef, query, mask):
        self.index.set_ef(ef)
        bits = mask.tobytes()
        try:
            return self.index.knn_query(query, K, num_threads=1, filter=lambda row: bits[row >> 3] >> (row & 7) & 1 == 1)[0][0].tolist()
        except RuntimeError:
            return []  # it raises when it finds fewer than K


class Faiss(Filtered, run_ann.Faiss):
    def find_one(self, ef, query, mask):
        import faiss

        kept = faiss.IDSelectorBitmap(mask)
        rows = self.index.search(query, K, params=faiss.SearchParametersHNSW(efSearch=ef, sel=kept))[1][0]
        return [row for row in rows.tolist() if row >= 0]


def cheapest(measure, wanted, rounds, efs):
    """The first effort that reaches the recall, measured anew; else the best."""
    best = None
    for ef in efs:
        result = measure(ef)
        if best is None or result["recall"] > best[1]["recall"]:
            best = (ef, result)
        if result["recall"] >= wanted:
            break
    ef, result = best
    samples = [result["cpu_s"]] + [measure(ef)["cpu_s"] for _ in range(rounds - 1)]
    return {"effort": ef, "recall": result["recall"], "p5": result["p5"], "plans": result["plans"],
            "rate": result["queries"] / statistics.median(samples), "reached": result["recall"] >= wanted}


def show(name, row, unfiltered=None, scan=None):
    ratios = (f"  {row['rate'] / unfiltered:5.2f}x own unfiltered" if unfiltered else "") + (f"  {row['rate'] / scan:6.2f}x scoring all" if scan else "")
    plans = ", ".join(f"{plan} {count}" for plan, count in row["plans"].items())
    missed = "" if row["reached"] else "  (recall not reached)"
    print(f"    {name:20} {row['rate'] / 1000:8.2f}k q/CPU-s  recall {row['recall']:.4f}  p5 {row['p5']:.2f}  effort {row['effort']:4}{ratios}  {plans}{missed}", flush=True)


# Name, rows skipped (of what matches), rows of a page, pages, order.
STREAMS = [("range of 10 rows", 0, 10, 1, "near"), ("range of 100", 0, 100, 1, "near"), ("range of 1,000", 0, 1000, 1, "near"),
           ("ring: rows 5,000 to 5,100", 5000, 100, 1, "near"), ("iterator: first page of 100", 0, 100, 1, "exact"),
           ("iterator: 50 pages of 100", 0, 100, 50, "exact"), ("iterator: a page at row 5,000", 5000, 100, 1, "exact")]


def measure_streams(ours, shares):
    for share in shares:
        kept = ours.filter("random", share, "")
        print(f"  {share:g} % kept: {kept} rows; CPU ms for all pages, by a scan for each page, recall, code and exact distances")
        for name, skip, rows, pages, order in STREAMS:
            if skip + rows * pages > kept:
                continue
            result = ours.ask(f"stream {skip} {rows} {pages} {order}")
            per_query = 1000 / result["queries"]
            cost, scan = result["cpu_s"] * per_query, result["scan_cpu_s"] * per_query * pages
            print(f"    {name:30} {cost:9.3f}  {scan:9.3f}  {scan / cost:7.1f}x  recall {result['recall']:.4f}"
                  f"  {result['code_distances']:9.0f} {result['exact_distances']:7.0f}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=os.environ.get("QUIVER_BUILD", str(ROOT / "build" / "release")))
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--peers", default="hnswlib,faiss")
    parser.add_argument("--peer-queries", type=int, default=100)
    parser.add_argument("--kinds", default="random,near,far")
    parser.add_argument("--shares", default=",".join(str(share) for share in SHARES))
    parser.add_argument("--recall", type=float, default=0.98)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ours", default="graph 32 200 1")
    parser.add_argument("--rebuild", action="store_true")
    parser.add_argument("--streams", action="store_true")
    parser.add_argument("--json", help="append one JSON line per engine and filter to this file")
    options = parser.parse_args()
    programs = {name: pathlib.Path(options.build) / "bench" / name for name in ("ann_bench", "filtered_bench")}
    for name, program in programs.items():
        if not program.exists():
            print(f"{program} is missing: cmake --build {options.build} --target {name}", file=sys.stderr)
            return 1
    run_ann.enter_environment()
    import numpy

    rows = 20000 if options.small else run_ann.SETS["E"]
    data = run_ann.prepare(str(programs["ann_bench"]), "E", rows)
    engines = []
    for kind, module in ((Hnswlib, "hnswlib"), (Faiss, "faiss")):
        if module not in options.peers.split(","):
            continue
        try:
            __import__(module)
        except ImportError as error:
            print(f"skipped {kind.name}: {error}")
            continue
        engines.append(kind(numpy, data, options.rebuild))
        engines[-1].make()
    ours = Ours(str(programs["filtered_bench"]), data, options.ours, options.queries)
    ours.ready(CACHE / "data" / f"{data['name']}.{options.ours.replace(' ', '-')}.index", options.rebuild)
    if options.streams:
        print(f"\ndata E: {rows} rows, one thread, {options.ours}")
        measure_streams(ours, [float(text) for text in options.shares.split(",")] if "--shares" in sys.argv else [100, 10, 1])
        ours.close()
        return 0
    ours.filter("random", 100, "")
    unfiltered = cheapest(ours.at, options.recall, options.rounds, EFS)
    print(f"\ndata E: {rows} rows, recall@{K} >= {options.recall}, one thread, {options.ours}")
    show("unfiltered", unfiltered)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "filter")
        for kind in options.kinds.split(","):
            for share in (float(text) for text in options.shares.split(",")):
                kept = ours.filter(kind, share, path if engines else "")
                print(f"  {kind} {share:g} % kept: {kept} rows")
                scan = cheapest(lambda _: ours.measure("scan"), 0, 1, [0])["rate"]
                row = cheapest(ours.at, options.recall, options.rounds, EFS)
                show(options.ours, row, unfiltered["rate"], scan)
                results.append({"kind": kind, "share": share, "engine": options.ours, "scan": scan, **row})
                if not engines:
                    continue
                masks = Masks(numpy, path, options.queries, kept)
                for engine in engines:
                    few = min(options.queries, options.peer_queries)
                    row = cheapest(lambda ef: engine.at(ef, masks, few), options.recall, 1, EFS)
                    show(engine.name, row)
                    results.append({"kind": kind, "share": share, "engine": engine.name, **row})
    ours.close()
    if options.json:
        with open(options.json, "a", encoding="utf-8") as out:
            for row in results:
                out.write(json.dumps(row) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
