"""The handbook's way of working, through the ORM of pymilvus 2.3: its life cycle, its loops, its expectations."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from pymilvus import (
    Collection, CollectionSchema, DataType, FieldSchema, MilvusException, Partition, connections, utility,
)

DIM = 128


def documents(name="documents", auto_id=False, extra=(), **more):
    fields = [
        FieldSchema(name="id", dtype=DataType.INT64, is_primary=True, auto_id=auto_id),
        FieldSchema(name="title", dtype=DataType.VARCHAR, max_length=200),
        FieldSchema(name="category", dtype=DataType.VARCHAR, max_length=50),
        FieldSchema(name="timestamp", dtype=DataType.INT64),
        *extra,
        FieldSchema(name="embedding", dtype=DataType.FLOAT_VECTOR, dim=DIM),
    ]
    return Collection(name=name, schema=CollectionSchema(fields=fields, description="文档集合"), using="default", **more)


def rows_of(n, begin=0):
    ids = list(range(begin, begin + n))
    categories = ["技术", "新闻", "博客"]
    return [ids, [f"文档{i}" for i in ids], [categories[i % 3] for i in ids], [1_700_000_000 + i for i in ids],
            vectors(n, begin).tolist()]


def vectors(n, seed=0):
    return np.random.default_rng(seed).standard_normal((n, DIM), dtype=np.float32)


def ready(collection, index_type="FLAT", metric="L2", **params):
    collection.create_index("embedding", {"index_type": index_type, "metric_type": metric, "params": params})
    collection.load()
    return collection


def test_smoke_connections():
    assert utility.get_server_version()
    assert connections.has_connection("default")
    assert ("default" in [alias for alias, _ in connections.list_connections()])
    address = connections.get_connection_addr("default")
    assert address["address"].endswith(str(address["address"].split(":")[-1]))


def test_insert_columns_rows_and_count():
    collection = documents(shards_num=2)
    result = collection.insert(rows_of(1000))
    assert result.insert_count == 1000 and list(result.primary_keys)[:3] == [0, 1, 2]
    result = collection.insert([
        {"title": "b", "id": 5000, "embedding": [0.5] * DIM, "timestamp": 1, "category": "x"},
        {"id": 5001, "title": "a", "category": "x", "timestamp": 2, "embedding": [0.25] * DIM},
    ])
    assert result.insert_count == 2
    collection.flush()
    assert collection.num_entities == 1002
    ready(collection)
    got = collection.query(expr="id in [0, 1, 2, 5000]", output_fields=["id", "title", "category"])
    assert {row["id"]: row["title"] for row in got} == {0: "文档0", 1: "文档1", 2: "文档2", 5000: "b"}


def test_reopening_and_describing():
    documents()
    reopened = Collection("documents")
    assert reopened.description == "文档集合"
    assert reopened.primary_field.name == "id"
    assert [f.name for f in reopened.schema.fields] == ["id", "title", "category", "timestamp", "embedding"]
    assert reopened.schema.fields[1].params["max_length"] == 200
    assert reopened.schema.fields[-1].params["dim"] == DIM
    assert reopened.num_shards == 1 and reopened.aliases == []
    documents()
    with pytest.raises(Exception):
        Collection("never_created")


@pytest.mark.parametrize("expression,matches", [
    ("id == 1", lambda i: i == 1), ("id in [1, 10, 100, 1000]", lambda i: i in (1, 10, 100)),
    ("id > 100 and id < 200", lambda i: 100 < i < 200), ('title like "文档1%"', lambda i: str(i).startswith("1")),
    ('id > 100 and id < 500 and title like "文档%"', lambda i: 100 < i < 500),
    ("title in ['文档1', '文档10', '文档100']", lambda i: i in (1, 10, 100)),
    ("(id > 100 and id < 200) or (id > 450 and id < 490)", lambda i: 100 < i < 200 or 450 < i < 490),
    ('category == "技术" and timestamp > 1700000100', lambda i: i % 3 == 0 and i > 100),
    ("timestamp < 1640000000", lambda i: False),
])
def test_expressions(expression, matches):
    collection = ready(documents())
    collection.insert(rows_of(500))
    got = sorted(row["id"] for row in collection.query(expr=expression))
    assert got == [i for i in range(500) if matches(i)]


def test_search_with_options():
    collection = ready(documents(), "IVF_FLAT", "L2", nlist=128)
    data = rows_of(1000)
    collection.insert(data)
    query = data[-1][77]
    found = collection.search(data=[query], anns_field="embedding", param={"metric_type": "L2", "params": {"nprobe": 10}},
                              limit=10, expr="id > 50", output_fields=["title", "timestamp"])
    assert len(found) == 1 and len(found[0]) == 10
    best = found[0][0]
    assert best.id == 77 and best.distance == 0 and best.entity.get("title") == "文档77"
    distances = [hit.distance for hit in found[0]]
    assert distances == sorted(distances)
    flat = collection.search([query], "embedding", {"nprobe": 10}, limit=5)
    assert flat[0].ids[0] == 77
    bare = collection.search([query], "embedding", {"metric_type": "L2"}, limit=5)
    assert list(bare[0].ids) == list(flat[0].ids)
    batch = collection.search(data[-1][:100], "embedding", {"metric_type": "L2", "params": {"nprobe": 16}}, limit=5)
    assert [hits.ids[0] for hits in batch] == list(range(100))


@pytest.mark.parametrize("metric", ["L2", "IP", "COSINE"])
def test_distances_are_what_the_metric_says(metric):
    collection = ready(documents(), "HNSW", metric, M=16, efConstruction=200)
    data = rows_of(300)
    collection.insert(data)
    stored, query = np.array(data[-1]), np.array(data[-1][3])
    found = collection.search([data[-1][3]], "embedding", {"metric_type": metric, "params": {"ef": 64}}, limit=5)[0]
    for hit in found:
        row = stored[hit.id]
        want = {"L2": ((row - query) ** 2).sum(), "IP": row @ query,
                "COSINE": row @ query / np.linalg.norm(row) / np.linalg.norm(query)}[metric]
        assert abs(hit.distance - want) < 1e-3
    back = collection.query(expr=f"id == {found[0].id}", output_fields=["embedding"])[0]["embedding"]
    assert np.array_equal(np.array(back, dtype=np.float32), stored[found[0].id].astype(np.float32)), "never normalised"


def test_delete_forms_and_reading_own_deletes():
    collection = ready(documents())
    collection.insert(rows_of(1000))
    collection.delete("id == 5")
    collection.delete("id in [6, 7, 8]")
    collection.delete("id >= 900 and id < 1000")
    collection.delete('(category == "新闻" or category == "博客") and timestamp < 1700000100')
    gone = {5, 6, 7, 8} | set(range(900, 1000)) | {i for i in range(100) if i % 3}
    assert {row["id"] for row in collection.query("id >= 0")} == set(range(1000)) - gone
    collection.flush()
    assert collection.num_entities == 1000 - len(gone)
    collection.compact()
    collection.wait_for_compaction_completed()
    assert collection.num_entities == 1000 - len(gone)


def test_batched_delete_loop_ends():
    """The loop of the handbook queries, deletes what it saw and asks again: it needs to see its own deletes."""
    collection = ready(documents())
    collection.insert(rows_of(2500))
    rounds = 0
    while True:
        found = collection.query("id >= 0", output_fields=["id"], limit=1000)
        if not found:
            break
        collection.delete(f"id in {[row['id'] for row in found]}")
        rounds += 1
        assert rounds <= 3
    assert rounds == 3


def test_ten_thousand_ids_in_a_delete():
    collection = ready(documents())
    collection.insert(rows_of(12_000))
    collection.delete(f"id in {list(range(10_000))}")
    collection.flush()
    assert collection.num_entities == 2000


def test_upsert_and_read_modify_write():
    collection = ready(documents())
    collection.insert(rows_of(10))
    result = collection.upsert([[1, 100], ["新标题", "new"], ["c", "c"], [5, 6], [[0.5] * DIM, [0.25] * DIM]])
    assert result.upsert_count == 2
    record = collection.query("id == 1", output_fields=["*"])[0]
    assert record["title"] == "新标题" and record["embedding"] == [0.5] * DIM
    record["category"] = "changed"
    collection.upsert([record])
    assert collection.query("id == 1", output_fields=["category"])[0]["category"] == "changed"
    collection.flush()
    assert collection.num_entities == 11


def test_same_keys_again_leave_one_row_each():
    collection = ready(documents())
    for _ in range(3):
        collection.insert(rows_of(100))
    collection.flush()
    assert collection.num_entities == 100
    assert len(collection.query("id >= 0", limit=1000)) == 100


def test_soft_delete_dance():
    collection = ready(documents(extra=[FieldSchema("is_deleted", DataType.BOOL), FieldSchema("deleted_at", DataType.INT64)]))
    data = rows_of(10)
    collection.insert(data[:4] + [[False] * 10, [0] * 10] + data[4:])
    record = collection.query("id == 3", output_fields=["*"])[0]
    collection.delete("id == 3")
    record.update(is_deleted=True, deleted_at=99)
    collection.insert([record])
    assert {r["id"] for r in collection.query("is_deleted == false")} == set(range(10)) - {3}
    assert [r["id"] for r in collection.query("is_deleted == true and deleted_at < 100")] == [3]


def test_index_swap():
    collection = documents()
    collection.insert(rows_of(500))
    collection.flush()
    answers = []
    for index_type, metric, params in [("FLAT", "L2", {}), ("IVF_FLAT", "L2", {"nlist": 64}), ("IVF_SQ8", "L2", {"nlist": 64}),
                                       ("IVF_PQ", "L2", {"nlist": 64, "m": 8, "nbits": 8}), ("HNSW", "IP", {"M": 16, "efConstruction": 200})]:
        ready(collection, index_type, metric, **params)
        assert collection.index().params["index_type"] == index_type
        assert collection.indexes[0].field_name == "embedding"
        found = collection.search([vectors(1, 9)[0].tolist()], "embedding", {"metric_type": metric, "params": {}}, limit=10)
        answers.append(list(found[0].ids))
        collection.release()
        collection.drop_index()
    assert answers[0] == answers[1] == answers[2] == answers[3]
    collection.release()
    collection.drop_index()
    assert not collection.has_index()


def test_scalar_indexes():
    collection = documents()
    collection.insert(rows_of(300))
    collection.create_index(field_name="category", index_name="category_index")
    collection.create_index(field_name="timestamp", index_name="timestamp_index")
    ready(collection, "HNSW", "COSINE", M=16, efConstruction=200)
    assert {index.index_name for index in collection.indexes} >= {"category_index", "timestamp_index"}
    got = collection.query(expr='category == "技术" and timestamp > 1700000250', output_fields=["id"], limit=100)
    assert sorted(row["id"] for row in got) == [i for i in range(251, 300) if i % 3 == 0]
    with pytest.raises(MilvusException):
        collection.create_index(field_name="title", index_params={"index_type": "AUTO_INDEX"})


def test_partitions():
    collection = documents()
    collection.create_index("embedding", {"index_type": "FLAT", "metric_type": "L2", "params": {}})
    for year in ("2024", "2025"):
        partition = Partition(collection, year)
        partition.insert(rows_of(10, int(year) * 10))
    assert [p.name for p in collection.partitions] == ["_default", "2024", "2025"]
    collection.load(partition_names=["2025"])
    assert {r["id"] for r in collection.query("id > 0")} == set(range(20250, 20260))
    Partition(collection, "2024").load()
    assert len(collection.query("id > 0")) == 20
    found = collection.search([vectors(1)[0].tolist()], "embedding", {"metric_type": "L2"}, limit=50, partition_names=["2024"])
    assert {hit.id for hit in found[0]} == set(range(20240, 20250))
    Partition(collection, "2025").release()
    assert len(collection.query("id > 0")) == 10


def test_load_states():
    collection = documents()
    collection.create_index("embedding", {"index_type": "FLAT", "metric_type": "L2", "params": {}})
    assert str(utility.load_state("documents")) == "NotLoad"
    collection.release()
    collection.load()
    collection.load()
    assert str(utility.load_state("documents")) == "Loaded"
    assert utility.loading_progress("documents") == {"loading_progress": "100%"}
    utility.wait_for_loading_complete("documents")
    collection.release()
    with pytest.raises(MilvusException, match="collection not loaded"):
        collection.query("id > 0", limit=1)
    assert str(utility.load_state("never_created")) == "NotExist"


def test_aliases_switch():
    documents("documents_v1").insert(rows_of(10))
    documents("documents_v2").insert(rows_of(20))
    utility.create_alias("documents_v1", "current")
    utility.create_alias("documents_v1", "current")
    assert utility.list_aliases("documents_v1") == ["current"]
    assert Collection("current").num_entities == 10
    utility.alter_alias("documents_v2", "current")
    assert Collection("current").num_entities == 20
    utility.drop_alias("current")
    assert utility.list_aliases("documents_v2") == []


def test_dynamic_fields():
    fields = [FieldSchema("id", DataType.INT64, is_primary=True), FieldSchema("embedding", DataType.FLOAT_VECTOR, dim=4)]
    collection = Collection("dynamic_collection", CollectionSchema(fields, enable_dynamic_field=True))
    collection.create_index("embedding", {"index_type": "FLAT", "metric_type": "L2", "params": {}})
    collection.load()
    collection.insert([{"id": 1, "embedding": [0.0] * 4, "title": "a", "score": 5, "metadata": {"k": [1, 2]}},
                       {"id": 2, "embedding": [0.0] * 4, "score": 7}])
    assert collection.query("score > 6", output_fields=["score"]) == [{"id": 2, "score": 7}]
    row = collection.query("id == 1", output_fields=["title", "score", "metadata"])[0]
    assert row["title"] == "a" and row["metadata"] == {"k": [1, 2]}


def test_automatic_and_string_keys():
    automatic = documents("auto_id_collection", auto_id=True)
    keys = automatic.insert(rows_of(100)[1:]).primary_keys
    assert len(set(keys)) == 100
    ready(automatic)
    assert len(automatic.query(f"id in {list(keys)}")) == 100
    fields = [FieldSchema("id", DataType.VARCHAR, max_length=36, is_primary=True), FieldSchema("v", DataType.FLOAT_VECTOR, dim=4)]
    strings = Collection("strings", CollectionSchema(fields))
    strings.create_index("v", {"index_type": "FLAT", "metric_type": "L2", "params": {}})
    strings.load()
    strings.insert([["ORDER00000001", "b"], [[0.0] * 4] * 2])
    assert strings.query('id == "ORDER00000001"') == [{"id": "ORDER00000001"}]


def test_binary_vectors():
    fields = [FieldSchema("id", DataType.INT64, is_primary=True), FieldSchema("v", DataType.BINARY_VECTOR, dim=512)]
    collection = Collection("binary_collection", CollectionSchema(fields))
    collection.create_index("v", {"index_type": "BIN_FLAT", "metric_type": "HAMMING", "params": {}})
    collection.load()
    data = [np.random.default_rng(i).integers(0, 256, 64, dtype=np.uint8).tobytes() for i in range(50)]
    collection.insert([list(range(50)), data])
    found = collection.search([data[7]], "v", {"metric_type": "HAMMING", "params": {}}, limit=2)
    assert found[0][0].id == 7 and found[0][0].distance == 0


def test_json_field():
    collection = ready(documents(extra=[FieldSchema("metadata", DataType.JSON)]))
    data = rows_of(5)
    collection.insert(data[:4] + [[{"tags": ["a", "b"], "views": i} for i in range(5)]] + data[4:])
    assert [r["id"] for r in collection.query('metadata["views"] >= 3')] == [3, 4]
    assert collection.query("id == 1", output_fields=["metadata"])[0]["metadata"] == {"tags": ["a", "b"], "views": 1}


def test_properties_and_statistics():
    collection = documents()
    collection.set_properties({"collection.ttl.seconds": 86400})
    collection.insert(rows_of(100))
    collection.flush()
    ready(collection)
    segments = utility.get_query_segment_info("documents")
    assert sum(segment.num_rows for segment in segments) == 100
    assert len(collection.get_replicas().groups) >= 1
    assert utility.index_building_progress("documents")["total_rows"] == 100
    assert utility.list_indexes("documents")


def test_errors_of_the_appendix():
    with pytest.raises(MilvusException):
        Collection("bad-name", documents().schema)
    collection = documents()
    with pytest.raises(Exception):
        collection.insert([[1], ["x" * 201], ["c"], [1], [[0.0] * DIM]])
    with pytest.raises(Exception):
        collection.insert([[1], ["x"], ["c"], [1], [[0.0] * (DIM - 1)]])
    ready(collection)
    with pytest.raises(MilvusException, match="offset\\+limit"):
        collection.query("id >= 0", limit=16384, offset=1)
    with pytest.raises(MilvusException, match="at most one distinct index is allowed per field"):
        collection.create_index("embedding", {"index_type": "HNSW", "metric_type": "IP", "params": {"M": 8, "efConstruction": 64}})
    assert len(collection.query("id >= 0", limit=16384)) == 0


def test_chinese_titles_count_bytes():
    """The limit of 200 is in bytes: a title of 67 Chinese characters is refused by the server."""
    collection = documents()
    with pytest.raises(MilvusException, match="length of varchar field title exceeds max length"):
        collection.insert([[1], ["文" * 67], ["c"], [1], [[0.0] * DIM]])
    collection.insert([[1], ["文" * 66], ["c"], [1], [[0.0] * DIM]])


def test_large_inserts():
    """100,000 rows of 128 floats in one insert, 51 MB on the wire."""
    fields = [FieldSchema("id", DataType.INT64, is_primary=True), FieldSchema("embedding", DataType.FLOAT_VECTOR, dim=DIM)]
    collection = Collection("ivf_demo", CollectionSchema(fields))
    data = vectors(100_000, 3)
    collection.insert([list(range(100_000)), data.tolist()])
    collection.flush()
    assert collection.num_entities == 100_000
    ready(collection, "IVF_FLAT", "L2", nlist=1024)
    found = collection.search(data[:10].tolist(), "embedding", {"metric_type": "L2", "params": {"nprobe": 16}}, limit=100)
    assert [hits.ids[0] for hits in found] == list(range(10))


def test_concurrent_inserts_and_searches():
    collection = ready(documents())
    stop = threading.Event()

    def search():
        while not stop.is_set():
            collection.search([[0.0] * DIM], "embedding", {"metric_type": "L2"}, limit=10)

    with ThreadPoolExecutor(8) as pool:
        searches = [pool.submit(search) for _ in range(2)]
        inserts = [pool.submit(collection.insert, rows_of(500, 500 * i)) for i in range(10)]
        try:
            for one in inserts:
                assert one.result().insert_count == 500
        finally:
            stop.set()
        for one in searches:
            one.result()
    assert len(collection.query("id >= 0", limit=16384)) == 5000


def test_pagination_ends_with_an_empty_page():
    collection = ready(documents())
    collection.insert(rows_of(2500))
    seen, offset = [], 0
    while page := collection.query("id >= 0", output_fields=["*"], limit=1000, offset=offset):
        seen += [row["id"] for row in page]
        offset += 1000
    assert sorted(seen) == list(range(2500))


def test_flush_in_a_loop_is_not_limited():
    collection = documents()
    begun = time.monotonic()
    for i in range(20):
        collection.insert(rows_of(10, i * 10))
        collection.flush()
        assert collection.num_entities == (i + 1) * 10
    assert time.monotonic() - begun < 30


def test_drop_and_create_again():
    for turn in range(3):
        collection = documents("flat_test")
        collection.insert(rows_of(10 * (turn + 1)))
        ready(collection)
        assert len(collection.query("id >= 0")) == 10 * (turn + 1)
        collection.drop()
    assert not utility.has_collection("flat_test")
    utility.drop_collection("flat_test")


def test_iterators():
    collection = ready(documents())
    collection.insert(rows_of(1000))
    iterator, seen = collection.query_iterator(batch_size=300, expr="id >= 0", output_fields=["id"]), []
    while page := iterator.next():
        seen += [row["id"] for row in page]
    iterator.close()
    assert seen == list(range(1000))
