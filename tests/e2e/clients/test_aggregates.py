"""Query with aggregates, group_by_fields and order_by_fields, against plain Python."""

import random

import pytest
from pymilvus import DataType, MilvusClient
from pymilvus.grpc_gen import common_pb2, milvus_pb2

from collections_under_test import Collections, failed, refused, stub, succeeded

ROWS = 900
NAME = "aggregate_table"


@pytest.fixture(scope="module")
def table(server):
    """Part flushed, part growing, some deleted; `small`, `word` and `price` have nulls."""
    client = MilvusClient(uri=server.uri)
    made = Collections(client)
    made.create(NAME, [
        ("flag", DataType.BOOL), ("tiny", DataType.INT8), ("small", DataType.INT16, {"nullable": True}),
        ("n", DataType.INT32), ("big", DataType.INT64), ("real", DataType.FLOAT),
        ("price", DataType.DOUBLE, {"nullable": True}),
        ("word", DataType.VARCHAR, {"max_length": 16, "nullable": True}), ("j", DataType.JSON),
        ("vector", DataType.FLOAT_VECTOR, {"dim": 2}),
    ])
    rng = random.Random(11)
    rows = {
        i: {
            "id": i, "flag": rng.random() < 0.3, "tiny": rng.randrange(-3, 3), "small": rng.choice([None, -7, 0, 300]),
            "n": rng.randrange(-1000, 1000), "big": rng.choice([2**53 + 1, -(2**40), 5]),
            "real": rng.choice([0.5, -2.25, 8.0]), "price": rng.choice([None, 1.25, -3.5, 100.0]),
            "word": rng.choice([None, "", "ant", "bee", "文"]), "j": {"a": i}, "vector": [float(i), 0.0],
        }
        for i in range(ROWS)
    }
    client.insert(NAME, [rows[i] for i in range(ROWS // 2)])
    client.flush(NAME)
    client.insert(NAME, [rows[i] for i in range(ROWS // 2, ROWS)])
    client.delete(NAME, ids=list(range(0, ROWS, 13)))
    for i in range(0, ROWS, 13):
        del rows[i]
    yield list(rows.values())
    made.drop_all()
    client.close()


def aggregate(function, rows, field):
    values = [row[field] for row in rows if row[field] is not None]
    if function == "count":
        return len(values)
    if not values:
        return None
    return {"sum": sum, "min": min, "max": max, "avg": lambda v: sum(v) / len(v)}[function](values)


def ask(client, fields, expression="", **params):
    """Aggregates past the client's own arguments: older clients have none for grouping."""
    pairs = [common_pb2.KeyValuePair(key=k, value=str(v)) for k, v in params.items()]
    return stub(client).Query(milvus_pb2.QueryRequest(
        collection_name=NAME, expr=expression, output_fields=fields, query_params=pairs))


def columns(reply):
    succeeded(reply)
    out = {}
    for field in reply.fields_data:
        data = getattr(field.scalars, field.scalars.WhichOneof("data")).data
        valid = field.valid_data or [True] * len(data)
        out[field.field_name] = [value if ok else None for value, ok in zip(data, valid)]
    return out


FILTERS = {"": lambda row: True, "n > 400": lambda row: row["n"] > 400, "id < 0": lambda row: False}
SPECS = [f"{function}({field})" for function in ("count", "sum", "avg", "min", "max")
         for field in ("tiny", "small", "n", "big", "real", "price")] + ["min(word)", "max(word)", "count(word)", "count(*)"]


@pytest.mark.parametrize("expression", FILTERS)
def test_aggregates_over_everything(client, table, expression):
    rows = [row for row in table if FILTERS[expression](row)]
    answer = client.query(NAME, filter=expression, output_fields=SPECS)
    assert len(answer) == 1
    for spec in SPECS:
        function, field = spec.rstrip(")").split("(")
        wanted = len(rows) if field == "*" else aggregate(function, rows, field)
        got = answer[0][spec]
        assert got == (pytest.approx(wanted) if isinstance(wanted, float) else wanted), spec


@pytest.mark.parametrize("keys", [["word"], ["flag"], ["tiny"], ["small"], ["big"], ["word", "small", "flag"]])
@pytest.mark.parametrize("expression", FILTERS)
def test_aggregates_by_group(client, table, keys, expression):
    groups = {}
    for row in table:
        if FILTERS[expression](row):
            groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    reply = ask(client, [*keys, "count(*)", "sum(n)", "avg(price)", "max(word)"], expression, group_by_fields=",".join(keys))
    got = columns(reply)
    order = list(zip(*(got[key] for key in keys)))
    assert order == sorted(groups, key=lambda key: [(value is not None, value) if value is not None else (False,)
                                                     for value in key])
    for at, key in enumerate(order):
        rows = groups[key]
        assert got["count(*)"][at] == len(rows)
        assert got["sum(n)"][at] == aggregate("sum", rows, "n")
        assert got["avg(price)"][at] == pytest.approx(aggregate("avg", rows, "price"))
        assert got["max(word)"][at] == aggregate("max", rows, "word")


def test_groups_are_paged(client, table):
    whole = columns(ask(client, ["tiny", "count(*)"], group_by_fields="tiny"))
    assert len(whole["tiny"]) == 6
    page = columns(ask(client, ["count(*)", "tiny"], group_by_fields="tiny", limit=3, offset=2))
    assert list(page) == ["count(*)", "tiny"]
    assert page == {name: values[2:5] for name, values in whole.items()}


def test_refused_aggregates(client, table):
    with refused("field ghost not exist", code=1100):
        client.query(NAME, output_fields=["sum(ghost)"])
    for spec in ("sum(word)", "avg(flag)", "min(j)", "max(vector)", "sum(vector)"):
        with refused("does not support data type", code=1100):
            client.query(NAME, output_fields=[spec])
    with refused("count entities with pagination is not allowed", code=1100):
        client.query(NAME, output_fields=["count(*)"], limit=5)
    failed(ask(client, ["n", "count(*)"]), "output field n must be an aggregate", code=1100)
    for field in ("real", "price", "j", "vector"):
        failed(ask(client, ["count(*)"], group_by_fields=field), "unsupported data type", code=1100)
    failed(ask(client, ["count(*)"], group_by_fields="ghost"), "field ghost not exist", code=1100)


def test_sum_past_int64_is_refused(client, collections, name):
    collections.create(name, [("big", DataType.INT64)])
    client.insert(name, [{"id": i, "big": 2**62, "vector": [0.0] * 8} for i in range(3)])
    with refused("sum is out of the range of Int64", code=1100):
        client.query(name, output_fields=["sum(big)"])
    assert client.query(name, output_fields=["avg(big)"])[0]["avg(big)"] == float(2**62)


def ordered(rows, keys):
    """Sorted by (field, descending, nulls_first) keys, ties by id."""
    rows = sorted(rows, key=lambda row: row["id"])
    for field, descending, nulls_first in reversed(keys):
        def rank(row, field=field):
            value = row[field]
            return value.encode() if isinstance(value, str) else value
        nulls = [row for row in rows if row[field] is None]
        # A reversed sort keeps equal rows in place.
        others = sorted((row for row in rows if row[field] is not None), key=rank, reverse=descending)
        rows = nulls + others if nulls_first else others + nulls
    return rows


ORDERS = {
    "n:asc": [("n", False, False)],
    "real:desc,n": [("real", True, True), ("n", False, False)],
    "word,price:desc": [("word", False, False), ("price", True, True)],
    "small:desc:nulls_last,flag:desc,big:asc": [("small", True, False), ("flag", True, True), ("big", False, False)],
    "price:asc:nulls_first,tiny:desc": [("price", False, True), ("tiny", True, True)],
}


@pytest.mark.parametrize("page", [(5, 0), (40, 17), (2000, 0), (10, 880)])
@pytest.mark.parametrize("text", ORDERS)
def test_order_by(client, table, text, page):
    limit, offset = page
    reply = ask(client, ["id", "vector"], order_by_fields=text, limit=limit, offset=offset)
    assert columns_of_ids(reply) == [row["id"] for row in ordered(table, ORDERS[text])][offset : offset + limit]


def columns_of_ids(reply):
    succeeded(reply)
    return list(next(field for field in reply.fields_data if field.field_name == "id").scalars.long_data.data)


def test_order_by_under_a_filter(client, table):
    reply = ask(client, ["id"], "n > 400", order_by_fields="tiny:desc", limit=50)
    rows = [row for row in table if row["n"] > 400]
    assert columns_of_ids(reply) == [row["id"] for row in ordered(rows, [("tiny", True, True)])][:50]


def test_refused_orders(client, table):
    failed(ask(client, ["id"], "n > 0", order_by_fields="n:asc"), "ORDER BY requires explicit limit", code=1100)
    failed(ask(client, ["id"], order_by_fields="n:up", limit=5), "invalid order direction 'up'", code=1100)
    failed(ask(client, ["id"], order_by_fields="ghost:asc", limit=5), "does not exist", code=1100)
    failed(ask(client, ["id"], order_by_fields="vector", limit=5), "unsortable type", code=1100)
    failed(ask(client, ["id"], order_by_fields="j", limit=5), "not supported yet", code=10)
