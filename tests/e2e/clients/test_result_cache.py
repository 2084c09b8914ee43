"""Answers that are kept: given again while the rows are the same, and never afterwards."""

import re

import numpy as np
import pytest
from pymilvus import AnnSearchRequest, DataType, MilvusClient, RRFRanker

from collections_under_test import Collections
from server_process import ServerProcess

DIM = 8
ROWS = 3000
VECTORS = np.random.default_rng(8).standard_normal((ROWS + 1, DIM), dtype=np.float32)
KEEP = {"params": {"result_cache": True}}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ServerProcess(data=tmp_path_factory.mktemp("results") / "data") as running:
        yield running


@pytest.fixture
def client(server):
    client = MilvusClient(uri=server.uri)
    collections = Collections(client)
    collections.create("kept", [("number", DataType.INT64), ("vector", DataType.FLOAT_VECTOR, {"dim": DIM})])
    client.insert("kept", [{"id": i, "number": i % 100, "vector": VECTORS[i]} for i in range(ROWS)])
    yield client
    client.drop_collection("kept")
    client.close()


def counted(server, which):
    found = re.search(rf"^quiver_result_cache_{which}_total (\d+)", server.http("/metrics")[1], re.M)
    return int(found.group(1))


def search(client, query=VECTORS[0], keep=True, name="kept", **options):
    options = {"limit": 5, "filter": "number < 50", "output_fields": ["number"], **options}
    return list(client.search(name, [query], search_params=KEEP if keep else {}, **options)[0])


class Watch:
    """Tells how many answers the block took from those kept."""

    def __init__(self, server):
        self.server = server

    def __enter__(self):
        self.before = counted(self.server, "hits"), counted(self.server, "misses")
        return self

    def __exit__(self, *_):
        self.hits = counted(self.server, "hits") - self.before[0]
        self.misses = counted(self.server, "misses") - self.before[1]


def test_the_second_answer_is_the_first(server, client):
    with Watch(server) as seen:
        first, second = search(client), search(client)
    assert first == second == search(client, keep=False) and len(first) == 5
    assert (seen.hits, seen.misses) == (1, 1)


def test_only_those_who_ask_get_what_was_kept(server, client):
    search(client)
    with Watch(server) as seen:
        search(client, keep=False)
    assert (seen.hits, seen.misses) == (0, 0)


@pytest.mark.parametrize("change", [{"query": VECTORS[1]}, {"limit": 6}, {"filter": "number < 51"},
                                    {"output_fields": ["id"]}, {"round_decimal": 2}])
def test_another_request_has_another_answer(server, client, change):
    search(client)
    with Watch(server) as seen:
        assert search(client, **change) == search(client, keep=False, **change)
    assert seen.hits == 0


def test_the_consistency_level_is_no_part_of_the_request(server, client):
    first = search(client, consistency_level="Strong")
    with Watch(server) as seen:
        assert search(client, consistency_level="Eventually") == first
    assert seen.hits == 1


def test_every_write_is_seen_at_once(server, client):
    nearest = {"id": ROWS, "number": 1, "vector": VECTORS[0]}
    changes = [lambda: client.insert("kept", [nearest]),
               lambda: client.delete("kept", ids=[0]),
               lambda: client.upsert("kept", [nearest | {"number": 2}]),
               lambda: client.delete("kept", filter="number == 2")]
    for change in changes:
        before = search(client)
        assert search(client) == before
        change()
        with Watch(server) as seen:
            after = search(client)
        assert seen.hits == 0 and after != before
        assert after == search(client, keep=False)


def test_flushing_changes_no_answer(server, client):
    first = search(client)
    client.flush("kept")
    with Watch(server) as seen:
        assert search(client) == first
    assert seen.hits == 1


def test_an_alias_is_followed(server, client):
    Collections(client).create("other", [("number", DataType.INT64), ("vector", DataType.FLOAT_VECTOR, {"dim": DIM})])
    client.insert("other", [{"id": 7, "number": 7, "vector": VECTORS[3]}])
    client.create_alias("kept", "either")
    first = search(client, name="either")
    client.alter_alias("other", "either")
    assert [hit["id"] for hit in search(client, name="either")] == [7]
    client.alter_alias("kept", "either")
    assert search(client, name="either") == first
    client.drop_alias("either")
    client.drop_collection("other")


def test_partitions_that_come_and_go(server, client):
    client.create_partition("kept", "more")
    first = search(client)
    client.insert("kept", [{"id": ROWS, "number": 1, "vector": VECTORS[0]}], partition_name="more")
    assert search(client) != first
    client.release_partitions("kept", ["more"])
    client.drop_partition("kept", "more")
    assert search(client) == first


def test_samples_are_drawn_anew(server, client):
    with Watch(server) as seen:
        for _ in range(3):
            search(client, filter="random_sample(0.5)")
    assert (seen.hits, seen.misses) == (0, 0)


def test_rows_that_outlive_their_time_are_not_kept(server, client):
    client.alter_collection_properties("kept", {"collection.ttl.seconds": 3600})
    with Watch(server) as seen:
        assert search(client) == search(client)
    assert (seen.hits, seen.misses) == (0, 2)


def test_hybrid_searches_are_kept_where_all_parts_ask(server, client):
    def hybrid(*keep):
        parts = [AnnSearchRequest([VECTORS[i].tolist()], "vector", KEEP if asked else {}, 5)
                 for i, asked in enumerate(keep)]
        return list(client.hybrid_search("kept", parts, RRFRanker(), 5)[0])

    with Watch(server) as seen:
        assert hybrid(True, True) == hybrid(True, True) == hybrid(True, False)
    assert (seen.hits, seen.misses) == (1, 1)
    client.delete("kept", ids=[0])
    assert 0 not in [hit["id"] for hit in hybrid(True, True)]


def test_nothing_is_kept_where_the_server_is_told_so(tmp_path):
    with ServerProcess(data=tmp_path / "data", arguments=["--query.result-cache-bytes=0"]) as server:
        client = MilvusClient(uri=server.uri)
        Collections(client).create("kept", [("number", DataType.INT64),
                                            ("vector", DataType.FLOAT_VECTOR, {"dim": DIM})])
        client.insert("kept", [{"id": 1, "number": 1, "vector": VECTORS[1]}])
        assert search(client) == search(client)
        assert counted(server, "hits") == 0
        client.close()
