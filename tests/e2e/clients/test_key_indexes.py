"""Large values of a partition key have vector indexes of their own: recall against numpy, conjuncts, deletes, restart."""

import json
import re
import time

import numpy as np
import pytest
from pymilvus import DataType, MilvusClient
from pymilvus.grpc_gen import common_pb2

from collections_under_test import Collections, search_request, stub, succeeded
from server_process import ServerProcess

DIM, NQ, K = 32, 100, 10
# Two large tenants, one that has just too few rows, and many small ones.
TENANTS = np.concatenate([np.full(12_000, 0), np.full(8_000, 1), np.full(4_900, 2), 3 + np.arange(3_000) % 300])
ROWS = len(TENANTS)
FIELDS = [("tenant", DataType.VARCHAR, {"max_length": 20, "is_partition_key": True}), ("n", DataType.INT64),
          ("vector", DataType.FLOAT_VECTOR, {"dim": DIM})]


def clustered(rows, seed):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(1).standard_normal((60, DIM), dtype=np.float32)
    return centres[rng.integers(0, 60, rows)] + 0.7 * rng.standard_normal((rows, DIM), dtype=np.float32)


DATA = clustered(ROWS, 2)
QUERIES = clustered(NQ, 3)
ORDER = np.random.default_rng(4).permutation(ROWS)


def rows_of(keys):
    return [{"id": int(i), "tenant": f"t{TENANTS[i]}", "n": int(i % 100), "vector": DATA[i]} for i in keys]


def recall(client, keep, **options):
    """Of a search of the rows in the mask `keep`; every hit must be one of them."""
    keys = np.flatnonzero(keep)
    table = ((DATA[keys] ** 2).sum(1)[None, :] - 2 * QUERIES @ DATA[keys].T)
    best = keys[np.argsort(table, axis=1, kind="stable")[:, :K]]
    hits = client.search("many", data=QUERIES.tolist(), anns_field="vector", limit=K, **options)
    found = [[hit["id"] for hit in answer] for answer in hits]
    assert all(len(set(answer)) == K for answer in found)
    assert all(keep[key] for answer in found for key in answer), "a row of another tenant, or one that is deleted"
    return np.mean([len(set(a) & set(b)) / K for a, b in zip(found, best.tolist())])


def key_indexes(running):
    return int(re.search(r"^quiver_key_indexes (\d+)", running.http("/metrics")[1], re.M).group(1))


def wait_for(running, wanted):
    end = time.monotonic() + 600
    while key_indexes(running) != wanted:
        assert time.monotonic() < end, f"there are {key_indexes(running)} indexes of keys instead of {wanted}"
        time.sleep(0.05)


def explained(client, expression):
    """How the sealed segments are searched."""
    request = search_request("many", [QUERIES[0].tobytes()], common_pb2.PlaceholderType.FloatVector, topk=K,
                             dsl=expression, more={"explain": "true"}.items())
    reply = succeeded(stub(client).Search(request))
    segments = json.loads(reply.status.extra_info["explain"])["segments"]
    return [segment["search"] for segment in segments if segment["state"] == "sealed"]


def asked_rows(client, expression):
    """The rows of the key's own index, None where another way was taken."""
    return [search.get("rows_of_key_index") for search in explained(client, expression)]


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    with ServerProcess(data=tmp_path_factory.mktemp("keys") / "data") as running:
        client = MilvusClient(uri=running.uri)
        made = Collections(client)
        made.create("many", FIELDS, index=False, load=False)
        made.index("many", "vector", index_type="HNSW", M=16, efConstruction=100)
        client.load_collection("many")
        for begin in range(0, ROWS, 5_000):
            client.insert("many", rows_of(ORDER[begin:begin + 5_000]))
        client.flush("many")
        wait_for(running, 2)
        yield running, client
        client.close()


