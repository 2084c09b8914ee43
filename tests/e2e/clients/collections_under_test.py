"""Short ways to make collections, to speak past the client's own checks, and to expect an error."""

import contextlib
import json
import time

import numpy as np
import pytest
from pymilvus import DataType, MilvusClient, MilvusException
from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

DEFAULT_METRIC = {
    DataType.FLOAT_VECTOR: "L2",
    DataType.FLOAT16_VECTOR: "L2",
    DataType.BFLOAT16_VECTOR: "L2",
    DataType.INT8_VECTOR: "L2",
    DataType.BINARY_VECTOR: "HAMMING",
    DataType.SPARSE_FLOAT_VECTOR: "IP",
}


class Collections:
    """Makes collections on one client and remembers them for the clean-up."""

    def __init__(self, client: MilvusClient):
        self.client = client
        self._made = []

    def create(self, name, fields=None, *, dim=8, pk=DataType.INT64, auto_id=False, dynamic=False, metrics=None,
               load=True, index=True, **options):
        """Collection `name` with a key `id`, the given `fields` (name, type, arguments) and, when none of them is a
        vector, a FLOAT_VECTOR `vector`; indexed with FLAT and loaded unless told otherwise."""
        schema = MilvusClient.create_schema(auto_id=auto_id, enable_dynamic_field=dynamic)
        schema.add_field("id", pk, is_primary=True, **({"max_length": 64} if pk == DataType.VARCHAR else {}))
        fields = list(fields or [])
        if not any(kind in DEFAULT_METRIC for _, kind, *_ in fields):
            fields.append(("vector", DataType.FLOAT_VECTOR, {"dim": dim}))
        for field, kind, *arguments in fields:
            schema.add_field(field, kind, **(arguments[0] if arguments else {}))
        self.client.create_collection(name, schema=schema, **options)
        self._made.append(name)
        if index:
            for field, kind, *_ in fields:
                if kind in DEFAULT_METRIC:
                    self.index(name, field, metric=(metrics or {}).get(field, DEFAULT_METRIC[kind]), kind=kind)
        if load:
            self.client.load_collection(name)
        return name

    def index(self, name, field, metric="L2", kind=None, index_type=None, index_name="", **params):
        """Creates one index without the half second that the client sleeps before it asks for the state."""
        if index_type is None:
            index_type = {DataType.BINARY_VECTOR: "BIN_FLAT", DataType.SPARSE_FLOAT_VECTOR: "SPARSE_INVERTED_INDEX"}.get(
                kind, "FLAT"
            )
        wanted = self.client.prepare_index_params()
        more = {"metric_type": metric} if metric else {}
        wanted.add_index(field, index_type=index_type, index_name=index_name, params=params, **more)
        self.client.create_index(name, wanted, sync=False)

    def watch(self, name):
        """Drops `name` after the test although the test made it itself."""
        self._made.append(name)
        return name

    def drop_all(self):
        for name in reversed(self._made):
            with contextlib.suppress(MilvusException):
                self.client.drop_collection(name)


@contextlib.contextmanager
def refused(*texts, code=None):
    """Expects a MilvusException whose message holds every text, and `code` when one is given."""
    with pytest.raises(MilvusException) as raised:
        yield raised
    message = str(raised.value.message)
    for text in texts:
        assert text in message
    if code is not None:
        assert raised.value.code == code, message


def stub(client):
    """The generated stub below the client: requests reach the server as they are."""
    return client._get_connection()._stub


def status_of(reply):
    return reply.status if hasattr(reply, "status") else reply


def failed(reply, *texts, code=None):
    """Asserts that a reply of the raw stub carries an error in both of its forms, with every text."""
    status = status_of(reply)
    assert status.code != 0, "the request was accepted"
    assert status.error_code != common_pb2.Success
    for text in texts:
        assert text in status.reason
    if code is not None:
        assert status.code == code, status.reason
    return status


def succeeded(reply):
    status = status_of(reply)
    assert status.code == 0 and status.error_code == common_pb2.Success, status.reason
    return reply


def count(client, name, expression="", **options):
    return client.query(name, filter=expression, output_fields=["count(*)"], **options)[0]["count(*)"]


def explained_query(client, name, expression, **params):
    """The reply to a query for ids, and how it was answered."""
    reply = succeeded(stub(client).Query(milvus_pb2.QueryRequest(
        collection_name=name, expr=expression, output_fields=["id"],
        query_params=[common_pb2.KeyValuePair(key=k, value=v) for k, v in {"explain": "true", **params}.items()])))
    return reply, json.loads(reply.status.extra_info["explain"])


def vectors(rows, dim, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, dim), dtype=np.float32)


def long_column(name, values, kind=schema_pb2.Int64):
    return schema_pb2.FieldData(
        type=kind, field_name=name, scalars=schema_pb2.ScalarField(long_data=schema_pb2.LongArray(data=values))
    )


def float_vector_column(name, rows, dim):
    return schema_pb2.FieldData(
        type=schema_pb2.FloatVector,
        field_name=name,
        vectors=schema_pb2.VectorField(dim=dim, float_vector=schema_pb2.FloatArray(data=np.ravel(rows).tolist())),
    )


def insert_request(name, columns, rows, **more):
    return milvus_pb2.InsertRequest(collection_name=name, fields_data=columns, num_rows=rows, **more)


def search_request(name, payloads, kind, *, field="vector", topk=3, params="{}", metric=None, more=(), **fields):
    """A SearchRequest with the placeholder bytes given as they are."""
    holder = common_pb2.PlaceholderGroup(
        placeholders=[common_pb2.PlaceholderValue(tag="$0", type=kind, values=payloads)]
    )
    pairs = {"anns_field": field, "topk": str(topk), "params": params, "round_decimal": "-1", **dict(more)}
    if metric:
        pairs["metric_type"] = metric
    return milvus_pb2.SearchRequest(
        collection_name=name,
        placeholder_group=holder.SerializeToString(),
        dsl_type=common_pb2.BoolExprV1,
        search_params=[common_pb2.KeyValuePair(key=k, value=v) for k, v in pairs.items()],
        nq=len(payloads),
        **fields,
    )


def wait_for_index(client, name, seconds=400):
    """As clients wait: until nothing is pending."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        told = client.describe_index(name, "vector")
        assert told["indexed_rows"] + told["pending_index_rows"] == told["total_rows"]
        assert told["state"] in ("InProgress", "Finished"), told
        if told["state"] == "Finished":
            assert told["pending_index_rows"] == 0
            return told
        time.sleep(0.1)
    raise AssertionError(f"still building: {told}")
