#!/usr/bin/env python3
# Exact search on one thread beside faiss-cpu: 200,000 x 384 f32 (data E), single queries and one batch of 1,000.
#
# usage: bench/run_flat.py [--build DIR] [--rounds 5] [--rows 200000] [--dim 384] [--json FILE]
#
# Both engines search the same vectors from the same file. Rounds alternate (ours, faiss, ours, faiss, ...); medians of
# CPU seconds decide, wall seconds stand beside them. "of read" compares a scan with plain reads just before and after it. Answers are compared row by row. faiss-cpu comes from its wheel into
# an environment of its own under ${QUIVER_CACHE:-~/.cache/quiver}; where it does not install, the benchmark says so and
# prints our rows only. Exit code 1: answers differ, or our program failed.
import argparse
import json
import os
import pathlib
import statistics
import struct
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = pathlib.Path(os.environ.get("QUIVER_CACHE", pathlib.Path.home() / ".cache" / "quiver"))
FAISS = "faiss-cpu==1.15.1"
NUMPY = "numpy==2.4.6"
K = 10
SINGLE_QUERIES = 60
BATCH = 1000


def enter_environment():
    """Re-executes this script inside the cached environment; returns why that is not possible, or None inside it."""
    if os.environ.get("QUIVER_FLAT_INSIDE") == "1":
        return None
    place = CACHE / "venv-faiss"
    python = place / "bin" / "python"
    marker = place / ".installed"
    wanted = f"{FAISS} {NUMPY}"
    if not (marker.exists() and marker.read_text() == wanted):
        print(f"installing {wanted} into {place}", flush=True)
        try:
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True, capture_output=True, text=True)
            subprocess.run([str(python), "-m", "pip", "install", "-q", FAISS, NUMPY], check=True, capture_output=True, text=True)
        except (subprocess.CalledProcessError, OSError) as error:
            text = (getattr(error, "stderr", "") or str(error)).strip()
            return text.splitlines()[-1] if text else "unknown"
        marker.write_text(wanted)
    # Threads are fixed before the libraries load.
    environment = dict(os.environ, QUIVER_FLAT_INSIDE="1", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1",
                       OMP_WAIT_POLICY="passive")
    sys.stdout.flush()
    os.execve(python, [str(python), *sys.argv], environment)


class Ours:
    """Our engine in its own process, driven by lines."""

    def __init__(self, program, base, queries):
        self.process = subprocess.Popen([program, "run", base, queries], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError("flat_bench ended early")
        result = json.loads(answer)
        if "error" in result:
            raise RuntimeError(f"flat_bench: {line}: {result['error']}")
        return result

    def search(self, metric, batch, count, kind="f32"):
        return self.ask(f"search {metric} {kind} {batch} {count} {K}")

    def read(self):
        return self.ask("read")

    def results(self, path, count):
        self.ask(f"results {path}")
        data = pathlib.Path(path).read_bytes()
        ids = struct.unpack(f"<{count * K}I", data[: count * K * 4])
        scores = struct.unpack(f"<{count * K}f", data[count * K * 4 :])
        return ids, scores

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=30)


class Faiss:
    """faiss in this process, one thread."""

    def __init__(self, base, queries):
        import faiss
        import numpy

        faiss.omp_set_num_threads(1)
        self.numpy = numpy
        self.queries = self.load(queries)
        vectors = self.load(base)
        self.indexes = {"IP": faiss.IndexFlatIP(vectors.shape[1]), "L2": faiss.IndexFlatL2(vectors.shape[1])}
        for index in self.indexes.values():
            index.add(vectors)
        self.name = f"faiss {faiss.__version__} ({faiss.get_compile_options().strip()})"

    def load(self, path):
        rows, dim = self.numpy.fromfile(path, dtype="<u4", count=2)
        return self.numpy.fromfile(path, dtype="<f4", offset=8).reshape(rows, dim)

    def search(self, metric, batch, count):
        index = self.indexes[metric]
        distances, ids = [], []
        wall, cpu = time.monotonic(), time.process_time()
        for first in range(0, count, batch):
            d, i = index.search(self.queries[first : min(first + batch, count)], K)
            distances.append(d)
            ids.append(i)
        result = {"wall_s": time.monotonic() - wall, "cpu_s": time.process_time() - cpu}
        self.ids = self.numpy.concatenate(ids)
        self.scores = self.numpy.concatenate(distances)
        return result


def agreement(ours, faiss, metric, count):
    """Share of our ids that faiss has too, counting a score as good as faiss's k-th as equal, and the largest score gap."""
    ids, scores = ours
    same, gap = 0, 0.0
    for q in range(count):
        theirs = set(int(i) for i in faiss.ids[q])
        last = float(faiss.scores[q][K - 1])
        for i in range(K):
            score = scores[q * K + i]
            tie = score >= last - 1e-5 if metric == "IP" else score <= last + 1e-5
            same += ids[q * K + i] in theirs or tie
            gap = max(gap, abs(score - float(faiss.scores[q][i])))
    return same / (count * K), gap


