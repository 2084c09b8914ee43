#!/usr/bin/env python3
"""The filter benchmark's work on DuckDB or PostgreSQL: the same rows, the same predicates, one thread.

Run by run_filter.py in an environment with the package. Reads the rows from the CSV file that filter_bench exported, counts
the rows of each predicate without indexes, then with them, and prints one JSON line per predicate: medians of CPU
milliseconds (DuckDB: of this process, in which it runs; PostgreSQL: of the server process of the connection).
"""

import argparse
import json
import pathlib
import statistics
import sys
import time

COLUMNS = "number BIGINT, amount INTEGER, category SMALLINT, price DOUBLE PRECISION, name VARCHAR, doc {json}, tag VARCHAR, " \
          "stamp BIGINT, weight REAL"
ROUNDS = 5


def predicates(rows, rank):
    values = ",".join(str(i * (rows // 10000)) for i in range(10000))
    return {
        "point": "number = 4711",
        "in10k": f"number IN ({values})",
        "equal": "amount = 7",
        "range": "number > 100 AND number <= 10100",
        "stamp": "stamp >= 5000000 AND stamp < 6000000",
        "category": "category = 3",
        "tag": "tag = 'tag-007'",
        "prefix": "name LIKE 'n00007%'",
        "infix": "name LIKE '%beef%'",
        "json": f"{rank} = 5",
        "term": "amount = 7",
        "five": f"amount = 7 AND category < 50 AND price > 100.0 AND name > 'n' AND {rank} <> 5",
        "fiveplain": "amount = 7 AND category < 50 AND price > 100.0 AND tag > 'tag-01' AND stamp > 1000",
    }


class DuckDb:
    rank = "CAST(json_extract_string(doc, '$.rank') AS INTEGER)"

    def __init__(self, _):
        import duckdb
        self.connection = duckdb.connect(":memory:", config={"threads": 1})
        self.version = f"DuckDB {duckdb.__version__}"

    def load(self, path):
        columns = COLUMNS.format(json="JSON")
        self.connection.execute(f"CREATE TABLE t ({columns})")
        self.connection.execute("SET threads = 2")
        self.connection.execute(f"COPY t FROM '{path}' (FORMAT csv, HEADER false)")
        self.connection.execute("SET threads = 1")

    def create_indexes(self):
        for number, column in enumerate(("number", "amount", "category")):  # it has no index that helps the others
            self.connection.execute(f"CREATE INDEX index_{number} ON t ({column})")

    def count(self, where):
        return self.connection.execute(f"SELECT count(*) FROM t WHERE {where}").fetchone()[0]

    def cpu(self):
        return time.process_time() * 1e3


class Postgres:
    rank = "((doc->>'rank')::int)"

    def __init__(self, port):
        import psycopg
        self.connection = psycopg.connect(host="127.0.0.1", port=port, user="bench", dbname="postgres", autocommit=True)
        self.connection.execute("SET max_parallel_workers_per_gather = 0")
        self.connection.execute("SET maintenance_work_mem = '1GB'")
        self.connection.execute("SET max_parallel_maintenance_workers = 0")
        self.pid = self.connection.info.backend_pid
        self.version = f"PostgreSQL {self.connection.info.server_version // 10000}"

    def load(self, path):
        columns = COLUMNS.format(json="JSONB").replace("VARCHAR", 'VARCHAR COLLATE "C"')
        self.connection.execute(f"CREATE UNLOGGED TABLE t ({columns})")
        with self.connection.cursor().copy("COPY t FROM STDIN (FORMAT csv)") as copy, open(path, "rb") as file:
            while block := file.read(1 << 20):
                copy.write(block)
        self.connection.execute("VACUUM ANALYZE t")

    def create_indexes(self):
        for column in ("number", "amount", "name", "category", "tag", "stamp", self.rank):
            self.connection.execute(f"CREATE INDEX ON t ({column})")
        self.connection.execute("ANALYZE t")

    def count(self, where):
        return self.connection.execute(f"SELECT count(*) FROM t WHERE {where}").fetchone()[0]

    def cpu(self):
        return int(pathlib.Path(f"/proc/{self.pid}/schedstat").read_text().split()[0]) / 1e6


def measure(engine, where, rounds):
    times, count = [], None
    for _ in range(rounds):
        begin = engine.cpu()
        count = engine.count(where)
        times.append(engine.cpu() - begin)
    return statistics.median(times), count


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("engine", choices=["duckdb", "postgres"])
    parser.add_argument("file")
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    engine = (DuckDb if options.engine == "duckdb" else Postgres)(options.port)
    engine.load(options.file)
    rounds = ROUNDS if options.engine == "duckdb" else 3
    work = predicates(options.rows, engine.rank)
    found = {name: {"name": name, "engine": engine.version} for name in work}
    for name, where in work.items():
        found[name]["scan_ms"], found[name]["rows"] = measure(engine, where, rounds)
    engine.create_indexes()
    for name, where in work.items():
        found[name]["index_ms"], rows = measure(engine, where, rounds)
        if rows != found[name]["rows"]:
            raise SystemExit(f"{name}: {rows} rows with indexes, {found[name]['rows']} without")
        print(json.dumps(found[name]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
