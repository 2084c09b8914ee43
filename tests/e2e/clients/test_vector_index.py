"""Vector indexes at a size at which they are built: recall against numpy, filters, deletes, progress, restart."""

import json
import time

import numpy as np
import pytest
from pymilvus import DataType, MilvusClient
from pymilvus.grpc_gen import common_pb2, milvus_pb2

from collections_under_test import Collections, count, search_request, stub, succeeded, wait_for_index
from server_process import ServerProcess

# Of 50 queries alone the recall would be known to four hundredths.
ROWS, DIM, NQ, K = 100_000, 64, 400, 10
BATCH = 10_000


def clustered(rows, seed):
    """Vectors in 200 clusters, as embeddings are, and not as easy as a few."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(1).standard_normal((200, DIM), dtype=np.float32)
    noise = rng.standard_normal((rows, DIM), dtype=np.float32)
    return centres[rng.integers(0, 200, rows)] + 0.7 * noise


DATA = clustered(ROWS, 2)
QUERIES = clustered(NQ, 3)


def scores(metric, rows):
    """Smaller is better."""
    if metric == "L2":
        return (rows**2).sum(1)[None, :] - 2 * QUERIES @ rows.T
    if metric == "IP":
        return -(QUERIES @ rows.T)
    return -(QUERIES / np.linalg.norm(QUERIES, axis=1, keepdims=True)) @ (rows / np.linalg.norm(rows, axis=1, keepdims=True)).T


def nearest(metric, keep):
    """Keys of the K nearest rows of `keep` (a mask over all rows), per query."""
    keys = np.flatnonzero(keep)
    table = scores(metric, DATA[keys])
    best = np.argpartition(table, K, axis=1)[:, :K]
    return [set(keys[row].tolist()) for row in best]


def recall(client, name, metric, keep, **options):
    hits = client.search(name, data=QUERIES.tolist(), anns_field="vector", limit=K, **options)
    found = [[hit["id"] for hit in answer] for answer in hits]
    assert all(len(answer) == K and len(set(answer)) == K for answer in found)
    assert all(keep[key] for answer in found for key in answer), "a row that is deleted or does not match"
    return sum(len(want & set(answer)) for want, answer in zip(nearest(metric, keep), found)) / (K * len(found))


def built(server):
    return int(float(next(line.split()[-1] for line in server.http("/metrics")[1].splitlines()
                          if line.startswith("quiver_indexes "))))


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """A server of its own with 100,000 rows in one sealed segment, without an index."""
    with ServerProcess(data=tmp_path_factory.mktemp("vector_index") / "data") as running:
        client = MilvusClient(uri=running.uri)
        made = Collections(client)
        made.create("big", [("number", DataType.INT64), ("vector", DataType.FLOAT_VECTOR, {"dim": DIM})], index=False,
                    load=False)
        for begin in range(0, ROWS, BATCH):
            client.insert("big", [{"id": i, "number": i % 1000, "vector": DATA[i].tolist()}
                                  for i in range(begin, begin + BATCH)])
        client.flush("big")
        yield running, client, made
        client.close()


CASES = [("IVF_FLAT", "L2", {}, {}), ("IVF_FLAT", "COSINE", {"nlist": 256}, {"nprobe": 64}),
         ("IVF_SQ8", "L2", {}, {}), ("IVF_RABITQ", "IP", {}, {}), ("HNSW", "L2", {"M": 16, "efConstruction": 100}, {}),
         ("HNSW", "IP", {"M": 16, "efConstruction": 100}, {"ef": 200}), ("AUTOINDEX", "COSINE", {}, {})]


@pytest.mark.parametrize("index_type,metric,params,search", CASES, ids=[f"{c[0]}-{c[1]}" for c in CASES])
def test_recall(big, index_type, metric, params, search):
    server, client, made = big
    assert built(server) == 0
    made.index("big", "vector", metric=metric, index_type=index_type, **params)
    told = wait_for_index(client, "big")
    assert told["index_type"] == index_type and told["indexed_rows"] == ROWS
    client.load_collection("big")
    try:
        if built(server) == 0:
            pytest.skip("no structure serves it yet")
        everything = np.ones(ROWS, dtype=bool)
        options = {"search_params": {"params": search}}
        assert recall(client, "big", metric, everything, **options) >= 0.95
        for asked in (0.8, 0.95, 0.99):
            assert recall(client, "big", metric, everything, search_params={"params": {"recall": asked}}) >= asked - 0.02
        numbers = np.arange(ROWS) % 1000
        assert recall(client, "big", metric, numbers < 500, filter="number < 500", **options) >= 0.95
        assert recall(client, "big", metric, numbers == 5, filter="number == 5", **options) == 1
        segments = stub(client).GetQuerySegmentInfo(
            milvus_pb2.GetQuerySegmentInfoRequest(collectionName="big")).infos
        assert [s.index_name for s in segments] == ["vector"]
    finally:
        client.release_collection("big")
        client.drop_index("big", "vector")
        while built(server) != 0:
            time.sleep(0.05)


def test_life_of_an_index(big):
    """Deletes, upserts and a restart on an indexed collection; the index comes back without being built."""
    server, client, made = big
    made.index("big", "vector", metric="L2", index_type="IVF_FLAT")
    wait_for_index(client, "big")
    client.load_collection("big")
    if built(server) == 0:
        pytest.skip("no structure serves it yet")
    keep = np.ones(ROWS, dtype=bool)
    keep[1000:3000] = False
    client.delete("big", filter="id >= 1000 and id < 3000")
    assert recall(client, "big", "L2", keep) >= 0.95
    wait_for_index(client, "big")
    client.close()
    server.restart()
    client = MilvusClient(uri=server.uri)
    assert built(server) >= 1, "mapped at once"
    assert count(client, "big") == ROWS - 2000
    assert recall(client, "big", "L2", keep) >= 0.95
    client.insert("big", [{"id": i, "number": i % 1000, "vector": DATA[i].tolist()} for i in range(1000, 3000)])
    assert recall(client, "big", "L2", np.ones(ROWS, dtype=bool)) >= 0.95, "growing rows are scanned beside it"
    assert client.describe_index("big", "vector")["state"] == "Finished"
    client.close()


@pytest.mark.parametrize("index_type, params, effort", [
    ("HNSW", {"M": 16, "efConstruction": 100}, {"ef": 64}),
    ("IVF_FLAT", {"nlist": 256}, {"nprobe": 24}),
])
def test_growing_rows_are_searched_through_an_index(tmp_path, index_type, params, effort):
    """60,000 rows that were never flushed: an index follows them, and deletes, upserts, filters and a restart hold."""
    rows = 60_000
    data, keep = DATA[:rows], np.ones(ROWS, dtype=bool)
    keep[rows:] = False
    with ServerProcess(data=tmp_path / "data", arguments=["--segment.seal-bytes=1GiB"]) as running:
        client = MilvusClient(uri=running.uri)
        made = Collections(client)
        made.create("young", [("number", DataType.INT64), ("vector", DataType.FLOAT_VECTOR, {"dim": DIM})],
                    index=False, load=False)
        made.index("young", "vector", metric="L2", index_type=index_type, **params)
        client.load_collection("young")
        for begin in range(0, rows, BATCH):
            client.insert("young", [{"id": i, "number": i % 1000, "vector": data[i]}
                                    for i in range(begin, begin + BATCH)])

        def linked():
            return int(float(next(line.split()[-1] for line in running.http("/metrics")[1].splitlines()
                                  if line.startswith("quiver_growing_indexed_rows "))))

        def wait_until_linked():
            end = time.monotonic() + 600
            while linked() < 50_000:
                assert time.monotonic() < end, f"the index has {linked()} of {rows} rows"
                time.sleep(0.1)

        wait_until_linked()
        search = {"search_params": {"params": effort}}
        assert recall(client, "young", "L2", keep, **search) >= 0.95
        request = search_request("young", [QUERIES[0].tobytes()], common_pb2.PlaceholderType.FloatVector,
                                 params=json.dumps(effort), topk=K, more={"explain": "true"}.items())
        reply = succeeded(stub(client).Search(request))
        segments = json.loads(reply.status.extra_info["explain"])["segments"]
        assert [s["state"] for s in segments] == ["growing"]
        assert segments[0]["search"]["linked_rows"] >= 50_000
        numbers = np.arange(ROWS) % 1000
        assert recall(client, "young", "L2", keep & (numbers < 500), filter="number < 500", **search) >= 0.95
        assert recall(client, "young", "L2", keep & (numbers < 10), filter="number < 10", **search) >= 0.95
        client.delete("young", filter="id >= 1000 and id < 11000")
        keep[1000:11000] = False
        assert recall(client, "young", "L2", keep, **search) >= 0.95
        client.upsert("young", [{"id": i, "number": i % 1000, "vector": data[i]} for i in range(1000, 3000)])
        keep[1000:3000] = True
        assert recall(client, "young", "L2", keep, **search) >= 0.95
        client.close()
        running.kill()
        running.start()
        client = MilvusClient(uri=running.uri)
        wait_until_linked()
        assert count(client, "young") == rows - 8000
        assert recall(client, "young", "L2", keep, **search) >= 0.95
        client.close()
