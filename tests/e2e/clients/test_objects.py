"""Load and release, partitions, partition keys, aliases, databases."""

import pytest
from pymilvus import DataType, MilvusClient, MilvusException
from pymilvus.grpc_gen import milvus_pb2

from collections_under_test import Collections, count, failed, refused, stub, succeeded

ZERO = [0.0] * 8


def state(client, name, partition=""):
    told = client.get_load_state(name, partition)
    return getattr(told["state"], "name", str(told["state"]))


# ---- load and release

def test_load_and_release_are_idempotent(client, collections, name):
    collections.create(name, load=False)
    assert state(client, name) == "NotLoad"
    for _ in range(2):
        client.load_collection(name)
        assert state(client, name) == "Loaded"
    for _ in range(2):
        client.release_collection(name)
        assert state(client, name) == "NotLoad"


def test_loading_progress(client, collections, name):
    collections.create(name, load=False)
    request = milvus_pb2.GetLoadingProgressRequest(collection_name=name)
    failed(stub(client).GetLoadingProgress(request), "collection not loaded", code=101)
    client.load_collection(name)
    reply = succeeded(stub(client).GetLoadingProgress(request))
    assert reply.progress == 100


def test_refresh_load_returns(client, collections, name):
    collections.create(name)
    client.refresh_load(name)
    assert state(client, name) == "Loaded"


def test_load_some_partitions(client, collections, name):
    collections.create(name, load=False)
    for partition in ("a", "b"):
        client.create_partition(name, partition)
        client.insert(name, [{"id": ord(partition), "vector": ZERO}], partition_name=partition)
    client.load_partitions(name, ["a"])
    assert state(client, name, "a") == "Loaded" and state(client, name, "b") == "NotLoad"
    assert count(client, name) == 1
    with refused("partition not loaded", code=201):
        client.query(name, filter="id > 0", partition_names=["b"])
    client.load_partitions(name, ["b"])
    assert count(client, name) == 2
    client.release_partitions(name, ["a"])
    assert count(client, name) == 1
    client.release_partitions(name, ["b"])
    with refused("collection not loaded", code=101):
        count(client, name)


def test_load_of_a_missing_partition(client, collections, name):
    collections.create(name, load=False)
    with refused("partition not found[partition=nowhere]"):
        client.load_partitions(name, ["nowhere"])


def test_release_keeps_the_rows(client, collections, name):
    collections.create(name)
    client.insert(name, [{"id": i, "vector": ZERO} for i in range(10)])
    client.release_collection(name)
    client.load_collection(name)
    assert count(client, name) == 10


# ---- partitions

def test_partition_life(client, collections, name):
    collections.create(name, load=False)
    assert client.list_partitions(name) == ["_default"]
    for _ in range(2):
        client.create_partition(name, "2024-11")
    assert client.has_partition(name, "2024-11") and not client.has_partition(name, "other")
    assert client.list_partitions(name) == ["_default", "2024-11"]
    client.insert(name, [{"id": 1, "vector": ZERO}], partition_name="2024-11")
    assert client.get_partition_stats(name, "2024-11")["row_count"] == 1
    assert client.get_partition_stats(name, "_default")["row_count"] == 0
    for _ in range(2):
        client.drop_partition(name, "2024-11")
    assert client.list_partitions(name) == ["_default"]
    assert client.get_collection_stats(name)["row_count"] == 0


def test_the_default_partition_stays(client, collections, name):
    collections.create(name, load=False)
    with refused("default partition cannot be deleted"):
        client.drop_partition(name, "_default")


def test_a_loaded_partition_stays(client, collections, name):
    collections.create(name)
    client.create_partition(name, "p")
    client.load_partitions(name, ["p"])
    with refused("partition cannot be dropped, partition is loaded, please release it first"):
        client.drop_partition(name, "p")
    client.release_partitions(name, ["p"])
    client.drop_partition(name, "p")


