"""Four times as much data as memory: inserts, searches, compaction and graph builds at once stay inside it and right.

QUIVER_MEMORY_TEST_MB gives another limit in MiB (1024 for the full size; a quarter of that is the everyday one). Where a
memory control group can be made, the server also runs inside one of that size, so that the kernel would end it.
"""

import contextlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from pymilvus import DataType, MilvusClient, MilvusException

from collections_under_test import Collections
from server_process import ServerProcess

MIB = 1 << 20
# Taken out of the environment: the server refuses names of settings that it does not know.
LIMIT = int(os.environ.pop("QUIVER_MEMORY_TEST_MB", "256")) * MIB
DIM = 2048  # of two bytes each
GRAPH_DIM = 64
BATCH = 500
MEMORY_LIMIT_EXCEEDED = 3


@contextlib.contextmanager
def control_group(pid: int, limit: int):
    """A control group with a memory limit and `pid` in it; nothing where none can be made."""
    for root, file in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        group = Path(root) / f"quiver-test-{pid}"
        try:
            group.mkdir()
            (group / file).write_text(str(limit))
            (group / "cgroup.procs").write_text(str(pid))
        except OSError:
            with contextlib.suppress(OSError):
                group.rmdir()
            continue
        try:
            yield group
        finally:
            with contextlib.suppress(OSError):
                (Path(root) / "cgroup.procs").write_text(str(pid))
                group.rmdir()
        return
    yield None


def anonymous_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def test_four_times_the_memory(tmp_path):
    rows = 4 * LIMIT // (2 * DIM)
    random = np.random.default_rng(7)
    base = random.standard_normal((BATCH, DIM)).astype(np.float16)

    def batch_of(first):
        """Vectors that tell their row: the first two numbers are its id, in halves that float16 holds exactly."""
        vectors = base.copy()
        ids = np.arange(first, first + BATCH)
        vectors[:, 0] = (ids // 1024 * 16).astype(np.float16)
        vectors[:, 1] = (ids % 1024).astype(np.float16)
        return ids, vectors

    with ServerProcess(data=tmp_path / "data",
                       arguments=[f"--memory.limit={LIMIT}", "--retention.seconds=0",
                                  f"--segment.seal-bytes={LIMIT // 8}"]) as server:
        pid = server.process.pid
        peak = [0]
        done = threading.Event()

        def watch():
            while not done.wait(0.02):
                peak[0] = max(peak[0], anonymous_bytes(pid))

        with control_group(pid, LIMIT):
            watcher = threading.Thread(target=watch)
            watcher.start()
            client = MilvusClient(uri=server.uri)
            # Exact answers come from the vectors that make up the data; graphs are built over a second field beside.
            made = Collections(client)
            made.create("big", [("vector", DataType.FLOAT16_VECTOR, {"dim": DIM}),
                                ("graph", DataType.FLOAT_VECTOR, {"dim": GRAPH_DIM})], index=False, load=False)
            made.index("big", "vector", metric="L2", kind=DataType.FLOAT16_VECTOR)
            made.index("big", "graph", metric="L2", index_type="HNSW", M=16, efConstruction=100)
            client.load_collection("big")
            written = [0]
            refused = [0]

            def insert():
                for first in range(0, rows - BATCH + 1, BATCH):
                    ids, vectors = batch_of(first)
                    data = [{"id": int(i), "vector": v, "graph": g.tolist()}
                            for i, v, g in zip(ids, vectors, vectors[:, 2:2 + GRAPH_DIM].astype(np.float32))]
                    while True:
                        try:
                            client.insert("big", data)
                            break
                        except MilvusException as error:
                            assert error.code == MEMORY_LIMIT_EXCEEDED, error
                            refused[0] += 1
                            time.sleep(0.05)  # as the answer asks for
                    written[0] = first + BATCH
                    if first % (BATCH * 8) == 0:
                        client.delete("big", ids=[int(ids[0])])

            def search():
                """The row asked for is the nearest one, except for the rows that insert() deletes."""
                own = MilvusClient(uri=server.uri)
                searches = 0
                chosen = np.random.default_rng(1)
                while not finished.is_set() or searches < 3:
                    newest = written[0]
                    if newest == 0:
                        continue
                    wanted = int(chosen.integers(newest))
                    if wanted % BATCH == 0:
                        continue
                    ids, vectors = batch_of(wanted // BATCH * BATCH)
                    hits = own.search("big", data=[vectors[wanted % BATCH]], anns_field="vector", limit=2)[0]
                    assert hits[0]["id"] == wanted and hits[0]["distance"] == 0, (wanted, hits)
                    searches += 1
                    finished.wait(0.5)  # each one reads all of the data from the disk
                own.close()
                return searches

            finished = threading.Event()
            with ThreadPoolExecutor(2) as pool:
                searching = pool.submit(search)
                inserting = pool.submit(insert)
                try:
                    inserting.result()
                finally:
                    finished.set()
                searches = searching.result()
            job = client.compact("big")
            begun = time.monotonic()
            while client.get_compaction_state(job) != "Completed":
                assert time.monotonic() - begun < 300, "the compaction does not end"
                time.sleep(0.05)
            deleted = len(range(0, rows - BATCH + 1, BATCH * 8))
            count = client.query("big", filter="", output_fields=["count(*)"])[0]["count(*)"]
            assert count == rows // BATCH * BATCH - deleted
            assert server.alive(), "the server was killed"
            assert "quiver_indexes 0" not in server.http("/metrics")[1].splitlines(), "no graph was built"
            done.set()
            watcher.join()
            client.close()
        print(f"{rows} rows, {searches} searches, {refused[0]} refused, peak {peak[0] // MIB} of {LIMIT // MIB} MiB")
        assert peak[0] <= LIMIT
