"""Insert, upsert, delete: results, one row per key, whole batches, visibility at once."""

import numpy as np
import pytest
from pymilvus import DataType, MilvusException
from pymilvus.grpc_gen import milvus_pb2, schema_pb2

from collections_under_test import (
    count, failed, float_vector_column, insert_request, long_column, refused, stub, succeeded, vectors,
)

ZERO = [0.0] * 8


def rows(ids, **more):
    return [{"id": i, "vector": [float(i)] * 8, **more} for i in ids]


def test_insert_reply(client, collections, name):
    collections.create(name)
    columns = [long_column("id", [5, 3, 9]), float_vector_column("vector", vectors(3, 8), 8)]
    reply = succeeded(stub(client).Insert(insert_request(name, columns, 3)))
    assert list(reply.IDs.int_id.data) == [5, 3, 9]
    assert list(reply.succ_index) == [0, 1, 2] and not reply.err_index
    assert reply.insert_cnt == 3 and reply.timestamp > 0


def test_reads_see_own_writes_at_every_level(client, collections, name):
    collections.create(name)
    for number, level in enumerate(["Strong", "Session", "Bounded", "Eventually"] * 5):
        client.insert(name, rows([number]))
        assert client.query(name, filter=f"id == {number}", output_fields=["id"], consistency_level=level) == [{"id": number}]
        hits = client.search(name, data=[[float(number)] * 8], limit=1, consistency_level=level)[0]
        assert hits[0]["id"] == number
        client.delete(name, ids=[number])
        assert client.query(name, filter=f"id == {number}", consistency_level=level) == []


def test_an_insert_of_an_existing_key_replaces_the_row(client, collections, name):
    collections.create(name, [("x", DataType.INT64)])
    client.insert(name, rows(range(100), x=1))
    client.flush(name)
    client.insert(name, rows(range(50), x=2))
    assert count(client, name) == 100
    assert count(client, name, "x == 2") == 50 and count(client, name, "x == 1") == 50
    assert len(client.search(name, data=[ZERO], limit=200)[0]) == 100
    client.flush(name)
    assert count(client, name) == 100
    assert client.get_collection_stats(name)["row_count"] == 100


def test_the_last_row_of_a_key_wins_within_an_insert(client, collections, name):
    collections.create(name, [("x", DataType.INT64)])
    client.insert(name, [{"id": 1, "x": n, "vector": ZERO} for n in range(5)])
    assert client.query(name, filter="id == 1", output_fields=["x"]) == [{"id": 1, "x": 4}]
    assert count(client, name) == 1


def test_upsert_inserts_and_replaces(client, collections, name):
    collections.create(name, [("x", DataType.INT64)])
    client.insert(name, rows(range(10), x=1))
    result = client.upsert(name, rows(range(5, 15), x=2))
    assert result["upsert_count"] == 10
    assert count(client, name) == 15 and count(client, name, "x == 2") == 10
    hits = client.search(name, data=[[7.0] * 8], limit=1, output_fields=["x"])[0]
    assert hits[0]["id"] == 7 and hits[0]["entity"]["x"] == 2


def test_upsert_reply(client, collections, name):
    collections.create(name)
    columns = [long_column("id", [1, 2]), float_vector_column("vector", vectors(2, 8), 8)]
    request = milvus_pb2.UpsertRequest(collection_name=name, fields_data=columns, num_rows=2)
    reply = succeeded(stub(client).Upsert(request))
    assert reply.upsert_cnt == 2 and reply.insert_cnt == 2
    assert list(reply.IDs.int_id.data) == [1, 2] and reply.timestamp > 0


def test_upsert_refuses_a_key_twice(client, collections, name):
    collections.create(name)
    columns = [long_column("id", [1, 1]), float_vector_column("vector", vectors(2, 8), 8)]
    request = milvus_pb2.UpsertRequest(collection_name=name, fields_data=columns, num_rows=2)
    failed(stub(client).Upsert(request), "duplicate primary keys are not allowed in the same batch")
    assert count(client, name) == 0


