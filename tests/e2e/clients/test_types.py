"""Every field type there and back: values, edges, nulls, defaults, limits."""

import json
import struct

import ml_dtypes
import numpy as np
import pytest
from pymilvus import DataType
from pymilvus.grpc_gen import common_pb2, schema_pb2

from collections_under_test import (
    count, failed, float_vector_column, insert_request, long_column, refused, stub, succeeded, vectors,
)

ZERO = [0.0] * 8
TEXT = {"max_length": 64}


def array(element, capacity=8, **more):
    return {"element_type": element, "max_capacity": capacity, **more}


SCALARS = [
    ("BOOL", DataType.BOOL, {}, [True, False]),
    ("INT8", DataType.INT8, {}, [-128, 0, 127]),
    ("INT16", DataType.INT16, {}, [-32768, 0, 32767]),
    ("INT32", DataType.INT32, {}, [-(2**31), 0, 2**31 - 1]),
    ("INT64", DataType.INT64, {}, [-(2**63), -1, 0, 2**53 + 1, 2**63 - 1]),
    ("FLOAT", DataType.FLOAT, {}, [0.0, -1.5, 3.4028234663852886e38, 1.401298464324817e-45]),
    ("DOUBLE", DataType.DOUBLE, {}, [0.1, -2.5e-308, 1.7976931348623157e308]),
    ("VARCHAR", DataType.VARCHAR, TEXT, ["", "plain", "zwölf Boxkämpfer", "文档", "\U0001f9a9", 'quo"te\n\\']),
    ("JSON", DataType.JSON, {}, [{}, {"a": [1, 2.5, "x", None, True]}, [1, 2], 7, 1.5, {"deep": {"er": {"x": 2**60}}}]),
    ("ARRAY_BOOL", DataType.ARRAY, array(DataType.BOOL), [[], [True, False]]),
    ("ARRAY_INT8", DataType.ARRAY, array(DataType.INT8), [[], [-128, 127]]),
    ("ARRAY_INT64", DataType.ARRAY, array(DataType.INT64), [[], [2**62, -5], list(range(8))]),
    ("ARRAY_FLOAT", DataType.ARRAY, array(DataType.FLOAT), [[0.5, -0.25]]),
    ("ARRAY_DOUBLE", DataType.ARRAY, array(DataType.DOUBLE), [[0.1]]),
    ("ARRAY_VARCHAR", DataType.ARRAY, array(DataType.VARCHAR, max_length=10), [["a", "ö"], [], [""]]),
]


def plain(value):
    """A returned value as ordinary Python (the clients hand out numpy scalars and protobuf containers)."""
    if isinstance(value, bytes):
        return json.loads(value)
    if isinstance(value, str) or value is None or isinstance(value, dict):
        return value
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (list, tuple)) or type(value).__name__.startswith("Repeated"):
        return [plain(one) for one in value]
    return value


@pytest.mark.parametrize("kind,params,values", [s[1:] for s in SCALARS], ids=[s[0] for s in SCALARS])
def test_scalar_values_survive(client, collections, name, kind, params, values):
    collections.create(name, [("x", kind, params)])
    client.insert(name, [{"id": i, "x": value, "vector": ZERO} for i, value in enumerate(values)])
    for stored in ("growing", "flushed"):
        rows = client.query(name, filter="id >= 0", output_fields=["x"])
        assert {row["id"]: plain(row["x"]) for row in rows} == dict(enumerate(values)), stored
        hits = client.search(name, data=[ZERO], limit=10, output_fields=["x"])[0]
        assert {hit["id"]: plain(hit["entity"]["x"]) for hit in hits} == dict(enumerate(values)), stored
        client.flush(name)


@pytest.mark.parametrize("kind,params,values", [s[1:] for s in SCALARS], ids=[s[0] for s in SCALARS])
def test_nulls_survive(client, collections, name, kind, params, values):
    collections.create(name, [("x", kind, {**params, "nullable": True})])
    stored = dict(enumerate([values[0], None, values[-1], None]))
    client.insert(name, [{"id": i, "x": value, "vector": ZERO} for i, value in stored.items()])
    client.insert(name, [{"id": 9, "vector": ZERO}])
    stored[9] = None
    for state in ("growing", "flushed"):
        rows = client.query(name, filter="id >= 0", output_fields=["x"])
        assert {row["id"]: plain(row["x"]) for row in rows} == stored, state
        hits = client.search(name, data=[ZERO], limit=10, output_fields=["x"])[0]
        assert {hit["id"]: plain(hit["entity"]["x"]) for hit in hits} == stored, state
        assert {row["id"] for row in client.query(name, filter="x is null")} == {1, 3, 9}, state
        assert {row["id"] for row in client.query(name, filter="x is not null")} == {0, 2}, state
        client.flush(name)


