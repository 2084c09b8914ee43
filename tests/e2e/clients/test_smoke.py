"""The shortest whole story: connect, create, insert, search, restart. The quick test run is this and no more."""

from pymilvus import MilvusClient

from collections_under_test import count


def test_smoke(own_server):
    client = MilvusClient(uri=own_server.uri)
    client.create_collection("first", dimension=4, metric_type="L2")
    client.insert("first", [{"id": i, "vector": [float(i)] * 4, "name": f"row {i}"} for i in range(100)])
    hits = client.search("first", data=[[41.9] * 4], filter="id != 42", limit=2, output_fields=["name"])[0]
    assert [(hit["id"], hit["entity"]["name"]) for hit in hits] == [(41, "row 41"), (43, "row 43")]
    client.delete("first", ids=[41])
    client.close()
    own_server.restart()
    client = MilvusClient(uri=own_server.uri)
    assert count(client, "first") == 99
    assert client.search("first", data=[[41.0] * 4], limit=1)[0][0]["id"] in (40, 42)
    client.close()
