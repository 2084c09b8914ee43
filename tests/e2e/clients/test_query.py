"""Query: filters against plain Python, counts, paging, output, templates, errors."""

import math
import random

import pytest
from pymilvus import DataType, MilvusClient

from collections_under_test import Collections, count, refused, vectors
from server_process import ServerProcess

ROWS = 400


def make_row(i, rng):
    return {
        "id": i,
        "flag": rng.random() < 0.5,
        "tiny": rng.randrange(-128, 128),
        "n": rng.randrange(-50, 50),
        "big": rng.choice([2**53 + 1, 2**53, -(2**62), i]),
        "price": rng.choice([0.5, 1.25, 100.0, -3.75]),
        "word": rng.choice(["apple", "apricot", "banana", "bun_dle", "文档1", "", "100%"]),
        "maybe": rng.choice([None, 1, 2, 3]),
        "note": rng.choice([None, "x", "y"]),
        "j": rng.choice([{"a": 1, "b": {"c": "deep"}}, {"a": 2.5}, {"a": "1"}, {"l": [1, 2, 3]}, {}]),
        "tags": [rng.randrange(5) for _ in range(rng.randrange(4))],
        "vector": [float(i), 0.0],
    }


@pytest.fixture(scope="module")
def table(server):
    """Rows that the tests below only read: part flushed, part growing, some deleted and some replaced."""
    client = MilvusClient(uri=server.uri)
    made = Collections(client)
    made.create("query_table", [
        ("flag", DataType.BOOL), ("tiny", DataType.INT8), ("n", DataType.INT32), ("big", DataType.INT64),
        ("price", DataType.DOUBLE), ("word", DataType.VARCHAR, {"max_length": 32}),
        ("maybe", DataType.INT64, {"nullable": True}), ("note", DataType.VARCHAR, {"max_length": 8, "nullable": True}),
        ("j", DataType.JSON), ("tags", DataType.ARRAY, {"element_type": DataType.INT64, "max_capacity": 8}),
        ("vector", DataType.FLOAT_VECTOR, {"dim": 2}),
    ])
    rng = random.Random(3)
    rows = {i: make_row(i, rng) for i in range(ROWS)}
    client.insert("query_table", [rows[i] for i in range(ROWS // 2)])
    client.flush("query_table")
    client.insert("query_table", [rows[i] for i in range(ROWS // 2, ROWS)])
    for i in range(0, ROWS, 20):
        rows[i] = make_row(i, rng)
    client.upsert("query_table", [rows[i] for i in range(0, ROWS, 20)])
    doomed = list(range(7, ROWS, 25))
    client.delete("query_table", ids=doomed)
    for i in doomed:
        del rows[i]
    yield list(rows.values())
    made.drop_all()
    client.close()


def number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def known(value, test):
    """A comparison with NULL is unknown, which selects nothing."""
    return value is not None and test(value)


CASES = [
    ("flag == true", lambda r: r["flag"]),
    ("flag != true", lambda r: not r["flag"]),
    ("tiny > 100", lambda r: r["tiny"] > 100),
    ("tiny >= -128", lambda r: True),
    ("n < 0", lambda r: r["n"] < 0),
    ("n <= 0 and n >= -10", lambda r: -10 <= r["n"] <= 0),
    ("-10 <= n < 10", lambda r: -10 <= r["n"] < 10),
    ("10 > n > -10", lambda r: -10 < r["n"] < 10),
    ("not (n == 3)", lambda r: r["n"] != 3),
    ("n == 3 or n == 4 or flag == false", lambda r: r["n"] in (3, 4) or not r["flag"]),
    ("(n > 10 or n < -10) and flag == true", lambda r: abs(r["n"]) > 10 and r["flag"]),
    ("n in [1, 2, 3, 1000000]", lambda r: r["n"] in (1, 2, 3)),
    ("n not in [1, 2, 3]", lambda r: r["n"] not in (1, 2, 3)),
    ("n in []", lambda r: False),
    (f"big == {2**53 + 1}", lambda r: r["big"] == 2**53 + 1),
    (f"big > {2**53}", lambda r: r["big"] > 2**53),
    ("price > 1", lambda r: r["price"] > 1),
    ("price == 1.25", lambda r: r["price"] == 1.25),
    ("price in [0.5, 100]", lambda r: r["price"] in (0.5, 100)),
    ("n + 5 > 20", lambda r: r["n"] + 5 > 20),
    ("n * 2 == 10", lambda r: r["n"] * 2 == 10),
    ("n % 7 == 3", lambda r: math.fmod(r["n"], 7) == 3),
    ("price / 2 >= 0.625", lambda r: r["price"] / 2 >= 0.625),
    ("n > tiny", lambda r: r["n"] > r["tiny"]),
    ('word == "apple"', lambda r: r["word"] == "apple"),
    ("word == 'apple'", lambda r: r["word"] == "apple"),
    ('word != ""', lambda r: r["word"] != ""),
    ('word >= "b"', lambda r: r["word"].encode() >= b"b"),
    ('word like "ap%"', lambda r: r["word"].startswith("ap")),
    ('word like "%an%"', lambda r: "an" in r["word"]),
    ('word like "%e"', lambda r: r["word"].endswith("e")),
    ('word like "文档_"', lambda r: r["word"] == "文档1"),
    ('word like "bun\\\\_dle"', lambda r: r["word"] == "bun_dle"),
    ('word in ["banana", "文档1"]', lambda r: r["word"] in ("banana", "文档1")),
    ('word not in ["banana", ""]', lambda r: r["word"] not in ("banana", "")),
    ("maybe is null", lambda r: r["maybe"] is None),
    ("maybe IS NOT NULL", lambda r: r["maybe"] is not None),
    ("maybe == 1", lambda r: known(r["maybe"], lambda v: v == 1)),
    ("maybe != 1", lambda r: known(r["maybe"], lambda v: v != 1)),
    ("not (maybe == 1)", lambda r: known(r["maybe"], lambda v: v != 1)),
    ("maybe not in [1, 2]", lambda r: known(r["maybe"], lambda v: v not in (1, 2))),
    ("maybe == 1 or flag == true", lambda r: r["maybe"] == 1 or r["flag"]),
    ('note == "x" and maybe > 1', lambda r: r["note"] == "x" and known(r["maybe"], lambda v: v > 1)),
    ('j["a"] == 1', lambda r: number(r["j"].get("a")) and r["j"]["a"] == 1),
    ('j["a"] > 1', lambda r: number(r["j"].get("a")) and r["j"]["a"] > 1),
    ('j["a"] == "1"', lambda r: r["j"].get("a") == "1"),
    ('j["a"] != 1', lambda r: not (number(r["j"].get("a")) and r["j"]["a"] == 1)),
    ('j["b"]["c"] == "deep"', lambda r: r["j"].get("b", {}).get("c") == "deep"),
    ('j["a"] in [1, 2.5]', lambda r: number(r["j"].get("a")) and r["j"]["a"] in (1, 2.5)),
    ("tags[0] == 2", lambda r: len(r["tags"]) > 0 and r["tags"][0] == 2),
    ("true", lambda r: True),
    ("", lambda r: True),
]


@pytest.mark.parametrize("expression,matches", CASES, ids=[c[0] for c in CASES])
def test_filters(client, table, expression, matches):
    want = sorted(row["id"] for row in table if matches(row))
    got = sorted(row["id"] for row in client.query("query_table", filter=expression, limit=1000))
    assert got == want
    assert count(client, "query_table", expression) == len(want)
    hits = client.search("query_table", data=[[0.0, 0.0]], filter=expression, limit=1000)[0]
    assert [hit["id"] for hit in hits] == want, "the nearest rows are those with the smallest key"


@pytest.mark.parametrize("expression,text", [
    ("nothing == 1", "field nothing not exist"), ("n ==", "cannot parse expression"),
    ("n", "predicate is not a boolean expression"), ("flag", "predicate is not a boolean expression"),
    ('n == "x"', "cannot parse expression"), ("n == 1.5", "cannot parse expression"),
    ("word > 1", "cannot parse expression"), ("n % 1.5 == 0", "cannot parse expression"),
    ("n + tiny == 3", "not supported to do arithmetic operations between multiple fields"),
    ("price % 2 == 0", "modulo"), ("n / 0 == 1", "division or modulus by zero"),
    ("vector == 1", "cannot parse expression"), ("not n == 1", "cannot parse expression"),
    ("flag like 'x'", "cannot parse expression"), ("vector is null", "not supported on vector fields"),
    ("5 > n > 10", "cannot parse expression"), ("n in [1, 'x']", "cannot parse expression"),
    ("n == 9223372036854775808", "cannot parse expression"), ("((n == 1)", "cannot parse expression"),
    ("n = 1", "cannot parse expression"), ("n == 1;", "cannot parse expression"), ("\x00", "cannot parse expression"),
])
def test_bad_filters(client, table, expression, text):
    with refused(text, code=1100):
        client.query("query_table", filter=expression, limit=10)


def test_deep_nesting_is_no_crash(client, table):
    deep = "(" * 20000 + "n == 1" + ")" * 20000
    try:
        client.query("query_table", filter=deep, limit=10)
    except Exception as error:
        assert "expression" in str(error)


def test_long_list(client, table):
    wanted = list(range(100_000))
    assert count(client, "query_table", f"id in {wanted}") == len(table)


def test_templates(client, table):
    query = lambda expression, **values: sorted(
        row["id"] for row in client.query("query_table", filter=expression, filter_params=values, limit=1000)
    )
    assert query("n > {low} and word == {w}", low=0, w="apple") == sorted(
        r["id"] for r in table if r["n"] > 0 and r["word"] == "apple")
    assert query("n in {list}", list=[1, 2, 3]) == sorted(r["id"] for r in table if r["n"] in (1, 2, 3))
    assert query("word in {list}", list=["文档1"]) == sorted(r["id"] for r in table if r["word"] == "文档1")
    assert query("flag == {f}", f=True) == sorted(r["id"] for r in table if r["flag"])
    assert query("price > {p}", p=1.5) == sorted(r["id"] for r in table if r["price"] > 1.5)
    with refused("the value of expression template variable name {low} is not found"):
        query("n > {low}", other=1)


def test_count(client, table):
    assert count(client, "query_table") == len(table)
    assert client.query("query_table", output_fields=["count(*)"]) == [{"count(*)": len(table)}]
    with refused("count entities with pagination is not allowed"):
        client.query("query_table", filter="id > 0", output_fields=["count(*)"], limit=10)


def test_empty_expression_needs_a_limit(client, table):
    with refused("empty expression should be used with limit"):
        client.query("query_table", filter="")


def test_limit_and_offset(client, table):
    assert len(client.query("query_table", filter="id >= 0", limit=10)) == 10
    pages = [client.query("query_table", filter="id >= 0", limit=50, offset=o) for o in range(0, ROWS + 50, 50)]
    ids = [row["id"] for page in pages for row in page]
    assert sorted(ids) == sorted(row["id"] for row in table) and len(ids) == len(set(ids))
    assert client.query("query_table", filter="id >= 0", limit=10, offset=5000) == []
    with refused("(offset+limit) should be in range [1, 16384], but got 16394"):
        client.query("query_table", filter="id >= 0", limit=16384, offset=10)
    with refused("16385"):
        client.query("query_table", filter="id >= 0", limit=16385)


def test_get(client, table):
    by_id = {row["id"]: row for row in table}
    got = client.get("query_table", ids=[0, 1, 7, 99999], output_fields=["n", "word"])
    assert sorted(got, key=lambda r: r["id"]) == [{k: by_id[i][k] for k in ("id", "n", "word")} for i in (0, 1)]
    assert client.get("query_table", ids=[]) == []


def test_output_fields(client, table):
    row = client.query("query_table", filter="id == 1", output_fields=["*"])[0]
    assert set(row) == set(table[0])
    assert set(client.query("query_table", filter="id == 1", output_fields=["id"])[0]) == {"id"}
    with refused("field nothing not exist"):
        client.query("query_table", filter="id == 1", output_fields=["nothing"])


def test_partitions(client, collections, name):
    collections.create(name)
    for partition in ("a", "b"):
        client.create_partition(name, partition)
    data = vectors(30, 8)
    for i, partition in enumerate(["_default", "a", "b"]):
        client.insert(name, [{"id": i * 10 + k, "vector": data[k].tolist()} for k in range(10)], partition_name=partition)
    assert count(client, name) == 30
    assert count(client, name, partition_names=["a"]) == 10
    assert {r["id"] for r in client.query(name, filter="id >= 15", partition_names=["a", "b"])} == set(range(15, 30))
    with refused("partition not found[partition=zzz]", code=200):
        client.query(name, filter="id > 0", partition_names=["zzz"])
    assert {r["id"] for r in client.get(name, ids=[1, 11, 21], partition_names=["b"])} == {21}


def test_result_is_limited_in_size(client, collections, name):
    """More than 100 MiB of output is an error, not a dead connection."""
    collections.create(name, [("s", DataType.VARCHAR, {"max_length": 65535})])
    blob = "x" * 60000
    for begin in range(0, 2000, 500):
        client.insert(name, [{"id": begin + i, "s": blob, "vector": [0.0] * 8} for i in range(500)])
    with refused("query results exceed the maxOutputSize Limit 104857600"):
        client.query(name, filter="id >= 0", output_fields=["s"], limit=2000)
    assert len(client.query(name, filter="id >= 0", output_fields=["s"], limit=500)) == 500


def test_the_window_can_be_set_for_export(tmp_path):
    """Beyond 16,384 rows in one answer, and deep pages; the published error at the limit."""
    rows = 40_000
    with ServerProcess(data=tmp_path / "data", arguments=["--limits.max-result-window=30000"]) as server:
        client = MilvusClient(uri=server.uri)
        Collections(client).create("export", [("n", DataType.INT64), ("vector", DataType.FLOAT_VECTOR, {"dim": 2})])
        for begin in range(0, rows, 10_000):
            client.insert("export", [{"id": i, "n": i * 7 % rows, "vector": [0.0, 0.0]} for i in range(begin, begin + 10_000)])
        whole = client.query("export", filter="n >= 0", output_fields=["id", "n"], limit=30_000)
        assert len({row["id"] for row in whole}) == 30_000 and all(row["n"] == row["id"] * 7 % rows for row in whole)
        page = client.query("export", filter="n >= 0", output_fields=["id"], limit=5_000, offset=25_000)
        assert [row["id"] for row in page] == [row["id"] for row in whole[25_000:]]
        assert len(client.query("export", filter="n < 20000", output_fields=["id"], limit=30_000)) == 20_000
        for limit, offset in ((30_001, 0), (5_001, 25_000)):
            with refused("invalid max query result window, (offset+limit) should be in range [1, 30000], but got 30001"):
                client.query("export", filter="n >= 0", limit=limit, offset=offset)
        client.close()


def test_the_window_is_as_published_unless_set(client, table):
    assert len(client.query("query_table", filter="id >= 0", limit=16_384)) == len(table)
    for limit, offset in ((16_385, 0), (16_384, 1)):
        with refused("invalid max query result window, (offset+limit) should be in range [1, 16384], but got 16385"):
            client.query("query_table", filter="id >= 0", limit=limit, offset=offset)
