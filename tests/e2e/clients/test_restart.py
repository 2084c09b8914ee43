"""What a stopped and restarted server still knows: everything."""

import numpy as np
import pytest
from pymilvus import DataType, MilvusClient, MilvusException

from collections_under_test import Collections, count, vectors
from server_process import ServerProcess, free_ports


def open_client(server):
    return MilvusClient(uri=server.uri)


def test_rows_schema_and_load_state_survive(own_server):
    client = open_client(own_server)
    made = Collections(client)
    made.create("kept", [("x", DataType.INT64, {"nullable": True}), ("s", DataType.VARCHAR, {"max_length": 20}),
                         ("j", DataType.JSON), ("vector", DataType.FLOAT_VECTOR, {"dim": 16})], dynamic=True)
    made.create("unloaded", load=False)
    client.create_partition("kept", "p")
    client.create_alias("kept", "kept_alias")
    client.create_database("other")
    data = vectors(2000, 16, 5)
    rows = [{"id": i, "x": i % 5 or None, "s": f"s{i}", "j": {"k": i}, "extra": i, "vector": data[i].tolist()}
            for i in range(2000)]
    client.insert("kept", rows[:1000])
    client.flush("kept")
    client.insert("kept", rows[1000:1500], partition_name="p")
    client.insert("kept", rows[1500:])
    client.delete("kept", filter="id >= 900 and id < 1100")
    client.upsert("kept", [{**rows[5], "s": "changed"}])
    before = client.describe_collection("kept")
    hits_before = client.search("kept", data=[data[7].tolist()], limit=20, output_fields=["s", "extra"])[0]
    newest = client._get_connection().alloc_timestamp()
    client.close()

    own_server.restart()

    client = open_client(own_server)
    after = client.describe_collection("kept")
    assert after["update_timestamp"] == before["update_timestamp"]
    assert after == before
    assert "Loaded" in str(client.get_load_state("kept")["state"]), "no load is needed after a restart"
    assert "NotLoad" in str(client.get_load_state("unloaded")["state"])
    assert count(client, "kept") == 1800
    assert client.get_collection_stats("kept")["row_count"] == 1800
    assert count(client, "kept", partition_names=["p"]) == 400
    assert count(client, "kept_alias") == 1800
    fifth = client.query("kept", filter="id == 5", output_fields=["s", "x", "j", "extra"])
    assert [dict(row) for row in fifth] == [{"id": 5, "s": "changed", "x": None, "j": {"k": 5}, "extra": 5}]
    hits_after = client.search("kept", data=[data[7].tolist()], limit=20, output_fields=["s", "extra"])[0]
    assert [dict(h) for h in hits_after] == [dict(h) for h in hits_before]
    assert "other" in client.list_databases()
    assert client.describe_index("kept", "vector")["state"] == "Finished"
    assert client._get_connection().alloc_timestamp() > newest, "no timestamp is used twice"
    client.insert("kept", [{**rows[950]}])
    assert count(client, "kept") == 1801
    client.close()


def test_many_restarts(own_server):
    for turn in range(6):
        client = open_client(own_server)
        if turn == 0:
            Collections(client).create("grows")
        assert count(client, "grows") == turn * 50
        client.insert("grows", [{"id": turn * 50 + i, "vector": [float(turn)] * 8} for i in range(50)])
        if turn % 2:
            client.flush("grows")
        client.close()
        own_server.restart() if turn % 3 else (own_server.kill(), own_server.start())
    client = open_client(own_server)
    assert {row["id"] for row in client.query("grows", filter="id >= 0")} == set(range(300))
    client.close()


def test_automatic_keys_stay_unique_over_restarts(own_server):
    seen = set()
    for turn in range(3):
        client = open_client(own_server)
        if turn == 0:
            Collections(client).create("auto", auto_id=True)
        fresh = set(client.insert("auto", [{"vector": [0.0] * 8} for _ in range(100)])["ids"])
        assert not fresh & seen
        seen |= fresh
        client.close()
        own_server.kill()
        own_server.start()
    client = open_client(own_server)
    assert count(client, "auto") == 300
    client.close()


def test_dropped_things_stay_dropped(own_server):
    client = open_client(own_server)
    made = Collections(client)
    made.create("gone")
    made.create("here")
    client.insert("gone", [{"id": i, "vector": [0.0] * 8} for i in range(100)])
    client.create_partition("here", "p")
    client.insert("here", [{"id": i, "vector": [0.0] * 8} for i in range(100)], partition_name="p")
    client.insert("here", [{"id": i, "vector": [0.0] * 8} for i in range(100, 110)])
    client.release_collection("here")
    client.drop_partition("here", "p")
    client.drop_collection("gone")
    client.close()
    own_server.kill()
    own_server.start()
    client = open_client(own_server)
    assert client.list_collections() == ["here"]
    client.load_collection("here")
    assert count(client, "here") == 10
    Collections(client).create("gone")
    assert count(client, "gone") == 0
    client.close()


def test_an_old_client_goes_on_after_a_restart(own_server):
    client = open_client(own_server)
    Collections(client).create("same")
    client.insert("same", [{"id": 1, "vector": [0.0] * 8}])
    own_server.restart()
    client.insert("same", [{"id": 2, "vector": [0.0] * 8}])
    assert count(client, "same") == 2
    client.close()


def test_graceful_stop_finishes_requests_in_flight(own_server):
    """Every insert is either acknowledged and kept or refused; the server ends with 0."""
    from concurrent.futures import ThreadPoolExecutor

    client = open_client(own_server)
    Collections(client).create("busy")
    client.close()
    acknowledged = []

    def write(worker):
        one = open_client(own_server)
        for i in range(10_000):
            key = worker * 10_000 + i
            try:
                one.insert("busy", [{"id": key, "vector": [0.0] * 8}], timeout=2)
            except MilvusException:
                break
            acknowledged.append(key)
        one.close()

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, worker) for worker in range(4)]
        while len(acknowledged) < 200:
            assert not all(writer.done() for writer in writers), "the writers failed before the stop"
        assert own_server.stop() == 0
    # New ports, so that the client meets this address for the first time and not in the middle of its back-off.
    own_server.port, own_server.ops_port = free_ports(2)
    own_server.start()
    client = open_client(own_server)
    kept = {row["id"] for row in client.query("busy", filter=f"id in {acknowledged}")}
    assert kept == set(acknowledged)
    client.close()


def test_a_second_server_on_the_same_data_is_refused(own_server):
    second = ServerProcess(own_server.binary, own_server.data)
    second.log_path = own_server.data.parent / "second.log"
    second.launch()
    assert second.process.wait(20) != 0
    assert str(own_server.data) in second.log_path.read_text()
    client = open_client(own_server)
    assert client.list_collections() == []
    client.close()


def test_lock_is_free_after_a_kill(own_server):
    own_server.kill()
    own_server.start()
    assert own_server.alive()


@pytest.mark.parametrize("rows", [100_000])
def test_start_with_many_rows_is_quick(own_server, rows):
    client = open_client(own_server)
    Collections(client).create("many", dim=128)
    data = vectors(rows, 128)
    for begin in range(0, rows, 20_000):
        client.insert("many", [{"id": i, "vector": data[i]} for i in range(begin, begin + 20_000)])
    client.flush("many")
    client.close()
    own_server.restart()
    assert own_server.seconds_to_ready < 5
    client = open_client(own_server)
    assert count(client, "many") == rows
    hits = client.search("many", data=[data[777].tolist()], limit=1)[0]
    assert hits[0]["id"] == 777 and np.isclose(hits[0]["distance"], 0)
    client.close()
