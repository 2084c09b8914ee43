"""The ORM classes of the newer generations: Collection, Partition, utility, db."""

import pytest
from pymilvus import Collection, CollectionSchema, DataType, FieldSchema, Partition, connections, db, utility

from collections_under_test import refused, vectors


@pytest.fixture(scope="module", autouse=True)
def connection(server):
    connections.connect("default", uri=server.uri)
    yield
    connections.disconnect("default")


@pytest.fixture
def collection(name):
    schema = CollectionSchema(
        [FieldSchema("id", DataType.INT64, is_primary=True), FieldSchema("title", DataType.VARCHAR, max_length=200),
         FieldSchema("embedding", DataType.FLOAT_VECTOR, dim=8)],
        description="orm",
    )
    made = Collection(name, schema, num_shards=2)
    yield made
    utility.drop_collection(name)


def test_life(collection, name):
    data = vectors(200, 8)
    result = collection.insert([list(range(200)), [f"t{i}" for i in range(200)], data.tolist()])
    assert result.insert_count == 200 and list(result.primary_keys) == list(range(200))
    collection.flush()
    assert collection.num_entities == 200 and not collection.is_empty
    collection.create_index("embedding", {"index_type": "HNSW", "metric_type": "L2", "params": {"M": 8, "efConstruction": 64}})
    assert collection.has_index() and collection.index().params["index_type"] == "HNSW"
    collection.load()
    assert utility.loading_progress(name)["loading_progress"] == "100%"
    found = collection.search([data[5].tolist()], "embedding", {"metric_type": "L2", "params": {"ef": 64}}, limit=3,
                              expr="id < 100", output_fields=["title"])
    assert found[0][0].id == 5 and found[0][0].entity.get("title") == "t5" and found[0][0].distance == 0
    assert collection.query("id in [1, 2]", output_fields=["title"]) == [{"id": 1, "title": "t1"}, {"id": 2, "title": "t2"}]
    assert collection.delete("id < 50").delete_count == 50
    assert collection.upsert([[50], ["new"], [data[0].tolist()]]).upsert_count == 1
    assert collection.query("id == 50", output_fields=["title"])[0]["title"] == "new"
    assert collection.num_entities == 150
    reopened = Collection(name)
    assert reopened.description == "orm" and reopened.schema == collection.schema and reopened.num_shards == 2
    collection.release()
    collection.drop_index()
    assert not collection.has_index()


def test_partitions(collection):
    collection.create_index("embedding", {"index_type": "FLAT", "metric_type": "L2", "params": {}})
    partition = Partition(collection, "2024")
    assert collection.has_partition("2024") and [p.name for p in collection.partitions] == ["_default", "2024"]
    partition.insert([[1], ["a"], [[0.0] * 8]])
    partition.load()
    assert partition.query("id == 1") == [{"id": 1}]
    assert partition.num_entities == 1
    partition.release()
    partition.drop()
    assert not collection.has_partition("2024")


def test_aliases(collection, name):
    utility.create_alias(name, name + "_a")
    assert utility.list_aliases(name) == [name + "_a"]
    assert Collection(name + "_a").num_entities == 0
    utility.drop_alias(name + "_a")


def test_databases(name):
    db.create_database("orm_db")
    assert "orm_db" in db.list_database()
    db.drop_database("orm_db")
    assert "orm_db" not in db.list_database()


def test_utility(collection, name):
    assert utility.has_collection(name) and name in utility.list_collections()
    assert "NotLoad" in str(utility.load_state(name))
    utility.rename_collection(name, name + "_b")
    assert utility.has_collection(name + "_b")
    utility.rename_collection(name + "_b", name)
    assert utility.get_server_version()
    assert not utility.has_collection("never_created")


def test_iterator(collection):
    collection.create_index("embedding", {"index_type": "FLAT", "metric_type": "L2", "params": {}})
    collection.load()
    collection.insert([list(range(500)), ["t"] * 500, vectors(500, 8).tolist()])
    iterator, seen = collection.query_iterator(batch_size=120, output_fields=["id"]), []
    while page := iterator.next():
        seen += [row["id"] for row in page]
    assert seen == list(range(500))


def test_schema_conflict(collection, name):
    other = CollectionSchema([FieldSchema("id", DataType.INT64, is_primary=True), FieldSchema("v", DataType.FLOAT_VECTOR, dim=4)])
    with pytest.raises(Exception, match="schema"):
        Collection(name, other)


def test_not_loaded(collection):
    with refused("collection not loaded", code=101):
        collection.search([[0.0] * 8], "embedding", {}, limit=1)
