"""Vectors in struct arrays: a list of vectors in every row, searched list against list (MAX_SIM) and vector by vector.
Every expected score is worked out here by plain loops over the rows as they were written."""

import time

import numpy as np
import pytest
from pymilvus import DataType, MilvusClient

from collections_under_test import Collections, refused

if not hasattr(MilvusClient, "create_struct_field_schema"):
    pytest.skip("this client knows no struct arrays", allow_module_level=True)

from pymilvus.client.embedding_list import EmbeddingList  # noqa: E402

DIM = 16
ZERO = [0.0] * 4


def make(client, collections, name, metric="MAX_SIM_COSINE", index_type="HNSW", kind=DataType.FLOAT_VECTOR, dim=DIM,
         max_capacity=12, nullable=False, load=True):
    """A collection with a key, a vector, a number and `clips`, records of a word, a number and a vector."""
    schema = MilvusClient.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("n", DataType.INT64)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=4)
    record = MilvusClient.create_struct_field_schema()
    record.add_field("word", DataType.VARCHAR, max_length=16)
    record.add_field("emb", kind, dim=dim)
    record.add_field("part", DataType.INT32)
    options = {"nullable": True} if nullable else {}
    schema.add_field("clips", DataType.ARRAY, element_type=DataType.STRUCT, struct_schema=record,
                     max_capacity=max_capacity, **options)
    client.create_collection(name, schema=schema)
    collections.watch(name)
    collections.index(name, "vector")
    params = {"M": 8, "efConstruction": 64} if index_type == "HNSW" else {}
    collections.index(name, "clips[emb]", metric=metric, index_type=index_type, **params)
    if load:
        client.load_collection(name)


def some_rows(count, first=0, seed=1):
    random = np.random.default_rng(seed)
    rows = []
    for i in range(first, first + count):
        length = int(random.integers(0, 7))
        embeddings = random.standard_normal((length, DIM)).astype(np.float32)
        rows.append({"id": i, "n": i % 10, "vector": ZERO,
                     "clips": [{"word": f"w{k % 3}", "part": k, "emb": embeddings[k].tolist()} for k in range(length)]})
    return rows


def similarity(metric, a, b):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if metric.endswith("L2"):
        return float(((a - b) ** 2).sum())
    product = float(a @ b)
    return product if metric.endswith("IP") else product / float(np.linalg.norm(a) * np.linalg.norm(b))


def late_interaction(metric, query, row):
    best = min if metric.endswith("L2") else max
    return sum(best(similarity(metric, q, clip["emb"]) for clip in row["clips"]) for q in query)


def expected(metric, query, rows, limit, offset=0):
    scored = [(late_interaction(metric, query, row), row["id"]) for row in rows if row["clips"]]
    scored.sort(key=lambda one: (one[0] if metric.endswith("L2") else -one[0], one[1]))
    return scored[offset:offset + limit]


def check(hits, wanted):
    assert [hit["id"] for hit in hits] == [key for _, key in wanted]
    np.testing.assert_allclose([hit["distance"] for hit in hits], [score for score, _ in wanted], rtol=1e-4, atol=1e-4)


def queries(count, seed=7):
    random = np.random.default_rng(seed)
    return [random.standard_normal((3 + i, DIM)).astype(np.float32) for i in range(count)]


@pytest.mark.parametrize(("metric", "index_type"), [
    ("MAX_SIM_COSINE", "HNSW"), ("MAX_SIM_IP", "IVF_FLAT"), ("MAX_SIM_L2", "FLAT"), ("MAX_SIM", "AUTOINDEX"),
])
def test_max_sim(client, collections, name, metric, index_type):
    make(client, collections, name, metric, index_type)
    client.create_partition(name, "p")
    rows = some_rows(300)
    client.insert(name, rows[:200])
    client.insert(name, rows[200:], partition_name="p")
    asked = queries(3)
    for state in ("growing", "sealed"):
        found = client.search(name, data=[EmbeddingList(list(q)) for q in asked], anns_field="clips[emb]", limit=20,
                              search_params={"metric_type": metric})
        assert len(found) == 3, state
        for query, hits in zip(asked, found):
            check(hits, expected(metric, query, rows, 20))
        lists = [EmbeddingList(asked[0])]
        hits = client.search(name, data=lists, anns_field="clips[emb]", limit=10, filter="n < 3")[0]
        check(hits, expected(metric, asked[0], [row for row in rows if row["n"] < 3], 10))
        hits = client.search(name, data=lists, anns_field="clips[emb]", limit=10, search_params={"offset": 5},
                             filter="MATCH_ANY(clips, $[part] == 4)", output_fields=["clips"])[0]
        check(hits, expected(metric, asked[0], [row for row in rows if len(row["clips"]) > 4], 10, 5))
        for hit in hits:
            assert_same_clips(hit["entity"]["clips"], rows[hit["id"]]["clips"])
        hits = client.search(name, data=lists, anns_field="clips[emb]", limit=7, partition_names=["p"])[0]
        check(hits, expected(metric, asked[0], rows[200:], 7))
        client.flush(name)
    described = client.describe_index(name, "clips[emb]")
    assert (described["metric_type"], described["index_type"]) == (metric, index_type)
    with refused("metric type not match", code=1100):
        client.search(name, data=lists, anns_field="clips[emb]", limit=1, search_params={"metric_type": "L2"})
    with refused("vector type must be the same", code=1100):
        client.search(name, data=[[0.5] * DIM], anns_field="clips[emb]", limit=1)