def median(samples, key):
    return statistics.median(sample[key] for sample in samples)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=os.environ.get("QUIVER_BUILD", str(ROOT / "build" / "release")))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=200000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--json", help="append one JSON line with the results to this file")
    options = parser.parse_args()

    program = pathlib.Path(options.build) / "bench" / "flat_bench"
    if not program.exists():
        print(f"{program} is missing: cmake --build {options.build} --target flat_bench", file=sys.stderr)
        return 1
    why_not = enter_environment()

    data = CACHE / "data"
    data.mkdir(parents=True, exist_ok=True)
    name = f"E-{options.rows}x{options.dim}-seed7-v1"
    base, queries = data / f"{name}.base.fbin", data / f"{name}.queries.fbin"
    if not (base.exists() and queries.exists()):
        print(f"making {name}", flush=True)
        subprocess.run([program, "make", f"{base}.part", queries, str(options.rows), str(options.dim), str(BATCH)], check=True)
        os.replace(f"{base}.part", base)

    faiss = None
    if why_not is None:
        faiss = Faiss(base, queries)
    else:
        print(f"skipped faiss-cpu: it does not install here ({why_not})")
    ours = Ours(program, base, queries)

    cases = [("single", "IP", 1, SINGLE_QUERIES), ("single", "L2", 1, SINGLE_QUERIES), ("batch", "IP", BATCH, BATCH),
             ("batch", "L2", BATCH, BATCH)]
    own_cases = [("single", "COSINE", 1, SINGLE_QUERIES, "f32"), ("batch", "COSINE", BATCH, BATCH, "f32"),
                 ("single", "IP", 1, SINGLE_QUERIES, "f16"), ("batch", "IP", BATCH, BATCH, "f16"),
                 ("single", "IP", 1, SINGLE_QUERIES, "int8"), ("batch", "IP", BATCH, BATCH, "int8"),
                 ("batch of 16", "IP", 16, 160, "f32"), ("batch of 64", "IP", 64, 640, "f32")]
    for _, metric, batch, count in cases:  # warm both
        ours.search(metric, batch, min(count, 4 * batch))
        if faiss:
            faiss.search(metric, batch, min(count, 4 * batch))

    rows, failed = [], False
    reads = []
    samples = {case: ([], []) for case in cases}
    agreements = {}
    for round_number in range(options.rounds):
        # Another case comes first in every round, so that none always follows the same neighbour.
        turn = round_number % len(cases)
        for case in cases[turn:] + cases[:turn]:
            kind, metric, batch, count = case
            before = [ours.read() for _ in range(3)]
            mine = ours.search(metric, batch, count)
            around = before + [ours.read() for _ in range(3)]
            mine["read_s"] = median(around, "cpu_s")
            reads += around
            samples[case][0].append(mine)
            if faiss:
                samples[case][1].append(faiss.search(metric, batch, count))
                if round_number == 0:
                    found = ours.results(str(data / "results.bin"), count)
                    agreements[case] = agreement(found, faiss, metric, count)
    megabytes = options.rows * options.dim * 4 / 1e6
    ceiling = megabytes / 1e3 / median(reads, "cpu_s")
    level = samples[cases[0]][0][0]["level"]
    print(f"\ndata {name}, k = {K}, one thread, {options.rounds} alternating rounds, medians; ours: {level}, "
          f"peer: {faiss.name if faiss else 'none'}")
    print(f"read ceiling of one core: {ceiling:.1f} GB/s (CPU seconds)")
    head = f"{'case':<12} {'metric':<7} {'ours ms/q':>10} {'GB/s':>6} {'of read':>8} {'faiss ms/q':>11} {'ratio CPU':>10} {'ratio wall':>11} {'agree':>8} {'max gap':>9}"
    print(head)
    for case in cases:
        kind, metric, batch, count = case
        mine, theirs = samples[case]
        cpu = median(mine, "cpu_s") / count
        row = {"case": kind, "metric": metric, "ours_cpu_ms": cpu * 1e3}
        text = f"{kind:<12} {metric:<7} {cpu * 1e3:>10.3f} "
        if batch == 1:
            row["gb_per_s"] = megabytes / 1e3 / cpu
            row["of_read"] = statistics.median(m["read_s"] * count / m["cpu_s"] for m in mine)
            text += f"{row['gb_per_s']:>6.1f} {row['of_read']:>8.1%} "
        else:
            text += f"{'':>6} {'':>8} "
        if faiss:
            their_cpu = median(theirs, "cpu_s") / count
            row["faiss_cpu_ms"] = their_cpu * 1e3
            row["ratio_cpu"] = statistics.median(t["cpu_s"] / m["cpu_s"] for m, t in zip(mine, theirs))
            row["ratio_wall"] = statistics.median(t["wall_s"] / m["wall_s"] for m, t in zip(mine, theirs))
            row["agreement"], row["max_gap"] = agreements[case]
            failed |= row["agreement"] < 1.0
            text += (f"{their_cpu * 1e3:>11.3f} {row['ratio_cpu']:>9.2f}x {row['ratio_wall']:>10.2f}x "
                     f"{row['agreement']:>8.4%} {row['max_gap']:>9.1e}")
        print(text)
        rows.append(row)
    for kind, metric, batch, count, element in own_cases:
        mine = [ours.search(metric, batch, count, element) for _ in range(3)]
        cpu = median(mine, "cpu_s") / count
        rows.append({"case": kind, "metric": metric, "type": element, "ours_cpu_ms": cpu * 1e3})
        print(f"{kind:<12} {metric:<7} {cpu * 1e3:>10.3f}   {element}")
    ours.close()
    if options.json:
        with open(options.json, "a", encoding="utf-8") as file:
            file.write(json.dumps({"data": name, "level": level, "read_gb_per_s": ceiling, "rows": rows}) + "\n")
    if failed:
        print("answers differ from faiss", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
