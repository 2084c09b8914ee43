"""Many threads on one server: writers, readers, DDL; nothing lost, nothing seen twice, nobody stuck."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from pymilvus import DataType, MilvusClient, MilvusException

from collections_under_test import Collections, count, vectors


def test_writers_and_searchers(server, client, collections, name):
    collections.create(name)
    data = vectors(8000, 8, 1)
    writing = threading.Event()
    writing.set()

    def write(worker):
        one = MilvusClient(uri=server.uri)
        for begin in range(worker * 2000, worker * 2000 + 2000, 100):
            one.insert(name, [{"id": i, "vector": data[i].tolist()} for i in range(begin, begin + 100)])
            assert count(one, name, f"id >= {begin} and id < {begin + 100}") == 100
        one.close()

    def read():
        one = MilvusClient(uri=server.uri)
        rounds, last = 0, 0
        while writing.is_set() or rounds == 0:
            hits = one.search(name, data=[data[0].tolist()], limit=50)[0]
            ids = [hit["id"] for hit in hits]
            assert len(ids) == len(set(ids))
            now = count(one, name)
            assert now >= last and now % 100 == 0, "batches are seen whole and never disappear"
            last, rounds = now, rounds + 1
        one.close()
        return rounds

    with ThreadPoolExecutor(8) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        writers = [pool.submit(write, worker) for worker in range(4)]
        try:
            for writer in writers:
                writer.result()
        finally:
            writing.clear()
        assert all(reader.result() > 0 for reader in readers)
    assert count(client, name) == 8000


def test_one_connection_shared_by_fifty_threads(client, collections, name):
    collections.create(name)
    client.insert(name, [{"id": i, "vector": [float(i)] * 8} for i in range(1000)])
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda i: client.query(name, filter=f"id == {i}", output_fields=["id"]), range(400)))
    assert answers == [[{"id": i}] for i in range(400)]


def test_concurrent_upserts_leave_one_row_per_key(server, client, collections, name):
    collections.create(name)

    def work(worker):
        one = MilvusClient(uri=server.uri)
        for turn in range(20):
            one.upsert(name, [{"id": i, "vector": [float(worker * 100 + turn)] * 8} for i in range(50)])
        one.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    rows = client.query(name, filter="id >= 0", output_fields=["vector"])
    assert sorted(row["id"] for row in rows) == list(range(50))
    assert len({tuple(row["vector"]) for row in rows}) == 1, "each upsert is whole: the last one wins everywhere"


def test_delete_against_upsert(client, collections, name):
    """A delete by filter never kills a row that a racing upsert wrote for another value."""
    collections.create(name, dynamic=True)
    client.insert(name, [{"id": i, "vector": [0.0] * 8, "old": True} for i in range(500)])

    def renew():
        for begin in range(0, 500, 50):
            client.upsert(name, [{"id": i, "vector": [1.0] * 8, "old": False} for i in range(begin, begin + 50)])

    with ThreadPoolExecutor(2) as pool:
        renewing = pool.submit(renew)
        for _ in range(20):
            client.delete(name, filter="old == true")
        renewing.result()
    assert count(client, name, "old == false") == 500
    assert count(client, name) == 500


def test_collections_come_and_go(server, name):
    def work(worker):
        one = MilvusClient(uri=server.uri)
        made = Collections(one)
        for turn in range(5):
            mine = f"{name}_{worker}_{turn}"
            made.create(mine)
            one.insert(mine, [{"id": 1, "vector": [0.0] * 8}])
            assert count(one, mine) == 1
            one.drop_collection(mine)
            assert not one.has_collection(mine)
        one.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))


def test_dropping_under_readers_is_a_clean_error(server, client, collections, name):
    collections.create(name)
    client.insert(name, [{"id": i, "vector": [0.0] * 8} for i in range(1000)])
    dropped = threading.Event()

    def read():
        one = MilvusClient(uri=server.uri)
        try:
            while True:
                assert len(one.query(name, filter="id >= 0", limit=1000)) == 1000
        except MilvusException as error:
            assert dropped.is_set()
            return error.message
        finally:
            one.close()

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read) for _ in range(3)]
        count(client, name)
        dropped.set()
        client.drop_collection(name)
        for reader in readers:
            message = reader.result(timeout=60)
            assert "collection not found" in message or "can't find collection" in message or "not loaded" in message


def test_partial_updates_of_different_fields_both_last(client, collections, name, server):
    """Each update reads the row and writes it back; none of them may undo another one's field."""
    fields = [(f"f{i}", DataType.INT64, {"nullable": True}) for i in range(4)]
    collections.create(name, fields)
    client.insert(name, [{"id": 1, "vector": [0.0] * 8}])

    def update(field):
        own = MilvusClient(uri=server.uri)
        for value in range(1, 31):
            own.upsert(name, [{"id": 1, field: value}], partial_update=True)
        own.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(update, [field for field, *_ in fields]))
    row = client.get(name, ids=[1], output_fields=["f0", "f1", "f2", "f3"])[0]
    assert [row[field] for field, *_ in fields] == [30, 30, 30, 30]


