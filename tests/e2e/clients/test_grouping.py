"""Grouped search, ordered search and hybrid search, against plain Python over exact integer scores (so ties abound)."""

import math

import numpy as np
import pytest
from pymilvus import AnnSearchRequest, DataType, MilvusClient, RRFRanker, WeightedRanker
from pymilvus.grpc_gen import common_pb2, milvus_pb2

from collections_under_test import Collections, failed, refused, search_request, stub, succeeded

ROWS, DIM, NAME = 6000, 4, "group_table"
METRICS = {"l2": "L2", "ip": "IP", "cos": "COSINE"}


def kind_of(i):
    """A few groups of most rows and a long tail of small ones, so that finding many groups reads far down the list."""
    return i % 3 if i % 10 else 100 + i // 40


@pytest.fixture(scope="module")
def table(server):
    client = MilvusClient(uri=server.uri)
    made = Collections(client)
    made.create(NAME, [
        ("kind", DataType.INT32), ("word", DataType.VARCHAR, {"max_length": 16, "nullable": True}),
        ("flag", DataType.BOOL), ("real", DataType.DOUBLE), ("j", DataType.JSON),
        ("binary", DataType.BINARY_VECTOR, {"dim": 8}),
        *[(field, DataType.FLOAT_VECTOR, {"dim": DIM}) for field in METRICS],
    ], metrics=METRICS)
    rng = np.random.default_rng(4)
    data = {field: rng.integers(-4, 5, (ROWS, DIM)).astype(np.float32) for field in METRICS}
    # The big groups lie nearest: a search has to go past thousands of their rows.
    data["l2"][[i for i in range(ROWS) if kind_of(i) >= 100]] += 20
    rows = [{"id": i, "kind": kind_of(i), "word": None if i % 7 == 0 else f"w{i % 5}", "flag": i % 4 == 0,
             "real": float(i % 11), "j": {"a": 1}, "binary": bytes([i % 256]),
             **{field: data[field][i].tolist() for field in METRICS}} for i in range(ROWS)]
    client.create_partition(NAME, "part")
    client.insert(NAME, rows[: ROWS // 2])
    client.flush(NAME)
    client.insert(NAME, rows[ROWS // 2 :], partition_name="part")
    client.delete(NAME, ids=list(range(0, ROWS, 17)))
    yield {row["id"]: row for row in rows if row["id"] % 17}
    made.drop_all()
    client.close()


def ranked(table, field, query, passes=lambda row: True):
    """Ids and scores of the matching rows, best first, ties by id."""
    ids = [i for i, row in table.items() if passes(row)]
    data = np.array([table[i][field] for i in ids], dtype=np.float64).reshape(len(ids), DIM)
    query = np.array(query, dtype=np.float64)
    if METRICS[field] == "L2":
        scores = ((data - query) ** 2).sum(axis=1)
        return sorted(zip(ids, scores), key=lambda hit: (hit[1], hit[0]))
    scores = data @ query
    if METRICS[field] == "COSINE":
        lengths = np.linalg.norm(data, axis=1) * np.linalg.norm(query)
        scores = np.divide(scores, lengths, out=np.zeros_like(scores), where=lengths > 0)
    return sorted(zip(ids, scores), key=lambda hit: (-hit[1], hit[0]))


def grouped(hits, key, size, limit, offset=0):
    groups = {}
    for i, score in hits:
        groups.setdefault(key(i), []).append((i, score))
    return [hit for group in list(groups.values())[offset : offset + limit] for hit in group[:size]]


def check_exact(found, wanted):
    """Integer scores: the very rows in the very order."""
    assert [(hit["id"], hit["distance"]) for hit in found] == wanted


def ask(client, field, queries, *, limit, size=None, by="kind", expression="", offset=0, partitions=(), strict=None,
        strict_key="strict_group_size", outputs=("kind",), more=()):
    """Through the raw stub: the reply's own group values are looked at."""
    pairs = {"group_by_field": by, "offset": str(offset), **dict(more)}
    if size is not None:
        pairs["group_size"] = str(size)
    if strict is not None:
        pairs[strict_key] = str(strict)
    payloads = [np.array(query, dtype=np.float32).tobytes() for query in queries]
    return stub(client).Search(search_request(
        NAME, payloads, common_pb2.FloatVector, field=field, topk=limit, more=pairs.items(), dsl=expression,
        partition_names=partitions, output_fields=list(outputs)))


def pages(reply):
    results = succeeded(reply).results
    out, at = [], 0
    for count in results.topks:
        out.append(list(zip(results.ids.int_id.data[at : at + count], results.scores[at : at + count])))
        at += count
    return out


QUERIES = [[0, 0, 0, 0], [1, -2, 3, 0], [4, 4, -4, 1]]


@pytest.mark.parametrize("strict", [None, True, False])
@pytest.mark.parametrize("limit,size,offset", [(1, 1, 0), (3, 4, 0), (5, None, 0), (20, 3, 7), (140, 10, 0), (500, 2, 3)])
@pytest.mark.parametrize("field", ["l2", "ip"])
def test_groups_are_exact_and_full(client, table, field, limit, size, offset, strict):
    queries = QUERIES if field == "l2" else QUERIES[1:]
    found = pages(ask(client, field, queries, limit=limit, size=size, offset=offset, strict=strict))
    assert len(found) == len(queries)
    for query, page in zip(queries, found):
        assert page == grouped(ranked(table, field, query), lambda i: table[i]["kind"], size or 1, limit, offset)


def test_groups_of_a_cosine_search(client, table):
    query = QUERIES[1]
    page = pages(ask(client, "cos", [query], limit=30, size=2))[0]
    best = {}
    scores = dict(ranked(table, "cos", query))
    for i, score in scores.items():
        best.setdefault(table[i]["kind"], []).append(score)
    assert [score for _, score in page] == pytest.approx([scores[i] for i, _ in page], abs=1e-5)
    kinds = list(dict.fromkeys(table[i]["kind"] for i, _ in page))
    assert len(kinds) == 30
    tops = sorted((max(group) for group in best.values()), reverse=True)[:30]
    assert [max(best[kind]) for kind in kinds] == pytest.approx(tops, abs=1e-5)
    for kind in kinds:
        got = [score for i, score in page if table[i]["kind"] == kind]
        assert got == pytest.approx(sorted(best[kind], reverse=True)[:2], abs=1e-5)


@pytest.mark.parametrize("by", ["word", "flag", "id", "kind"])
def test_groups_under_filter_and_partition(client, table, by):
    for expression, passes in {"real < 3": lambda row: row["real"] < 3, "id < 0": lambda row: False,
                               "id in [1, 2, 3, 4, 5, 6]": lambda row: row["id"] < 7}.items():
        page = pages(ask(client, "l2", [QUERIES[1]], limit=6, size=3, by=by, expression=expression))[0]
        assert page == grouped(ranked(table, "l2", QUERIES[1], passes), lambda i: table[i][by], 3, 6)
    page = pages(ask(client, "l2", [QUERIES[0]], limit=9, by=by, partitions=["part"]))[0]
    assert page == grouped(ranked(table, "l2", QUERIES[0], lambda row: row["id"] >= ROWS // 2), lambda i: table[i][by], 1, 9)


def test_group_values_are_told(client, table):
    reply = ask(client, "l2", QUERIES, limit=4, size=2, by="word", outputs=[])
    rows = [i for page in pages(reply) for i, _ in page]
    many = hasattr(reply.results, "group_by_field_values")  # of clients from 3.0 on
    for values in [reply.results.group_by_field_value, *(reply.results.group_by_field_values if many else [])]:
        assert values.field_name == "word"
        told = [value if valid else None for value, valid in zip(values.scalars.string_data.data, values.valid_data)]
        assert told == [table[i]["word"] for i in rows]
    two = ask(client, "l2", QUERIES[:1], limit=12, size=2, by="", more={"group_by_fields": "word,flag"}.items())
    if many:
        assert [values.field_name for values in two.results.group_by_field_values] == ["word", "flag"]
    assert pages(two)[0] == grouped(ranked(table, "l2", QUERIES[0]), lambda i: (table[i]["word"], table[i]["flag"]), 2, 12)


@pytest.mark.parametrize("strict_key", ["strict_group_size", "group_strict_size"])
def test_groups_through_the_client(client, table, strict_key):
    found = client.search(NAME, data=[QUERIES[1]], anns_field="l2", limit=5, group_by_field="kind", group_size=3,
                          output_fields=["kind"], **{strict_key: True})
    check_exact(found[0], grouped(ranked(table, "l2", QUERIES[1]), lambda i: table[i]["kind"], 3, 5))
    assert all(hit["entity"]["kind"] == table[hit["id"]]["kind"] for hit in found[0])


def test_refused_groups(client, table):
    def refuse(*texts, code=1100, **options):
        failed(ask(client, "l2", QUERIES[:1], limit=5, **options), *texts, code=code)
    refuse("groupBy field not found in schema", code=1700, by="ghost")
    for field in ("real", "l2", "binary"):
        refuse("for group by operator", by=field)
    refuse("grouping by JSON is not supported yet", code=10, by="j")
    refuse("Not allowed to do groupBy when doing iteration", more={"iterator": "True"}.items())
    refuse("Not allowed to do range-search when doing search-group-by", more={"params": '{"radius": 10}'}.items())
    refuse("input group size:0 is negative", size=0)
    refuse("input group size:11 exceeds configured max group size:10", size=11)
    refuse("group_size [x] is invalid", size="x")
    request = search_request(NAME, [b"\0"], common_pb2.BinaryVector, field="binary",
                             more={"group_by_field": "kind"}.items())
    failed(stub(client).Search(request), "not support search_group_by operation based on binary vector column", code=1100)


def test_order_by_reorders_the_page(client, table):
    reply = ask(client, "l2", QUERIES, limit=40, offset=5, by="",
                more={"order_by_fields": "word:desc,real:asc"}.items())
    for query, page in zip(QUERIES, pages(reply)):
        hits = ranked(table, "l2", query)[5:45]
        hits.sort(key=lambda hit: table[hit[0]]["real"])
        hits.sort(key=lambda hit: (table[hit[0]]["word"] is None, table[hit[0]]["word"] or ""), reverse=True)
        assert page == hits
    refused_reply = ask(client, "l2", QUERIES, limit=4, by="", more={"order_by_fields": "ghost:desc"}.items())
    failed(refused_reply, "does not exist", code=1100)


# Hybrid search.


def part(field, query, limit, expression=""):
    return AnnSearchRequest([query], field, {}, limit, expr=expression)


def parts_of(table, expression, passes):
    lists = [("l2", ranked(table, "l2", QUERIES[1])[:50]),
             ("ip", ranked(table, "ip", QUERIES[2], passes)[:30])]
    requests = [part("l2", QUERIES[1], 50), part("ip", QUERIES[2], 30, expression)]
    return lists, requests


def fused(lists, score):
    sums = {}
    for at, (field, hits) in enumerate(lists):
        for rank, (i, value) in enumerate(hits, 1):
            sums[i] = sums.get(i, 0) + score(at, field, rank, value)
    return sums


def check_fused(found, sums, limit, offset=0):
    order = sorted(sums.values(), reverse=True)[offset : offset + limit]
    assert [hit["distance"] for hit in found] == pytest.approx(order, abs=1e-5)
    assert [sums[hit["id"]] for hit in found] == pytest.approx(order, abs=1e-5)
    assert len({hit["id"] for hit in found}) == len(found)


@pytest.mark.parametrize("limit,offset", [(10, 0), (15, 8), (500, 0)])
@pytest.mark.parametrize("k", [60, 1])
def test_hybrid_rrf(client, table, k, limit, offset):
    lists, requests = parts_of(table, "real > 5", lambda row: row["real"] > 5)
    found = client.hybrid_search(NAME, requests, RRFRanker(k), limit=limit, offset=offset, output_fields=["kind"])[0]
    check_fused(found, fused(lists, lambda at, field, rank, value: 1 / (k + rank)), limit, offset)
    assert all(hit["entity"]["kind"] == table[hit["id"]]["kind"] for hit in found)


@pytest.mark.parametrize("normalised", [True, False])
def test_hybrid_weighted(client, table, normalised):
    lists, requests = parts_of(table, "flag == true", lambda row: row["flag"])
    weights = [0.7, 0.4]

    def score(at, field, rank, value):
        if field == "l2":
            return weights[at] * (1 - 2 * math.atan(value) / math.pi)
        return weights[at] * (0.5 + math.atan(value) / math.pi if normalised else value)

    found = client.hybrid_search(NAME, requests, WeightedRanker(*weights, norm_score=normalised), limit=25)[0]
    check_fused(found, fused(lists, score), 25)
    rounded = client.hybrid_search(NAME, requests, WeightedRanker(*weights, norm_score=normalised), limit=25,
                                   round_decimal=2)[0]
    assert [hit["distance"] for hit in rounded] == pytest.approx([round(hit["distance"], 2) for hit in found], abs=6e-3)


def test_hybrid_with_a_ranker_function(client, table):
    from pymilvus import Function, FunctionType

    lists, requests = parts_of(table, "flag == true", lambda row: row["flag"])
    ranker = Function(name="r", input_field_names=[], function_type=FunctionType.RERANK,
                      params={"reranker": "rrf", "k": 7})
    found = client.hybrid_search(NAME, requests, ranker, limit=25)[0]
    check_fused(found, fused(lists, lambda at, field, rank, value: 1 / (7 + rank)), 25)
    decay = Function(name="r", input_field_names=["real"], function_type=FunctionType.RERANK,
                     params={"reranker": "decay", "function": "gauss", "origin": 0, "scale": 1})
    with refused("reranker decay in hybrid search is not supported yet", code=10):
        client.hybrid_search(NAME, requests, decay, limit=25)


def test_hybrid_ignores_offsets_of_parts_and_keeps_to_partitions(client, table):
    lists = [("l2", ranked(table, "l2", QUERIES[1], lambda row: row["id"] >= ROWS // 2)[:20])]
    request = AnnSearchRequest([QUERIES[1]], "l2", {"offset": 9}, 20)
    found = client.hybrid_search(NAME, [request], RRFRanker(), limit=20, partition_names=["part"])[0]
    assert [hit["id"] for hit in found] == [i for i, _ in lists[0][1]]


@pytest.mark.parametrize("scorer", ["max", "sum", "avg"])
def test_hybrid_groups(client, table, scorer):
    keys = lambda i: table[i]["kind"]  # noqa: E731
    lists = [(field, grouped(ranked(table, field, query), keys, 3, 10)) for field, query in
             (("l2", QUERIES[1]), ("ip", QUERIES[2]))]
    sums = fused(lists, lambda at, field, rank, value: 1 / (60 + rank))
    groups = {}
    for i in sorted(sums, key=lambda i: -sums[i]):
        groups.setdefault(keys(i), []).append(sums[i])
    value = {"max": max, "sum": sum, "avg": lambda v: sum(v) / len(v)}[scorer]
    best = sorted((value(group[:3]) for group in groups.values()), reverse=True)[2:8]
    found = client.hybrid_search(
        NAME, [part("l2", QUERIES[1], 10), part("ip", QUERIES[2], 10)], RRFRanker(), limit=6, offset=2,
        group_by_field="kind", group_size=3, strict_group_size=True, rank_group_scorer=scorer)[0]
    runs = []
    for hit in found:
        if not runs or runs[-1][0] != keys(hit["id"]):
            runs.append((keys(hit["id"]), []))
        runs[-1][1].append(hit["distance"])
    assert len({kind for kind, _ in runs}) == len(runs) == 6
    assert [value(scores) for _, scores in runs] == pytest.approx(best, abs=1e-6)
    assert all(scores == pytest.approx(groups[kind][:3], abs=1e-6) for kind, scores in runs)


def test_refused_hybrids(client, table):
    requests = [part("l2", QUERIES[1], 5), part("ip", QUERIES[2], 5)]
    with refused("the length of weights param mismatch with ann search requests", code=1100):
        client.hybrid_search(NAME, requests, WeightedRanker(0.5), limit=5)
    with refused("rank param weight should be in range [0, 1]", code=1100):
        client.hybrid_search(NAME, requests, WeightedRanker(0.5, 1.5), limit=5)
    for k in (0, 16384):
        with refused("The rank params k should be in range (0, 16384)", code=1100):
            client.hybrid_search(NAME, requests, RRFRanker(k), limit=5)
    with refused("not of vector data type", code=1100):
        client.hybrid_search(NAME, [part("kind", QUERIES[1], 5)], RRFRanker(), limit=5)
    pairs = [common_pb2.KeyValuePair(key=k, value=v) for k, v in {"strategy": "mystery", "limit": "5"}.items()]
    one = search_request(NAME, [np.zeros(DIM, np.float32).tobytes()], common_pb2.FloatVector, field="l2")
    failed(stub(client).HybridSearch(milvus_pb2.HybridSearchRequest(collection_name=NAME, requests=[one], rank_params=pairs)),
           "unsupported rank type mystery", code=1100)
