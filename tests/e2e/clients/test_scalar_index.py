"""Scalar indexes: every published name over every type that has it; the same answers with, without and after a restart."""

import json
import re
import subprocess
import time

from pymilvus import DataType, MilvusClient

from collections_under_test import Collections, count, explained_query, refused
from server_process import ServerProcess

ROWS = 20_000
BATCH = 5_000

FIELDS = [
    ("flag", DataType.BOOL),
    ("small", DataType.INT8),
    ("number", DataType.INT64, {"nullable": True}),
    ("real", DataType.DOUBLE),
    ("tag", DataType.VARCHAR, {"max_length": 64, "nullable": True}),
    ("word", DataType.VARCHAR, {"max_length": 64}),
    ("words", DataType.ARRAY, {"element_type": DataType.VARCHAR, "max_capacity": 8, "max_length": 16}),
    ("title", DataType.VARCHAR, {"max_length": 64, "nullable": True}),
    ("spot", DataType.GEOMETRY, {"nullable": True}),
    ("doc", DataType.JSON),
    ("vector", DataType.FLOAT_VECTOR, {"dim": 4}),
]  # and the dynamic keys `color` and `place`

# Field, index type, parameters.
INDEXES = [
    ("flag", "BITMAP", {}),
    ("small", "INVERTED", {}),
    ("number", "STL_SORT", {}),
    ("real", "AUTOINDEX", {}),
    ("tag", "Trie", {}),
    ("word", "HYBRID", {"bitmap_cardinality_limit": 50}),
    ("words", "BITMAP", {}),
    ("doc", "INVERTED", {"json_path": 'doc["price"]', "json_cast_type": "double"}),
    ("doc", "INVERTED", {"json_path": 'doc["shop"]["name"]', "json_cast_type": "varchar"}),
    ("doc", "INVERTED", {"json_path": 'doc["sizes"]', "json_cast_type": "array_double"}),
    ("doc", "INVERTED", {"json_path": 'doc["sizes"][0]', "json_cast_type": "double"}),
    ("doc", "INVERTED", {"json_path": 'doc["shop"]', "json_cast_type": "json"}),
    ("doc", "AUTOINDEX", {"json_path": 'doc["note"]', "json_cast_type": "double",
                          "json_cast_function": "STRING_TO_DOUBLE"}),
    ("title", "NGRAM", {"min_gram": 2, "max_gram": 3}),
    ("doc", "NGRAM", {"json_path": 'doc["note"]', "json_cast_type": "varchar", "min_gram": 2, "max_gram": 4}),
    ("spot", "RTREE", {}),
    ("color", "INVERTED", {"json_cast_type": "varchar"}),
    ("place", "AUTOINDEX", {"json_path": '$meta["place"]["x"]', "json_cast_type": "double"}),
]


def row(i):
    return {
        "id": i,
        "flag": i % 10 == 0,
        "small": i % 100,
        "number": None if i % 7 == 0 else i * 7919 % ROWS,
        "real": (i % 1000) / 8,
        "tag": None if i % 5 == 0 else f"tag{i % 400}",
        "word": f"w{i % 30}",
        "words": [f"x{(i + 3 * k) % 500}" for k in range(i % 3)],
        "doc": {"price": i % 997 if i % 2 else str(i), "shop": {"name": f"s{i % 250}", "open": [i % 7, "sun"],
                "at": {"floor": i % 90 if i % 3 else f"{i % 90}"}},
                "sizes": [i % 40, i % 41 + 0.5],
                "note": f"note {i * 31 % 9973}." if i % 6 else i if i % 12 else str(i)},
        "title": None if i % 8 == 0 else f"a {i * 7 % 6007} b {i % 1013} \u4e2d\u6587",
        "spot": None if i % 9 == 0 else f"POINT ({i % 200} {i // 200})",
        "vector": [float(i % 13), 1.0, 0.0, float(i % 5)],
        **({"color": f"c{i % 333}"} if i % 3 else {}),
        "place": {"x": i % 777 if i % 4 else "none"},
    }


DATA = [row(i) for i in range(ROWS)]