def test_upsert_with_automatic_keys_gives_a_new_key(client, collections, name):
    collections.create(name, [("x", DataType.INT64)], auto_id=True)
    old = list(client.insert(name, [{"x": 1, "vector": ZERO}])["ids"])
    new = list(client.upsert(name, [{"id": old[0], "x": 2, "vector": ZERO}])["ids"])
    assert new and new != old
    assert client.query(name, filter="x >= 0", output_fields=["x"]) == [{"id": new[0], "x": 2}]


def test_upsert_with_automatic_keys_needs_the_old_key(client, collections, name):
    collections.create(name, auto_id=True)
    request = milvus_pb2.UpsertRequest(
        collection_name=name, fields_data=[float_vector_column("vector", vectors(1, 8), 8)], num_rows=1
    )
    failed(stub(client).Upsert(request), "must assign pk when upsert, primary field: id")


def test_partial_update(client, collections, name):
    collections.create(name, [("x", DataType.INT64), ("y", DataType.VARCHAR, {"max_length": 9, "nullable": True})])
    client.insert(name, rows(range(4), x=1, y="old"))
    client.flush(name)
    client.upsert(name, [{"id": 1, "y": "new"}, {"id": 2, "y": None}], partial_update=True)
    got = client.query(name, filter="id >= 0", output_fields=["x", "y", "vector"])
    assert {r["id"]: (r["x"], r["y"], r["vector"]) for r in got} == {
        0: (1, "old", ZERO), 1: (1, "new", [1.0] * 8), 2: (1, None, [2.0] * 8), 3: (1, "old", [3.0] * 8)
    }


def test_delete_by_ids_counts_what_was_given(client, collections, name):
    collections.create(name)
    client.insert(name, rows(range(10)))
    assert client.delete(name, ids=[1, 2, 99])["delete_count"] == 3
    assert count(client, name) == 8


def test_delete_by_filter_counts_what_was_found(client, collections, name):
    collections.create(name, [("x", DataType.INT64)])
    client.insert(name, rows(range(10), x=1) + rows(range(10, 30), x=2))
    client.flush(name)
    client.insert(name, rows(range(30, 40), x=2))
    assert client.delete(name, filter="x == 2")["delete_count"] == 30
    assert {row["id"] for row in client.query(name, filter="id >= 0")} == set(range(10))


@pytest.mark.parametrize("expression", ["id > 5", "id >= 2 and id < 4", "not (id == 3)", "id % 2 == 0", 's like "a%"',
                                        "flag == true", "s in ['a1', 'a2']", "j['k'] > 5"])
def test_delete_by_any_supported_expression(client, collections, name, expression):
    collections.create(name, [("s", DataType.VARCHAR, {"max_length": 9}), ("flag", DataType.BOOL), ("j", DataType.JSON)])
    client.insert(name, [{"id": i, "s": f"{'ab'[i % 2]}{i}", "flag": i < 4, "j": {"k": i}, "vector": ZERO} for i in range(10)])
    doomed = {row["id"] for row in client.query(name, filter=expression)}
    assert doomed and len(doomed) < 10
    client.delete(name, filter=expression)
    assert {row["id"] for row in client.query(name, filter="id >= 0")} == set(range(10)) - doomed


@pytest.mark.parametrize("expression", ["", "   ", "true"])
def test_delete_of_everything_by_accident_is_refused(client, collections, name, expression):
    collections.create(name)
    client.insert(name, rows(range(3)))
    reply = stub(client).Delete(milvus_pb2.DeleteRequest(collection_name=name, expr=expression))
    failed(reply, "delete plan can't be empty or always true")
    assert count(client, name) == 3


def test_delete_with_a_bad_expression(client, collections, name):
    collections.create(name)
    with refused("failed to create delete plan: cannot parse expression: nothing > 3", "field nothing not exist"):
        client.delete(name, filter="nothing > 3")


def test_delete_on_a_collection_that_is_not_loaded(client, collections, name):
    """By key it works; anything else must read rows first."""
    collections.create(name, [("x", DataType.INT64)])
    client.insert(name, rows(range(5), x=1))
    client.release_collection(name)
    client.delete(name, ids=[1])
    with refused("collection not loaded", code=101):
        client.delete(name, filter="x == 1")
    client.load_collection(name)
    assert count(client, name) == 4


