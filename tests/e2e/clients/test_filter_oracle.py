"""Random filters over random rows: the server's answers beside those of Python and of DuckDB.

Each term is written three times: as a filter, as a Python function with three-valued
logic, and as SQL. The rows are asked while they grow, once they are sealed, a second time (what is kept from the first
must not change an answer), with scalar indexes, and after a part of them was deleted.
"""

import json
import random
import re
import struct
import time

import pytest
from pymilvus import DataType

from collections_under_test import Collections

ROWS = 2_000
FILTERS = 150
SEED = 2026

FIELDS = [
    ("small", DataType.INT8, {"nullable": True}),
    ("number", DataType.INT64, {"nullable": True}),
    ("single", DataType.FLOAT, {"nullable": True}),
    ("real", DataType.DOUBLE),
    ("flag", DataType.BOOL, {"nullable": True}),
    ("tag", DataType.VARCHAR, {"max_length": 32, "nullable": True}),
    ("word", DataType.VARCHAR, {"max_length": 64}),
    ("doc", DataType.JSON, {"nullable": True}),
    ("list", DataType.ARRAY, {"element_type": DataType.INT64, "max_capacity": 8, "nullable": True}),
    ("vector", DataType.FLOAT_VECTOR, {"dim": 2}),
]
INDEXES = [("small", "BITMAP"), ("number", "STL_SORT"), ("single", "INVERTED"), ("tag", "Trie"), ("word", "INVERTED"),
           ("list", "INVERTED")]
COMPARE = {
    "==": lambda a, b: a == b, "!=": lambda a, b: a != b, "<": lambda a, b: a < b, "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
}
PIECES = ["a", "b", "ab", "100%", "_", "向量", "Z", " "]


def sql_text(value):
    return "'" + value.replace("'", "''") + "'"


def sql_op(op):
    return {"==": "=", "!=": "<>"}.get(op, op)


def rounded(value):
    return struct.unpack("f", struct.pack("f", value))[0]


def like(pattern):
    """What a pattern means, by a regular expression: `%` any run, `_` one character, a backslash takes it literally."""
    out, escaped = [], False
    for character in pattern:
        if not escaped and character == "\\":
            escaped = True
            continue
        out.append(re.escape(character) if escaped or character not in "%_" else {"%": ".*", "_": "."}[character])
        escaped = False
    compiled = re.compile("".join(out), re.DOTALL)
    return lambda text: compiled.fullmatch(text) is not None


