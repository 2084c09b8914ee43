"""Connection of the ORM suite that follows the handbook (pymilvus 2.3)."""

import pytest
from pymilvus import connections, utility


@pytest.fixture(scope="session", autouse=True)
def connection(server):
    connections.connect(alias="default", host="127.0.0.1", port=str(server.port))
    yield
    connections.disconnect("default")


@pytest.fixture(autouse=True)
def clean_up(connection):
    """Every test begins and ends without collections, as the handbook's samples reuse names."""
    yield
    for name in utility.list_collections():
        for alias in utility.list_aliases(name):
            utility.drop_alias(alias)
        utility.drop_collection(name)
