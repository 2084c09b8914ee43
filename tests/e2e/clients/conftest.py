"""Fixtures of the MilvusClient and ORM suite; the same files run under pymilvus 2.6 and 3."""

import pytest
from pymilvus import MilvusClient

from collections_under_test import Collections


@pytest.fixture(scope="session")
def client(server):
    with_default_database = MilvusClient(uri=server.uri)
    yield with_default_database
    with_default_database.close()


@pytest.fixture
def collections(client):
    """Creates collections and drops them, their aliases and nothing else after the test."""
    made = Collections(client)
    yield made
    made.drop_all()
