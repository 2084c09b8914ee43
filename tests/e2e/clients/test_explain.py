"""Explanations of queries and searches: the numbers in them beside what a client can count itself."""

import json
import subprocess
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
from pymilvus import DataType, MilvusClient
from pymilvus.grpc_gen import common_pb2, milvus_pb2

from collections_under_test import Collections, count, explained_query, search_request, stub, succeeded
from server_process import ServerProcess

ROWS = 12_000
GROWING = 500
DIM = 16
NAME = "explained"

RANDOM = np.random.default_rng(5)
VECTORS = RANDOM.standard_normal((ROWS + GROWING, DIM), dtype=np.float32)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    data = tmp_path_factory.mktemp("explain") / "data"
    with ServerProcess(data=data, arguments=["--segment.flush-min-bytes=0", "--compaction.enabled=false",
                                             "--index.min-rows=500"]) as running:
        yield running


def settle(client, indexes):
    end = time.monotonic() + 120
    while any(client.describe_index(NAME, index)["state"] != "Finished" for index in indexes):
        assert time.monotonic() < end, "the indexes are not built"


@pytest.fixture(scope="module")
def client(server):
    """One collection of sealed and growing rows, some of them deleted, with a scalar and a vector index."""
    client = MilvusClient(uri=server.uri)
    collections = Collections(client)
    collections.create(NAME, [("number", DataType.INT64), ("tag", DataType.VARCHAR, {"max_length": 32}),
                              ("vector", DataType.FLOAT_VECTOR, {"dim": DIM})], index=False, load=False)
    collections.index(NAME, "vector", index_type="HNSW", index_name="graph", M=16, efConstruction=100)
    collections.index(NAME, "tag", metric=None, index_type="INVERTED", index_name="tags")
    client.load_collection(NAME)

    def insert(begin, end):
        for at in range(begin, end, 2000):
            client.insert(NAME, [{"id": i, "number": i, "tag": f"tag{i % 100}", "vector": VECTORS[i]}
                                 for i in range(at, min(at + 2000, end))])

    insert(0, ROWS)
    client.flush(NAME)
    settle(client, ["graph", "tags"])
    insert(ROWS, ROWS + GROWING)
    client.delete(NAME, filter="number in [3, 103, 203]")
    yield client
    client.close()


def check_rows(told):
    for key in ("rows", "visible_rows", "matches"):
        assert sum(segment[key] for segment in told["segments"]) == told[key], key
    assert told["rows"] == ROWS + GROWING
    assert told["visible_rows"] == ROWS + GROWING - 3


def check_sums(told):
    check_rows(told)
    assert {step["step"] for step in told["steps"]} >= {"parse", "open view", "total"}


def sealed(told):
    return next(segment for segment in told["segments"] if segment["state"] == "sealed")


@pytest.mark.parametrize("expression", [
    "number < 1000", "tag == 'tag3'", "tag == 'tag3' and number >= 6000", "not (tag == 'tag3') or number == 103",
    "tag like '%9'", "id in [1, 2, 3]", "number > 1000000",
])
def test_a_query_tells_what_really_matched(client, expression):
    reply, told = explained_query(client, NAME, expression)
    check_sums(told)
    assert told["matches"] == count(client, NAME, expression)
    assert told["results"] == told["matches"] == len(reply.fields_data[0].scalars.long_data.data)
    assert told["filter"]["operator"] in ("<", "==", "and", "or", "like", "in", ">")
    plain = client.query(NAME, filter=expression, output_fields=["id"])
    assert sorted(row["id"] for row in plain) == sorted(reply.fields_data[0].scalars.long_data.data)


def test_the_scalar_index_is_named(client):
    told = explained_query(client, NAME, "tag == 'tag3' and number >= 6000")[1]
    assert sealed(told)["filter"]["by"] == "scalar indexes"
    tag, number = told["filter"]["children"]
    assert tag["field"] == "tag" and tag["operator"] == "==" and tag["value"] == '"tag3"'
    assert tag["segments_by_method"]["scalar index tags (INVERTED)"] == 1
    assert tag["rows_from_index"] == ROWS // 100
    assert number["rows_tested"] < 200 + GROWING


def test_a_query_without_the_parameter_tells_nothing(client):
    reply = succeeded(stub(client).Query(milvus_pb2.QueryRequest(
        collection_name=NAME, expr="number < 5", output_fields=["id"])))
    assert "explain" not in reply.status.extra_info


def explained_search(client, expression="", ef=64):
    request = search_request(NAME, [VECTORS[7].tobytes()], common_pb2.PlaceholderType.FloatVector,
                             params=json.dumps({"ef": ef}), topk=10, more={"explain": "true"}.items(), dsl=expression)
    reply = succeeded(stub(client).Search(request))
    return reply, json.loads(reply.status.extra_info["explain"])


