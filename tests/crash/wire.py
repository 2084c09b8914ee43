"""The few calls that the kill test makes, on the bare stub: a lost reply must stay lost, so no client may retry."""

import grpc
import numpy as np
from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc, schema_pb2

DIM = 4
TIMEOUT = 20.0


class Refused(Exception):
    """The server answered with an error."""


def vector_of(key: int, version: int, owner: int) -> list[float]:
    return [float(version % 4096), float(key % 4096), float(owner), 1.0]


class Wire:
    """One channel to the server. A call returns the reply, raises Refused, or grpc.RpcError when the reply is lost."""

    def __init__(self, port: int):
        self._channel = grpc.insecure_channel(
            f"127.0.0.1:{port}", options=[("grpc.enable_retries", 0), ("grpc.max_receive_message_length", -1)]
        )
        self._stub = milvus_pb2_grpc.MilvusServiceStub(self._channel)

    def close(self) -> None:
        self._channel.close()

    def call(self, method: str, request):
        reply = getattr(self._stub, method)(request, timeout=TIMEOUT, wait_for_ready=False)
        status = reply.status if hasattr(reply, "status") else reply
        if status.code or status.error_code:
            raise Refused(f"{method}: {status.code} {status.reason}")
        return reply

    # ---- collections

    def create_collection(self, name: str, string_key: bool = False) -> None:
        key = schema_pb2.FieldSchema(name="id", data_type=schema_pb2.VarChar if string_key else schema_pb2.Int64, is_primary_key=True)
        if string_key:
            key.type_params.add(key="max_length", value="32")
        vector = schema_pb2.FieldSchema(name="vector", data_type=schema_pb2.FloatVector)
        vector.type_params.add(key="dim", value=str(DIM))
        number = lambda name: schema_pb2.FieldSchema(name=name, data_type=schema_pb2.Int64)
        schema = schema_pb2.CollectionSchema(name=name, fields=[key, number("owner"), number("version"), vector])
        self.call("CreateCollection", milvus_pb2.CreateCollectionRequest(collection_name=name, schema=schema.SerializeToString()))

    def drop_collection(self, name: str) -> None:
        self.call("DropCollection", milvus_pb2.DropCollectionRequest(collection_name=name))

    def rename(self, old: str, new: str) -> None:
        self.call("RenameCollection", milvus_pb2.RenameCollectionRequest(oldName=old, newName=new))

    def collections(self) -> set[str]:
        return set(self.call("ShowCollections", milvus_pb2.ShowCollectionsRequest()).collection_names)

    def describe(self, name: str):
        return self.call("DescribeCollection", milvus_pb2.DescribeCollectionRequest(collection_name=name))

    def set_property(self, name: str, value: int) -> None:
        pair = common_pb2.KeyValuePair(key="collection.ttl.seconds", value=str(value))
        self.call("AlterCollection", milvus_pb2.AlterCollectionRequest(collection_name=name, properties=[pair]))

    def create_index(self, name: str) -> None:
        pairs = [common_pb2.KeyValuePair(key=k, value=v) for k, v in (("index_type", "IVF_FLAT"), ("metric_type", "L2"))]
        self.call("CreateIndex", milvus_pb2.CreateIndexRequest(collection_name=name, field_name="vector", extra_params=pairs))

    def drop_index(self, name: str) -> None:
        self.call("DropIndex", milvus_pb2.DropIndexRequest(collection_name=name, field_name="vector", index_name="vector"))

    def has_index(self, name: str) -> bool:
        try:
            return bool(self.call("DescribeIndex", milvus_pb2.DescribeIndexRequest(collection_name=name)).index_descriptions)
        except Refused as error:
            if "index not found" in str(error):
                return False
            raise

    def load(self, name: str) -> None:
        self.call("LoadCollection", milvus_pb2.LoadCollectionRequest(collection_name=name))

    def release(self, name: str) -> None:
        self.call("ReleaseCollection", milvus_pb2.ReleaseCollectionRequest(collection_name=name))

    def loaded(self, name: str) -> bool:
        return self.call("GetLoadState", milvus_pb2.GetLoadStateRequest(collection_name=name)).state == common_pb2.LoadStateLoaded

    def create_partition(self, name: str, partition: str) -> None:
        self.call("CreatePartition", milvus_pb2.CreatePartitionRequest(collection_name=name, partition_name=partition))

    def drop_partition(self, name: str, partition: str) -> None:
        self.call("DropPartition", milvus_pb2.DropPartitionRequest(collection_name=name, partition_name=partition))

    def partitions(self, name: str) -> set[str]:
        return set(self.call("ShowPartitions", milvus_pb2.ShowPartitionsRequest(collection_name=name)).partition_names)

    def create_alias(self, name: str, alias: str) -> None:
        self.call("CreateAlias", milvus_pb2.CreateAliasRequest(collection_name=name, alias=alias))

    def drop_alias(self, alias: str) -> None:
        self.call("DropAlias", milvus_pb2.DropAliasRequest(alias=alias))

    def timestamp(self) -> int:
        return self.call("AllocTimestamp", milvus_pb2.AllocTimestampRequest()).timestamp

    # ---- rows

    def write(self, method: str, name: str, keys: list, version: int, owner: int, partition: str = "") -> int:
        """Insert or Upsert of one batch; returns its timestamp."""
        numbers = lambda field, data: schema_pb2.FieldData(
            type=schema_pb2.Int64, field_name=field, scalars=schema_pb2.ScalarField(long_data=schema_pb2.LongArray(data=data))
        )
        string_key = isinstance(keys[0], str)
        key_column = numbers("id", keys) if not string_key else schema_pb2.FieldData(
            type=schema_pb2.VarChar, field_name="id",
            scalars=schema_pb2.ScalarField(string_data=schema_pb2.StringArray(data=keys)),
        )
        flat = [x for key in keys for x in vector_of(number_of(key), version, owner)]
        vectors = schema_pb2.FieldData(
            type=schema_pb2.FloatVector, field_name="vector",
            vectors=schema_pb2.VectorField(dim=DIM, float_vector=schema_pb2.FloatArray(data=flat)),
        )
        kind = getattr(milvus_pb2, method + "Request")
        columns = [key_column, numbers("owner", [owner] * len(keys)), numbers("version", [version] * len(keys)), vectors]
        request = kind(collection_name=name, partition_name=partition, fields_data=columns, num_rows=len(keys))
        return self.call(method, request).timestamp

    def delete(self, name: str, expression: str) -> int:
        return self.call("Delete", milvus_pb2.DeleteRequest(collection_name=name, expr=expression)).timestamp

    def flush(self, name: str) -> None:
        self.call("Flush", milvus_pb2.FlushRequest(collection_names=[name]))

    def rows(self, name: str, owner: int, partition: str = "") -> dict:
        """{key: version} of one owner; every vector is compared with what its row was written with."""
        request = milvus_pb2.QueryRequest(
            collection_name=name, expr=f"owner == {owner}", output_fields=["id", "version", "vector"],
            partition_names=[partition] if partition else [],
        )
        columns = {one.field_name: one for one in self.call("Query", request).fields_data}
        keys = columns["id"].scalars
        keys = list(keys.string_data.data) or list(keys.long_data.data)
        versions = list(columns["version"].scalars.long_data.data)
        vectors = np.array(columns["vector"].vectors.float_vector.data, dtype=np.float32).reshape(-1, DIM)
        if len(set(keys)) != len(keys):
            raise AssertionError(f"{name}: a key is there twice: {sorted(k for k in keys if keys.count(k) > 1)[:5]}")
        for key, version, vector in zip(keys, versions, vectors):
            if vector.tolist() != vector_of(number_of(key), version, owner):
                raise AssertionError(f"{name}: row {key} of version {version} has the vector {vector.tolist()}")
        return dict(zip(keys, versions))

    def count(self, name: str) -> int:
        request = milvus_pb2.QueryRequest(collection_name=name, output_fields=["count(*)"])
        return self.call("Query", request).fields_data[0].scalars.long_data.data[0]

    def stored_rows(self, name: str) -> int:
        reply = self.call("GetCollectionStatistics", milvus_pb2.GetCollectionStatisticsRequest(collection_name=name))
        return int({pair.key: pair.value for pair in reply.stats}["row_count"])

    def nearest(self, name: str, vector: list[float], limit: int) -> list[tuple]:
        """[(key, distance)] of an exact search."""
        group = common_pb2.PlaceholderGroup(placeholders=[common_pb2.PlaceholderValue(
            tag="$0", type=common_pb2.FloatVector, values=[np.array(vector, dtype=np.float32).tobytes()])])
        pairs = {"anns_field": "vector", "topk": str(limit), "params": "{}", "metric_type": "L2", "round_decimal": "-1"}
        reply = self.call("Search", milvus_pb2.SearchRequest(
            collection_name=name, placeholder_group=group.SerializeToString(), dsl_type=common_pb2.BoolExprV1, nq=1,
            search_params=[common_pb2.KeyValuePair(key=k, value=v) for k, v in pairs.items()],
        )).results
        keys = list(reply.ids.str_id.data) or list(reply.ids.int_id.data)
        return list(zip(keys, reply.scores))


def number_of(key) -> int:
    return int(key[1:]) if isinstance(key, str) else key
