"""Connecting, versions, health."""

import pytest
from pymilvus import MilvusClient, connections, utility
from pymilvus.grpc_gen import common_pb2, milvus_pb2

from collections_under_test import failed, refused, stub, succeeded


def test_version_is_one_that_tools_can_parse(client):
    version = client.get_server_version()
    numbers = version.lstrip("v").split("-")[0].split(".")
    assert len(numbers) == 3 and all(part.isdigit() for part in numbers), version


def test_connect_answers_server_info_and_an_identifier(client):
    reply = succeeded(
        stub(client).Connect(
            milvus_pb2.ConnectRequest(client_info=common_pb2.ClientInfo(sdk_type="Python", sdk_version="x", user="u"))
        )
    )
    assert reply.identifier != 0
    assert reply.server_info.build_tags == client.get_server_version()


def test_server_version_detail_reads_the_connect_reply(client):
    detail = client.get_server_version(detail=True)
    assert detail["version"] == client.get_server_version()


def test_unknown_database_at_connect_is_refused(server):
    with refused("database not found", code=800):
        MilvusClient(uri=server.uri, db_name="no_such_database").list_collections()


def test_credentials_are_ignored_when_authorization_is_off(server):
    guest = MilvusClient(uri=server.uri, user="nobody", password="whatever")
    assert isinstance(guest.list_collections(), list)
    guest.close()


def test_orm_connection(server):
    host, port = server.uri.removeprefix("http://").split(":")
    connections.connect("orm_connection", host=host, port=port)
    assert utility.get_server_version(using="orm_connection")
    assert connections.has_connection("orm_connection")
    connections.disconnect("orm_connection")


def test_health(client):
    reply = succeeded(stub(client).CheckHealth(milvus_pb2.CheckHealthRequest()))
    assert reply.isHealthy and not reply.reasons


def test_component_states(client):
    reply = succeeded(stub(client).GetComponentStates(milvus_pb2.GetComponentStatesRequest()))
    assert reply.state.state_code == common_pb2.StateCode.Healthy


def test_timestamps_grow(client):
    drawn = [
        succeeded(stub(client).AllocTimestamp(milvus_pb2.AllocTimestampRequest())).timestamp for _ in range(50)
    ]
    assert drawn == sorted(set(drawn))


def test_metrics_are_json(client):
    import json

    reply = succeeded(stub(client).GetMetrics(milvus_pb2.GetMetricsRequest(request='{"metric_type": "system_info"}')))
    assert json.loads(reply.response)


@pytest.mark.parametrize("database", ["default", ""])
def test_both_ways_to_name_the_default_database(server, database):
    one = MilvusClient(uri=server.uri, db_name=database)
    assert "default" in one.list_databases()
    one.close()


def test_unserved_mutator_says_so(client):
    """gRPC UNIMPLEMENTED would be an empty success for one SDK: the answer is a Status with code 10."""
    request = milvus_pb2.CreateResourceGroupRequest(resource_group="rg_of_e2e")
    failed(stub(client).CreateResourceGroup(request), code=10)


def test_calls_of_an_old_connection_fail_cleanly_after_close(server):
    one = MilvusClient(uri=server.uri)
    one.close()
    with pytest.raises(Exception):
        one.list_collections()
