"""Collections: creation, description, names, limits, renaming, properties."""

import pytest
from pymilvus import DataType, MilvusClient, MilvusException
from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

from collections_under_test import count, failed, refused, stub, succeeded, vectors


def field(name, kind, **more):
    """A FieldSchema message; `params` become type_params."""
    params = more.pop("params", {})
    pairs = [common_pb2.KeyValuePair(key=k, value=str(v)) for k, v in params.items()]
    return schema_pb2.FieldSchema(name=name, data_type=kind, type_params=pairs, **more)


PK = dict(is_primary_key=True)
ID = field("id", schema_pb2.Int64, **PK)
VECTOR = field("vector", schema_pb2.FloatVector, params={"dim": 8})


def create_raw(client, name, fields, *, schema_name=None, schema_more=None, **more):
    schema = schema_pb2.CollectionSchema(name=name if schema_name is None else schema_name, fields=fields, **(schema_more or {}))
    return stub(client).CreateCollection(
        milvus_pb2.CreateCollectionRequest(collection_name=name, schema=schema.SerializeToString(), **more)
    )


def test_describe_returns_what_was_asked_for(client, collections, name):
    schema = MilvusClient.create_schema(description="about birds", enable_dynamic_field=True)
    schema.add_field("key", DataType.VARCHAR, max_length=100, is_primary=True, description="the key")
    schema.add_field("small", DataType.INT8, nullable=True)
    schema.add_field("level", DataType.INT64, default_value=7)
    schema.add_field("tags", DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=5, max_length=20)
    schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=16)
    client.create_collection(name, schema=schema, consistency_level="Strong", num_shards=2,
                             properties={"collection.ttl.seconds": 3600})
    collections.watch(name)
    told = client.describe_collection(name)
    assert told["collection_name"] == name
    assert told["description"] == "about birds"
    assert told["enable_dynamic_field"] is True
    assert told["auto_id"] is False
    assert told["num_shards"] == 2
    assert told["num_partitions"] == 1
    assert told["consistency_level"] == 0
    assert told["aliases"] == []
    assert told["properties"].get("collection.ttl.seconds") == "3600"
    assert told["collection_id"] > 0
    assert told["created_timestamp"] > 0 and told["update_timestamp"] > 0
    fields = {one["name"]: one for one in told["fields"]}
    assert list(fields) == ["key", "small", "level", "tags", "embedding"], "no system field and no $meta"
    assert [one["field_id"] for one in told["fields"]] == [100, 101, 102, 103, 104]
    assert fields["key"]["is_primary"] and fields["key"]["params"]["max_length"] == 100
    assert fields["key"]["description"] == "the key"
    assert fields["small"]["nullable"]
    assert fields["level"]["default_value"].long_data == 7
    assert fields["tags"]["element_type"] == DataType.VARCHAR and fields["tags"]["params"]["max_capacity"] == 5
    assert fields["embedding"]["params"]["dim"] == 16


def test_has_and_list(client, collections, name):
    assert not client.has_collection(name)
    collections.create(name, load=False)
    assert client.has_collection(name)
    assert name in client.list_collections()
    assert succeeded(stub(client).HasCollection(milvus_pb2.HasCollectionRequest(collection_name=name))).value
    assert not succeeded(stub(client).HasCollection(milvus_pb2.HasCollectionRequest(collection_name="nobody"))).value


def test_show_collections_in_memory(client, collections, name):
    collections.create(name, load=False)
    request = milvus_pb2.ShowCollectionsRequest(type=milvus_pb2.ShowType.InMemory)
    assert name not in succeeded(stub(client).ShowCollections(request)).collection_names
    client.load_collection(name)
    reply = succeeded(stub(client).ShowCollections(request))
    place = list(reply.collection_names).index(name)
    assert reply.inMemory_percentages[place] == 100
    assert reply.query_service_available[place]
    every = succeeded(stub(client).ShowCollections(milvus_pb2.ShowCollectionsRequest()))
    sizes = {len(every.collection_names), len(every.collection_ids), len(every.created_timestamps),
             len(every.created_utc_timestamps)}
    assert len(sizes) == 1


def test_creating_the_same_again_is_a_success(client, collections, name):
    for _ in range(2):
        succeeded(create_raw(client, name, [ID, VECTOR]))
    collections.watch(name)


