#!/usr/bin/env python3
"""The work of run_peers.py on PostgreSQL + pgvector. Run by it in an environment with psycopg, pgvector and numpy.

fill: copies the rows of a folder into a table and builds its indexes. search: runs the statements of a JSON file, once each
(--answers) or in a closed loop of processes with one connection each. Prints one JSON line.
"""

import argparse
import contextlib
import json
import pathlib
import time

import closed_loop
import numpy
import psycopg
from pgvector.psycopg import register_vector

COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_END = b"\xff\xff"
CHUNK = 20_000


def connect(options):
    return psycopg.connect(host="127.0.0.1", port=options.port, user="bench", dbname="postgres", autocommit=True)


def fill(options):
    folder = pathlib.Path(options.folder)
    columns = {name: numpy.load(folder / f"{name}.npy") for name in ("sensor", "case", "distance")}
    vectors = numpy.memmap(folder / "vectors.f4", dtype="f4", mode="r", shape=(len(columns["sensor"]), options.dim))
    row = numpy.dtype([("fields", ">i2"), ("n1", ">i4"), ("id", ">i8"), ("n2", ">i4"), ("sensor", ">i8"), ("n3", ">i4"),
                       ("case", ">i8"), ("n4", ">i4"), ("distance", ">f4"), ("n5", ">i4"), ("dim", ">i2"), ("unused", ">i2"),
                       ("vector", ">f4", (options.dim,))])
    begin = time.monotonic()
    with connect(options) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        connection.execute(f'CREATE TABLE readings (id bigint PRIMARY KEY, sensor bigint, "case" bigint, distance real, '
                           f"vector vector({options.dim}))")
        connection.execute("ALTER TABLE readings ALTER vector SET STORAGE PLAIN")
        with connection.cursor().copy("COPY readings FROM STDIN (FORMAT binary)") as copy:
            copy.write(COPY_HEADER)
            for first in range(0, len(vectors), CHUNK):
                last = min(first + CHUNK, len(vectors))
                rows = numpy.zeros(last - first, row)
                rows["fields"], rows["n1"], rows["n2"], rows["n3"], rows["n4"] = 5, 8, 8, 8, 4
                rows["n5"], rows["dim"] = 4 + 4 * options.dim, options.dim
                rows["id"], rows["vector"] = numpy.arange(first, last), vectors[first:last]
                for name, column in columns.items():
                    rows[name] = column[first:last]
                copy.write(rows.tobytes())
            copy.write(COPY_END)
        inserted = time.monotonic()
        connection.execute("SET maintenance_work_mem = '4GB'")
        connection.execute("SET max_parallel_maintenance_workers = 2")
        connection.execute("CREATE INDEX ON readings USING hnsw (vector vector_l2_ops) WITH (m = 16, ef_construction = 200)")
        for name in ("sensor", '"case"', "distance"):
            connection.execute(f"CREATE INDEX ON readings ({name})")
        connection.execute("VACUUM ANALYZE readings")
    return {"insert_seconds": inserted - begin, "index_seconds": time.monotonic() - inserted}


def prepare(options, connection):
    register_vector(connection)
    connection.prepare_threshold = 0  # parsed and planned once per connection
    connection.execute(f"SET hnsw.ef_search = {options.effort}")
    # Without it a filtered search of the graph ends with what ef rows had to offer.
    connection.execute("SET hnsw.iterative_scan = relaxed_order")
    connection.execute("SET plan_cache_mode = force_custom_plan" if options.custom_plans else "SET plan_cache_mode = auto")


def statements(options):
    wanted = json.loads(pathlib.Path(options.file).read_text())
    vectors = numpy.load(pathlib.Path(options.folder) / "queries.npy")
    where = [f"WHERE {text} " if text else "" for text in wanted]
    return [f"SELECT id FROM readings {text}ORDER BY vector <-> %b LIMIT {options.limit}" for text in where], vectors


@contextlib.contextmanager
def connected(options):
    texts, vectors = statements(options)
    with connect(options) as connection:
        prepare(options, connection)

        def search(index):
            return [row[0] for row in connection.execute(texts[index], (vectors[index],), binary=True).fetchall()]

        yield search, len(texts)


def main():
    parser = argparse.ArgumentParser()
    closed_loop.add_arguments(parser)
    parser.add_argument("--custom-plans", action="store_true", help="plan each execution for its values")
    options = parser.parse_args()
    print(json.dumps(fill(options) if options.mode == "fill" else closed_loop.run(options, connected)))


if __name__ == "__main__":
    main()