@pytest.mark.parametrize("expression", ["", "number < 500", "number < 6000", "tag == 'tag3'"])
def test_a_search_tells_its_plan_for_each_segment(client, expression):
    reply, told = explained_search(client, expression)
    check_sums(told)
    assert told["queries"] == 1 and told["results"] == len(reply.results.scores) == 10
    assert told["matches"] == count(client, NAME, expression)
    plain = client.search(NAME, data=[VECTORS[7]], limit=10, filter=expression, search_params={"params": {"ef": 64}})
    assert [hit["id"] for hit in plain[0]] == list(reply.results.ids.int_id.data)
    for segment in told["segments"]:
        search = segment["search"]
        if segment["state"] == "growing":
            assert search["why"] == "the segment is growing"
            assert search["exact_distances"] == segment["matches"]
        elif "index" in search:
            assert search["index"] == "graph" and search["index_type"] == "HNSW"
            costs = search["expected_microseconds"]
            assert costs[search["plan"]] == min(costs.values())
        else:
            assert search["plan"] == "flat scan" and search["why"] == "few rows match"
            assert search["exact_distances"] == segment["matches"]


def hybrid_parts():
    return [search_request(NAME, [VECTORS[7].tobytes()], common_pb2.PlaceholderType.FloatVector,
                           params=json.dumps({"ef": 64}), topk=10, dsl=expression)
            for expression in ("number < 500", "tag == 'tag3'")]


def test_a_hybrid_search_tells_its_searches_and_the_ranker(client, server):
    params = {"strategy": "rrf", "params": json.dumps({"k": 30}), "limit": "5"}
    def ask(**more):
        pairs = [common_pb2.KeyValuePair(key=k, value=v) for k, v in {**params, **more}.items()]
        return succeeded(stub(client).HybridSearch(milvus_pb2.HybridSearchRequest(
            collection_name=NAME, requests=hybrid_parts(), rank_params=pairs)))

    reply = ask(explain="true")
    told = json.loads(reply.status.extra_info["explain"])
    plain = ask()
    assert "explain" not in plain.status.extra_info
    assert list(plain.results.ids.int_id.data) == list(reply.results.ids.int_id.data)
    assert told["results"] == 5
    for search, expression in zip(told["searches"], ("number < 500", "tag == 'tag3'"), strict=True):
        check_rows(search)
        assert search["matches"] == count(client, NAME, expression) and search["results"] == 10
    ranker = told["ranker"]
    assert ranker["strategy"] == "rrf" and ranker["k"] == 30 and ranker["rows_given"] == 20
    assert 10 <= ranker["rows_ranked"] <= 20
    assert [step["step"] for step in told["steps"]] == ["parse", "open view", "search", "rank", "output", "total"]

    searches = [{"vector": VECTORS[7].tolist(), "filter": "number < 500", "limit": 4},
                {"vector": VECTORS[9].tolist(), "limit": 6}]
    told = post(server, {"collection": NAME, "searches": searches, "limit": 3,
                         "params": {"strategy": "weighted", "weights": [0.5, 0.5]}})
    assert told["results"] == 3 and told["ranker"]["weights"] == [0.5, 0.5] and told["ranker"]["rows_given"] == 10
    shown = subprocess.run([server.binary, "explain", "--url", server.uri, "--collection", NAME, "--limit", "3",
                            "--search", json.dumps(searches[0]), "--search", json.dumps(searches[1])],
                           capture_output=True, text=True, timeout=30, check=False)
    assert shown.returncode == 0, shown.stderr
    assert "search 2 of 2, by vector" in shown.stdout and "ranker: rrf, 10 rows given" in shown.stdout


def test_sdk_calls_may_ask_by_a_template_value(client):
    """For SDKs that forward no other parameters; the answer is the same to them."""
    asked = client.query(NAME, filter="number < 5", output_fields=["id"], filter_params={"__explain": True})
    assert sorted(row["id"] for row in asked) == [0, 1, 2, 4]


def post(server, body):
    request = urllib.request.Request(f"{server.uri}/explain", data=json.dumps(body).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


def test_http_explains_queries_and_searches(client, server):
    told = post(server, {"collection": NAME, "filter": "number < 1000"})
    check_sums(told)
    assert told["matches"] == 997
    told = post(server, {"collection": NAME, "vector": VECTORS[7].tolist(), "limit": 3, "params": {"ef": 50}})
    assert told["results"] == 3 and told["queries"] == 1
    told = post(server, {"collection": NAME, "like": 7, "filter": "number < 1000", "limit": 3})
    assert told["matches"] == 997 and told["results"] == 3
    for body, text in (({"collection": "no_such"}, "no_such"), ({"collection": NAME, "filter": "x ="}, "cannot parse"),
                       ({"collection": NAME, "colour": 1}, "colour"), ([], "JSON object")):
        with pytest.raises(urllib.error.HTTPError) as refused:
            post(server, body)
        assert refused.value.code == 400 and text in json.loads(refused.value.read())["message"]


def test_the_command_shows_the_same(client, server):
    def run(*arguments):
        return subprocess.run([server.binary, "explain", "--url", server.uri, *arguments], capture_output=True, text=True,
                              timeout=30, check=False)

    shown = run("--collection", NAME, "--filter", "tag == 'tag3' and number < 1000")
    assert shown.returncode == 0, shown.stderr
    assert "tag == \"tag3\"" in shown.stdout and "steps, us:" in shown.stdout
    told = json.loads(run("--collection", NAME, "--like", "7", "--limit", "3", "--json").stdout)
    assert told["results"] == 3
    refused = run("--collection", "no_such")
    assert refused.returncode == 1 and "no_such" in refused.stderr
    assert run("--filter", "x").returncode == 2
