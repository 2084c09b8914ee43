"""Query and search iterators of the clients: every row once, in order, while writes go on."""

import numpy as np
import pytest
from pymilvus import DataType, MilvusClient

from collections_under_test import Collections, refused, vectors


@pytest.fixture(scope="module")
def table(server):
    client = MilvusClient(uri=server.uri)
    made = Collections(client)
    made.create("iterator_table", [("x", DataType.INT64), ("vector", DataType.FLOAT_VECTOR, {"dim": 4})])
    data = vectors(3000, 4, 2)
    rows = [{"id": i * 3, "x": i % 7, "vector": data[i].tolist()} for i in range(3000)]
    client.insert("iterator_table", rows[:1000])
    client.flush("iterator_table")
    client.insert("iterator_table", rows[1000:])
    yield data
    made.drop_all()
    client.close()


def drain(iterator):
    pages = []
    while True:
        page = iterator.next()
        if not page:
            iterator.close()
            return pages
        pages.append(list(page))


@pytest.mark.parametrize("batch,limit,expression", [(1000, -1, ""), (777, -1, "x == 3"), (100, 250, "id >= 300"), (16384, -1, "")])
def test_query_iterator(client, table, batch, limit, expression):
    want = [i * 3 for i in range(3000) if expression != "x == 3" or i % 7 == 3]
    if expression == "id >= 300":
        want = [i for i in want if i >= 300]
    want = want if limit < 0 else want[:limit]
    more = {} if limit < 0 else {"limit": limit}
    pages = drain(client.query_iterator("iterator_table", batch_size=batch, filter=expression, output_fields=["id", "x"], **more))
    assert all(len(page) <= batch for page in pages)
    assert [row["id"] for page in pages for row in page] == want
    assert all(row["x"] == (row["id"] // 3) % 7 for page in pages for row in page)


def test_query_iterator_of_nothing(client, table):
    assert drain(client.query_iterator("iterator_table", batch_size=10, filter="id < 0")) == []


def test_query_iterator_over_string_keys(client, collections, name):
    collections.create(name, pk=DataType.VARCHAR)
    keys = [f"k'{i:04}" for i in range(300)]
    client.insert(name, [{"id": key, "vector": [0.0] * 8} for key in keys])
    pages = drain(client.query_iterator(name, batch_size=70))
    assert [row["id"] for page in pages for row in page] == keys


@pytest.mark.parametrize("batch,limit", [(100, 1000), (333, 2000), (50, 120)])
def test_search_iterator(client, table, batch, limit):
    query = table[11] + np.float32(0.01)
    order = np.argsort(((table.astype(np.float64) - query) ** 2).sum(axis=1), kind="stable")
    pages = drain(client.search_iterator("iterator_table", data=[query.tolist()], batch_size=batch, limit=limit,
                                         search_params={"metric_type": "L2"}))
    got = [hit["id"] for page in pages for hit in page]
    assert len(got) == len(set(got)) == limit
    assert got == [int(i) * 3 for i in order[:limit]]


def test_search_iterator_with_a_filter(client, table):
    pages = drain(client.search_iterator("iterator_table", data=[[0.0] * 4], batch_size=100, limit=1000, filter="x == 5",
                                         search_params={"metric_type": "L2"}))
    got = [hit["id"] for page in pages for hit in page]
    assert sorted(got) == [i * 3 for i in range(3000) if i % 7 == 5]


def test_search_iterator_refuses_an_offset(client, table):
    with refused("offset"):
        drain(client.search_iterator("iterator_table", data=[[0.0] * 4], batch_size=10, limit=20,
                                     search_params={"metric_type": "L2", "offset": 5}))


def test_query_iterator_sees_one_state(client, collections, name):
    """Rows written or deleted after the first page do not disturb the iteration."""
    collections.create(name)
    client.insert(name, [{"id": i, "vector": [0.0] * 8} for i in range(0, 1000, 2)])
    iterator = client.query_iterator(name, batch_size=100)
    first = [row["id"] for row in iterator.next()]
    client.insert(name, [{"id": i, "vector": [0.0] * 8} for i in range(1, 1000, 2)])
    client.delete(name, filter="id >= 800")
    rest = [row["id"] for page in drain(iterator) for row in page]
    assert first == list(range(0, 200, 2))
    assert len(rest) == len(set(rest)) and set(range(200, 800, 2)) <= set(rest)


def test_iterators_read_one_moment(client, collections, name):
    """Rows written, replaced and deleted between two pages change nothing of what the iterator gives."""
    collections.create(name)
    client.alter_collection_properties(name, properties={"collection.retention.seconds": "0"})
    data = vectors(1000, 8, 3)
    client.insert(name, [{"id": i, "vector": data[i].tolist()} for i in range(1000)])
    pages = client.query_iterator(name, filter="id >= 0", output_fields=["id"], batch_size=100)
    hits = client.search_iterator(name, data=[data[0].tolist()], batch_size=100, limit=1000,
                                  search_params={"metric_type": "L2"})
    seen = [row["id"] for row in pages.next()]
    found = [hit["id"] for hit in hits.next()]
    client.delete(name, filter="id >= 500 and id < 600")
    client.insert(name, [{"id": i, "vector": data[i - 1000].tolist()} for i in range(1000, 1500)])
    client.upsert(name, [{"id": i, "vector": [9.0] * 8} for i in range(700, 800)])
    client.compact(name)
    while page := pages.next():
        seen += [row["id"] for row in page]
    while page := hits.next():
        found += [hit["id"] for hit in page]
    pages.close()
    hits.close()
    assert seen == list(range(1000))
    assert sorted(found) == list(range(1000))