def test_a_quick_search_does_not_wait_for_a_slow_one(server, client, collections):
    """The slow one scans 50,000 vectors for 16,384 queries, the quick ones 2,000 for one."""
    collections.create("slow", dim=128)
    collections.create("quick", dim=128)
    data = vectors(50_000, 128, 7)
    for begin in range(0, len(data), 5000):
        client.insert("slow", [{"id": i, "vector": data[i]} for i in range(begin, begin + 5000)])
    client.insert("quick", [{"id": i, "vector": data[i]} for i in range(2000)])

    def started():
        return int(re.search(r"^quiver_bulk_requests_total (\d+)", server.http("/metrics")[1], re.M).group(1))

    def search_slowly():
        one = MilvusClient(uri=server.uri)
        found = one.search("slow", data=list(data[:16_384]), limit=1)
        one.close()
        return found

    before = started()
    with ThreadPoolExecutor(3) as pool:
        slow = [pool.submit(search_slowly) for _ in range(3)]
        while started() == before:
            assert not any(search.done() for search in slow), "a scan of that size gives way"
        for i in range(20):
            assert client.search("quick", data=[data[i]], limit=1)[0][0]["id"] == i
        assert not any(search.done() for search in slow), "the quick searches waited"
        for search in slow:
            assert [hits[0]["id"] for hits in search.result()] == list(range(16_384))


def test_searches_that_wait_together_share_a_scan(server, client, collections, name):
    """Searches of one kind that wait for a thread are run as one; each gets its own answer, whatever the others ask."""
    data = vectors(20_000, 64, 9)
    collections.create(name, [("part", DataType.INT64), ("v", DataType.FLOAT_VECTOR, {"dim": 64})],
                       metrics={"v": "L2"})
    for begin in range(0, len(data), 5000):
        client.insert(name, [{"id": i, "part": i % 7, "v": data[i]} for i in range(begin, begin + 5000)])

    def shared():
        return int(re.search(r"^quiver_shared_searches_total (\d+)", server.http("/metrics")[1], re.M).group(1))

    def search(i):
        """One of four kinds: filtered or not, with few or more hits, of one vector or two."""
        one = MilvusClient(uri=server.uri)
        try:
            for turn in range(10):
                at = (i * 997 + turn * 131) % (len(data) - 1)
                kind = (i + turn) % 5
                if kind == 4:
                    with pytest.raises(MilvusException, match="partition"):
                        one.search(name, data=[data[at]], anns_field="v", limit=3, partition_names=["missing"])
                    continue
                asked = [data[at], data[at + 1]] if kind == 2 else [data[at]]
                found = one.search(name, data=asked, anns_field="v", limit=11 if kind == 3 else 4,
                                   filter=f"part == {at % 7}" if kind in (1, 3) else "", output_fields=["part"])
                assert [len(hits) for hits in found] == [11 if kind == 3 else 4] * len(asked)
                for offset, hits in enumerate(found):
                    assert hits[0]["id"] == at + offset and hits[0]["distance"] == 0
                    assert all(hit["entity"]["part"] == hit["id"] % 7 for hit in hits)
                    assert all(hit["id"] % 7 == at % 7 for hit in hits if kind in (1, 3))
                    exact = sorted(float(((data[hit["id"]] - data[at + offset]) ** 2).sum()) for hit in hits)
                    assert np.allclose(exact, [hit["distance"] for hit in hits], rtol=1e-4)
        finally:
            one.close()

    before = shared()
    with ThreadPoolExecutor(32) as pool:
        for _ in range(10):
            list(pool.map(search, range(32)))
            if shared() > before:
                break
    assert shared() > before, "of 32 clients none waited beside another one"