@pytest.mark.parametrize("kind,default,text", [
    (DataType.BOOL, True, {}), (DataType.INT8, 7, {}), (DataType.INT16, -7, {}), (DataType.INT32, 70000, {}),
    (DataType.INT64, 2**40, {}), (DataType.FLOAT, 0.5, {}), (DataType.DOUBLE, 0.1, {}),
    (DataType.VARCHAR, "none given", TEXT),
], ids=["BOOL", "INT8", "INT16", "INT32", "INT64", "FLOAT", "DOUBLE", "VARCHAR"])
def test_defaults_fill_missing_values(client, collections, name, kind, default, text):
    default_of = np.float32(default) if kind == DataType.FLOAT else default
    collections.create(name, [("x", kind, {**text, "default_value": default_of})])
    client.insert(name, [{"id": 1, "vector": ZERO}])
    client.insert(name, [{"id": 2, "x": None, "vector": ZERO}])
    rows = client.query(name, filter="id > 0", output_fields=["x"])
    assert [plain(row["x"]) for row in rows] == [default, default]


def test_a_nullable_default_wins_over_null(client, collections, name):
    collections.create(name, [("x", DataType.INT64, {"nullable": True, "default_value": 3})])
    client.insert(name, [{"id": 1, "vector": ZERO}])
    assert client.query(name, filter="id == 1", output_fields=["x"])[0]["x"] == 3


VECTOR_KINDS = {
    "FLOAT": (DataType.FLOAT_VECTOR, 8, lambda rng, n: rng.standard_normal((n, 8)).astype(np.float32)),
    "FLOAT16": (DataType.FLOAT16_VECTOR, 8, lambda rng, n: rng.standard_normal((n, 8)).astype(np.float16)),
    "BFLOAT16": (DataType.BFLOAT16_VECTOR, 8, lambda rng, n: rng.standard_normal((n, 8)).astype(ml_dtypes.bfloat16)),
    "INT8": (DataType.INT8_VECTOR, 8, lambda rng, n: rng.integers(-128, 128, (n, 8)).astype(np.int8)),
    "BINARY": (DataType.BINARY_VECTOR, 32, lambda rng, n: rng.integers(0, 256, (n, 4)).astype(np.uint8)),
}


def given(kind, vector):
    """The vector in a form that both clients take."""
    if kind == DataType.BINARY_VECTOR:
        return vector.tobytes()
    return vector.tolist() if kind == DataType.FLOAT_VECTOR else vector