def assert_same_clips(found, written):
    assert len(found) == len(written)
    for one, other in zip(found, written):
        assert {**one, "emb": None} == {**other, "emb": None}
        assert list(one["emb"]) == other["emb"]


def test_rows_come_back(client, collections, name):
    make(client, collections, name)
    rows = some_rows(50)
    rows[3]["clips"] = []
    client.insert(name, rows)
    described = client.describe_collection(name)
    for state in ("growing", "sealed"):
        found = {row["id"]: row["clips"] for row in client.query(name, filter="id >= 0", output_fields=["clips"])}
        assert len(found) == 50, state
        for row in rows:
            assert_same_clips(found[row["id"]], row["clips"])
        got = client.get(name, ids=[7], output_fields=["clips", "n"])[0]
        assert_same_clips(got["clips"], rows[7]["clips"])
        length = len(rows[7]["clips"])
        assert 7 in [row["id"] for row in client.query(name, filter=f"array_length(clips) == {length}")]
        client.flush(name)
    rows[7]["clips"] = some_rows(1, seed=99)[0]["clips"] + rows[8]["clips"]
    client.upsert(name, [rows[7]])
    client.delete(name, ids=[8])
    assert_same_clips(client.get(name, ids=[7])[0]["clips"], rows[7]["clips"])
    assert client.get(name, ids=[8]) == []
    asked = queries(1)
    left = [row for row in rows if row["id"] != 8]
    hits = client.search(name, data=[EmbeddingList(asked[0])], anns_field="clips[emb]", limit=50)[0]
    check(hits, expected("MAX_SIM_COSINE", asked[0], left, 50))
    fields = {field["name"]: field for struct in described["struct_array_fields"] for field in struct["fields"]} \
        if "struct_array_fields" in described else {}
    if fields:
        assert str(fields["emb"]["params"]["dim"]) == str(DIM)
        assert str(fields["emb"]["params"]["max_capacity"]) == "12"


def test_refused_rows(client, collections, name):
    make(client, collections, name, max_capacity=2)
    clip = {"word": "a", "part": 1, "emb": [0.5] * DIM}
    row = {"id": 1, "n": 1, "vector": ZERO}
    with refused("exceeds max capacity", code=1100):
        client.insert(name, [{**row, "clips": [clip] * 3}])
    with refused("row 1", code=1100):
        client.insert(name, [{**row, "clips": [clip]}, {**row, "clips": [{**clip, "emb": [0.5] * (DIM - 1)}]}])
    with refused("not a number or infinity", code=1100):
        client.insert(name, [{**row, "clips": [{**clip, "emb": [float("nan")] * DIM}]}])
    with refused("inconsistent array length", code=1100):
        client.insert(name, [{**row, "clips": [{**clip, "emb": [0.5] * DIM * 2}]}])
    assert client.query(name, filter="id > 0") == []


def test_the_default_metric(client, collections, name):
    make(client, collections, name, metric=None, index_type="AUTOINDEX")
    assert client.describe_index(name, "clips[emb]")["metric_type"] == "MAX_SIM_COSINE"