def test_creating_another_under_the_same_name_is_refused(client, collections, name):
    succeeded(create_raw(client, name, [ID, VECTOR]))
    collections.watch(name)
    failed(
        create_raw(client, name, [ID, field("vector", schema_pb2.FloatVector, params={"dim": 16})]),
        f"create duplicate collection with different parameters, collection: {name}",
    )


def test_describing_a_missing_collection_has_its_own_form(client):
    reply = stub(client).DescribeCollection(milvus_pb2.DescribeCollectionRequest(collection_name="missing_one"))
    status = failed(reply, "can't find collection[database=default][collection=missing_one]", code=100)
    assert status.error_code == common_pb2.UnexpectedError


def test_describe_by_id(client, collections, name):
    collections.create(name, load=False, index=False)
    identifier = client.describe_collection(name)["collection_id"]
    reply = succeeded(stub(client).DescribeCollection(milvus_pb2.DescribeCollectionRequest(collectionID=identifier)))
    assert reply.collection_name == name


@pytest.mark.parametrize("operation", [
    lambda c, n: c.load_collection(n),
    lambda c, n: c.insert(n, [{"id": 1, "vector": [0.0] * 8}]),
    lambda c, n: c.query(n, filter="id > 0", limit=1),
    lambda c, n: c.search(n, data=[[0.0] * 8], anns_field="vector"),
    lambda c, n: c.get_collection_stats(n),
    lambda c, n: c.list_partitions(n),
    lambda c, n: c.has_partition(n, "p"),
    lambda c, n: c.delete(n, filter="id == 1"),
    lambda c, n: c.create_partition(n, "p"),
    lambda c, n: c.flush(n),
    lambda c, n: c.rename_collection(n, n + "_new"),
    lambda c, n: c.alter_collection_properties(n, {"collection.ttl.seconds": 1}),
], ids=["load", "insert", "query", "search", "stats", "list_partitions", "has_partition", "delete", "create_partition",
        "flush", "rename", "alter"])
def test_operations_on_a_missing_collection_name_it(client, operation):
    with pytest.raises(MilvusException) as raised:
        operation(client, "never_created")
    message = raised.value.message
    assert "collection not found[database=default][collection=never_created]" in message or \
        "can't find collection[database=default][collection=never_created]" in message


def test_dropping_is_idempotent(client, collections, name):
    collections.create(name)
    client.drop_collection(name)
    client.drop_collection(name)
    assert not client.has_collection(name)


def test_a_dropped_name_starts_empty(client, collections, name):
    collections.create(name)
    client.insert(name, [{"id": 1, "vector": [0.0] * 8}])
    first = client.describe_collection(name)
    client.drop_collection(name)
    collections.create(name)
    second = client.describe_collection(name)
    assert count(client, name) == 0
    assert second["collection_id"] != first["collection_id"]
    assert second["update_timestamp"] > first["update_timestamp"]


@pytest.mark.parametrize("bad,text", [
    ("1abc", "Invalid collection name: 1abc. the first character of a collection name must be an underscore or letter: invalid parameter"),
    ("a-b", "Invalid collection name: a-b. collection name can only contain numbers, letters and underscores"),
    ("a b", "collection name can only contain numbers, letters and underscores"),
    ("", "collection name should not be empty"),
    ("x" * 256, "the length of a collection name must be less than 255 characters"),
])
def test_bad_names(client, bad, text):
    failed(create_raw(client, bad, [ID, VECTOR]), text, code=1100)


def test_longest_name(client, collections, name):
    longest = (name + "x" * 255)[:255]
    collections.create(longest, load=False, index=False)
    assert client.has_collection(longest)


STRING_ID = field("id", schema_pb2.VarChar, params={"max_length": 10}, **PK)