def test_delete_in_a_partition_leaves_others_alone(client, collections, name):
    collections.create(name, [("x", DataType.INT64)])
    client.create_partition(name, "p")
    client.insert(name, rows(range(5), x=1))
    client.insert(name, rows(range(5, 10), x=1), partition_name="p")
    client.delete(name, filter="x == 1", partition_name="p")
    assert {row["id"] for row in client.query(name, filter="id >= 0")} == set(range(5))
    with refused("partition not found[partition=nowhere]"):
        client.delete(name, filter="x == 1", partition_name="nowhere")


def test_deleted_rows_can_come_back(client, collections, name):
    collections.create(name, [("x", DataType.INT64)])
    for turn in range(5):
        client.insert(name, rows(range(20), x=turn))
        assert count(client, name, f"x == {turn}") == 20
        client.delete(name, filter="id >= 0")
        assert count(client, name) == 0
        client.flush(name)
    client.insert(name, rows(range(20), x=9))
    assert count(client, name) == 20


def test_large_delete_list(client, collections, name):
    collections.create(name)
    client.insert(name, rows(range(12000)))
    client.delete(name, ids=list(range(10000)))
    assert count(client, name) == 2000


def test_statistics_are_exact_after_deletes(client, collections, name):
    collections.create(name)
    client.insert(name, rows(range(1000)))
    assert client.get_collection_stats(name)["row_count"] == 1000
    client.delete(name, filter="id < 400")
    assert client.get_collection_stats(name)["row_count"] == 600
    client.flush(name)
    client.upsert(name, rows(range(350, 450)))
    assert client.get_collection_stats(name)["row_count"] == 650


def test_writes_go_on_while_nothing_is_loaded(client, collections, name):
    collections.create(name, load=False)
    client.insert(name, rows(range(10)))
    client.upsert(name, rows(range(5, 15)))
    client.load_collection(name)
    assert count(client, name) == 15


@pytest.mark.parametrize("columns,count_of_rows,texts", [
    (lambda: [long_column("id", [1]), float_vector_column("vector", vectors(1, 7), 7)], 1,
     ["the dim (7) of field data(vector) is not equal to schema dim (8)"]),
    (lambda: [long_column("id", [1, 2, 3]), float_vector_column("vector", vectors(2, 8), 8)], 3, ["vector"]),
    (lambda: [long_column("id", [1, 2]), float_vector_column("vector", vectors(3, 8), 8)], 3, ["id", "2", "3"]),
    (lambda: [long_column("id", [1])], 1, ["vector"]),
    (lambda: [float_vector_column("vector", vectors(1, 8), 8)], 1, ["id"]),
    (lambda: [long_column("id", [1]), float_vector_column("vector", vectors(1, 8), 8), long_column("z", [1])], 1, ["z"]),
    (lambda: [long_column("id", [1]), long_column("id", [1]), float_vector_column("vector", vectors(1, 8), 8)], 1, ["id"]),
    (lambda: [long_column("id", [1]), long_column("vector", [1])], 1, ["vector"]),
    (lambda: [long_column("id", [1]), float_vector_column("vector", [[np.nan] + [0.0] * 7], 8)], 1,
     ["is not a number or infinity"]),
    (lambda: [long_column("id", [1]), float_vector_column("vector", [[np.inf] + [0.0] * 7], 8)], 1,
     ["is not a number or infinity"]),
    (lambda: [schema_pb2.FieldData(type=schema_pb2.VarChar, field_name="id", scalars=schema_pb2.ScalarField(
        string_data=schema_pb2.StringArray(data=["1"]))), float_vector_column("vector", vectors(1, 8), 8)], 1, ["id"]),
    (lambda: [], 0, [""]),
    (lambda: [long_column("id", []), float_vector_column("vector", np.zeros((0, 8)), 8)], 0, [""]),
    (lambda: [long_column("", [1]), float_vector_column("vector", vectors(1, 8), 8)], 1, [""]),
    (lambda: [schema_pb2.FieldData(type=schema_pb2.Int64, field_name="id"), float_vector_column("vector", vectors(1, 8), 8)],
     1, ["id"]),
], ids=["dim", "rows of the vector", "rows of the key", "no vector", "no key", "unknown field", "field twice",
        "scalars for a vector", "NaN", "infinity", "type of the key", "nothing", "no rows", "no name", "no payload"])