@pytest.mark.parametrize(("kind", "dtype"), [
    (DataType.FLOAT16_VECTOR, np.float16), (DataType.INT8_VECTOR, np.int8), (DataType.BINARY_VECTOR, np.uint8),
])
def test_other_vector_types(client, collections, name, kind, dtype):
    binary = kind == DataType.BINARY_VECTOR
    metric = "MAX_SIM_HAMMING" if binary else "MAX_SIM_IP"
    make(client, collections, name, metric, "AUTOINDEX", kind=kind)
    random = np.random.default_rng(3)

    def draw(count):
        if binary:
            return random.integers(0, 256, (count, DIM // 8)).astype(np.uint8)
        if dtype == np.int8:
            return random.integers(-128, 128, (count, DIM)).astype(np.int8)
        return random.standard_normal((count, DIM)).astype(np.float16)

    def pack(vector):
        return vector.tobytes() if binary else vector

    lists = [draw(int(random.integers(1, 6))) for _ in range(60)]
    client.insert(name, [
        {"id": i, "n": i, "vector": ZERO, "clips": [{"word": "x", "part": k, "emb": pack(v)} for k, v in enumerate(one)]}
        for i, one in enumerate(lists)
    ])
    query = draw(4)

    def score(one):
        if binary:
            bits = lambda v: np.unpackbits(v)  # noqa: E731
            return sum(min(int((bits(q) != bits(v)).sum()) for v in one) for q in query)
        return sum(max(float(q.astype(np.float64) @ v.astype(np.float64)) for v in one) for q in query)

    wanted = sorted(((score(one), i) for i, one in enumerate(lists)),
                    key=lambda pair: (pair[0] if binary else -pair[0], pair[1]))[:10]
    for state in ("growing", "sealed"):
        hits = client.search(name, data=[EmbeddingList(query)], anns_field="clips[emb]", limit=10,
                             output_fields=["clips"])[0]
        assert len(hits) == 10, state
        np.testing.assert_allclose([hit["distance"] for hit in hits], [one for one, _ in wanted], rtol=1e-3, atol=1e-2)
        if binary or dtype == np.int8:
            assert [hit["id"] for hit in hits] == [key for _, key in wanted]
        best = hits[0]["entity"]["clips"]
        stored = lists[hits[0]["id"]]
        assert len(best) == len(stored)
        for clip, vector in zip(best, stored):
            value = clip["emb"]
            if isinstance(value, list) and isinstance(value[0], bytes):  # one client's form of packed bits
                value = value[0]
            raw = value if isinstance(value, bytes) else np.asarray(value, dtype).tobytes()
            assert raw == vector.tobytes()
        client.flush(name)


@pytest.mark.parametrize("metric", ["COSINE", "L2", "IP"])
def test_search_by_elements(client, collections, name, metric):
    make(client, collections, name, metric)
    rows = some_rows(200)
    client.insert(name, rows)
    query = queries(1)[0][0]

    def wanted(limit, row_keeps=lambda row: True, clip_keeps=lambda clip: True):
        scored = [(similarity(metric, query, clip["emb"]), row["id"], place)
                  for row in rows if row_keeps(row) for place, clip in enumerate(row["clips"]) if clip_keeps(clip)]
        scored.sort(key=lambda one: (one[0] if metric == "L2" else -one[0], one[1], one[2]))
        return scored[:limit]

    def check_elements(hits, elements):
        assert [(hit["id"], hit["offset"]) for hit in hits] == [(key, place) for _, key, place in elements]
        np.testing.assert_allclose([hit["distance"] for hit in hits], [one for one, _, _ in elements], rtol=1e-4,
                                   atol=1e-4)

    for _ in ("growing", "sealed"):
        options = {"data": [query.tolist()], "anns_field": "clips[emb]", "limit": 30}
        check_elements(client.search(name, **options)[0], wanted(30))
        hits = client.search(name, **options, filter="n > 4 && element_filter(clips, $[word] == 'w1' && $[part] > 1)")[0]
        check_elements(hits, wanted(30, lambda row: row["n"] > 4, lambda clip: clip["word"] == "w1" and clip["part"] > 1))
        hits = client.search(name, **options, filter="element_filter(clips, $[part] < 2)", output_fields=["clips"])[0]
        check_elements(hits, wanted(30, clip_keeps=lambda clip: clip["part"] < 2))
        assert_same_clips(hits[0]["entity"]["clips"], rows[hits[0]["id"]]["clips"])
        best_of_rows = {}
        for score, key, place in wanted(10_000):
            best_of_rows.setdefault(key, (score, key, place))
        hits = client.search(name, **options, group_by_field="id")[0]
        check_elements(hits, list(best_of_rows.values())[:30])
        client.flush(name)


def test_lists_survive_a_restart(own_server):
    client = MilvusClient(uri=own_server.uri)
    made = Collections(client)
    make(client, made, "kept")
    rows = some_rows(120)
    client.insert("kept", rows[:40])
    client.flush("kept")
    client.insert("kept", rows[40:80])
    client.flush("kept")
    client.insert("kept", rows[80:])
    client.close()
    own_server.restart()
    client = MilvusClient(uri=own_server.uri)
    query = queries(1)[0]
    for _ in ("as it came", "merged"):
        hits = client.search("kept", data=[EmbeddingList(query)], anns_field="clips[emb]", limit=30)[0]
        check(hits, expected("MAX_SIM_COSINE", query, rows, 30))
        found = {row["id"]: row["clips"] for row in client.query("kept", filter="id >= 0", output_fields=["clips"])}
        for row in rows:
            assert_same_clips(found[row["id"]], row["clips"])
        client.flush("kept")
        job = client.compact("kept")
        begun = time.monotonic()
        while client.get_compaction_state(job) != "Completed":
            assert time.monotonic() - begun < 60, "the compaction does not end"
            time.sleep(0.02)
    client.close()