BAD_SCHEMAS = [
    ([VECTOR], "primary key is not specified"),
    ([field("a", schema_pb2.Int64, **PK), field("b", schema_pb2.Int64, **PK), VECTOR],
     "there are more than one primary key, field name = a, b"),
    ([field("id", schema_pb2.Float, **PK), VECTOR], "the data type of primary key should be Int64 or VarChar"),
    ([ID], "schema does not contain vector field"),
    ([ID, field("vector", schema_pb2.FloatVector, params={"dim": 1})],
     "invalid dimension: 1. should be in range 2 ~ 32768"),
    ([ID, field("vector", schema_pb2.FloatVector, params={"dim": 32769})],
     "invalid dimension: 32769. should be in range 2 ~ 32768"),
    ([ID, field("vector", schema_pb2.FloatVector)], "dim"),
    ([ID, field("vector", schema_pb2.FloatVector, params={"dim": "eight"})], "dim"),
    ([ID, field("vector", schema_pb2.BinaryVector, params={"dim": 12})], "12"),
    ([ID, field("vector", schema_pb2.SparseFloatVector, params={"dim": 8})], "dim"),
    ([field("id", schema_pb2.VarChar, **PK), VECTOR], "type param(max_length) should be specified for the field(id)"),
    ([ID, field("s", schema_pb2.VarChar), VECTOR], "type param(max_length) should be specified for the field(s)"),
    ([ID, field("s", schema_pb2.VarChar, params={"max_length": 65536}), VECTOR], "65536"),
    ([ID, field("s", schema_pb2.VarChar, params={"max_length": 0}), VECTOR], "maximum length"),
    ([ID, field("a", schema_pb2.Array, element_type=schema_pb2.Int64), VECTOR], "max_capacity"),
    ([ID, field("a", schema_pb2.Array, element_type=schema_pb2.Int64, params={"max_capacity": 4097}), VECTOR], "4096"),
    ([ID, field("a", schema_pb2.Array, element_type=schema_pb2.JSON, params={"max_capacity": 4}), VECTOR], ""),
    ([ID, field("x", schema_pb2.Int32), field("x", schema_pb2.Int64), VECTOR], "x"),
    ([ID, field("$meta", schema_pb2.JSON), VECTOR], "$meta"),
    ([ID, field("1x", schema_pb2.Int32), VECTOR], "1x"),
    ([field("id", schema_pb2.Int64, nullable=True, **PK), VECTOR], ""),
    ([ID, field("x", schema_pb2.Int64, autoID=True), VECTOR], ""),
    ([ID, VECTOR, *[field(f"f{i}", schema_pb2.Int32) for i in range(63)]],
     "maximum field's number should be limited to 64"),
    ([ID, *[field(f"v{i}", schema_pb2.FloatVector, params={"dim": 4}) for i in range(11)]], "10"),
    ([ID, field("k", schema_pb2.Float, is_partition_key=True), VECTOR], ""),
    ([ID, field("k", schema_pb2.Int64, is_partition_key=True), field("l", schema_pb2.Int64, is_partition_key=True),
      VECTOR], ""),
    ([field("id", schema_pb2.Int64, is_partition_key=True, **PK), VECTOR], ""),
    ([ID, field("n", 77), VECTOR], ""),
]


@pytest.mark.parametrize("fields,text", BAD_SCHEMAS, ids=range(len(BAD_SCHEMAS)))
def test_bad_schemas(client, name, fields, text):
    failed(create_raw(client, name, fields), text)
    assert not client.has_collection(name)


def test_bad_schema_bytes(client, name):
    reply = stub(client).CreateCollection(
        milvus_pb2.CreateCollectionRequest(collection_name=name, schema=b"\xff\xff\xff not a schema")
    )
    failed(reply)


def test_shards_are_limited(client, name):
    failed(create_raw(client, name, [ID, VECTOR], shards_num=17), "16")


def test_widest_schema(client, collections, name):
    """64 fields, ten of them vectors, at the largest dimension."""
    fields = [ID, *[field(f"v{i}", schema_pb2.FloatVector, params={"dim": 32768 if i == 0 else 4}) for i in range(10)],
              *[field(f"f{i}", schema_pb2.Int32) for i in range(53)]]
    succeeded(create_raw(client, name, fields))
    collections.watch(name)
    assert len(client.describe_collection(name)["fields"]) == 64


def test_quick_setup(client, collections, name):
    client.create_collection(name, dimension=8)
    collections.watch(name)
    told = client.describe_collection(name)
    assert [one["name"] for one in told["fields"]] == ["id", "vector"]
    assert told["enable_dynamic_field"]
    assert client.list_indexes(name) == ["vector"]
    assert str(client.get_load_state(name)["state"]) in ("Loaded", "3")
    client.insert(name, [{"id": 1, "vector": [0.5] * 8, "colour": "red"}])
    rows = client.query(name, filter='colour == "red"', output_fields=["colour"])
    assert [dict(row) for row in rows] == [{"id": 1, "colour": "red"}]


def test_rename(client, collections, name):
    collections.create(name)
    client.insert(name, [{"id": 1, "vector": [0.0] * 8}])
    client.create_alias(name, name + "_alias")
    fresh = collections.watch(name + "_new")
    client.rename_collection(name, fresh)
    assert not client.has_collection(name)
    assert count(client, fresh) == 1
    assert client.describe_alias(name + "_alias")["collection_name"] == fresh
    client.drop_alias(name + "_alias")