def test_tenants_are_searched_in_their_own_indexes(filled):
    running, client = filled
    for tenant in (0, 1):
        assert asked_rows(client, f'tenant == "t{tenant}"') == [int((TENANTS == tenant).sum())]
        assert recall(client, TENANTS == tenant, filter=f'tenant == "t{tenant}"') >= 0.95
        hard = {"search_params": {"params": {"ef": 200}}}
        assert recall(client, TENANTS == tenant, filter=f'tenant == "t{tenant}"', **hard) >= 0.99
    for tenant in (2, 3):
        assert asked_rows(client, f'tenant == "t{tenant}"') == [None]
        assert recall(client, TENANTS == tenant, filter=f'tenant == "t{tenant}"') >= 0.95
    some = (TENANTS == 0) & (np.arange(ROWS) % 100 < 40)
    assert asked_rows(client, 'tenant == "t0" and n < 40') == [12_000]
    assert recall(client, some, filter='tenant == "t0" and n < 40') >= 0.95


@pytest.mark.parametrize("tenants, more", [([0, 1], ""), ([1, 0, 7], " and n < 40"), ([1, 5, 17], ""), ([2, 3], "")])
def test_several_tenants_are_searched_in_their_indexes_where_that_is_cheaper(filled, tenants, more):
    _, client = filled
    expression = "tenant in [" + ", ".join(f'"t{tenant}"' for tenant in tenants) + "]" + more
    keep = np.isin(TENANTS, tenants) & ((np.arange(ROWS) % 100 < 40) | (more == ""))
    assert recall(client, keep, filter=expression) >= 0.95
    large = [tenant for tenant in tenants if tenant < 2]
    for search in explained(client, expression):
        if not large:
            assert "expected_microseconds_by_key_indexes" not in search
            continue
        cheaper = search["expected_microseconds_by_key_indexes"] < search["expected_microseconds_by_index_of_all_rows"]
        assert search.get("key_indexes") == (len(large) if cheaper else None)
        assert search.get("rows_of_key_index") == (np.isin(TENANTS, large).sum() if cheaper else None)


def test_ranges_and_iterators_read_them_too(filled):
    _, client = filled
    keys = np.flatnonzero(TENANTS == 1)
    distances = ((DATA[keys] - QUERIES[0]) ** 2).sum(1)
    ordered = keys[np.argsort(distances, kind="stable")]
    radius = float(np.sort(distances)[150])
    hits = client.search("many", data=[QUERIES[0].tolist()], filter='tenant == "t1"', limit=500,
                         search_params={"params": {"radius": radius}})[0]
    found = {hit["id"] for hit in hits}
    assert found <= set(ordered[:151].tolist()) and len(found) >= 140
    pages = client.search_iterator("many", data=[QUERIES[0].tolist()], batch_size=100, limit=300, filter='tenant == "t1"')
    read = []
    while page := pages.next():
        read += [hit["id"] for hit in page]
    pages.close()
    assert len(set(read) & set(ordered[:300].tolist())) >= 298 and len(read) == 300


def test_deletes_upserts_and_a_restart(filled):
    running, client = filled
    keep = TENANTS == 0
    client.delete("many", filter='tenant == "t0" and n >= 90')
    keep &= np.arange(ROWS) % 100 < 90
    assert recall(client, keep, filter='tenant == "t0"') >= 0.95
    back = np.flatnonzero((TENANTS == 0) & (np.arange(ROWS) % 100 == 95))
    client.upsert("many", rows_of(back))
    keep[back] = True
    assert recall(client, keep, filter='tenant == "t0"') >= 0.95
    running.kill()
    running.start()
    wait_for(running, 2)
    again = MilvusClient(uri=running.uri)
    assert asked_rows(again, 'tenant == "t0"') == [12_000]
    assert recall(again, keep, filter='tenant == "t0"') >= 0.95
    again.release_collection("many")
    again.drop_index("many", "vector")
    wait_for(running, 0)
    again.close()
