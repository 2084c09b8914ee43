#!/usr/bin/env python3
# Filtered vector search on one thread beside hnswlib, faiss-cpu, usearch and zvec: recall@10 and queries per CPU-second by share.
#
# usage: bench/run_filtered.py [--small] [--sets E,T] [--rows N] [--peers hnswlib,faiss,usearch,zvec] [--minutes 60]
#                              [--kinds random,near,far,range,equal,in,and,not,labels] [--shares 0.01,0.1,...] (per cent)
#                              [--recall 0.95,0.98] [--efforts 10,14,...] [--limit 10] [--queries 1000]
#                              [--peer-queries 100] [--rounds 3] [--prepare] [--ours "graph 32 200 1"] [--build DIR]
#                              [--rebuild] [--json FILE] [--plots FOLDER] [--streams]
#
# Sets as in run_ann.py. random, near and far keep rows at random, or of each query the rows of the nearest or of the
# farthest groups first, see bench/filtered_bench.cc. The other kinds are conditions on attributes, see
# bench/conditions.py: those of T are what is known of the packages whose descriptions the texts are, so they go together
# with the vectors; those of other sets are made. A real attribute has not every share: the condition nearest to one
# stands for it, and none where the nearest is off by more than three times.
#
# Every engine gets the same rows that match and the same queries; its effort is swept, and the cheapest whose mean recall
# reaches --recall counts; where none does, the best recall is shown. Beside it stand the fifth percentile of the queries'
# recalls, the plan that was chosen, the ratio to our own unfiltered rate and to scoring all matches. Ours and the peers
# get the rows as a bitmap (see filtered_peers.py), zvec the condition. Peers answer --peer-queries of the queries.
# --peers "" leaves our own loop. Indexes are kept under ${QUIVER_CACHE:-~/.cache/quiver}; --rebuild builds them again,
# --prepare builds them and ends. After --minutes no further filter is begun. A plot per set and recall goes to --plots.
# --streams measures range searches and iterators instead, beside the scans that they were before.
# Exit code 1: our program failed, or a query got fewer rows than match.
import argparse
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

import conditions
import plots
import run_ann
from ann_peers import CACHE, K, TooSlow, installed
from filtered_peers import PEERS, Masks, Zvec
from run_ann import ROOT

SHARES = [0.01, 0.1, 1, 5, 20, 50, 90, 99]
EFS = [10, 14, 20, 28, 40, 56, 80, 112, 160, 240]
WHOLE = 10000  # of filtered_bench: a share is in 1 / (100 * WHOLE)
CORRELATIONS = ["random", "near", "far"]


class Ours(run_ann.Ours):
    """filtered_bench in its own process."""

    def __init__(self, program, data, build, queries, limit):
        super().__init__(program, data, build, [data["base"], data["queries"], str(queries), str(limit), "IP"])

    def ready(self, path, rebuild):
        if rebuild or not path.exists():
            self.ask(f"build {self.build_line}")
            self.ask(f"save {path}")
        else:
            self.ask(f"load {path}")

    def filter(self, kind, share, path):
        return self.ask(f"filter {kind} {round(share * WHOLE)} {path}")["kept"]

    def filter_rows(self, numpy, mask, folder, path):
        """The same for the rows of an array of bool."""
        bits = numpy.packbits(mask, bitorder="little").tobytes()
        place = os.path.join(folder, "rows")
        pathlib.Path(place).write_bytes(bits + bytes(-len(bits) % 8))
        return self.ask(f"filter mask {place} {path}")["kept"]

    def measure(self, effort):
        result = self.ask(effort)
        if result["short"]:
            raise RuntimeError(f"{result['short']} queries got fewer rows than match")
        return result

    def at(self, ef):
        name = "nprobe" if self.build_line.startswith("lists") else "ef"
        return self.measure(f"search {name} {run_ann.lists_of(ef) if name == 'nprobe' else ef}")


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
    print(f"    {name:22} {row['rate'] / 1000:8.2f}k q/CPU-s  recall {row['recall']:.4f}  p5 {row['p5']:.2f}  effort {row['effort']:4}{ratios}  {plans}{missed}", flush=True)


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


