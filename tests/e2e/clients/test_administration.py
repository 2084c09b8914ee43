"""Flush, compaction, segments, replicas, resource groups: the calls that tools poll."""

import time
from datetime import datetime, timedelta, timezone

import pytest
from pymilvus import DataType, MilvusException
from pymilvus.grpc_gen import common_pb2, milvus_pb2

from collections_under_test import count, failed, refused, stub, succeeded

ZERO = [0.0] * 8


def test_flush_reply_ends_the_poll(client, collections, name):
    collections.create(name)
    client.insert(name, [{"id": i, "vector": ZERO} for i in range(100)])
    reply = succeeded(stub(client).Flush(milvus_pb2.FlushRequest(collection_names=[name])))
    assert name in reply.coll_segIDs and name in reply.flush_coll_segIDs
    assert reply.coll_flush_ts[name] > 0
    segments = list(reply.coll_segIDs[name].data)
    state = succeeded(stub(client).GetFlushState(milvus_pb2.GetFlushStateRequest(
        segmentIDs=segments, flush_ts=reply.coll_flush_ts[name], collection_name=name)))
    assert state.flushed


def test_many_flushes_are_no_problem(client, collections, name):
    collections.create(name)
    begun = time.monotonic()
    for i in range(30):
        client.insert(name, [{"id": i, "vector": ZERO}])
        client.flush(name)
    assert time.monotonic() - begun < 20
    assert client.get_collection_stats(name)["row_count"] == 30
    assert count(client, name) == 30


def test_flush_state_of_unknown_segments(client):
    assert succeeded(stub(client).GetFlushState(milvus_pb2.GetFlushStateRequest(segmentIDs=[123456789]))).flushed


def test_flush_all(client, collections, name):
    collections.create(name)
    client.insert(name, [{"id": 1, "vector": ZERO}])
    begun = time.monotonic()
    client.flush_all()
    assert time.monotonic() - begun < 4, "the state must be final when the client asks for it first"


def test_compaction_ends(client, collections, name):
    collections.create(name)
    client.insert(name, [{"id": i, "vector": ZERO} for i in range(100)])
    client.flush(name)
    client.delete(name, filter="id < 50")
    job = client.compact(name)
    assert job > 0
    begun = time.monotonic()
    while client.get_compaction_state(job) != "Completed":
        assert time.monotonic() - begun < 60, "the compaction does not end"
        time.sleep(0.02)
    assert count(client, name) == 50
    assert client.get_compaction_state(1) == "Completed", "an id that is not known must not keep a client waiting"


def test_segment_lists(client, collections, name):
    collections.create(name)
    client.insert(name, [{"id": i, "vector": ZERO} for i in range(100)])
    client.flush(name)
    stored = succeeded(stub(client).GetPersistentSegmentInfo(milvus_pb2.GetPersistentSegmentInfoRequest(collectionName=name)))
    assert sum(one.num_rows for one in stored.infos) == 100
    loaded = succeeded(stub(client).GetQuerySegmentInfo(milvus_pb2.GetQuerySegmentInfoRequest(collectionName=name)))
    assert sum(one.num_rows for one in loaded.infos) == 100
    assert all(one.collectionID == client.describe_collection(name)["collection_id"] for one in loaded.infos)


def test_replicas(client, collections, name):
    collections.create(name)
    told = client.describe_replica(name)
    assert len(told) >= 1
    client.release_collection(name)
    with pytest.raises(MilvusException):
        client.describe_replica(name)


def test_default_resource_group(client):
    assert "__default_resource_group" in client.list_resource_groups()
    told = client.describe_resource_group("__default_resource_group")
    assert told.name == "__default_resource_group" and told.num_available_node >= 1
    with refused("resource group not found"):
        client.describe_resource_group("no_such_group")


def test_index_state_calls_of_older_clients(client, collections, name):
    collections.create(name)
    client.insert(name, [{"id": i, "vector": ZERO} for i in range(10)])
    reply = succeeded(stub(client).GetIndexState(milvus_pb2.GetIndexStateRequest(collection_name=name, field_name="vector")))
    assert reply.state == common_pb2.IndexState.Finished
    progress = succeeded(stub(client).GetIndexBuildProgress(milvus_pb2.GetIndexBuildProgressRequest(
        collection_name=name, field_name="vector")))
    assert progress.total_rows == progress.indexed_rows == 10


def test_batch_describe(client, collections, name):
    collections.create(name, load=False)
    reply = succeeded(stub(client).BatchDescribeCollection(milvus_pb2.BatchDescribeCollectionRequest(collection_name=[name])))
    assert [one.collection_name for one in reply.responses] == [name]


def test_rows_end_at_a_moment_of_their_own(client, collections, name):
    collections.create(name, [("ends", DataType.TIMESTAMPTZ, {"nullable": True})], properties={"ttl_field": "ends"})
    soon = datetime.now(timezone.utc) + timedelta(seconds=1)
    ends = {1: soon.isoformat(), 2: None, 3: "2020-01-01T00:00:00Z", 4: "2999-01-01T00:00:00Z"}
    client.insert(name, [{"id": key, "vector": ZERO, "ends": end} for key, end in ends.items()])
    if datetime.now(timezone.utc) < soon - timedelta(milliseconds=500):
        assert count(client, name) == 3
    client.flush(name)
    deadline = time.monotonic() + 15
    while count(client, name) > 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert datetime.now(timezone.utc) >= soon
    assert count(client, name) == 2
    assert sorted(row["id"] for row in client.query(name, filter="id > 0")) == [2, 4]
    assert [row["id"] for row in client.get(name, [1, 2, 3])] == [2]
    assert sorted(hit["id"] for hit in client.search(name, [ZERO], limit=10)[0]) == [2, 4]
    with refused("collection TTL and ttl field cannot be set at the same time", code=1100):
        client.alter_collection_properties(name, {"collection.ttl.seconds": 10})
    client.alter_collection_properties(name, {"ttl_field": "ends", "collection.retention.seconds": 0})
    client.upsert(name, [{"id": 3, "vector": ZERO, "ends": None}])
    assert count(client, name) == 3


def test_ttl_hides_expired_rows(client, collections, name):
    collections.create(name, properties={"collection.ttl.seconds": 1})
    client.insert(name, [{"id": 1, "vector": ZERO}])
    deadline = time.monotonic() + 15
    while count(client, name) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert count(client, name) == 0
