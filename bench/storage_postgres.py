#!/usr/bin/env python3
"""The storage benchmark's work on PostgreSQL + pgvector: same rows, batches and clients as the modes of quiver_load.

Run by run_storage.py in an environment with psycopg and numpy. Each client is a process with one connection; a batch is one
transaction, committed synchronously. Inserts are binary COPY, the fastest way in; upserts go by a COPY into a temporary
table. Prints one JSON line; exit code 1 if an answer is wrong.
"""

import argparse
import json
import math
import multiprocessing
import sys
import time

import numpy
import psycopg

BUCKETS = 1024
DIFFERENT_ROWS = 32000
COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_END = b"\xff\xff"


def connect(options):
    return psycopg.connect(host="127.0.0.1", port=options.port, user="bench", dbname="postgres", autocommit=True)


def base_rows(dim):
    return numpy.random.default_rng(1).uniform(-1, 1, (DIFFERENT_ROWS, dim)).astype(numpy.float32)


def vectors_of(base, keys):
    """As KeyedRows of the load generator: no two rows are equal."""
    vectors = base[keys % DIFFERENT_ROWS].copy()
    vectors[:, 0] = (keys % (1 << 24)) / (1 << 24)
    rounds = (keys // DIFFERENT_ROWS).astype(numpy.float64)
    for i, step in enumerate((0.8191725134, 0.6710436067, 0.5497004779)):
        vectors[:, i + 1] = rounds * step - numpy.floor(rounds * step)
    return vectors


def copy_bytes(base, keys):
    dim = base.shape[1]
    row = numpy.dtype([("fields", ">i2"), ("n1", ">i4"), ("id", ">i8"), ("n2", ">i4"), ("dim", ">i2"), ("unused", ">i2"),
                       ("vector", ">f4", (dim,)), ("n3", ">i4"), ("bucket", ">i8")])
    rows = numpy.zeros(len(keys), row)
    rows["fields"], rows["n1"], rows["n2"], rows["n3"] = 3, 8, 4 + 4 * dim, 8
    rows["id"], rows["bucket"], rows["dim"], rows["vector"] = keys, keys % BUCKETS, dim, vectors_of(base, keys)
    return COPY_HEADER + rows.tobytes() + COPY_END


def scatter_step(key_range):
    step = 1610612741
    while math.gcd(step, key_range) != 1:
        step += 1
    return step


def client(options, number, barrier, results):
    base = base_rows(options.dim)
    step = scatter_step(max(options.key_range, 1))
    times, changed = [], 0
    with connect(options) as connection:
        if options.mode == "upsert":
            connection.execute("CREATE TEMP TABLE incoming (id bigint, vector vector, bucket bigint)")
        calls = options.count if options.mode == "delete-filter" else options.rows // options.batch
        barrier.wait()
        for call in range(number, calls, options.clients):
            keys = numpy.arange(call * options.batch, (call + 1) * options.batch, dtype=numpy.int64)
            if options.mode in ("upsert", "delete-keys"):
                keys = (keys.astype(object) * step % options.key_range).astype(numpy.int64)
            keys += options.first_key
            data = copy_bytes(base, keys) if options.mode in ("insert-keys", "upsert") else None
            begin = time.monotonic()
            if options.mode == "insert-keys":
                with connection.cursor().copy("COPY rows FROM STDIN (FORMAT binary)") as copy:
                    copy.write(data)
                changed += len(keys)
            elif options.mode == "upsert":
                with connection.transaction(), connection.cursor() as cursor:
                    with cursor.copy("COPY incoming FROM STDIN (FORMAT binary)") as copy:
                        copy.write(data)
                    cursor.execute("INSERT INTO rows SELECT * FROM incoming ORDER BY id ON CONFLICT (id) DO UPDATE SET "
                                   "vector = excluded.vector, bucket = excluded.bucket")
                    changed += cursor.rowcount
                    cursor.execute("TRUNCATE incoming")
            elif options.mode == "delete-keys":
                changed += connection.execute("DELETE FROM rows WHERE id = ANY(%s)", (sorted(keys.tolist()),)).rowcount
            else:
                changed += connection.execute("DELETE FROM rows WHERE bucket = %s", (options.first_key + call,)).rowcount
            times.append(time.monotonic() - begin)
        results.put((times, changed))


def find(options):
    """One exact search for the vector of a stored row."""
    key = numpy.array([options.first_key], dtype=numpy.int64)
    vector = vectors_of(base_rows(options.dim), key)[0]
    text = "[" + ",".join(repr(float(value)) for value in vector) + "]"
    with connect(options) as connection:
        found = connection.execute("SELECT id FROM rows ORDER BY vector <-> %s::vector LIMIT 10", (text,)).fetchall()
    if not found or found[0][0] != options.first_key:
        raise SystemExit(f"the nearest row is {found[:1]} instead of {options.first_key}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=["insert-keys", "upsert", "delete-keys", "delete-filter", "find"])
    for name, default in (("port", 0), ("dim", 128), ("batch", 1000), ("rows", 0), ("clients", 1), ("first-key", 0),
                          ("key-range", 0), ("count", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    if options.mode == "find":
        find(options)
        return 0
    with connect(options) as connection:
        if options.mode == "insert-keys":
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            connection.execute("DROP TABLE IF EXISTS rows")
            connection.execute(f"CREATE TABLE rows (id bigint PRIMARY KEY, vector vector({options.dim}), bucket bigint)")
            connection.execute("ALTER TABLE rows ALTER vector SET STORAGE PLAIN")
        before = connection.execute("SELECT count(*) FROM rows").fetchone()[0]
    barrier, results = multiprocessing.Barrier(options.clients + 1), multiprocessing.Queue()
    clients = [multiprocessing.Process(target=client, args=(options, number, barrier, results)) for number in range(options.clients)]
    for each in clients:
        each.start()
    barrier.wait()
    begin = time.monotonic()
    done = [results.get() for _ in clients]
    seconds = time.monotonic() - begin
    for each in clients:
        each.join()
    times = sorted(t for part, _ in done for t in part)
    changed = sum(count for _, count in done)
    with connect(options) as connection:
        after = connection.execute("SELECT count(*) FROM rows").fetchone()[0]
    expected = before + {"insert-keys": changed, "upsert": 0}.get(options.mode, -changed)
    if after != expected:
        raise SystemExit(f"there are {after} rows instead of {expected}")
    print(json.dumps({"name": options.mode, "calls": len(times), "rows": changed, "seconds": seconds,
                      "rows_per_second": changed / seconds, "p50_us": times[len(times) // 2] * 1e6,
                      "p99_us": times[int(0.99 * (len(times) - 1))] * 1e6, "max_us": times[-1] * 1e6}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