class Generator:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def row(self, i):
        pick, chance = self.random.choice, self.random.random

        def maybe(value):
            return None if chance() < 0.15 else value

        doc = {}
        if chance() < 0.8:
            doc["n"] = pick([0, 1, 2, 7, -3, 2.5, 7.0, "7", None, True, [7]])
        if chance() < 0.8:
            doc["s"] = pick(["a", "ab", "7", "", 7, None])
        if chance() < 0.5:
            doc["in"] = {"k": pick([1, 2, 3])}
        return {
            "id": i,
            "small": maybe(pick([-128, -1, 0, 1, 5, 127])),
            "number": maybe(pick([-(2**63), -9, -1, 0, 1, 2, 3, 1000, 2**53 + 1, 2**63 - 1])),
            "single": maybe(rounded(pick([-1.5, 0.0, 0.1, 0.5, 3.25, 1e10]))),
            "real": pick([-1.5, 0.0, 0.1, 0.5, 3.25, 1e300]),
            "flag": maybe(chance() < 0.5),
            "tag": maybe(f"t{self.random.randrange(12)}"),
            "word": "".join(pick(PIECES) for _ in range(self.random.randrange(5))),
            "doc": maybe(doc),
            "list": maybe([self.random.randrange(6) for _ in range(self.random.randrange(5))]),
            "vector": [float(i % 7), 1.0],
        }

    def term(self):
        """Filter, what it means for a row (None: unknown), SQL."""
        return self.random.choice([self.compare, self.compare, self.between, self.within, self.null, self.text, self.pattern,
                                   self.arithmetic, self.json_number, self.json_text, self.array, self.fields])()

    def filter(self, depth):
        kind = self.random.choice(["term", "and", "or", "not"]) if depth > 0 else "term"
        if kind == "term":
            return self.term()
        text, truth, sql = self.filter(depth - 1)
        if kind == "not":
            return f"not ({text})", lambda r: None if truth(r) is None else not truth(r), f"NOT ({sql})"
        text2, truth2, sql2 = self.filter(depth - 1)

        def both(row):
            found = (truth(row), truth2(row))
            settling = kind == "or"
            return settling if settling in found else None if None in found else not settling

        return f"({text}) {kind} ({text2})", both, f"({sql}) {kind} ({sql2})"

    def constant(self, field):
        value = self.random.choice({
            "small": [-129, -128, -1, 0, 1, 5, 127, 200], "number": [-9, 0, 1, 2, 1000, 2**53, 2**53 + 1, 2**63 - 1],
            "single": [-1.5, 0.0, 0.1, 0.5, 2.0], "real": [-1.5, 0.0, 0.1, 0.5, 2.0],
        }[field])
        if field == "single":
            return repr(value), rounded(value), f"CAST({value!r} AS REAL)"
        return repr(value), value, f"{value!r}::DOUBLE" if field == "real" else str(value)

    def compare(self):
        field = self.random.choice(["small", "number", "single", "real"])
        op = self.random.choice(list(COMPARE))
        shown, value, sql = self.constant(field)
        return (f"{field} {op} {shown}", lambda r: None if r[field] is None else COMPARE[op](r[field], value),
                f"{field} {sql_op(op)} {sql}")

    def between(self):
        field = self.random.choice(["small", "number", "single", "real"])
        low_op, high_op = self.random.choice(["<", "<="]), self.random.choice(["<", "<="])
        (low_shown, low, low_sql), (high_shown, high, high_sql) = sorted(
            (self.constant(field), self.constant(field)), key=lambda one: one[1])
        if low == high:  # an empty range is refused by some and served by others: not this test's matter
            return self.compare()

        def truth(row):
            return None if row[field] is None else COMPARE[low_op](low, row[field]) and COMPARE[high_op](row[field], high)

        return (f"{low_shown} {low_op} {field} {high_op} {high_shown}", truth,
                f"({low_sql} {low_op} {field} AND {field} {high_op} {high_sql})")

    def within(self):
        field = self.random.choice(["small", "number", "tag"])
        if field == "tag":
            values = [f"t{self.random.randrange(14)}" for _ in range(self.random.randrange(1, 12))]
            shown, sql = json.dumps(values), ",".join(map(sql_text, values))
        else:
            values = [self.constant("number")[1] % 128 for _ in range(self.random.randrange(1, 12))]
            shown, sql = str(values), ",".join(map(str, values))
        negation = self.random.choice(["", "not "])
        return (f"{field} {negation}in {shown}", lambda r: None if r[field] is None else (r[field] in values) != bool(negation),
                f"{field} {negation}IN ({sql})")

    def null(self):
        field = self.random.choice(["small", "number", "single", "flag", "tag", "list"])
        negation = self.random.choice(["", "not "])
        return (f"{field} is {negation}null", lambda r: (r[field] is None) != bool(negation), f"{field} IS {negation}NULL")

    def text(self):
        field = self.random.choice(["tag", "word"])
        value = f"t{self.random.randrange(12)}" if field == "tag" else "".join(self.random.choices(PIECES, k=2))
        op = self.random.choice(list(COMPARE))

        def truth(row):
            return None if row[field] is None else COMPARE[op](row[field].encode(), value.encode())

        return f"{field} {op} {json.dumps(value, ensure_ascii=False)}", truth, f"{field} {sql_op(op)} {sql_text(value)}"

    def pattern(self):
        field = self.random.choice(["tag", "word"])
        pattern = "".join(self.random.choices(["%", "_", "a", "b", "t", "1", "\\%", "\\_", "向"], k=self.random.randrange(1, 5)))
        matches = like(pattern)
        return (f"{field} like {json.dumps(pattern, ensure_ascii=False)}",
                lambda r: None if r[field] is None else matches(r[field]), f"{field} LIKE {sql_text(pattern)} ESCAPE '\\'")

    def arithmetic(self):
        sign = self.random.choice(["+", "-", "*", "/", "%"])
        operand, value = self.random.choice([1, 2, 3, 7]), self.random.choice([-1, 0, 1, 2, 6])
        op = self.random.choice(list(COMPARE))

        def truth(row):
            a = row["small"]
            if a is None:
                return None
            quotient = abs(a) // operand * (1 if a >= 0 else -1)
            got = {"+": a + operand, "-": a - operand, "*": a * operand, "/": quotient, "%": a - quotient * operand}[sign]
            return COMPARE[op](got, value)

        sql_sign = {"/": "//"}.get(sign, sign)
        return (f"small {sign} {operand} {op} {value}", truth,
                f"(CAST(small AS BIGINT) {sql_sign} {operand}) {sql_op(op)} {value}")

    def json_number(self):
        keys, path = self.random.choice([(["n"], "$.n"), (["in", "k"], "$.in.k")])
        op, value = self.random.choice(list(COMPARE)), self.random.choice([0, 1, 2, 2.5, 7])

        def truth(row):
            found = row["doc"]
            if found is None:
                return None
            for key in keys:
                found = found.get(key) if isinstance(found, dict) else None
            fits = isinstance(found, (int, float)) and not isinstance(found, bool)
            return COMPARE[op](found, value) if fits else op == "!="

        place = "doc" + "".join(f'["{key}"]' for key in keys)
        return (f"{place} {op} {value}", truth,
                f"CASE WHEN doc IS NULL THEN NULL WHEN json_type(doc, '{path}') IN ('BIGINT', 'UBIGINT', 'DOUBLE') "
                f"THEN CAST(json_extract_string(doc, '{path}') AS DOUBLE) {sql_op(op)} {value} ELSE {op == '!='} END")

    def json_text(self):
        op, value = self.random.choice(["==", "!="]), self.random.choice(["a", "ab", "7", ""])

        def truth(row):
            if row["doc"] is None:
                return None
            found = row["doc"].get("s")
            return COMPARE[op](found, value) if isinstance(found, str) else op == "!="

        return (f'doc["s"] {op} {json.dumps(value)}', truth,
                f"CASE WHEN doc IS NULL THEN NULL WHEN json_type(doc, '$.s') = 'VARCHAR' "
                f"THEN json_extract_string(doc, '$.s') {sql_op(op)} {sql_text(value)} ELSE {op == '!='} END")

    def array(self):
        value = self.random.randrange(7)
        values = [self.random.randrange(7) for _ in range(self.random.randrange(1, 4))]
        text, truth, sql = self.random.choice([
            (f"array_contains(list, {value})", lambda a: value in a, f"list_contains(list, {value})"),
            (f"array_contains_all(list, {values})", lambda a: set(values) <= set(a), f"list_has_all(list, {values})"),
            (f"array_contains_any(list, {values})", lambda a: bool(set(values) & set(a)), f"list_has_any(list, {values})"),
            (f"array_length(list) == {value}", lambda a: len(a) == value, f"len(list) = {value}"),
        ])
        return (text, lambda r: None if r["list"] is None else truth(r["list"]),
                f"CASE WHEN list IS NULL THEN NULL ELSE {sql} END")

    def fields(self):
        op = self.random.choice(list(COMPARE))

        def truth(row):
            return None if row["small"] is None or row["number"] is None else COMPARE[op](row["small"], row["number"])

        return f"small {op} number", truth, f"small {sql_op(op)} number"