def cases(numpy, ours, data, name, options, folder, path):
    """Sets one filter after another. Yields its kind, the share kept, the condition or None, and what to print."""
    shares = [float(text) for text in options.shares.split(",")]
    kinds = options.kinds.split(",")
    for kind in (kind for kind in kinds if kind in CORRELATIONS):
        for share in shares:
            kept = ours.filter(kind, share, path)
            yield kind, kept, None, f"{kind} {share:g} % kept: {kept} rows"
    wanted = [kind for kind in conditions.KINDS if kind in kinds]
    if not wanted:
        return
    for condition in conditions.find_conditions(numpy, columns_of(numpy, data, name), wanted, [share / 100 for share in shares]):
        kept = ours.filter_rows(numpy, condition.mask, folder, path)
        text = condition.text if len(condition.text) < 90 else condition.text[:87] + "..."
        yield condition.kind, kept, condition.text, f"{condition.kind} {100 * kept / data['rows']:.3g} % kept: {kept} rows, {text}"


def columns_of(numpy, data, name):
    if name == "T":
        return conditions.read_columns(str(pathlib.Path(data["base"]).with_suffix(".attributes")))
    return conditions.made_columns(numpy, data["rows"])


def remembered(measure):
    """The measure, taken once for each effort: sweeps for several recalls share their points."""
    known = {}
    return lambda ef: known[ef] if ef in known else known.setdefault(ef, measure(ef))


def make_peers(numpy, data, name, options):
    made = []
    for kind in installed(PEERS, options.peers.split(",")):
        extra = {"fields": columns_of(numpy, data, name)} if kind is Zvec else {}
        try:
            engine = kind(numpy, data, options.rebuild, 1, options.minutes, **extra)
            engine.make()
            made.append(engine)
        except (ImportError, TooSlow) as reason:
            print(f"left out {kind.name}: {reason}", flush=True)
    return made


def run_set(programs, name, rows, options, end):
    import numpy

    data = run_ann.prepare(str(programs["ann_bench"]), name, rows)
    engines = [] if options.streams else make_peers(numpy, data, name, options)
    ours = Ours(str(programs["filtered_bench"]), data, options.ours, options.queries, options.limit)
    ours.ready(CACHE / "data" / f"{data['name']}.{options.ours.replace(' ', '-')}.index", options.rebuild)
    print(f"\ndata {name}: {rows} rows, one thread, {options.ours}, load {os.getloadavg()[0]:.1f}")
    results = []
    if options.streams:
        measure_streams(ours, [float(text) for text in options.shares.split(",")] if "--shares" in sys.argv else [100, 10, 1])
    elif not options.prepare:
        with tempfile.TemporaryDirectory() as folder:
            results = measure_set(numpy, ours, engines, data, name, options, end, folder)
    for engine in [ours, *engines]:
        engine.close()
    return results


