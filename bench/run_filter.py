#!/usr/bin/env python3
# filters over 10 million rows on one thread, by scan and by index, beside DuckDB and PostgreSQL; the counts are compared
#
# usage: bench/run_filter.py [--rows 10000000] [--only ours,duckdb,postgres] [--folder DIR] [--json FILE]
#
# All engines hold the same rows (filter_bench exports them) and count those of the same predicates, one after another, on one
# thread. Figures are medians of CPU time. The peers come from PyPI into environments of their own under
# ${QUIVER_CACHE:-~/.cache/quiver}; one that cannot be had is named and left out. Exit code 1: counts differ.
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import run_storage

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("QUIVER_BUILD", ROOT / "build" / "release"))
PROGRAM = BUILD / "bench" / "filter_bench"
PEERS = ROOT / "bench" / "filter_peers.py"
DUCKDB = ["duckdb==2.0.0"]
SHOWN = {
    "point": "number == 4711 (all different)", "in10k": "number in [10,000 values]", "equal": "amount == 7",
    "range": "100 < number <= 10100", "stamp": "stamp range, rising with the rows", "category": "category == 3 (int8)",
    "tag": "tag == 'tag-007' (200 texts)", "prefix": "name like 'n00007%'", "infix": "name like '%beef%' (NGRAM)",
    "json": 'doc["rank"] == 5', "term": "amount == 7, most selective of the next two",
    "five": "... and category, price, name, JSON terms", "fiveplain": "... and category, price, tag, stamp terms",
}


def lines(command, timeout):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode != 0:
        raise run_storage.Failure(f"{command[0]}: {done.stderr.strip()[-500:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


class Postgres(run_storage.Postgres):
    settings = run_storage.Postgres.settings | {"shared_buffers": "5GB"}  # all of the rows and indexes


def peers(options, csv):
    if "duckdb" in options.only:
        try:
            yield lines([run_storage.environment("duckdb", DUCKDB), PEERS, "duckdb", csv, "--rows", options.rows], 1200)
        except run_storage.Failure as failure:
            print(f"  skipped DuckDB: {failure}")
    if "postgres" in options.only:
        try:
            with Postgres(options.folder) as server:
                yield lines([server.python, PEERS, "postgres", csv, "--rows", options.rows, "--port", server.port], 2400)
        except run_storage.Failure as failure:
            print(f"  skipped PostgreSQL: {failure}")


def shown(value):
    return f"{value:10.3f}" if value is not None else f"{'-':>10}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--only", default="ours,duckdb,postgres")
    parser.add_argument("--folder", default=tempfile.gettempdir())
    parser.add_argument("--json", default=str(BUILD / "bench" / "filter.json"))
    options = parser.parse_args()
    ours = lines([PROGRAM, "run", options.rows], 900)
    others = []
    if any(name in options.only for name in ("duckdb", "postgres")):
        with tempfile.TemporaryDirectory(prefix="quiver-filter-", dir=options.folder) as folder:
            csv = pathlib.Path(folder) / "rows.csv"
            subprocess.run([PROGRAM, "export", csv, str(options.rows)], check=True)
            os.chmod(folder, 0o755)
            others = list(peers(options, csv))
    print(f"{'comparison to bit map, GB/s':<30}{'type':>8}{'rows':>10}{'memory':>9}{'of read':>9}{'L2':>9}{'of read':>9}")
    for row in (row for row in ours if "kernel" in row):
        print(f"{row['kernel']:<30}{row['type']:>8}{row['count']:>10}{row['memory']:>9.1f}{row['memory'] / row['memory_read']:>9.2f}"
              f"{row['l2']:>9.1f}{row['l2'] / row['l2_read']:>9.2f}")
    names = ["Quiver", *(rows[0]["engine"] for rows in others)]
    print(f"\n{'CPU ms':<48}{'rows':>8}" + "".join(f"{name + ' scan':>18}{'index':>10}" for name in names))
    wrong = []
    for row in (row for row in ours if "filter" in row):
        line = f"{SHOWN[row['filter']]:<48}{row['rows']:>8}{shown(row['scan_ms']):>18}{shown(row['index_ms'])}"
        if row["filter"] in ("json", "five"):
            line += f"  (scan of the binary form {row['forms_ms']:.3f}, with the kept column {row['kept_ms']:.3f})"
        for found in others:
            same = next(one for one in found if one["name"] == row["filter"])
            line += f"{shown(same['scan_ms']):>18}{shown(same['index_ms'])}"
            if same["rows"] != row["rows"]:
                wrong.append(f"{row['filter']}: {same['engine']} finds {same['rows']} rows, Quiver {row['rows']}")
        print(line)
    pathlib.Path(options.json).write_text(json.dumps({"ours": ours, "others": others}, indent=1))
    for text in wrong:
        print(text, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