@pytest.mark.parametrize("bad,text", [("", "Partition name should not be empty"), ("a b", "Invalid partition name: a b"),
                                      ("x" * 256, "less than 255 characters"), ("ü", "Invalid partition name")])
def test_bad_partition_names(client, collections, name, bad, text):
    collections.create(name, load=False)
    request = milvus_pb2.CreatePartitionRequest(collection_name=name, partition_name=bad)
    failed(stub(client).CreatePartition(request), text)


def test_many_partitions(client, collections, name):
    """1024 is the limit, the default one included."""
    collections.create(name, load=False)
    for i in range(1023):
        succeeded(stub(client).CreatePartition(milvus_pb2.CreatePartitionRequest(collection_name=name, partition_name=f"p{i}")))
    assert len(client.list_partitions(name)) == 1024
    failed(stub(client).CreatePartition(milvus_pb2.CreatePartitionRequest(collection_name=name, partition_name="more")), "1024")


def test_a_key_is_unique_across_partitions(client, collections, name):
    collections.create(name)
    client.create_partition(name, "p")
    client.insert(name, [{"id": 1, "vector": ZERO}])
    client.insert(name, [{"id": 1, "vector": [1.0] * 8}], partition_name="p")
    assert count(client, name) == 1
    assert count(client, name, partition_names=["p"]) == 1


def test_partition_key(client, collections, name):
    collections.create(name, [("tenant", DataType.VARCHAR, {"max_length": 20, "is_partition_key": True})], num_partitions=8)
    assert len(client.list_partitions(name)) == 8
    rows = [{"id": i, "tenant": f"t{i % 50}", "vector": [float(i)] * 8} for i in range(500)]
    client.insert(name, rows)
    assert count(client, name) == 500
    assert count(client, name, 'tenant == "t7"') == 10
    hits = client.search(name, data=[ZERO], filter='tenant in ["t3", "t4"]', limit=30)[0]
    assert [hit["id"] for hit in hits] == sorted(i for i in range(500) if i % 50 in (3, 4))
    client.delete(name, filter='tenant == "t3"')
    assert count(client, name) == 490
    with refused("not support manually specifying the partition names if partition key mode is used"):
        client.insert(name, [{"id": 9999, "tenant": "x", "vector": ZERO}], partition_name="_default_0")
    with refused("not support manually specifying the partition names if partition key mode is used"):
        client.search(name, data=[ZERO], partition_names=["_default_0"])
    with refused("disable create partition if partition key mode is used"):
        client.create_partition(name, "mine")


def test_partition_key_default_count(client, collections, name):
    collections.create(name, [("k", DataType.INT64, {"is_partition_key": True})], load=False)
    assert len(client.list_partitions(name)) == 16


def test_moving_a_row_to_another_partition_key(client, collections, name):
    collections.create(name, [("k", DataType.INT64, {"is_partition_key": True})])
    client.insert(name, [{"id": i, "k": 1, "vector": ZERO} for i in range(50)])
    client.upsert(name, [{"id": i, "k": 100 + i, "vector": ZERO} for i in range(50)])
    assert count(client, name) == 50 and count(client, name, "k == 1") == 0 and count(client, name, "k == 120") == 1


# ---- aliases

def test_alias_life(client, collections, name):
    collections.create(name)
    other = collections.create(name + "_other")
    alias = name + "_alias"
    for _ in range(2):
        client.create_alias(name, alias)
    assert client.describe_alias(alias)["collection_name"] == name
    assert client.list_aliases(name)["aliases"] == [alias]
    assert client.describe_collection(name)["aliases"] == [alias]
    assert client.has_collection(alias)
    assert client.describe_collection(alias)["collection_name"] == name
    client.insert(alias, [{"id": 1, "vector": ZERO}])
    assert count(client, name) == 1 and count(client, alias) == 1
    client.alter_alias(other, alias)
    assert count(client, alias) == 0
    client.alter_alias(other, alias)
    for _ in range(2):
        client.drop_alias(alias)
    assert not client.has_collection(alias)