# Filter and what it means.
FILTERS = [
    ("flag == true and number < 1000", lambda r: r["flag"] and r["number"] is not None and r["number"] < 1000),
    ("small in [1, 2, 99]", lambda r: r["small"] in (1, 2, 99)),
    ("10 < number <= 60", lambda r: r["number"] is not None and 10 < r["number"] <= 60),
    ("number is null and small == 7", lambda r: r["number"] is None and r["small"] == 7),
    ("not (number > 100)", lambda r: r["number"] is not None and r["number"] <= 100),
    ("real == 1.5", lambda r: r["real"] == 1.5),
    ("tag == 'tag42'", lambda r: r["tag"] == "tag42"),
    ("tag like 'tag39%'", lambda r: r["tag"] is not None and r["tag"].startswith("tag39")),
    ("tag not in ['tag1', 'tag2'] and number < 500",
     lambda r: r["tag"] is not None and r["tag"] not in ("tag1", "tag2") and r["number"] is not None and r["number"] < 500),
    ("word like '%29'", lambda r: r["word"].endswith("29")),
    ("array_contains(words, 'x17')", lambda r: "x17" in r["words"]),
    ("array_contains_all(words, ['x17', 'x20'])", lambda r: {"x17", "x20"} <= set(r["words"])),
    ("doc['price'] == 11", lambda r: r["doc"]["price"] == 11),
    ("doc['price'] >= 990", lambda r: not isinstance(r["doc"]["price"], str) and r["doc"]["price"] >= 990),
    ("doc['shop']['name'] like 's24%'", lambda r: r["doc"]["shop"]["name"].startswith("s24")),
    ("json_contains(doc['sizes'], 7)", lambda r: 7 in r["doc"]["sizes"]),
    ("doc['sizes'][0] == 7 and number < 3000",
     lambda r: r["doc"]["sizes"][0] == 7 and r["number"] is not None and r["number"] < 3000),
    ("title like '%77 b 1%'", lambda r: r["title"] is not None and "77 b 1" in r["title"]),
    ("title like 'a 60%' and title like '%0 \u4e2d%'",
     lambda r: r["title"] is not None and r["title"].startswith("a 60") and "0 \u4e2d" in r["title"]),
    ("title like '%3_b 9%'", lambda r: r["title"] is not None and re.search("3.b 9", r["title"]) is not None),
    ("doc['shop']['at']['floor'] == 7", lambda r: r["doc"]["shop"]["at"]["floor"] == 7),
    ("doc['shop']['at']['floor'] in [7, '9']", lambda r: r["doc"]["shop"]["at"]["floor"] in (7, "9")),
    ("json_contains(doc['shop']['open'], 3) and number < 900",
     lambda r: 3 in r["doc"]["shop"]["open"] and r["number"] is not None and r["number"] < 900),
    ("doc['note'] == 18", lambda r: r["doc"]["note"] == 18),
    ("doc['note'] == '24'", lambda r: r["doc"]["note"] == "24"),
    ("doc['note'] like '%e 99%'", lambda r: isinstance(r["doc"]["note"], str) and "e 99" in r["doc"]["note"]),
    ("st_within(spot, 'POLYGON ((10 10, 30 10, 30 30, 10 30, 10 10))')",
     lambda r: r["spot"] is not None and 10 < r["id"] % 200 < 30 and 10 < r["id"] // 200 < 30),
    ("st_equals(spot, 'POINT (7 70)') or small == 5 and flag == false and number < 500",
     lambda r: r["id"] == 70 * 200 + 7 and r["spot"] is not None
     or r["small"] == 5 and not r["flag"] and r["number"] is not None and r["number"] < 500),
    ("color == 'c7'", lambda r: r.get("color") == "c7"),
    ("$meta['color'] in ['c10', 'c11']", lambda r: r.get("color") in ("c10", "c11")),
    ("place['x'] >= 770", lambda r: r["place"]["x"] != "none" and r["place"]["x"] >= 770),
    ("word == 'w3' and small == 33 and real >= 1.5 and doc['price'] != 5 and tag is not null",
     lambda r: r["word"] == "w3" and r["small"] == 33 and r["real"] >= 1.5 and r["doc"]["price"] != 5
     and r["tag"] is not None),
]


def settle(client, names):
    """Waits until every index is finished."""
    end = time.monotonic() + 120
    for name in names:
        while (told := client.describe_index("scalars", name))["state"] != "Finished":
            assert time.monotonic() < end, told
            time.sleep(0.05)
        assert told["pending_index_rows"] == 0, told


def test_indexes_of_json_places_are_named_and_told(client, collections, name):
    """One index for each place and cast type, named after its place; a name that is no field is a dynamic key."""
    collections.create(name, [("doc", DataType.JSON)], dynamic=True, load=False)

    def create(field, index_name="", **params):
        collections.index(name, field, metric=None, index_type="INVERTED", index_name=index_name, **params)

    create("doc", json_path='doc["a"]["b"]', json_cast_type="double")
    create("doc", json_path="doc['a']['b']", json_cast_type="varchar", index_name="texts")
    create("color", json_cast_type="varchar")
    create("color", json_path='color["rgb"][0]', json_cast_type="double")
    assert sorted(client.list_indexes(name)) == ["$meta/color", "$meta/color/rgb/0", "doc/a/b", "texts", "vector"]
    told = client.describe_index(name, "$meta/color")
    assert told["field_name"] == "$meta" and told["json_path"] == "color" and told["json_cast_type"] == "varchar"
    told = client.describe_index(name, "doc/a/b")
    assert told["field_name"] == "doc" and told["json_path"] == 'doc["a"]["b"]' and told["state"] == "Finished"

    create("doc", json_path='doc["a"]["b"]', json_cast_type="double")  # there already
    with refused("creating multiple indexes on same field is not supported", code=1100):
        create("doc", "other", json_path="doc['a']['b']", json_cast_type="DOUBLE")
    with refused("at most one distinct index is allowed per field", code=1100):
        create("color", "texts", json_cast_type="double")
    with refused("cannot parse identifier", code=1100):
        create("doc", json_path="doc['a'", json_cast_type="double")
    with refused("fieldID not match with field name", code=1100):
        create("doc", json_path="color", json_cast_type="double")
    with refused("json index must specify cast type"):
        create("size")

    client.drop_index(name, "$meta/color")
    client.alter_index_properties(name, "texts", {"mmap.enabled": True})
    assert str(client.describe_index(name, "texts")["mmap.enabled"]).lower() == "true"
    assert sorted(client.list_indexes(name)) == ["$meta/color/rgb/0", "doc/a/b", "texts", "vector"]


def test_an_index_without_dynamic_fields_needs_a_field(client, collections, name):
    collections.create(name, load=False)
    with refused("cannot create index on non-exist field: color", code=1100):
        collections.index(name, "color", metric=None, index_type="INVERTED", json_cast_type="varchar")


def gauge(server, name):
    return int(float(next(line.split()[-1] for line in server.http("/metrics")[1].splitlines()
                          if line.startswith(name + " "))))


def check_answers(client):
    for text, means in FILTERS:
        expected = [r["id"] for r in DATA if means(r)]
        assert 0 < len(expected) < ROWS, text
        found = client.query("scalars", filter=text, output_fields=["id"], limit=16_000)
        assert sorted(hit["id"] for hit in found) == expected, text
        hits = client.search("scalars", data=[[1.0, 1.0, 0.0, 2.0]], filter=text, limit=5, anns_field="vector")
        allowed = set(expected)
        assert len(hits[0]) == min(5, len(expected)) and all(hit["id"] in allowed for hit in hits[0]), text


def check_files(server):
    """What `quiver dump` tells of the index files agrees with itself."""
    for path in (server.data / "objects" / "segment").rglob("*.seg"):
        shown = json.loads(subprocess.run([server.binary, "dump", str(path), "--json"], capture_output=True, text=True,
                                          timeout=30, check=True).stdout)
        # Of the segment's rows, in whichever order they were sealed, 30 words are about equally many.
        words = [column for column in shown["columns"] if column.get("distinct") == 30]
        assert len(words) == 1
        assert all(re.fullmatch(r"w\d+", one["value"]) for one in words[0]["most_frequent"])
        # Which of them stand out depends on the sample; together with the buckets they are all rows, but for rounding.
        parts = words[0]["most_frequent"] + words[0]["histogram"]
        assert parts and all(part["rows"] > 0 for part in parts)
        assert abs(sum(part["rows"] for part in parts) - shown["rows"]) <= len(parts)
    structures = set()
    for path in (server.data / "objects" / "index").rglob("*.idx"):
        shown = json.loads(subprocess.run([server.binary, "dump", str(path), "--json"], capture_output=True, text=True,
                                          timeout=30, check=True).stdout)
        if shown["kind"] != "scalar index file":
            continue
        structures.add(shown["structure"])
        parts = {part["name"]: part for part in shown["sections"]}
        assert all(part["offset"] + part["bytes"] <= shown["bytes"] for part in parts.values())
        assert all(part["pages"] == -(-part["bytes"] // 4096) for part in parts.values())
        if shown["structure"] == "boxes":
            assert parts["boxes"]["entries"] == parts["rows of boxes"]["entries"] == shown["distinct"]
        else:
            assert parts["values"]["entries"] == shown["distinct"]
        assert parts.get("null rows", {"entries": 0})["entries"] == shown["nulls"]
    assert structures == {"postings", "grams", "boxes", "documents"}


def test_every_scalar_index_answers_as_the_scan_does(tmp_path):
    with ServerProcess(data=tmp_path / "data", arguments=["--segment.flush-min-bytes", "0"]) as server:
        client = MilvusClient(uri=server.uri)
        Collections(client).create("scalars", FIELDS, dynamic=True)
        for start in range(0, ROWS, BATCH):
            client.insert("scalars", DATA[start:start + BATCH])
        client.flush("scalars")
        assert count(client, "scalars") == ROWS
        check_answers(client)
        before = gauge(server, "quiver_indexes")

        names = []
        for field, kind, params in INDEXES:
            index = client.prepare_index_params()
            names.append(f"{field}_{len(names)}")
            index.add_index(field_name=field, index_type=kind, index_name=names[-1], params=params)
            client.create_index("scalars", index)
        settle(client, names)
        assert gauge(server, "quiver_indexes") == before + len(INDEXES)
        check_answers(client)

        server.stop()
        check_files(server)
        server.start()
        client = MilvusClient(uri=server.uri)
        client.load_collection("scalars")
        assert gauge(server, "quiver_indexes") == before + len(INDEXES)
        assert gauge(server, "quiver_index_builds_total") == 0, "mapped, not built again"
        check_answers(client)

        client.drop_index("scalars", names[0])
        end = time.monotonic() + 60
        while gauge(server, "quiver_indexes") != before + len(INDEXES) - 1:
            assert time.monotonic() < end
            time.sleep(0.05)
        check_answers(client)


BLOCK = 16_384  # growing rows that are indexed together
PAGE = 4096


def await_blocks(client, text):
    """Waits until an index answers the filter for the full blocks of the growing rows."""
    end = time.monotonic() + 120
    while True:
        _, told = explained_query(client, "scalars", text)
        assert [segment["state"] for segment in told["segments"]] == ["growing"]
        if told["segments"][0]["filter"].get("pages_answered_by_indexes") == ROWS // BLOCK * BLOCK // PAGE:
            return told
        assert time.monotonic() < end, told
        time.sleep(0.05)


def test_scalar_indexes_answer_growing_rows_as_the_scan_does(tmp_path):
    with ServerProcess(data=tmp_path / "data") as server:
        client = MilvusClient(uri=server.uri)
        Collections(client).create("scalars", FIELDS, dynamic=True)
        names = []
        half = len(INDEXES) // 2
        for field, kind, params in INDEXES[:half]:
            names.append(f"{field}_{len(names)}")
            index = client.prepare_index_params()
            index.add_index(field_name=field, index_type=kind, index_name=names[-1], params=params)
            client.create_index("scalars", index)
        for start in range(0, ROWS, BATCH):
            client.insert("scalars", DATA[start:start + BATCH])
        # The others find the rows there.
        for field, kind, params in INDEXES[half:]:
            names.append(f"{field}_{len(names)}")
            index = client.prepare_index_params()
            index.add_index(field_name=field, index_type=kind, index_name=names[-1], params=params)
            client.create_index("scalars", index)
        settle(client, names)

        asked = {
            "tag == 'tag42'": "tag_4 (TRIE)", "doc['shop']['at']['floor'] == 7": "doc_11 (INVERTED)",
            "title like '%77 b 1%'": "title_13 (NGRAM)", "array_contains(words, 'x17')": "words_6 (BITMAP)",
            "st_within(spot, 'POLYGON ((10 10, 30 10, 30 30, 10 30, 10 10))')": "spot_15 (RTREE)",
            "color == 'c7'": "color_16 (INVERTED)"}
        for text, name in asked.items():
            told = await_blocks(client, text)
            assert told["filter"]["segments_by_method"] == {f"scalar index {name}": 1}
            assert told["segments"][0]["filter"]["by"] == "scalar indexes"
            # Beside the rows that the index gave, those of the unfinished block were tested.
            assert 0 < told["filter"]["rows_from_index"] < BLOCK // 10
            assert told["matches"] == sum(1 for r in DATA if dict(FILTERS)[text](r))
        check_answers(client)
        assert gauge(server, 'quiver_memory_bytes{consumer="growing_indexes"}') > 0
        told = client.describe_index("scalars", names[4])
        assert told["state"] == "Finished" and told["pending_index_rows"] == 0

        # New versions of rows, and rows that go.
        client.upsert("scalars", [dict(DATA[i], tag="tag42") for i in (1, 2, 3)])
        client.delete("scalars", filter="id in [42, 442]")
        wanted = [r["id"] for r in DATA if (r["tag"] == "tag42" or r["id"] in (1, 2, 3)) and r["id"] not in (42, 442)]
        found = client.query("scalars", filter="tag == 'tag42'", output_fields=["id"], limit=16_000)
        assert sorted(hit["id"] for hit in found) == sorted(wanted)
        client.upsert("scalars", [DATA[i] for i in (1, 2, 3, 42, 442)])

        # The log brings the rows back, and they are indexed again; without their indexes they are scanned.
        server.stop()
        server.start()
        client = MilvusClient(uri=server.uri)
        client.load_collection("scalars")
        await_blocks(client, "tag == 'tag42'")
        check_answers(client)
        for name in names:
            client.drop_index("scalars", name)
        end = time.monotonic() + 60
        while gauge(server, 'quiver_memory_bytes{consumer="growing_indexes"}') != 0:
            assert time.monotonic() < end
            time.sleep(0.05)
        check_answers(client)
