"""Types that came with the filter language: timestamps, matched texts, geometries, struct arrays, random samples."""

import pytest
from pymilvus import DataType, MilvusClient, MilvusException
from pymilvus.grpc_gen import common_pb2, milvus_pb2

from collections_under_test import count, refused, stub

ZERO = [0.0] * 8


def ids(client, name, text, **more):
    return sorted(row["id"] for row in client.query(name, filter=text, output_fields=["id"], **more))


def in_both_states(client, name):
    """Runs the body of a test on growing rows, and again on sealed ones."""
    yield "growing"
    client.flush(name)
    yield "sealed"


def test_timestamps(client, collections, name):
    collections.create(
        name,
        [("ts", DataType.TIMESTAMPTZ, {"nullable": True}),
         ("made", DataType.TIMESTAMPTZ, {"default_value": "2020-06-01T00:00:00"})],
        properties={"timezone": "Asia/Shanghai"},
    )
    client.insert(name, [
        {"id": 0, "ts": "2025-01-01T00:00:00Z", "vector": ZERO},
        {"id": 1, "ts": "2025-01-01T09:00:00.5", "vector": ZERO},  # of the collection's zone
        {"id": 2, "ts": None, "made": "2021-01-01T00:00:00+08:00", "vector": ZERO},
        {"id": 3, "ts": "2025-01-31T12:00:00-05:00", "vector": ZERO},
    ])
    for state in in_both_states(client, name):
        rows = {row["id"]: row for row in client.query(name, filter="id >= 0", output_fields=["ts", "made"])}
        assert rows[0]["ts"] == "2025-01-01T08:00:00+08:00", state
        assert rows[1]["ts"] == "2025-01-01T09:00:00.5+08:00"
        assert rows[2]["ts"] is None
        assert rows[0]["made"] == "2020-06-01T00:00:00+08:00"
        shown = client.query(name, filter="id == 3", output_fields=["ts"], timezone="America/New_York")
        assert shown[0]["ts"] == "2025-01-31T12:00:00-05:00"
        assert ids(client, name, "ts > ISO '2025-01-01T00:30:00Z'") == [1, 3]
        assert ids(client, name, "ts == '2025-01-01T08:00:00'") == [0]
        assert ids(client, name, "ts == '2025-01-01T00:00:00'", timezone="UTC") == [0]
        assert ids(client, name, "ts + INTERVAL 'P1D' < ISO '2025-01-02T00:30:00Z'") == [0]
        assert ids(client, name, "ts + INTERVAL 'P1M' == ISO '2025-03-03T17:00:00Z'") == [3]
        assert ids(client, name, "ts is null and made > '2020-12-31T00:00:00'") == [2]
        hits = client.search(name, data=[ZERO], limit=5, filter="ts < '2025-01-02T00:00:00'", output_fields=["ts"])[0]
        assert {hit["id"] for hit in hits} == {0, 1}
        assert hits[0]["entity"]["ts"].endswith("+08:00")
    with refused("unknown or invalid IANA Time Zone ID", code=1100):
        client.query(name, filter="id == 0", timezone="Mars/Base")
    with refused("invalid timestamp string: 'soon'", code=1100):
        client.insert(name, [{"id": 9, "ts": "soon", "vector": ZERO}])


def test_timestamps_in_order(client, collections, name):
    collections.create(name, [("ts", DataType.TIMESTAMPTZ, {})])
    client.insert(name, [{"id": i, "ts": f"20{60 - i}-01-01T00:00:00Z", "vector": ZERO} for i in range(10)])
    pairs = [common_pb2.KeyValuePair(key=k, value=v) for k, v in (("limit", "3"), ("order_by_fields", "ts:asc"))]
    reply = stub(client).Query(milvus_pb2.QueryRequest(
        collection_name=name, expr="ts >= '2055-01-01T00:00:00Z'", output_fields=["id"], query_params=pairs))
    assert list(reply.fields_data[0].scalars.long_data.data) == [5, 4, 3]
    newest = client.query(name, filter="id >= 0", output_fields=["max(ts)", "min(ts)"])[0]
    assert newest["max(ts)"] == "2060-01-01T00:00:00Z" and newest["min(ts)"] == "2051-01-01T00:00:00Z"