@pytest.mark.parametrize("operation", ["Insert", "Upsert"])
def test_bad_batches_change_nothing(client, collections, name, operation, columns, count_of_rows, texts):
    collections.create(name)
    client.insert(name, rows([100]))
    kind = getattr(milvus_pb2, operation + "Request")
    reply = getattr(stub(client), operation)(
        kind(collection_name=name, fields_data=columns(), num_rows=count_of_rows)
    )
    failed(reply, *texts)
    assert count(client, name) == 1


def test_a_bad_row_spoils_its_batch_only(client, collections, name):
    collections.create(name, [("s", DataType.VARCHAR, {"max_length": 4})])
    good = [{"id": i, "s": "ok", "vector": ZERO} for i in range(500)]
    with refused("row number: 250"):
        client.insert(name, good[:250] + [{"id": 999, "s": "too long", "vector": ZERO}] + good[250:])
    assert count(client, name) == 0
    client.insert(name, good)
    assert count(client, name) == 500


def test_insert_with_automatic_key_refuses_keys(client, collections, name):
    collections.create(name, auto_id=True)
    columns = [long_column("id", [1]), float_vector_column("vector", vectors(1, 8), 8)]
    failed(stub(client).Insert(insert_request(name, columns, 1)))
    assert count(client, name) == 0


def test_insert_into_a_missing_partition(client, collections, name):
    collections.create(name)
    with refused("partition not found[partition=nowhere]"):
        client.insert(name, rows([1]), partition_name="nowhere")


def test_oversized_message(client, collections, name):
    """More than 64 MiB in one request is refused by the transport and hurts nobody."""
    collections.create(name, dim=1024)
    import grpc

    data = vectors(18000, 1024)
    column = schema_pb2.FieldData(
        type=schema_pb2.FloatVector, field_name="vector",
        vectors=schema_pb2.VectorField(dim=1024, float_vector=schema_pb2.FloatArray(data=data.ravel())),
    )
    request = insert_request(name, [long_column("id", range(18000)), column], 18000)
    assert request.ByteSize() > 64 << 20
    with pytest.raises((MilvusException, grpc.RpcError)) as raised:
        stub(client).Insert(request, timeout=60)
    if isinstance(raised.value, grpc.RpcError):
        assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    client.insert(name, [{"id": 1, "vector": data[0]}])
    assert count(client, name) == 1


def test_fifty_megabytes_in_one_insert(client, collections, name):
    collections.create(name, dim=128)
    data = vectors(100_000, 128, 3)
    column = schema_pb2.FieldData(
        type=schema_pb2.FloatVector, field_name="vector",
        vectors=schema_pb2.VectorField(dim=128, float_vector=schema_pb2.FloatArray(data=data.ravel())),
    )
    succeeded(stub(client).Insert(insert_request(name, [long_column("id", range(100_000)), column], 100_000)))
    assert count(client, name) == 100_000
    hits = client.search(name, data=[data[54321].tolist()], limit=1)[0]
    assert hits[0]["id"] == 54321


def test_repeated_request_with_the_same_client_request_id(client, collections, name):
    """An automatic-key insert that is sent again after a lost reply does not add the rows twice."""
    collections.create(name, auto_id=True)
    request = insert_request(name, [float_vector_column("vector", vectors(3, 8), 8)], 3)
    metadata = [("client-request-id", f"e2e-{name}")]
    first = succeeded(stub(client).Insert(request, metadata=metadata))
    again = succeeded(stub(client).Insert(request, metadata=metadata))
    assert list(again.IDs.int_id.data) == list(first.IDs.int_id.data)
    assert count(client, name) == 3