def measure_set(numpy, ours, engines, data, name, options, end, folder):
    recalls = [float(text) for text in options.recall.split(",")]
    efforts = [int(text) for text in options.efforts.split(",")]
    ours.filter("random", 100, "")
    unfiltered = {}
    for wanted in recalls:
        unfiltered[wanted] = cheapest(ours.at, wanted, options.rounds, efforts)
        show("unfiltered", unfiltered[wanted])
    results = []
    few = min(options.queries, options.peer_queries)
    path = os.path.join(folder, "filter") if engines else ""
    for kind, kept, condition, text in cases(numpy, ours, data, name, options, folder, path):
        if time.monotonic() > end:
            print(f"  stopped after {options.minutes:g} minutes, before {text}")
            break
        print(f"  {text}")
        row = {"set": name, "rows": data["rows"], "load": os.getloadavg()[0], "kind": kind, "share": 100 * kept / data["rows"], "condition": condition}
        scan = cheapest(lambda _: ours.measure("scan"), 0, 1, [0])["rate"]
        masks = Masks(numpy, path, options.queries, kept) if engines else None
        sweeps = [(engine, remembered(lambda ef, engine=engine: engine.at(ef, masks, few, condition)))
                  for engine in engines if condition or not engine.needs_condition]
        for wanted in recalls:
            print(f"   recall@{options.limit} >= {wanted}")
            mine = cheapest(ours.at, wanted, options.rounds, efforts)
            show(options.ours, mine, unfiltered[wanted]["rate"], scan)
            results.append({**row, "wanted": wanted, "engine": options.ours, "scan": scan, **mine})
            for engine, measure in sweeps:
                theirs = cheapest(measure, wanted, 1, efforts)
                show(engine.name, theirs)
                results.append({**row, "wanted": wanted, "engine": engine.name, **theirs})
    draw(results, name, data["rows"], recalls, options)
    return results


def draw(results, name, rows, recalls, options):
    """One plot per recall: the points of random filters, or of all kinds where there is no random one, that reached it."""
    for wanted in recalls if options.plots else []:
        points = [row for row in results if row["wanted"] == wanted and row["reached"]]
        points = [row for row in points if row["kind"] == "random"] or points
        series = {}
        for row in sorted(points, key=lambda row: row["share"]):
            series.setdefault(row["engine"], []).append((row["share"], row["rate"]))
        if series:
            kinds = ", ".join(dict.fromkeys(row["kind"] for row in points))
            path = pathlib.Path(options.plots) / f"filtered-{name}-{rows}-{wanted:g}.svg"
            plots.draw_shares(path, f"data {name}, {rows:,} rows, recall@{options.limit} of {wanted:g}, filters: {kinds}", series)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=os.environ.get("QUIVER_BUILD", str(ROOT / "build" / "release")))
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--sets", default="E")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--peers", default="hnswlib,faiss,usearch,zvec")
    parser.add_argument("--peer-queries", type=int, default=100)
    parser.add_argument("--kinds", default=",".join([*CORRELATIONS, *conditions.KINDS]))
    parser.add_argument("--shares", default=",".join(str(share) for share in SHARES))
    parser.add_argument("--recall", default="0.95,0.98")
    parser.add_argument("--efforts", default=",".join(map(str, EFS)), help="of the sweep: ef, and the lists that stand for it")
    parser.add_argument("--limit", type=int, default=K, help="rows wanted; peers know their usual number alone")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=60, help="that one index of a peer, or all filters, may take")
    parser.add_argument("--ours", default="graph 32 200 1")
    parser.add_argument("--prepare", action="store_true", help="make data and indexes, measure nothing")
    parser.add_argument("--rebuild", action="store_true")
    parser.add_argument("--streams", action="store_true")
    parser.add_argument("--plots", default=str(CACHE / "plots"), help="folder of the plots")
    parser.add_argument("--json", help="append one JSON line per engine and filter to this file")
    options = parser.parse_args()
    programs = {name: pathlib.Path(options.build) / "bench" / name for name in ("ann_bench", "filtered_bench")}
    for name, program in programs.items():
        if not program.exists():
            print(f"{program} is missing: cmake --build {options.build} --target {name}", file=sys.stderr)
            return 1
    if options.limit != K and options.peers:
        print(f'--limit other than {K} needs --peers ""', file=sys.stderr)
        return 1
    run_ann.enter_environment()
    if options.plots:
        pathlib.Path(options.plots).mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + options.minutes * 60
    results = []
    for name in options.sets.split(","):
        rows = options.rows or (run_ann.SMALL if options.small else run_ann.SETS[name])
        results += run_set(programs, name, rows, options, end)
    if options.json:
        with open(options.json, "a", encoding="utf-8") as out:
            for row in results:
                out.write(json.dumps(row) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