def test_text_match(client, collections, name):
    analyzed = {"max_length": 200, "enable_analyzer": True, "enable_match": True}
    collections.create(name, [
        ("text", DataType.VARCHAR, analyzed),
        ("story", DataType.VARCHAR, {**analyzed, "analyzer_params": {"type": "english"}, "nullable": True}),
    ])
    client.insert(name, [
        {"id": 0, "text": "Vector databases, fast!", "story": "The runner was running", "vector": ZERO},
        {"id": 1, "text": "a fast VECTOR", "story": "many dogs", "vector": ZERO},
        {"id": 2, "text": "数据库", "story": None, "vector": ZERO},
    ])
    for state in in_both_states(client, name):
        assert ids(client, name, "text_match(text, 'vector')") == [0, 1], state
        assert ids(client, name, "text_match(text, 'fast vector a', minimum_should_match=3)") == [1]
        assert ids(client, name, "phrase_match(text, 'vector fast')") == []
        assert ids(client, name, "phrase_match(text, 'vector fast', 1)") == [0]
        assert ids(client, name, "text_match(story, 'runs dog')") == [0, 1]
        assert ids(client, name, "not text_match(story, 'dog')") == [0]
        assert ids(client, name, "text_match(text, {q})", filter_params={"q": "数"}) == [2]
        assert ids(client, name, "text_match_fuzzy(text, 'vetcor', max_edit_distance=1)") == [0, 1]
        assert ids(client, name, "text_match_fuzzy(text, {q}, max_edit_distance=2)", filter_params={"q": "datbse"}) == []
        assert ids(client, name, "text_match_fuzzy(text, {q}, max_edit_distance=2)",
                   filter_params={"q": "databass"}) == [0]
    with refused("text match operation on non-string", code=1100):
        client.query(name, filter="text_match(id, 'x')")
    with refused("max_edit_distance should be in [0, 2]", code=1100):
        client.query(name, filter="text_match_fuzzy(text, 'x', max_edit_distance=3)")
    with pytest.raises(MilvusException, match="unsupported built-in analyzer type: klingon"):
        collections.create(name + "x", [("t", DataType.VARCHAR, {**analyzed, "analyzer_params": {"type": "klingon"}})])


def test_run_analyzer(client):
    tokens = client.run_analyzer(["Running dogs"], {"type": "english"})
    assert [list(one.tokens) for one in ([tokens] if not isinstance(tokens, list) else tokens)] == [["run", "dog"]]


def test_geometry(client, collections, name):
    collections.create(name, [("place", DataType.GEOMETRY, {"nullable": True})])
    client.insert(name, [
        {"id": 0, "place": "POINT (1 1)", "vector": ZERO},
        {"id": 1, "place": "POLYGON((4 4, 6 4, 6 6, 4 6, 4 4))", "vector": ZERO},
        {"id": 2, "place": None, "vector": ZERO},
        {"id": 3, "place": "LINESTRING (0 0, 10.5 10.5)", "vector": ZERO},
    ])
    for state in in_both_states(client, name):
        rows = {row["id"]: row["place"] for row in client.query(name, filter="id >= 0", output_fields=["place"])}
        assert rows[0] == "POINT (1 1)", state
        assert rows[1] == "POLYGON ((4 4, 6 4, 6 6, 4 6, 4 4))"
        assert not rows[2]
        assert rows[3] == "LINESTRING (0 0, 10.5 10.5)"
        assert ids(client, name, "st_within(place, 'POLYGON((0 0, 3 0, 3 3, 0 3, 0 0))')") == [0]
        assert ids(client, name, "ST_CONTAINS(place, 'POINT (5 5)')") == [1, 3]
        assert ids(client, name, "st_dwithin(place, 'POINT (1 1.001)', 150)") == [0, 3]
        assert ids(client, name, "not st_isvalid(place)") == []
        assert ids(client, name, "place is null") == [2]
        hits = client.search(name, data=[ZERO], limit=5, filter="st_intersects(place, 'POINT (5 5)')")[0]
        assert {hit["id"] for hit in hits} == {1, 3}
    with refused("invalid WKT", code=1100):
        client.insert(name, [{"id": 9, "place": "POINT (1", "vector": ZERO}])
    with refused("invalid WKT", code=1100):
        client.query(name, filter="st_equals(place, 'nowhere')")


def test_struct_arrays(client, collections, name):
    if not hasattr(MilvusClient, "create_struct_field_schema"):
        pytest.skip("this client knows no struct arrays")
    schema = MilvusClient.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=8)
    record = MilvusClient.create_struct_field_schema()
    record.add_field("word", DataType.VARCHAR, max_length=32)
    record.add_field("number", DataType.INT32)
    schema.add_field("records", DataType.ARRAY, element_type=DataType.STRUCT, struct_schema=record, max_capacity=8)
    client.create_collection(name, schema=schema)
    collections.watch(name)
    collections.index(name, "vector")
    client.load_collection(name)
    rows = [
        {"id": 0, "vector": ZERO, "records": [{"word": "a", "number": 1}, {"word": "b", "number": 5}]},
        {"id": 1, "vector": ZERO, "records": []},
        {"id": 2, "vector": ZERO, "records": [{"word": "b", "number": 1}]},
    ]
    client.insert(name, rows)
    for state in in_both_states(client, name):
        found = {row["id"]: row["records"] for row in client.query(name, filter="id >= 0", output_fields=["records"])}
        assert found == {row["id"]: row["records"] for row in rows}, state
        assert ids(client, name, "element_filter(records, $[word] == 'b' && $[number] > 1)") == [0]
        assert ids(client, name, "id > 0 && element_filter(records, $[number] == 1)") == [2]
        assert ids(client, name, "MATCH_ALL(records, $[number] == 1)") == [1, 2]
        assert ids(client, name, "MATCH_LEAST(records, $[number] > 0, threshold=2)") == [0]
        assert ids(client, name, "records[0][word] in ['b']") == [2]
        assert ids(client, name, "array_length(records) == 0") == [1]
        assert ids(client, name, "array_contains(records[number], 5)") == [0]
        hits = client.search(name, data=[ZERO], limit=3, filter="MATCH_ANY(records, $[word] == 'a')",
                             output_fields=["records"])[0]
        assert [hit["id"] for hit in hits] == [0]
        assert hits[0]["entity"]["records"] == rows[0]["records"]
    client.upsert(name, [{"id": 1, "vector": ZERO, "records": [{"word": "z", "number": 9}]}])
    assert ids(client, name, "MATCH_ANY(records, $[word] == 'z')") == [1]


