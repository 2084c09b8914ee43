# File: bench/filtered_peers.py
# Libraries under a filter, for bench/run_filtered.py: each answers some queries, given the rows that match.
#
# hnswlib calls a Python function for every row that it meets, so its figures contain that, as a user's would; faiss takes a
# bitmap; usearch has no filter in Python, so its Rust form runs in a process of its own over the index that Python built
# (bench/usearch_filtered, needs cargo); zvec knows conditions, not bitmaps: it works out what matches by its own inverted
# indexes, which is part of its time, and has no figures where there is no condition.
import json
import os
import shutil
import statistics
import subprocess
import time

import ann_peers
from ann_peers import CACHE, K


class Masks:
    """What filtered_bench wrote: masks and exact answers."""

    def __init__(self, numpy, path, queries, kept):
        words, masks, k = (int(value) for value in numpy.fromfile(path, dtype="<u8", count=3))
        self.path = path
        self.bits = numpy.fromfile(path, dtype="<u8", count=words * masks, offset=24).view("u1").reshape(masks, words * 8)
        self.truth = numpy.fromfile(path, dtype="<u4", offset=24 + words * masks * 8).reshape(queries, k)[:, : min(k, kept)]

    def of(self, query):
        return self.bits[query if len(self.bits) > 1 else 0]


class Filtered:
    """A peer under a filter. Mixed into the peers of ann_peers; subclasses give answers, or find_one."""

    needs_condition = False

    def answers(self, ef, masks, queries, condition):
        """The rows of each query and the CPU seconds that finding them took."""
        cpu = time.process_time()
        found = [self.find_one(ef, self.queries[q : q + 1], masks.of(q)) for q in range(queries)]
        return found, time.process_time() - cpu

    def at(self, ef, masks, queries, condition):
        found, cpu = self.answers(ef, masks, queries, condition)
        wanted = masks.truth.shape[1]
        recalls = sorted(len(set(a) & set(t)) / wanted for a, t in zip(found, masks.truth.tolist()))
        plans = {"short": short} if (short := sum(len(a) < wanted for a in found)) else {}
        return {"recall": statistics.mean(recalls), "p5": recalls[len(recalls) // 20], "cpu_s": cpu, "queries": queries, "plans": plans}


class Hnswlib(Filtered, ann_peers.Hnswlib):
    def find_one(self, ef, query, mask):
        self.index.set_ef(ef)
        bits = mask.tobytes()
        try:
            return self.index.knn_query(query, K, num_threads=1, filter=lambda row: bits[row >> 3] >> (row & 7) & 1 == 1)[0][0].tolist()
        except RuntimeError:
            return []  # it raises when it finds fewer than K


class Faiss(Filtered, ann_peers.Faiss):
    def find_one(self, ef, query, mask):
        import faiss

        kept = faiss.IDSelectorBitmap(mask)
        rows = self.index.search(query, K, params=faiss.SearchParametersHNSW(efSearch=ef, sel=kept))[1][0]
        return [row for row in rows.tolist() if row >= 0]


class Usearch(Filtered, ann_peers.Usearch):
    process = None
    masks = None

    def __init__(self, numpy, data, *arguments):
        super().__init__(numpy, data, *arguments)
        self.queries_path = data["queries"]

    def make(self):
        built = super().make()
        self.index = None  # the other process has it
        program = build_usearch()
        self.process = subprocess.Popen([program, str(self.path), self.queries_path, str(self.dim), str(K)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return built

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        text = self.process.stdout.readline()
        result = json.loads(text) if text else {"error": "the program ended early"}
        if "error" in result:
            raise RuntimeError(f"usearch: {line}: {result['error']}")
        return result

    def answers(self, ef, masks, queries, condition):
        if self.masks is not masks:
            self.ask(f"filter {masks.path}")
            self.masks = masks
        result = self.ask(f"search {ef} {queries}")
        return result["rows"], result["cpu_s"]

    def close(self):
        if self.process:
            self.process.stdin.close()
            self.process.wait(timeout=60)


def build_usearch():
    """The path of the Rust program, built when it is older than its source. Raises ImportError with the reason."""
    if shutil.which("cargo") is None:
        raise ImportError("there is no cargo to build its Rust form with")
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "usearch_filtered")
    target = CACHE / "usearch_filtered"
    try:
        # Its kernels take four CPU minutes to compile, once.
        done = subprocess.run(["cargo", "build", "-q", "--release", "--locked", "--manifest-path", os.path.join(folder, "Cargo.toml")],
                              env=dict(os.environ, CARGO_TARGET_DIR=str(target)), capture_output=True, text=True, timeout=3600)
    except subprocess.TimeoutExpired as error:
        raise ImportError("building its Rust form took more than an hour") from error
    if done.returncode != 0:
        raise ImportError((done.stderr.strip().splitlines() or ["cargo failed"])[-1])
    return str(target / "release" / "usearch_filtered")


class Zvec(Filtered, ann_peers.Zvec):
    needs_condition = True

    def __init__(self, numpy, data, *arguments, fields):
        super().__init__(numpy, data, *arguments, fields=fields)
        self.path = self.path.with_name(f"{data['name']}.zvec-fields.zvec")

    def answers(self, ef, masks, queries, condition):
        cpu = time.process_time()
        ids = self.find_some(ef, range(queries), condition)
        cpu = time.process_time() - cpu
        return self.rows_of(ids), cpu


PEERS = [Hnswlib, Faiss, Usearch, Zvec]
