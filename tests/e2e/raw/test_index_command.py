"""quiver index: the command that builds, searches, measures and tunes indexes over files of vectors."""

import json
import random
import struct
import subprocess
import tempfile
import unittest
import xml.etree.ElementTree
from pathlib import Path

from server_process import default_binary

ROWS, QUERIES, DIM = 3000, 40, 24


def write_fvecs(path: Path, vectors):
    path.write_bytes(b"".join(struct.pack(f"<I{len(v)}f", len(v), *v) for v in vectors))


def write_npy(path: Path, code: str, descriptor: str, rows):
    header = f"{{'descr': '{descriptor}', 'fortran_order': False, 'shape': ({len(rows)}, {len(rows[0])}), }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    values = b"".join(struct.pack(f"<{len(row)}{code}", *row) for row in rows)
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + values)


def read_ivecs(path: Path):
    data, rows = path.read_bytes(), []
    while data:
        (count,) = struct.unpack_from("<I", data)
        rows.append(struct.unpack_from(f"<{count}i", data, 4))
        data = data[4 + 4 * count:]
    return rows


class IndexCommand(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        rng = random.Random(5)
        centres = [[rng.gauss(0, 1) for _ in range(DIM)] for _ in range(30)]
        near = lambda: [x + rng.gauss(0, 0.5) for x in rng.choice(centres)]
        cls.base = [near() for _ in range(ROWS)]
        cls.queries = [near() for _ in range(QUERIES)]
        write_fvecs(cls.path("base.fvecs"), cls.base)
        write_fvecs(cls.path("queries.fvecs"), cls.queries)
        write_npy(cls.path("base.npy"), "f", "<f4", cls.base)
        cls.truth = []
        for query in cls.queries:
            distances = [sum((a - b) ** 2 for a, b in zip(query, row)) for row in cls.base]
            cls.truth.append(sorted(range(ROWS), key=distances.__getitem__)[:10])
        write_npy(cls.path("truth.npy"), "q", "<i8", cls.truth)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def path(cls, name) -> Path:
        return Path(cls.folder.name) / name

    def run_index(self, *arguments, code=0):
        words = [str(self.path(a)) if "." in str(a) and not str(a)[0].isdigit() else str(a) for a in arguments]
        done = subprocess.run([default_binary(), "index", *words], capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, code, done.stderr + done.stdout)
        return done.stdout if code == 0 else done.stderr

    def test_build_and_search_find_the_true_neighbours(self):
        for kind, params in (("HNSW", ("--ef", 100)), ("IVF_FLAT", ("--nprobe", 60)), ("IVF_RABITQ", ("--recall", 0.99))):
            self.run_index("build", "base.fvecs", "--type", kind, "--out", f"{kind}.qvi")
            self.run_index("search", "base.fvecs", "queries.fvecs", "--index", f"{kind}.qvi", "--out", "rows.ivecs", *params)
            found = read_ivecs(self.path("rows.ivecs"))
            self.assertEqual(len(found), QUERIES)
            recall = sum(len(set(f) & set(t)) for f, t in zip(found, self.truth)) / (10 * QUERIES)
            self.assertGreaterEqual(recall, 0.95, kind)

    def test_the_same_rows_give_the_same_bytes_whatever_file_they_come_in(self):
        self.run_index("build", "base.fvecs", "--out", "one.qvi", "--param", "M=8")
        self.run_index("build", "base.npy", "--out", "two.qvi", "--param", "M=8")
        self.assertEqual(self.path("one.qvi").read_bytes(), self.path("two.qvi").read_bytes())

    def test_eval_prints_the_curve_and_draws_it(self):
        self.run_index("build", "base.fvecs", "--out", "g.qvi")
        self.run_index("build", "base.fvecs", "--out", "l.qvi", "--type", "IVF_SQ8")
        files = ("base.fvecs", "queries.fvecs", "--index", "g.qvi", "--index", "l.qvi")
        given = self.run_index("eval", *files, "--truth", "truth.npy", "--plot", "plot.svg")
        curve = [float(line.split()[1]) for line in given.splitlines() if line.split()[0].isdigit()]
        self.assertGreaterEqual(max(curve), 0.9995)
        self.assertEqual(curve, [float(line.split()[1]) for line in self.run_index("eval", *files).splitlines()
                                 if line.split()[0].isdigit()], "the scan finds the same truth")
        lines = xml.etree.ElementTree.parse(self.path("plot.svg")).getroot().findall("{*}path[@stroke-width='1.5']")
        self.assertEqual(len(lines), 2)

    def test_tune_finds_an_effort_that_reaches_the_recall(self):
        self.run_index("build", "base.fvecs", "--out", "t.qvi", "--type", "IVF_FLAT")
        told = self.run_index("tune", "base.fvecs", "queries.fvecs", "--index", "t.qvi", "--recall", 0.97)
        self.assertRegex(told, r"^nprobe = \d+: recall@10 (0\.9[7-9]|1\.0)")

    def test_what_a_recall_takes_is_measured_when_an_index_is_built(self):
        for kind in ("HNSW", "IVF_RABITQ"):
            told = self.run_index("build", "base.fvecs", "--out", "m.qvi", "--type", kind)
            self.assertIn("measured", told)
            shown = json.loads(subprocess.run([default_binary(), "dump", str(self.path("m.qvi.tune")), "--json"],
                                              capture_output=True, text=True, timeout=60, check=True).stdout)
            self.assertEqual({point["k"] for point in shown["points"]}, {10, 100})
            told = self.run_index("eval", "base.fvecs", "queries.fvecs", "--index", "m.qvi")
            asked = [line.split() for line in told.splitlines() if line.split()[0].startswith("0.")]
            self.assertEqual([words[0] for words in asked], ["0.8", "0.9", "0.95", "0.97", "0.99", "0.999"])
            for words in asked:
                self.assertGreaterEqual(float(words[1]), float(words[0]) - 0.02, words)

    def test_wrong_input_is_named(self):
        self.run_index("build", "base.fvecs", "--out", "w.qvi")
        write_fvecs(self.path("narrow.fvecs"), [row[:5] for row in self.queries])
        write_fvecs(self.path("few.fvecs"), self.base[:10])
        write_fvecs(self.path("nan.fvecs"), [[1.0, float("nan")]])
        self.path("cut.fvecs").write_bytes(self.path("base.fvecs").read_bytes()[:-3])
        self.path("torn.npy").write_bytes(self.path("base.npy").read_bytes()[:500])
        self.path("wrong.qvi").write_bytes(self.path("w.qvi").read_bytes()[:100])
        self.path("text.csv").write_text("1,2")
        for code, words, arguments in (
            (2, "unknown argument '--speed'", ("build", "base.fvecs", "--speed", 1)),
            (2, "--k cannot be 0", ("search", "base.fvecs", "queries.fvecs", "--k", 0)),
            (2, "needs --index", ("eval", "base.fvecs", "queries.fvecs")),
            (2, "not 'dance'", ("dance",)),
            (1, "should be in range", ("build", "base.fvecs", "--out", "x.qvi", "--param", "M=1")),
            (1, "scan", ("build", "base.fvecs", "--out", "x.qvi", "--type", "FLAT")),
            (1, "no whole number of rows", ("build", "cut.fvecs", "--out", "x.qvi")),
            (1, "value 1 of row 0 is not finite", ("build", "nan.fvecs", "--out", "x.qvi")),
            (1, "cut short", ("build", "torn.npy", "--out", "x.qvi")),
            (1, "can be read", ("build", "text.csv", "--out", "x.qvi")),
            (1, "no such file", ("build", "none.fvecs", "--out", "x.qvi")),
            (1, "of 5", ("search", "base.fvecs", "narrow.fvecs", "--index", "w.qvi")),
            (1, "built over 3000 rows", ("search", "few.fvecs", "queries.fvecs", "--index", "w.qvi")),
            (1, "wrong.qvi", ("search", "base.fvecs", "queries.fvecs", "--index", "wrong.qvi")),
        ):
            self.assertIn(words.lower(), self.run_index(*arguments, code=code).lower())
        self.assertFalse(self.path("x.qvi").exists())


if __name__ == "__main__":
    unittest.main()
