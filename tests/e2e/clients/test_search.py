"""Search answers against NumPy for every metric and vector type; paging, ranges, filters, errors."""

import struct

import ml_dtypes
import numpy as np
import pytest
from pymilvus import DataType
from pymilvus.grpc_gen import common_pb2

from collections_under_test import failed, refused, search_request, stub, succeeded, vectors

ROWS, QUERIES, LIMIT = 600, 7, 20


def dense(rng, rows, dtype, dim):
    if dtype == np.int8:
        return rng.integers(-128, 128, (rows, dim)).astype(np.int8)
    return rng.standard_normal((rows, dim)).astype(np.float32).astype(dtype)


def expected_scores(metric, data, query):
    data, query = data.astype(np.float64), query.astype(np.float64)
    if metric == "L2":
        return ((data - query) ** 2).sum(axis=1)
    products = data @ query
    if metric == "IP":
        return products
    lengths = np.linalg.norm(data, axis=1) * np.linalg.norm(query)
    return np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)


def check(hits, scores, larger_is_better, limit, tolerance):
    """The hits are a best answer: right scores, in order, and nothing better was left out."""
    order = np.argsort(-scores if larger_is_better else scores, kind="stable")
    assert len(hits) == min(limit, len(scores))
    ids = [hit["id"] for hit in hits]
    assert len(set(ids)) == len(ids)
    got = np.array([hit["distance"] for hit in hits], dtype=np.float64)
    np.testing.assert_allclose(got, scores[ids], rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(got, scores[order[: len(ids)]], rtol=tolerance, atol=tolerance)
    steps = np.diff(got)
    assert (steps <= 0).all() if larger_is_better else (steps >= 0).all()


TYPES = {
    "FLOAT": (DataType.FLOAT_VECTOR, np.float32, 1e-4),
    "FLOAT16": (DataType.FLOAT16_VECTOR, np.float16, 1e-3),
    "BFLOAT16": (DataType.BFLOAT16_VECTOR, ml_dtypes.bfloat16, 1e-3),
    "INT8": (DataType.INT8_VECTOR, np.int8, 1e-3),
}


@pytest.mark.parametrize("dim", [2, 31, 128])
@pytest.mark.parametrize("metric", ["L2", "IP", "COSINE"])
@pytest.mark.parametrize("which", TYPES)
def test_dense_answers(client, collections, name, which, metric, dim):
    kind, dtype, tolerance = TYPES[which]
    rng = np.random.default_rng(dim)
    data, queries = dense(rng, ROWS, dtype, dim), dense(rng, QUERIES, dtype, dim)
    collections.create(name, [("v", kind, {"dim": dim})], metrics={"v": metric})
    as_row = (lambda v: v.tolist()) if dtype == np.float32 else (lambda v: v)
    half = ROWS // 2
    client.insert(name, [{"id": i, "v": as_row(data[i])} for i in range(half)])
    client.flush(name)
    client.insert(name, [{"id": i, "v": as_row(data[i])} for i in range(half, ROWS)])
    found = client.search(name, data=[as_row(q) for q in queries], anns_field="v", limit=LIMIT)
    assert len(found) == QUERIES
    for query, hits in zip(queries, found):
        check(hits, expected_scores(metric, data, query), metric != "L2", LIMIT, tolerance * (dim if which == "INT8" else 1))


@pytest.mark.parametrize("metric", ["HAMMING", "JACCARD"])
@pytest.mark.parametrize("dim", [8, 72, 512])
def test_binary_answers(client, collections, name, metric, dim):
    rng = np.random.default_rng(dim)
    data = rng.integers(0, 256, (ROWS, dim // 8)).astype(np.uint8)
    queries = rng.integers(0, 256, (QUERIES, dim // 8)).astype(np.uint8)
    collections.create(name, [("v", DataType.BINARY_VECTOR, {"dim": dim})], metrics={"v": metric})
    client.insert(name, [{"id": i, "v": data[i].tobytes()} for i in range(ROWS)])
    found = client.search(name, data=[q.tobytes() for q in queries], anns_field="v", limit=LIMIT)
    bits = np.unpackbits(data, axis=1).astype(bool)
    for query, hits in zip(queries, found):
        asked = np.unpackbits(query).astype(bool)
        if metric == "HAMMING":
            scores = (bits ^ asked).sum(axis=1).astype(np.float64)
        else:
            either = (bits | asked).sum(axis=1)
            scores = np.where(either > 0, 1.0 - (bits & asked).sum(axis=1) / np.maximum(either, 1), 0.0)
        check(hits, scores, False, LIMIT, 1e-5)


def test_sparse_answers(client, collections, name):
    rng = np.random.default_rng(8)
    make = lambda: {int(k): float(np.float32(v)) for k, v in zip(rng.choice(2000, 30, replace=False), rng.random(30))}
    data = [make() for _ in range(ROWS)]
    queries = [make() for _ in range(QUERIES)]
    collections.create(name, [("v", DataType.SPARSE_FLOAT_VECTOR)])
    client.insert(name, [{"id": i, "v": v} for i, v in enumerate(data)])
    found = client.search(name, data=queries, anns_field="v", limit=LIMIT)
    for query, hits in zip(queries, found):
        scores = np.array([sum(value * row.get(key, 0.0) for key, value in query.items()) for row in data])
        matches = int((scores > 0).sum())
        got = {hit["id"]: hit["distance"] for hit in hits if hit["distance"] > 0}
        assert len(got) == min(LIMIT, matches)
        best = np.sort(scores)[::-1][: len(got)]
        np.testing.assert_allclose(sorted(got.values(), reverse=True), best, rtol=1e-4)
        for key, score in got.items():
            assert abs(scores[key] - score) < 1e-4


@pytest.fixture(scope="module")
def birds(server):
    """A collection that the tests below only read: 1000 rows, two partitions, partly flushed."""
    from pymilvus import MilvusClient

    from collections_under_test import Collections

    client = MilvusClient(uri=server.uri)
    made = Collections(client)
    made.create("birds", [("group", DataType.INT64), ("label", DataType.VARCHAR, {"max_length": 16}),
                          ("vector", DataType.FLOAT_VECTOR, {"dim": 16})])
    client.create_partition("birds", "north")
    data = vectors(1000, 16, 4)
    rows = [{"id": i, "group": i % 10, "label": f"b{i}", "vector": data[i].tolist()} for i in range(1000)]
    client.insert("birds", rows[:500])
    client.flush("birds")
    client.insert("birds", rows[500:], partition_name="north")
    yield data
    made.drop_all()
    client.close()


def ranking(data, query, keep=None):
    scores = expected_scores("L2", data, query)
    order = np.argsort(scores, kind="stable")
    return [int(i) for i in order if keep is None or keep(i)], scores


def ids(found):
    return [hit["id"] for hit in found[0]]


def test_limit_and_offset(client, birds):
    order, _ = ranking(birds, birds[0])
    query = [birds[0].tolist()]
    for offset, limit in [(0, 1), (0, 100), (5, 10), (990, 10), (990, 100), (1000, 10), (3, 16000)]:
        found = client.search("birds", data=query, limit=limit, search_params={"offset": offset})
        assert ids(found) == order[offset : offset + limit], (offset, limit)


def test_filtered_search_returns_as_many_as_match(client, birds):
    query = birds[1]
    for expression, keep in [
        ("group == 3", lambda i: i % 10 == 3), ("id < 5", lambda i: i < 5), ("id > 2000", lambda i: False),
        ('label == "b77"', lambda i: i == 77), ("group in [1, 2] and id >= 500", lambda i: i % 10 in (1, 2) and i >= 500),
    ]:
        order, _ = ranking(birds, query, keep)
        assert ids(client.search("birds", data=[query.tolist()], filter=expression, limit=150)) == order[:150], expression


def test_partitions_restrict_the_search(client, birds):
    query = birds[2]
    for names, keep in [(["north"], lambda i: i >= 500), (["_default"], lambda i: i < 500), (["_default", "north"], None)]:
        order, _ = ranking(birds, query, keep)
        assert ids(client.search("birds", data=[query.tolist()], limit=50, partition_names=names)) == order[:50]
    with refused("partition not found[partition=west]", code=200):
        client.search("birds", data=[query.tolist()], partition_names=["west"])


@pytest.mark.parametrize("radius,inner", [(30.0, None), (30.0, 20.0), (5.0, 0.0), (1e-9, None)])
def test_range_search_l2(client, birds, radius, inner):
    order, scores = ranking(birds, birds[3])
    params = {"radius": radius} | ({} if inner is None else {"range_filter": inner})
    want = [i for i in order if scores[i] < radius and (inner is None or scores[i] >= inner)]
    found = ids(client.search("birds", data=[birds[3].tolist()], limit=1000, search_params={"params": params}))
    assert found == want


def test_range_search_ip(client, collections, name):
    data = vectors(300, 8, 1)
    collections.create(name, metrics={"vector": "IP"})
    client.insert(name, [{"id": i, "vector": data[i].tolist()} for i in range(300)])
    scores = data @ data[0]
    found = client.search(name, data=[data[0].tolist()], limit=300,
                          search_params={"params": {"radius": 1.0, "range_filter": 4.0}})
    assert set(ids(found)) == {i for i in range(300) if 1.0 < scores[i] <= 4.0}


def test_range_filter_needs_a_radius(client, birds):
    with refused("range_filter requires radius to be set"):
        client.search("birds", data=[birds[0].tolist()], search_params={"params": {"range_filter": 1.0}})


def test_output_fields(client, birds):
    hit = client.search("birds", data=[birds[4].tolist()], limit=1, output_fields=["label", "vector"])[0][0]
    assert hit["entity"]["label"] == "b4" and np.allclose(hit["entity"]["vector"], birds[4])
    hit = client.search("birds", data=[birds[4].tolist()], limit=1, output_fields=["*"])[0][0]
    assert set(hit["entity"]) - {"id"} == {"group", "label", "vector"}
    hit = client.search("birds", data=[birds[4].tolist()], limit=1)[0][0]
    assert not set(hit["entity"]) - {"id"}
    with refused("field nothing not exist"):
        client.search("birds", data=[birds[4].tolist()], limit=1, output_fields=["nothing"])


def test_asked_key_is_a_column(client, birds):
    """The Node client shows the key only when the server appends it as a column."""
    payload = birds[4].tobytes()
    reply = succeeded(stub(client).Search(search_request("birds", [payload], common_pb2.FloatVector, output_fields=["id"])))
    assert "id" in [column.field_name for column in reply.results.fields_data]
    assert reply.results.primary_field_name == "id"


def test_many_queries_in_one_request(client, birds):
    found = client.search("birds", data=birds[:200].tolist(), limit=3)
    assert [hits[0]["id"] for hits in found] == list(range(200))
    for i in (0, 99, 199):
        assert [hit["id"] for hit in found[i]] == ranking(birds, birds[i])[0][:3]


def test_ties_are_ordered_by_key(client, collections, name):
    collections.create(name)
    keys = [9, 3, 77, 5, 1, 40]
    client.insert(name, [{"id": key, "vector": [1.0] * 8} for key in keys[:3]])
    client.flush(name)
    client.insert(name, [{"id": key, "vector": [1.0] * 8} for key in keys[3:]])
    for _ in range(3):
        assert ids(client.search(name, data=[[1.0] * 8], limit=6)) == sorted(keys)
        assert ids(client.search(name, data=[[1.0] * 8], limit=4)) == sorted(keys)[:4]
        pages = [ids(client.search(name, data=[[1.0] * 8], limit=2, search_params={"offset": o})) for o in (0, 2, 4)]
        assert sum(pages, []) == sorted(keys)


def test_cosine_with_a_zero_vector(client, collections, name):
    collections.create(name, metrics={"vector": "COSINE"})
    client.insert(name, [{"id": 1, "vector": [0.0] * 8}, {"id": 2, "vector": [2.0] * 8}, {"id": 3, "vector": [-1.0] * 8}])
    hits = client.search(name, data=[[1.0] * 8])[0]
    assert [(hit["id"], round(hit["distance"], 5)) for hit in hits] == [(2, 1.0), (1, 0.0), (3, -1.0)]
    row = client.query(name, filter="id == 2", output_fields=["vector"])[0]
    assert row["vector"] == [2.0] * 8, "the stored vector is not normalised"


def test_round_decimal(client, birds):
    hits = client.search("birds", data=[(birds[5] + 0.123).tolist()], limit=5, search_params={"round_decimal": 2})[0]
    for hit in hits:
        assert abs(hit["distance"] * 100 - round(hit["distance"] * 100)) < 1e-3


def test_empty_collection(client, collections, name):
    collections.create(name, [("x", DataType.INT64)])
    found = client.search(name, data=[[0.0] * 8, [1.0] * 8], limit=5, output_fields=["x", "vector"])
    assert [list(hits) for hits in found] == [[], []]


def test_metric_is_checked_and_case_is_not(client, birds):
    with refused("metric type not match: invalid parameter[expected=L2][actual=IP]", code=1100):
        client.search("birds", data=[birds[0].tolist()], search_params={"metric_type": "IP"})
    assert ids(client.search("birds", data=[birds[0].tolist()], limit=1, search_params={"metric_type": "l2"})) == [0]


def test_unknown_search_keys_are_ignored(client, birds):
    found = client.search("birds", data=[birds[0].tolist()], limit=1,
                          search_params={"params": {"nprobe": 16, "ef": 64, "no_such_key": "x"}, "hints": "disable"})
    assert ids(found) == [0]


@pytest.mark.parametrize("topk,text", [
    ("0", "topk [0] is invalid, it should be in range [1, 16384], but got 0"),
    ("-1", "topk [-1] is invalid, it should be in range [1, 16384], but got -1"),
    ("16385", "topk [16385] is invalid, it should be in range [1, 16384], but got 16385"),
    ("ten", "topk"),
])
def test_bad_topk(client, birds, topk, text):
    failed(stub(client).Search(search_request("birds", [birds[0].tobytes()], common_pb2.FloatVector, topk=topk)), text)


@pytest.mark.parametrize("offset,topk,text", [
    ("-1", "5", "offset [-1] is invalid, it should be in range [0, 16384]"),
    ("16385", "5", "offset [16385] is invalid, it should be in range [0, 16384]"),
    ("16380", "5", "(offset+limit) should be in range [1, 16384], but got 16385"),
])
def test_bad_offset(client, birds, offset, topk, text):
    request = search_request("birds", [birds[0].tobytes()], common_pb2.FloatVector, topk=topk, more={"offset": offset})
    failed(stub(client).Search(request), text)


def test_largest_window(client, birds):
    found = client.search("birds", data=[birds[0].tolist()], limit=16374, search_params={"offset": 10})
    assert len(found[0]) == 990


def test_too_many_queries(client, birds):
    request = search_request("birds", [birds[0].tobytes()] * 16385, common_pb2.FloatVector, topk=1)
    failed(stub(client).Search(request), "nq (number of search vector per search request) should be in range [1, 16384], but got 16385")


def test_no_query(client, birds):
    failed(stub(client).Search(search_request("birds", [], common_pb2.FloatVector, topk=1)))


@pytest.mark.parametrize("payload,kind,texts", [
    (struct.pack("<15f", *[0.0] * 15), common_pb2.FloatVector, ["vector dimension mismatch, expected vector size(byte) 64, actual 60"]),
    (struct.pack("<17f", *[0.0] * 17), common_pb2.FloatVector, ["vector dimension mismatch, expected vector size(byte) 64, actual 68"]),
    (b"", common_pb2.FloatVector, [""]),
    (b"\x00" * 3, common_pb2.FloatVector, [""]),
    (struct.pack("<If", 1, 1.0), common_pb2.SparseFloatVector, ["vector type must be the same"]),
    (b"\x00" * 2, common_pb2.BinaryVector, ["vector type must be the same"]),
    (b"words", common_pb2.VarChar, [""]),
    (struct.pack("<16f", float("nan"), *[0.0] * 15), common_pb2.FloatVector, [""]),
], ids=["short", "long", "empty", "torn", "sparse", "binary", "text", "NaN"])
def test_bad_queries(client, birds, payload, kind, texts):
    failed(stub(client).Search(search_request("birds", [payload], kind)), *texts)


def test_garbage_placeholder(client, birds):
    request = search_request("birds", [birds[0].tobytes()], common_pb2.FloatVector)
    request.placeholder_group = b"\xff\xfe\xfd"
    failed(stub(client).Search(request))


def test_unknown_vector_field(client, birds):
    with refused("nothing"):
        client.search("birds", data=[birds[0].tolist()], anns_field="nothing")
    with refused("label"):
        client.search("birds", data=[birds[0].tolist()], anns_field="label")


@pytest.mark.parametrize("expression,text", [
    ("nothing > 3", "field nothing not exist"),
    ("id >", "cannot parse expression: id >"),
    ("id + 1", "predicate is not a boolean expression"),
    ("label > 3", "cannot parse expression"),
    ("id == 1 and", "cannot parse expression"),
    ("'unclosed", "cannot parse expression"),
])
def test_bad_filters(client, birds, expression, text):
    with refused("failed to create query plan", text, code=1100):
        client.search("birds", data=[birds[0].tolist()], filter=expression)


def test_search_needs_a_loaded_collection(client, collections, name):
    collections.create(name, load=False)
    with refused("collection not loaded", code=101):
        client.search(name, data=[[0.0] * 8])
    with refused("collection not loaded", code=101):
        client.query(name, filter="id > 0", limit=1)


def test_load_works_without_an_index(client, collections, name):
    """Friendlier than required: search is exact, with the metric of the request or the default one."""
    collections.create(name, index=False, load=False)
    client.load_collection(name)
    client.insert(name, [{"id": 1, "vector": [1.0] * 8}, {"id": 2, "vector": [2.0] * 8}])
    assert ids(client.search(name, data=[[2.0] * 8], limit=1, search_params={"metric_type": "L2"})) == [2]
    assert len(client.search(name, data=[[2.0] * 8], limit=5)[0]) == 2


def test_two_vector_fields_have_their_own_metrics(client, collections, name):
    collections.create(name, [("a", DataType.FLOAT_VECTOR, {"dim": 4}), ("b", DataType.BINARY_VECTOR, {"dim": 16})],
                       metrics={"a": "IP", "b": "JACCARD"})
    client.insert(name, [{"id": 1, "a": [1.0] * 4, "b": b"\x0f\x0f"}, {"id": 2, "a": [5.0] * 4, "b": b"\xf0\xf0"}])
    assert ids(client.search(name, data=[[1.0] * 4], anns_field="a")) == [2, 1]
    assert ids(client.search(name, data=[b"\x0f\x0f"], anns_field="b")) == [1, 2]


def test_one_hundred_thousand_rows(client, collections, name):
    """Exact answers over 100,000 rows in several inserts with a flush between."""
    data = vectors(100_000, 32, 9)
    collections.create(name, [("x", DataType.INT64), ("vector", DataType.FLOAT_VECTOR, {"dim": 32})])
    for begin in range(0, 100_000, 10_000):
        client.insert(name, [{"id": i, "x": i % 1000, "vector": data[i]} for i in range(begin, begin + 10_000)])
        if begin == 40_000:
            client.flush(name)
    for q in (0, 50_000, 99_999):
        query = data[q] + np.float32(0.05)
        order, _ = ranking(data, query)
        assert ids(client.search(name, data=[query.tolist()], limit=10)) == order[:10]
        order, _ = ranking(data, query, lambda i: i % 1000 == 7)
        assert ids(client.search(name, data=[query.tolist()], filter="x == 7", limit=10)) == order[:10]
    assert len(client.search(name, data=[data[0].tolist()], limit=16384)[0]) == 16384


def test_a_collection_for_large_topk_gives_more_than_the_usual_window(client, collections):
    rows, dim = 20_000, 4
    collections.create("large", dim=dim, properties={"query_mode": "large_topk"})
    data = np.random.default_rng(3).standard_normal((rows, dim), dtype=np.float32)
    for at in range(0, rows, 5000):
        client.insert("large", [{"id": i, "vector": data[i]} for i in range(at, at + 5000)])
    distances = ((data - data[7]) ** 2).sum(axis=1)
    hits = client.search("large", [data[7]], limit=rows)[0]
    assert sorted(hit["id"] for hit in hits) == list(range(rows))
    np.testing.assert_allclose([hit["distance"] for hit in hits], np.sort(distances), rtol=1e-4, atol=1e-5)
    page = client.search("large", [data[7]], limit=1000, offset=18_000)[0]
    assert [hit["id"] for hit in page] == [hit["id"] for hit in hits[18_000:19_000]]
    assert len(client.query("large", filter="id >= 0", limit=18_000)) == 18_000
    with refused(r"topk [1000001] is invalid, it should be in range [1, 1000000], but got 1000001"):
        client.search("large", [data[7]], limit=1_000_001)
    client.alter_collection_properties("large", {"query_mode": ""})
    with refused("topk [16385] is invalid, it should be in range [1, 16384], but got 16385"):
        client.search("large", [data[7]], limit=16_385)