GENERATOR = Generator(SEED)
DATA = [GENERATOR.row(i) for i in range(ROWS)]
CASES = [GENERATOR.filter(2) for _ in range(FILTERS)]


def answers_of_python(rows):
    return [[row["id"] for row in rows if truth(row)] for _, truth, _ in CASES]


def compare_server(client, name, rows, state):
    for (text, _, _), wanted in zip(CASES, answers_of_python(rows), strict=True):
        found = client.query(name, filter=text, output_fields=["id"], consistency_level="Strong")
        assert sorted(one["id"] for one in found) == wanted, f"{state}: {text}"


def test_python_and_the_server_agree(client, name):
    collections = Collections(client)
    collections.create(name, FIELDS)
    for begin in range(0, ROWS, 500):
        client.insert(name, DATA[begin : begin + 500])
    compare_server(client, name, DATA, "growing")
    client.flush(name)
    compare_server(client, name, DATA, "sealed")
    compare_server(client, name, DATA, "sealed, asked again")
    kept = [row for row in DATA if row["id"] % 3 != 0]
    client.delete(name, ids=[row["id"] for row in DATA if row["id"] % 3 == 0])
    compare_server(client, name, kept, "a third deleted")
    for field, kind in INDEXES:
        collections.index(name, field, metric=None, index_type=kind, index_name=f"by_{field}")
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if all(client.describe_index(name, f"by_{field}").get("state") == "Finished" for field, _ in INDEXES):
            break
    else:
        pytest.fail("the indexes are not built within a minute")
    compare_server(client, name, kept, "indexed")
    client.drop_collection(name)


def test_python_and_duckdb_agree():
    """So that a mistake of the Python side is not taken for the meaning."""
    duckdb = pytest.importorskip("duckdb", reason="the package duckdb could not be installed")
    connection = duckdb.connect(":memory:")
    connection.execute("CREATE TABLE rows (id BIGINT, small TINYINT, number BIGINT, single REAL, real DOUBLE, flag BOOLEAN, "
                       "tag VARCHAR, word VARCHAR, doc JSON, list BIGINT[])")
    connection.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", [
        [row["id"], row["small"], row["number"], row["single"], row["real"], row["flag"], row["tag"], row["word"],
         None if row["doc"] is None else json.dumps(row["doc"]), row["list"]] for row in DATA])
    for (text, _, sql), wanted in zip(CASES, answers_of_python(DATA), strict=True):
        found = [one[0] for one in connection.execute(f"SELECT id FROM rows WHERE {sql} ORDER BY id").fetchall()]
        assert found == wanted, f"{text}\n{sql}"


def test_the_filters_choose_neither_all_nor_nothing():
    share = sum(map(len, answers_of_python(DATA))) / (ROWS * FILTERS)
    assert 0.1 < share < 0.9
