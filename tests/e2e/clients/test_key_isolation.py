"""Collections whose partition keys are isolated: a search names one value of the key."""

import pytest
from pymilvus import AnnSearchRequest, DataType, RRFRanker

from collections_under_test import count, refused

ZERO = [0.0] * 8
KEY = ("tenant", DataType.VARCHAR, {"max_length": 20, "is_partition_key": True})
ISOLATED = {"properties": {"partitionkey.isolation": "true"}}
MISSING = "partition key not found in expr or the expr is invalid when validating partition key isolation"


def fill(client, name):
    client.insert(name, [{"id": i, "tenant": f"t{i % 50}", "n": i, "vector": [float(i)] * 8} for i in range(500)])


@pytest.fixture
def isolated(client, collections, name):
    collections.create(name, [KEY, ("n", DataType.INT64)], **ISOLATED)
    fill(client, name)
    return name


@pytest.mark.parametrize("expression", ['tenant == "t7"', 'tenant == "t7" and n < 1000', "n >= 0 and tenant == 't7'"])
def test_a_search_of_one_key(client, isolated, expression):
    hits = client.search(isolated, data=[ZERO], filter=expression, limit=30)[0]
    assert [hit["id"] for hit in hits] == list(range(7, 500, 50))
    client.flush(isolated)
    hits = client.search(isolated, data=[ZERO], filter=expression, limit=30)[0]
    assert [hit["id"] for hit in hits] == list(range(7, 500, 50))


def test_a_template_value_is_a_value(client, isolated):
    hits = client.search(isolated, data=[ZERO], filter="tenant == {t}", filter_params={"t": "t7"}, limit=3)[0]
    assert [hit["id"] for hit in hits] == [7, 57, 107]


@pytest.mark.parametrize("expression,text", [
    ("", MISSING),
    ("n > 5", MISSING),
    ('tenant in ["t7"]', "partition key isolation does not support IN"),
    ('tenant in ["t7", "t8"]', "partition key isolation does not support IN"),
    ('tenant != "t7"', "partition key isolation does not support NotEqual"),
    ('tenant > "t7"', "partition key isolation does not support GreaterThan"),
    ('tenant == "t7" or n == 4', "partition key isolation does not support OR"),
    ('not (tenant == "t7")', "partition key isolation does not support NOT"),
])
def test_other_searches_are_refused(client, isolated, expression, text):
    with refused(text):
        client.search(isolated, data=[ZERO], filter=expression, limit=3)
    good = AnnSearchRequest([ZERO], "vector", {}, 3, expr='tenant == "t7"')
    with refused(text):
        client.hybrid_search(isolated, [good, AnnSearchRequest([ZERO], "vector", {}, 3, expr=expression)], RRFRanker(), 3)


def test_a_hybrid_search_of_one_key(client, isolated):
    request = AnnSearchRequest([ZERO], "vector", {}, 3, expr='tenant == "t7"')
    hits = client.hybrid_search(isolated, [request, request], RRFRanker(), 3)[0]
    assert [hit["id"] for hit in hits] == [7, 57, 107]


def test_queries_need_no_key(client, isolated):
    assert count(client, isolated) == 500
    assert count(client, isolated, 'tenant in ["t7", "t8"]') == 20
    client.delete(isolated, filter="n < 100")
    assert count(client, isolated) == 400


def test_it_changes_only_without_a_vector_index(client, collections, name):
    collections.create(name, [KEY, ("n", DataType.INT64)])
    fill(client, name)
    assert len(client.search(name, data=[ZERO], limit=3)[0]) == 3
    told = "can not alter partition key isolation mode if the collection already has a vector index"
    with refused(told, "index duplicates[indexName=vector]", code=702):
        client.alter_collection_properties(name, {"partitionkey.isolation": "true"})
    client.alter_collection_properties(name, {"partitionkey.isolation": "false"})  # nothing changes
    client.release_collection(name)
    client.drop_index(name, "vector")
    client.alter_collection_properties(name, {"partitionkey.isolation": "true"})
    collections.index(name, "vector")
    client.load_collection(name)
    with refused(MISSING):
        client.search(name, data=[ZERO], limit=3)
    with refused(told, code=702):
        client.drop_collection_properties(name, ["partitionkey.isolation"])


def test_without_a_partition_key_it_is_refused(client, collections, name):
    collections.create(name, index=False, load=False)
    with refused("partition key isolation mode is enabled but no partition key field is set"):
        client.alter_collection_properties(name, {"partitionkey.isolation": "true"})