def test_a_struct_array_is_added_to_rows_that_have_none(client, collections, name):
    if not hasattr(MilvusClient, "add_collection_struct_field"):
        pytest.skip("this client adds no struct arrays")
    collections.create(name)
    client.insert(name, [{"id": 0, "vector": ZERO}])
    client.flush(name)
    client.insert(name, [{"id": 1, "vector": ZERO}])
    record = MilvusClient.create_struct_field_schema()
    record.add_field("word", DataType.VARCHAR, max_length=32)
    record.add_field("number", DataType.INT32)

    def add(field):
        client.add_collection_struct_field(name, field, struct_schema=record, max_capacity=8)

    add("records")
    with refused("duplicated field name records", code=1100):
        add("records")
    told = client.describe_collection(name)
    assert "records" in [field["name"] for field in told["fields"]]
    rows = [{"id": 2, "vector": ZERO, "records": [{"word": "a", "number": 1}, {"word": "b", "number": 5}]},
            {"id": 3, "vector": ZERO, "records": []}]
    client.insert(name, rows)
    for state in in_both_states(client, name):
        assert ids(client, name, "id >= 0") == [0, 1, 2, 3], state
        found = {row["id"]: row["records"] for row in client.query(name, filter="id >= 0", output_fields=["records"])}
        assert found[2] == rows[0]["records"] and found[3] == [] and not found[0] and not found[1], state
        assert ids(client, name, "element_filter(records, $[word] == 'b')") == [2], state
        assert ids(client, name, "MATCH_ALL(records, $[number] > 0)") == [2, 3], state
        hits = client.search(name, data=[ZERO], limit=4, filter="MATCH_ANY(records, $[number] == 1)")[0]
        assert [hit["id"] for hit in hits] == [2], state


def test_random_samples(client, collections, name):
    collections.create(name, [("n", DataType.INT64, {})])
    client.insert(name, [{"id": i, "n": i, "vector": ZERO} for i in range(4000)])
    for state in in_both_states(client, name):
        drawn = count(client, name, "n < 2000 and random_sample(0.5)")
        assert 800 < drawn < 1200, state  # 9 standard deviations
        assert len({tuple(ids(client, name, "random_sample(0.01)")) for _ in range(5)}) > 1
    with refused("random sample expression", code=1100):
        client.query(name, filter="random_sample(0.5) or n > 1")


def test_sealed_pages_answer_as_growing_ones(client, collections, name):
    """Facts of pages, dictionary codes and the order of terms must not show in answers."""
    collections.create(name, [
        ("n", DataType.INT64, {"nullable": True}), ("d", DataType.DOUBLE, {}), ("s", DataType.VARCHAR, {"max_length": 40}),
        ("ts", DataType.TIMESTAMPTZ, {}),
    ])
    total = 10_000
    client.insert(name, [
        {"id": i, "n": None if i % 7 == 0 else i // 3, "d": i / 10, "s": f"k{i // 100:03d}",
         "ts": f"20{20 + i // 1000:02d}-01-01T00:00:00Z", "vector": ZERO}
        for i in range(total)
    ])
    filters = [
        "n < 100", "n >= 3300", "n in [5, 6, 3333, 99999]", "n is null", "not (n < 3000)", "100 <= n < 110 and s like 'k00%'",
        "s like 'k09%'", "s == 'k050'", "s > 'k098' or d < 1", "d <= 0.5", "d > 999.85", "ts > '2028-06-01T00:00:00Z'",
        "ts == '2024-01-01T00:00:00Z' and n % 2 == 0", "n != 5 and d < 20 and s != 'k000'", "not (s >= 'k001' or n is null)",
    ]
    growing = [ids(client, name, one, limit=total) for one in filters]
    assert all(0 < len(one) < total for one in growing)
    client.flush(name)
    assert [ids(client, name, one, limit=total) for one in filters] == growing