def test_alias_errors(client, collections, name):
    collections.create(name, load=False)
    other = collections.create(name + "_other", load=False)
    alias = name + "_alias"
    client.create_alias(name, alias)
    with refused(f"{alias} is alias to another collection: {name}: alias already exist[database=default][alias={alias}]", code=1602):
        client.create_alias(other, alias)
    with refused(code=1601):
        client.create_alias(name, other)
    with refused(f"alias not found[database=default][alias={alias}_x]", code=1600):
        client.alter_alias(name, alias + "_x")
    with refused("alias not found", code=1600):
        client.describe_alias(alias + "_x")
    with refused("Invalid collection alias: 1x. the first character of a collection alias must be an underscore or letter"):
        client.create_alias(name, "1x")
    with refused("collection not found"):
        client.create_alias("never_created", alias + "_y")
    with refused(code=1601):
        client.create_collection(alias, dimension=8)
    client.drop_alias(alias)


def test_all_aliases_of_a_database(client, collections, name):
    collections.create(name, load=False)
    for suffix in ("_a", "_b"):
        client.create_alias(name, name + suffix)
    reply = succeeded(stub(client).ListAliases(milvus_pb2.ListAliasesRequest()))
    assert {name + "_a", name + "_b"} <= set(reply.aliases)
    for suffix in ("_a", "_b"):
        client.drop_alias(name + suffix)


# ---- databases

@pytest.fixture
def database(client, name):
    chosen = f"db_{name}"[:60]
    client.create_database(chosen)
    yield chosen
    client.drop_database(chosen)


def test_database_life(server, client, database):
    assert database in client.list_databases()
    told = client.describe_database(database)
    assert told["name"] == database
    inside = MilvusClient(uri=server.uri, db_name=database)
    made = Collections(inside)
    made.create("same_name")
    inside.insert("same_name", [{"id": 1, "vector": ZERO}])
    assert inside.list_collections() == ["same_name"]
    assert "same_name" not in client.list_collections()
    with pytest.raises(MilvusException):
        client.drop_database(database)
    assert count(inside, "same_name") == 1
    made.drop_all()
    inside.close()


def test_use_database(server, database):
    one = MilvusClient(uri=server.uri)
    one.use_database(database)
    assert one.list_collections() == []
    one.use_database("default")
    one.close()


def test_same_name_in_two_databases(server, client, collections, name, database):
    collections.create(name)
    inside = MilvusClient(uri=server.uri, db_name=database)
    made = Collections(inside)
    made.create(name, dim=4)
    client.insert(name, [{"id": i, "vector": ZERO} for i in range(3)])
    assert count(client, name) == 3 and count(inside, name) == 0
    made.drop_all()
    inside.close()


def test_database_errors(client, database):
    with refused(f"database already exist: {database}"):
        client.create_database(database)
    with refused("can not drop default database"):
        client.drop_database("default")
    client.drop_database("no_such_database")
    with refused("database not found[database=no_such_database]", code=800):
        client.describe_database("no_such_database")
    with refused(code=802):
        client.create_database("1 bad")


def test_database_properties(client, database):
    client.alter_database_properties(database, {"database.max.collections": 5})
    assert client.describe_database(database)["database.max.collections"] == "5"
    client.drop_database_properties(database, ["database.max.collections"])
    assert "database.max.collections" not in client.describe_database(database)


def test_rename_into_another_database(server, client, collections, name, database):
    collections.create(name)
    client.insert(name, [{"id": 1, "vector": ZERO}])
    client.rename_collection(name, name, target_db=database)
    inside = MilvusClient(uri=server.uri, db_name=database)
    assert not client.has_collection(name) and count(inside, name) == 1
    inside.drop_collection(name)
    inside.close()
