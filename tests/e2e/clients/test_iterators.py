"""Query and search iterators of the clients: every row once, in order, while writes go on."""

import numpy as np
import pytest
from pymilvus import Collection, DataType, MilvusClient, connections

from collections_under_test import Collections, refused, vectors, wait_for_index
from server_process import ServerProcess


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


INDEXED_ROWS, INDEXED_DIM = 6000, 16


@pytest.fixture(scope="module", params=[("HNSW", "L2"), ("IVF_SQ8", "COSINE"), ("IVF_FLAT", "IP")], ids=lambda p: "-".join(p))
def indexed(request, tmp_path_factory):
    """A server whose indexes are built over few rows: two sealed segments with an index, growing rows, equal vectors."""
    index_type, metric = request.param
    with ServerProcess(data=tmp_path_factory.mktemp("iterators") / "data", arguments=["--index.min_rows", "500"]) as running:
        client = MilvusClient(uri=running.uri)
        made = Collections(client)
        made.create("rows", [("x", DataType.INT64), ("vector", DataType.FLOAT_VECTOR, {"dim": INDEXED_DIM})], index=False, load=False)
        made.index("rows", "vector", metric=metric, index_type=index_type)
        client.load_collection("rows")
        data = vectors(INDEXED_ROWS, INDEXED_DIM, 5)
        data[100:400] = data[99]
        for begin, end in ((0, 3500), (3500, 5800), (5800, INDEXED_ROWS)):
            client.insert("rows", [{"id": i, "x": i % 10, "vector": data[i].tolist()} for i in range(begin, end)])
            if end < INDEXED_ROWS:
                client.flush("rows")
        wait_for_index(client, "rows")
        yield running, client, data, metric
        client.close()


def in_order(metric, data, query, keys):
    """The keys by exact score, and scores that a client sees."""
    rows, asked = data[keys].astype(np.float64), query.astype(np.float64)
    if metric == "L2":
        scores = ((rows - asked) ** 2).sum(axis=1)
    else:
        scores = rows @ asked
        if metric == "COSINE":
            scores /= np.linalg.norm(rows, axis=1) * np.linalg.norm(asked)
    return scores[np.argsort(scores if metric == "L2" else -scores, kind="stable")]


def assert_each_row_once(hits, metric, data, query, keys):
    got = [hit["id"] for hit in hits]
    assert len(got) == len(set(got)), "a row was given twice"
    assert set(got) == set(keys), "a row was lost"
    scores = np.array([hit["distance"] for hit in hits])
    assert (np.diff(scores) >= 0).all() if metric == "L2" else (np.diff(scores) <= 0).all(), "not in order"
    np.testing.assert_allclose(scores, in_order(metric, data, query, np.array(keys)), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("expression", ["", "x < 5"])
def test_search_iterator_through_an_index(indexed, version, expression):
    """Iterated to its end, every row once and by distance, while rows are deleted, replaced and written."""
    server, client, data, metric = indexed
    query = data[99] + np.float32(0.05)
    keys = [i for i in range(INDEXED_ROWS) if not expression or i % 10 < 5]
    if version == 2:
        iterator = client.search_iterator("rows", data=[query.tolist()], batch_size=333, limit=INDEXED_ROWS + 10, filter=expression,
                                          search_params={"metric_type": metric})
    else:
        alias = f"iterators-{server.port}"
        connections.connect(alias, uri=server.uri)
        iterator = Collection("rows", using=alias).search_iterator(
            [query.tolist()], "vector", {"metric_type": metric, "params": {}}, batch_size=333, limit=INDEXED_ROWS + 10,
            expr=expression or None)
    pages = [list(iterator.next())]
    fresh = [{"id": 100_000 + i, "x": 1, "vector": query.tolist()} for i in range(50)]
    client.insert("rows", fresh)
    client.delete("rows", filter="id >= 2000 and id < 2100")
    client.upsert("rows", [{"id": i, "x": i % 10, "vector": [9.0] * INDEXED_DIM} for i in range(4000, 4100)])
    try:
        while page := iterator.next():
            pages.append(list(page))
        iterator.close()
        hits = [{"id": hit["id"], "distance": hit["distance"]} for page in pages for hit in page]
        assert_each_row_once(hits, metric, data, query, keys)
    finally:
        client.delete("rows", filter="id >= 100000")
        client.upsert("rows", [{"id": i, "x": i % 10, "vector": data[i].tolist()}
                               for i in (*range(2000, 2100), *range(4000, 4100))])


def test_ranges_and_groups_through_an_index(indexed):
    server, client, data, metric = indexed
    query = data[7]
    scores = in_order(metric, data, query, np.arange(INDEXED_ROWS))
    inner, outer = float(scores[400]), float(scores[900])
    hits = client.search("rows", data=[query.tolist()], anns_field="vector", limit=2000,
                         search_params={"metric_type": metric, "params": {"radius": outer, "range_filter": inner}})[0]
    assert len(hits) >= 470
    inside = (lambda s: inner - 1e-4 <= s < outer + 1e-4) if metric == "L2" else (lambda s: outer - 1e-4 < s <= inner + 1e-4)
    assert all(inside(hit["distance"]) for hit in hits)
    groups = client.search("rows", data=[query.tolist()], anns_field="vector", limit=100, group_by_field="x", group_size=4,
                           output_fields=["x"], search_params={"metric_type": metric})[0]
    assert sorted(hit["entity"]["x"] for hit in groups) == sorted(list(range(10)) * 4)
