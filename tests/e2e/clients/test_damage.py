"""Damaged files: what is damaged is named and fenced, the rest is served; `quiver check` names it and repairs it."""

import json
import re
import subprocess

import pytest
from pymilvus import MilvusClient, MilvusException

from collections_under_test import vectors
from server_process import ServerProcess

ROWS = 20_000
DIM = 64


@pytest.fixture
def quiet_server(tmp_path):
    """Flushes at once and never compacts, so that a test knows which file holds which rows."""
    with ServerProcess(data=tmp_path / "data", arguments=["--segment.flush-min-bytes=0", "--compaction.enabled=false"]) as running:
        yield running


def make(client, name, rows=ROWS):
    client.create_collection(name, dimension=DIM, metric_type="L2")
    data = vectors(rows, DIM, 3)
    for begin in range(0, rows, 5000):
        client.insert(name, [{"id": i, "vector": data[i].tolist()} for i in range(begin, begin + 5000)])
    client.flush(name)
    return data


def segment_files(server):
    return sorted((server.data / "objects" / "segment").glob("*/*.seg"))


def ids(client, name):
    return sorted(hit["id"] for hit in client.search(name, data=[[0.0] * DIM], limit=10)[0])


def fenced(server):
    return int(re.search(r"^quiver_fenced_segments (\d+)", server.http("/metrics")[1], re.M).group(1))


def quiver(server, *arguments):
    return subprocess.run([server.binary, *arguments], capture_output=True, text=True, timeout=60)


def check(server, *arguments):
    done = quiver(server, "check", "--data", str(server.data), "--json", *arguments)
    return done.returncode, json.loads(done.stdout)


def two_collections(server):
    client = MilvusClient(server.uri)
    make(client, "docs")
    (docs,) = segment_files(server)
    make(client, "other", 5000)
    return client, docs


def test_a_file_cut_short_under_the_server_fences_its_segment(quiet_server):
    server = quiet_server
    client, docs = two_collections(server)
    before = ids(client, "docs"), ids(client, "other")
    with open(docs, "r+b") as file:
        file.truncate(64 * 1024)
    for _ in range(3):
        with pytest.raises(MilvusException, match=f"segment {docs.stem} of collection .*{docs.name}"):
            client.search("docs", data=[[0.0] * DIM], limit=10)
    assert ids(client, "other") == before[1]
    assert fenced(server) == 1
    assert client.query("docs", filter="id == 1000000") == [], "the key is outside of the segment"
    client.insert("docs", [{"id": 1_000_000, "vector": [0.0] * DIM}])
    assert len(client.query("docs", filter="id == 1000000")) == 1
    assert server.log_path.read_text().count("is damaged and fenced") == 1, "once, not once a query"

    server.restart()
    client = MilvusClient(server.uri)
    with pytest.raises(MilvusException, match=f"segment {docs.stem} "):
        client.search("docs", data=[[0.0] * DIM], limit=10)
    assert ids(client, "other") == before[1]
    assert server.stop() == 0


def test_check_names_the_damage_and_repairs_it(quiet_server):
    server = quiet_server
    client, docs = two_collections(server)
    before = ids(client, "docs"), ids(client, "other")
    assert quiver(server, "check", "--data", str(server.data)).returncode == 2, "a server runs"
    assert server.stop() == 0
    code, report = check(server)
    assert (code, report["fault_count"], report["segments"], report["rows"]) == (0, 0, 2, ROWS + 5000)

    # The index of primary keys can be made again from the column; the vectors cannot.
    shown = json.loads(quiver(server, "dump", str(docs), "--json").stdout)
    assert shown["rows"] == ROWS
    (keys,) = (section for section in shown["sections"] if section["name"] == "pk keys")
    values = max((s for s in shown["sections"] if s["name"] == "values"), key=lambda s: s["length"])
    for section, lost in ((keys, 0), (values, ROWS)):
        with open(docs, "r+b") as file:
            file.seek(section["offset"] + 100)
            byte = file.read(1)[0]
            file.seek(section["offset"] + 100)
            file.write(bytes([byte ^ 16]))
        server.start()
        client = MilvusClient(server.uri)
        assert ids(client, "other") == before[1]
        server.kill()
        code, report = check(server)
        assert code == 1
        (fault,) = report["faults"]
        assert fault["file"].endswith(docs.name) and fault["section"].startswith(section["name"])
        assert fault["offset"] == section["offset"] and fault["collection"] == "default.docs"
        code, report = check(server, "--repair")
        assert (code, report["rows_lost"]) == (0, lost), report
        code, report = check(server)
        assert (code, report["faults"]) == (0, [])
        server.start()
        client = MilvusClient(server.uri)
        assert ids(client, "other") == before[1]
        assert ids(client, "docs") == ([] if lost else before[0])
        assert fenced(server) == 0
        client.insert("docs", [{"id": -1, "vector": [0.0] * DIM}])
        client.delete("docs", filter="id == -1")
        assert server.stop() == 0
    assert len(list((server.data / "quarantine").iterdir())) == 2


def test_serve_damaged_leaves_the_rows_out(quiet_server):
    server = quiet_server
    client, docs = two_collections(server)
    client.insert("docs", [{"id": 1_000_000, "vector": [0.0] * DIM}])
    assert server.stop() == 0
    docs.unlink()
    server.arguments.append("--storage.serve-damaged")
    server.start()
    client = MilvusClient(server.uri)
    assert ids(client, "docs") == [1_000_000]
    assert client.query("docs", filter="", output_fields=["count(*)"])[0]["count(*)"] == 1
    assert fenced(server) == 1


def test_dump_shows_every_kind_of_file(quiet_server):
    server = quiet_server
    client, docs = two_collections(server)
    client.delete("docs", ids=[1, 2, 3])
    client.insert("docs", [{"id": 1_000_000, "vector": [0.0] * DIM}])
    client.flush("docs")
    client.insert("docs", [{"id": 1_000_001, "vector": [0.0] * DIM}])
    assert server.stop() == 0
    text = quiver(server, "dump", str(docs), "--rows", "2").stdout
    assert f"segment: {docs.stem}" in text and "pk keys" in text
    (delta,) = (server.data / "objects" / "delta").glob("*/*.del")
    assert json.loads(quiver(server, "dump", str(delta), "--json").stdout)["deletes"] == 3
    log = sorted((server.data / "log").glob("*.log"))[-1]
    records = json.loads(quiver(server, "dump", str(log), "--json", "--rows", "1000").stdout)["records"]
    assert any(record["kind"] == "write" for record in records)
    meta = json.loads(quiver(server, "dump", str(server.data / "meta"), "--json").stdout)["entries"]
    assert any(key.startswith("collection/") for key in meta)
    assert quiver(server, "dump", str(server.data / "LOCK")).returncode == 2
    assert quiver(server, "check", "--help").returncode == 0
    assert quiver(server, "check", "--what").returncode == 2