def taken(kind, value, like):
    """A returned vector as an array of the type of `like`."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], bytes):
        value = value[0]
    if isinstance(value, bytes):
        return np.frombuffer(value, dtype=like.dtype)
    return np.asarray(value, dtype=like.dtype)


@pytest.mark.parametrize("which", VECTOR_KINDS)
def test_dense_vectors_survive_bit_by_bit(client, collections, name, which):
    kind, dim, make = VECTOR_KINDS[which]
    data = make(np.random.default_rng(5), 20)
    collections.create(name, [("v", kind, {"dim": dim})])
    client.insert(name, [{"id": i, "v": given(kind, data[i])} for i in range(20)])
    for state in ("growing", "flushed"):
        rows = client.query(name, filter="id >= 0", output_fields=["v"])
        assert len(rows) == 20
        for row in rows:
            assert taken(kind, row["v"], data).tobytes() == data[row["id"]].tobytes(), state
        hits = client.search(name, data=[given(kind, data[3])], anns_field="v", limit=2, output_fields=["v"])[0]
        assert hits[0]["id"] == 3 and hits[0]["distance"] == 0, state
        assert taken(kind, hits[0]["entity"]["v"], data).tobytes() == data[3].tobytes(), state
        client.flush(name)


def test_sparse_vectors_survive(client, collections, name):
    rows = [{1: 0.5, 100: 2.0}, {0: 1.0}, {4294967294: 3.5, 7: -1.0}, {}]
    collections.create(name, [("v", DataType.SPARSE_FLOAT_VECTOR)])
    client.insert(name, [{"id": i, "v": v} for i, v in enumerate(rows)])
    for state in ("growing", "flushed"):
        got = client.query(name, filter="id >= 0", output_fields=["v"])
        assert {row["id"]: dict(row["v"]) for row in got} == dict(enumerate(rows)), state
        client.flush(name)


def test_ten_vector_fields(client, collections, name):
    fields = [(f"v{i}", DataType.FLOAT_VECTOR, {"dim": 4}) for i in range(10)]
    collections.create(name, fields)
    data = vectors(30, 40, 6).reshape(30, 10, 4)
    client.insert(name, [{"id": r, **{f"v{i}": data[r, i].tolist() for i in range(10)}} for r in range(30)])
    for i in (0, 4, 9):
        nearest = int(np.argmin(((data[:, i] - data[7, i] - 0.01) ** 2).sum(axis=1)))
        hits = client.search(name, data=[(data[7, i] + 0.01).tolist()], anns_field=f"v{i}", limit=1)[0]
        assert hits[0]["id"] == nearest
    with refused("multiple anns_fields exist, please specify a anns_field in search_params"):
        client.search(name, data=[[0.0] * 4], limit=1)


def test_dynamic_fields(client, collections, name):
    collections.create(name, dynamic=True)
    client.insert(name, [
        {"id": 1, "vector": ZERO, "colour": "red", "size": 3, "deep": {"x": [1, 2]}},
        {"id": 2, "vector": ZERO, "colour": "blue", "size": 3.5},
        {"id": 3, "vector": ZERO},
        {"id": 4, "vector": ZERO, "colour": None, "big": 2**62 + 1},
    ])
    ids = lambda expression: sorted(row["id"] for row in client.query(name, filter=expression))
    for state in ("growing", "flushed"):
        assert ids('colour == "red"') == [1], state
        assert ids("size > 2") == [1, 2], state
        assert ids("size == 3") == [1], state
        assert ids('$meta["colour"] == "blue"') == [2], state
        assert ids("exists colour") == [1, 2] or ids('exists $meta["colour"]') == [1, 2], state
        assert ids(f"big == {2**62 + 1}") == [4], state
        rows = {row["id"]: row for row in client.query(name, filter="id > 0", output_fields=["colour", "deep"])}
        assert rows[1] == {"id": 1, "colour": "red", "deep": {"x": [1, 2]}}, state
        assert "colour" not in rows[3] and "deep" not in rows[3], state
        whole = {row["id"]: row for row in client.query(name, filter="id > 0", output_fields=["*"])}
        assert whole[2]["colour"] == "blue" and whole[2]["size"] == 3.5 and "vector" in whole[2], state
        hit = client.search(name, data=[ZERO], filter="id == 1", output_fields=["size", "colour"])[0][0]
        assert hit["entity"]["size"] == 3 and hit["entity"]["colour"] == "red", state
        client.flush(name)


def test_unknown_fields_are_refused_without_dynamic(client, collections, name):
    collections.create(name)
    with refused("extra"):
        client.insert(name, [{"id": 1, "vector": ZERO, "extra": 1}])
    assert count(client, name) == 0


@pytest.mark.parametrize("pk", [DataType.INT64, DataType.VARCHAR], ids=["INT64", "VARCHAR"])
def test_auto_ids(client, collections, name, pk):
    collections.create(name, pk=pk, auto_id=True)
    first = client.insert(name, [{"vector": ZERO} for _ in range(100)])
    second = client.insert(name, [{"vector": ZERO} for _ in range(100)])
    ids = list(first["ids"]) + list(second["ids"])
    assert first["insert_count"] == 100 and len(set(ids)) == 200
    assert all(isinstance(one, str if pk == DataType.VARCHAR else int) for one in ids)
    assert [int(one) for one in ids] == sorted(int(one) for one in ids)
    assert len(client.get(name, ids=ids[50:150])) == 100


def test_string_keys(client, collections, name):
    collections.create(name, pk=DataType.VARCHAR)
    keys = ["a", "it's", 'double "quoted"', "ключ", "x" * 64, "", "back\\slash"]
    client.insert(name, [{"id": key, "vector": ZERO} for key in keys])
    assert count(client, name) == len(keys)
    assert {row["id"] for row in client.query(name, filter='id >= ""')} == set(keys)
    assert [row["id"] for row in client.get(name, ids=["ключ"])] == ["ключ"]
    client.upsert(name, [{"id": "a", "vector": [1.0] * 8}])
    assert count(client, name) == len(keys)
    client.delete(name, ids=["a", "ключ"])
    assert count(client, name) == len(keys) - 2


def test_varchar_length_counts_bytes(client, collections, name):
    collections.create(name, [("s", DataType.VARCHAR, {"max_length": 10})])
    client.insert(name, [{"id": 1, "s": "äöüäö", "vector": ZERO}])
    with refused("length of varchar field s exceeds max length", "row number: 1, length: 12, max length: 10"):
        client.insert(name, [{"id": 2, "s": "ok", "vector": ZERO}, {"id": 3, "s": "äöüäöü", "vector": ZERO}])
    assert count(client, name) == 1


def test_longest_varchar(client, collections, name):
    collections.create(name, [("s", DataType.VARCHAR, {"max_length": 65535})])
    client.insert(name, [{"id": 1, "s": "x" * 65535, "vector": ZERO}])
    assert len(client.query(name, filter="id == 1", output_fields=["s"])[0]["s"]) == 65535


def test_json_is_limited_to_64_kib(client, collections, name):
    collections.create(name, [("j", DataType.JSON)])
    client.insert(name, [{"id": 1, "j": {"x": "y" * 65000}, "vector": ZERO}])
    with refused("65536"):
        client.insert(name, [{"id": 2, "j": {"x": "y" * 66000}, "vector": ZERO}])
    assert count(client, name) == 1


def test_dynamic_field_is_limited(client, collections, name):
    collections.create(name, dynamic=True)
    with refused("the length (", "of dynamic field exceeds max length (65536)"):
        client.insert(name, [{"id": 2, "x": "y" * 66000, "vector": ZERO}])
    assert count(client, name) == 0


def test_array_capacity(client, collections, name):
    collections.create(name, [("a", DataType.ARRAY, array(DataType.INT64, 4))])
    client.insert(name, [{"id": 1, "a": [1, 2, 3, 4], "vector": ZERO}])
    with refused("4"):
        client.insert(name, [{"id": 2, "a": [1, 2, 3, 4, 5], "vector": ZERO}])
    assert count(client, name) == 1


def test_array_element_length(client, collections, name):
    collections.create(name, [("a", DataType.ARRAY, array(DataType.VARCHAR, 4, max_length=3))])
    with refused("max length"):
        client.insert(name, [{"id": 2, "a": ["ab", "abcd"], "vector": ZERO}])
    assert count(client, name) == 0


def scalar_column(name, kind, **data):
    return schema_pb2.FieldData(type=kind, field_name=name, scalars=schema_pb2.ScalarField(**data))


@pytest.mark.parametrize("kind,value,text", [
    (schema_pb2.Int8, 300, "the 0th element (300) out of range: [-128, 127]"),
    (schema_pb2.Int16, -40000, "the 0th element (-40000) out of range: [-32768, 32767]"),
], ids=["INT8", "INT16"])
def test_integers_out_of_range(client, collections, name, kind, value, text):
    collections.create(name, [("x", DataType(kind))])
    columns = [long_column("id", [1]), scalar_column("x", kind, int_data=schema_pb2.IntArray(data=[value])),
               float_vector_column("vector", vectors(1, 8), 8)]
    failed(stub(client).Insert(insert_request(name, columns, 1)), text, code=1100)
    assert count(client, name) == 0


def test_infinite_scalars_follow_the_type(client, collections, name):
    """NaN and infinity are refused in float columns as they are in vectors."""
    collections.create(name, [("x", DataType.FLOAT)])
    columns = [long_column("id", [1]),
               scalar_column("x", schema_pb2.Float, float_data=schema_pb2.FloatArray(data=[float("nan")])),
               float_vector_column("vector", vectors(1, 8), 8)]
    failed(stub(client).Insert(insert_request(name, columns, 1)), "is not a number or infinity")


def test_bad_json_is_refused(client, collections, name):
    collections.create(name, [("j", DataType.JSON)])
    columns = [long_column("id", [1]),
               scalar_column("j", schema_pb2.JSON, json_data=schema_pb2.JSONArray(data=[b"{not json"])),
               float_vector_column("vector", vectors(1, 8), 8)]
    failed(stub(client).Insert(insert_request(name, columns, 1)), "j")
    assert count(client, name) == 0


@pytest.mark.skipif(int(__import__("pymilvus").__version__.split(".")[0]) < 3, reason="nullable vectors came with 3.0")
def test_nullable_vectors(client, collections, name):
    collections.create(name, [("v", DataType.FLOAT_VECTOR, {"dim": 4, "nullable": True})])
    client.insert(name, [{"id": 1, "v": [1.0] * 4}, {"id": 2, "v": None}, {"id": 3, "v": [3.0] * 4}])
    for state in ("growing", "flushed"):
        rows = client.query(name, filter="id > 0", output_fields=["v"])
        assert {row["id"]: row["v"] for row in rows} == {1: [1.0] * 4, 2: None, 3: [3.0] * 4}, state
        assert [hit["id"] for hit in client.search(name, data=[[3.0] * 4], limit=5)[0]] == [3, 1], state
        client.flush(name)


def test_half_precision_takes_single_precision_queries(client, collections, name):
    collections.create(name, [("v", DataType.FLOAT16_VECTOR, {"dim": 4})])
    client.insert(name, [{"id": i, "v": np.full(4, i, dtype=np.float16)} for i in range(5)])
    from collections_under_test import search_request

    payload = struct.pack("<4f", 3.1, 3.1, 3.1, 3.1)
    reply = succeeded(stub(client).Search(search_request(name, [payload], common_pb2.FloatVector, field="v", topk=2)))
    assert list(reply.results.ids.int_id.data) == [3, 4]


def test_allow_insert_auto_id(client, collections, name):
    """With this property an automatic key may be given by the user."""
    collections.create(name, auto_id=True, properties={"allow_insert_auto_id": "true"})
    result = client.insert(name, [{"id": 77, "vector": ZERO}])
    assert list(result["ids"]) == [77]