def test_rename_onto_an_existing_name(client, collections, name):
    collections.create(name, load=False)
    other = collections.create(name + "_other", load=False)
    with refused("duplicated new collection name"):
        client.rename_collection(name, other)


def test_rename_to_a_bad_name(client, collections, name):
    collections.create(name, load=False)
    with refused("the first character of a collection name must be an underscore or letter"):
        client.rename_collection(name, "9lives")


def test_alter_properties(client, collections, name):
    collections.create(name, load=False)
    before = client.describe_collection(name)["update_timestamp"]
    client.alter_collection_properties(name, {"collection.ttl.seconds": 60})
    told = client.describe_collection(name)
    assert told["properties"]["collection.ttl.seconds"] == "60"
    client.alter_collection_properties(name, {"collection.ttl.seconds": 60})
    client.drop_collection_properties(name, ["collection.ttl.seconds"])
    assert "collection.ttl.seconds" not in client.describe_collection(name)["properties"]
    assert client.describe_collection(name)["update_timestamp"] >= before


def test_alter_with_both_kinds_is_refused(client, collections, name):
    collections.create(name, load=False)
    request = milvus_pb2.AlterCollectionRequest(
        collection_name=name, properties=[common_pb2.KeyValuePair(key="collection.ttl.seconds", value="1")],
        delete_keys=["mmap.enabled"],
    )
    failed(stub(client).AlterCollection(request), "cannot provide both DeleteKeys and ExtraParams")


def test_alter_field_changes_the_limit(client, collections, name):
    collections.create(name, [("text", DataType.VARCHAR, {"max_length": 5})])
    with refused("length of varchar field text exceeds max length"):
        client.insert(name, [{"id": 1, "text": "longer", "vector": [0.0] * 8}])
    client.alter_collection_field(name, "text", {"max_length": 10})
    client.insert(name, [{"id": 1, "text": "longer", "vector": [0.0] * 8}])
    fields = {one["name"]: one for one in client.describe_collection(name)["fields"]}
    assert fields["text"]["params"]["max_length"] == 10


def test_alter_field_refuses_other_keys(client, collections, name):
    collections.create(name, [("text", DataType.VARCHAR, {"max_length": 5})], load=False)
    with refused("does not allow update in collection field param"):
        client.alter_collection_field(name, "text", {"dim": 10})


def test_drop_through_an_alias_is_refused(client, collections, name):
    collections.create(name, load=False)
    client.create_alias(name, name + "_alias")
    failed(
        stub(client).DropCollection(milvus_pb2.DropCollectionRequest(collection_name=name + "_alias")),
        f"cannot drop the collection via alias = {name}_alias",
    )
    failed(
        stub(client).DropCollection(milvus_pb2.DropCollectionRequest(collection_name=name)),
        f"unable to drop the collection [{name}] because it has associated aliases",
        "please remove all aliases before dropping the collection",
    )
    client.drop_alias(name + "_alias")
    client.drop_collection(name)


def test_schema_timestamp_guards_row_inserts(client, collections, name):
    """A row insert that was made for another schema is refused with SchemaMismatch; the client then retries."""
    from collections_under_test import float_vector_column, insert_request, long_column

    collections.create(name)
    columns = [long_column("id", [1]), float_vector_column("vector", vectors(1, 8), 8)]
    status = failed(stub(client).Insert(insert_request(name, columns, 1, schema_timestamp=1)), code=109)
    assert status.error_code == common_pb2.SchemaMismatch
    current = client.describe_collection(name)["update_timestamp"]
    succeeded(stub(client).Insert(insert_request(name, columns, 1, schema_timestamp=current)))


def test_a_client_with_an_old_schema_recovers(server, client, collections, name):
    collections.create(name)
    other = MilvusClient(uri=server.uri)
    other.insert(name, [{"id": 1, "vector": [0.0] * 8}])
    client.drop_collection(name)
    collections.create(name, [("added", DataType.INT64, {"nullable": True})])
    other.insert(name, [{"id": 2, "vector": [0.0] * 8, "added": 5}])
    assert client.query(name, filter="added == 5", output_fields=["id"]) == [{"id": 2}]
    other.close()


def test_load_state_of_a_missing_collection_is_no_error(client):
    reply = succeeded(stub(client).GetLoadState(milvus_pb2.GetLoadStateRequest(collection_name="missing_one")))
    assert reply.state == common_pb2.LoadStateNotExist
