"""Earlier moments of a collection: time travel, snapshots, truncation, compaction."""

import time

import pytest
from pymilvus import MilvusClient, MilvusException

from collections_under_test import Collections, count, vectors
from server_process import ServerProcess


def keys(client, name, **arguments):
    rows = client.query(name, filter="id >= 0", output_fields=["id"], limit=16000, **arguments)
    return sorted(row["id"] for row in rows)


def at(moment):
    return {"filter_params": {"__travel_timestamp": moment}}


def insert(client, name, ids, seed=1):
    data = vectors(len(ids), 8, seed)
    return client.insert(name, [{"id": i, "vector": data[n].tolist()} for n, i in enumerate(ids)])


def now(client):
    return client._get_connection().alloc_timestamp()


def wait_for_restore(client, job):
    while True:
        state = client.get_restore_snapshot_state(job)
        if state.state not in ("RestoreSnapshotPending", "RestoreSnapshotExecuting"):
            assert state.state == "RestoreSnapshotCompleted", state.reason
            assert state.progress == 100
            return
        time.sleep(0.02)


def test_query_and_search_read_an_earlier_moment(client, collections, name):
    collections.create(name)
    insert(client, name, range(10))
    before = now(client)
    client.delete(name, ids=[0, 1, 2])
    insert(client, name, [20, 21])
    insert(client, name, [5], seed=2)
    assert keys(client, name) == [3, 4, 5, 6, 7, 8, 9, 20, 21]
    assert keys(client, name, **at(before)) == list(range(10))
    assert keys(client, name, **at(str(before))) == list(range(10))
    rows = client.query(name, filter="", output_fields=["count(*)"], **at(before))
    assert rows[0]["count(*)"] == 10
    probe = vectors(10, 8, 1)
    hits = client.search(name, data=[probe[5].tolist()], limit=16, search_params={"travel_timestamp": before})[0]
    assert sorted(hit["id"] for hit in hits) == list(range(10))
    assert hits[0]["id"] == 5 and hits[0]["distance"] < 1e-6, "the version of that moment answers"
    hits = client.search(name, data=[probe[5].tolist()], filter="id < 8", limit=16, **at(before))[0]
    assert sorted(hit["id"] for hit in hits) == list(range(8))


def test_a_moment_beyond_the_retention_is_an_error_that_names_the_oldest(client, collections, name):
    collections.create(name)
    client.alter_collection_properties(name, properties={"collection.retention.seconds": "0"})
    insert(client, name, [1])
    before = now(client)
    insert(client, name, [2])
    with pytest.raises(MilvusException, match="older than the oldest one that can be read, [0-9]+"):
        keys(client, name, **at(before))
    with pytest.raises(MilvusException, match="not a timestamp"):
        keys(client, name, **at("yesterday"))
    with pytest.raises(MilvusException, match="retention is out of range"):
        client.alter_collection_properties(name, properties={"collection.retention.seconds": "-5"})


def test_truncate_keeps_everything_but_the_rows(client, collections, name):
    if not hasattr(client, "truncate_collection"):
        pytest.skip("this pymilvus has no truncate_collection")
    collections.create(name)
    client.create_partition(name, "p")
    insert(client, name, range(100))
    before = now(client)
    client.truncate_collection(name)
    assert count(client, name) == 0
    assert int(client.get_collection_stats(name)["row_count"]) == 0
    assert "p" in client.list_partitions(name)
    insert(client, name, [7])
    assert keys(client, name) == [7]
    assert keys(client, name, **at(before)) == list(range(100))


def test_compaction_merges_what_was_flushed_and_drops_dead_rows(tmp_path):
    with ServerProcess(data=tmp_path / "data",
                       arguments=["--segment.flush-min-bytes=0", "--retention.seconds=0",
                                  "--compaction.enabled=false"]) as server:
        client = MilvusClient(uri=server.uri)
        Collections(client).create("docs")
        for part in range(4):
            insert(client, "docs", range(part * 1000, part * 1000 + 1000), seed=part)
            client.flush("docs")
        client.delete("docs", filter="id < 1500")
        job = client.compact("docs")
        assert job > 0
        while client.get_compaction_state(job) != "Completed":
            time.sleep(0.02)
        segments = client.list_persistent_segments("docs") if hasattr(client, "list_persistent_segments") else None
        if segments is not None:
            assert [(s.num_rows, s.is_sorted) for s in segments] == [(2500, True)]
        if hasattr(client, "get_compaction_plans"):
            plans = client.get_compaction_plans(job).plans
            assert len(plans) == 1 and len(plans[0].sources) == 4
        assert keys(client, "docs") == list(range(1500, 4000))
        server.kill()
        server.start()
        client.close()
        client = MilvusClient(uri=server.uri)
        assert keys(client, "docs") == list(range(1500, 4000))
        client.close()


def test_snapshots_keep_a_moment_and_bring_it_back(own_server):
    client = MilvusClient(uri=own_server.uri)
    if not hasattr(client, "create_snapshot"):
        pytest.skip("this pymilvus has no snapshots")
    Collections(client).create("docs")
    client.alter_collection_properties("docs", properties={"collection.retention.seconds": "0"})
    insert(client, "docs", range(1000))
    start = time.monotonic()
    client.create_snapshot("first", "docs", description="as it was")
    assert time.monotonic() - start < 5
    with pytest.raises(MilvusException, match="snapshot already exists"):
        client.create_snapshot("first", "docs")
    client.delete("docs", filter="id < 500")
    assert list(client.list_snapshots("docs")) == ["first"]
    told = client.describe_snapshot("first", "docs")
    assert told.description == "as it was"
    assert keys(client, "docs", **at(told.create_ts)) == list(range(1000))
    with pytest.raises(MilvusException, match="snapshot not found"):
        client.describe_snapshot("second", "docs")
    with pytest.raises(MilvusException, match="snapshot not found"):
        client.restore_snapshot("second", "docs", "copy")

    wait_for_restore(client, client.restore_snapshot("first", "docs", "copy"))
    client.load_collection("copy")
    assert keys(client, "copy") == list(range(1000))
    with pytest.raises(MilvusException, match="exists already"):
        client.restore_snapshot("first", "docs", "copy")
    wait_for_restore(client, client.restore_snapshot("first", "docs", "docs"))
    assert keys(client, "docs") == list(range(1000))
    own_server.kill()
    own_server.start()
    client.close()
    client = MilvusClient(uri=own_server.uri)
    assert keys(client, "docs") == keys(client, "copy") == list(range(1000))
    assert list(client.list_snapshots("docs")) == ["first"]
    client.drop_snapshot("first", "docs")
    client.drop_snapshot("first", "docs")
    assert list(client.list_snapshots("docs")) == []
    client.close()


def test_inserting_an_existing_key_can_be_an_error(client, collections, name):
    collections.create(name)
    client.alter_collection_properties(name, properties={"collection.insert.unique": "true"})
    insert(client, name, [1, 2])
    with pytest.raises(MilvusException, match=r"primary key exists already.*\[row=1\]\[key=2\]"):
        insert(client, name, [3, 2])
    assert keys(client, name) == [1, 2]
    client.upsert(name, [{"id": 2, "vector": [0.0] * 8}])
    client.delete(name, ids=[1])
    insert(client, name, [1])
    assert keys(client, name) == [1, 2]
