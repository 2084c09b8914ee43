"""Index definitions: every published type and its parameters, duplicates, drops."""

import json
import time

import pytest
from pymilvus import DataType
from pymilvus.grpc_gen import common_pb2, milvus_pb2

from collections_under_test import count, failed, refused, stub, succeeded, vectors

F, B, S, I8 = DataType.FLOAT_VECTOR, DataType.BINARY_VECTOR, DataType.SPARSE_FLOAT_VECTOR, DataType.INT8_VECTOR

GOOD = [
    ("FLAT", F, "L2", {}), ("FLAT", I8, "COSINE", {}), ("FLAT", DataType.FLOAT16_VECTOR, "IP", {}),
    ("FLAT", DataType.BFLOAT16_VECTOR, "COSINE", {}),
    ("IVF_FLAT", F, "L2", {"nlist": 128}), ("IVF_FLAT", F, "L2", {"nlist": "1024"}), ("IVF_FLAT", F, "IP", {}),
    ("IVF_SQ8", F, "COSINE", {"nlist": 64}), ("IVF_PQ", F, "L2", {"nlist": 16, "m": 8, "nbits": 8}),
    ("IVF_RABITQ", F, "COSINE", {"nlist": 16}), ("SCANN", F, "L2", {"nlist": 16, "with_raw_data": True}),
    ("HNSW", F, "COSINE", {"M": 16, "efConstruction": 200}), ("HNSW", F, "L2", {}), ("HNSW", I8, "L2", {"M": 8, "efConstruction": 64}),
    ("HNSW_SQ", F, "L2", {"M": 16, "efConstruction": 100, "sq_type": "SQ8"}),
    ("HNSW_PQ", F, "L2", {"M": 16, "efConstruction": 100, "m": 8, "nbits": 8}),
    ("HNSW_PRQ", F, "L2", {"M": 16, "efConstruction": 100, "m": 2, "nrq": 2, "nbits": 8}),
    ("DISKANN", F, "L2", {}), ("AUTOINDEX", F, "COSINE", {}), ("AUTOINDEX", B, "HAMMING", {}), ("AUTOINDEX", S, "IP", {}),
    ("BIN_FLAT", B, "HAMMING", {}), ("BIN_FLAT", B, "JACCARD", {}), ("BIN_IVF_FLAT", B, "JACCARD", {"nlist": 32}),
    ("SPARSE_INVERTED_INDEX", S, "IP", {"inverted_index_algo": "DAAT_WAND"}), ("SPARSE_WAND", S, "IP", {}),
]


def field_of(kind):
    return ("v", kind, {} if kind == S else {"dim": 32})


def sample(kind, n):
    if kind == S:
        return [{i: 1.0, 100: float(i + 1)} for i in range(n)]
    if kind == B:
        return [bytes([i % 256] * 4) for i in range(n)]
    data = vectors(n, 32)
    if kind == F:
        return data.tolist()
    import ml_dtypes
    import numpy as np

    dtype = {DataType.FLOAT16_VECTOR: np.float16, DataType.BFLOAT16_VECTOR: ml_dtypes.bfloat16, I8: np.int8}[kind]
    return list((data * (20 if dtype == np.int8 else 1)).astype(dtype))


@pytest.mark.parametrize("index_type,kind,metric,params", GOOD, ids=[f"{g[0]}-{g[1].name}-{g[2]}-{g[3]}" for g in GOOD])
def test_every_published_type(client, collections, name, index_type, kind, metric, params):
    """Accepted, described as it was asked for, finished at once, and searches find the exact answer."""
    collections.create(name, [field_of(kind)], index=False, load=False)
    client.insert(name, [{"id": i, "v": v} for i, v in enumerate(sample(kind, 50))])
    client.flush(name)
    collections.index(name, "v", metric=metric, index_type=index_type, **params)
    told = client.describe_index(name, "v")
    assert told["index_type"] == index_type and told["metric_type"] == metric
    assert told["field_name"] == "v" and told["index_name"] == "v"
    assert told["state"] == "Finished" and told["pending_index_rows"] == 0
    assert told["indexed_rows"] == told["total_rows"] == 50
    for key, value in params.items():
        assert str(told[key]).lower() == str(value).lower()
    client.load_collection(name)
    assert client.search(name, data=[sample(kind, 50)[5]], anns_field="v", limit=3)[0][0]["distance"] is not None
    assert count(client, name) == 50


SUFFIX = ": invalid parameter[expected=valid index params][actual=invalid index params]"
BAD = [
    ("NO_SUCH", F, "L2", {}, "NO_SUCH"), ("ANNOY", F, "L2", {}, "ANNOY"), ("RHNSW_FLAT", F, "L2", {}, "RHNSW_FLAT"),
    ("AUTO_INDEX", F, "L2", {}, "AUTO_INDEX"),
    ("HNSW", S, "IP", {}, "HNSW"), ("SPARSE_WAND", F, "IP", {}, "SPARSE_WAND"), ("BIN_FLAT", F, "L2", {}, "BIN_FLAT"),
    ("IVF_FLAT", B, "HAMMING", {}, "IVF_FLAT"), ("INVERTED", F, "L2", {}, "INVERTED"),
    ("FLAT", F, "HAMMING", {}, "float vector index does not support metric type: HAMMING" + SUFFIX),
    ("FLAT", F, "NONSENSE", {}, "float vector index does not support metric type: NONSENSE" + SUFFIX),
    ("BIN_FLAT", B, "L2", {}, "binary vector index does not support metric type: L2" + SUFFIX),
    ("SPARSE_INVERTED_INDEX", S, "L2", {}, "only IP&BM25 is the supported metric type for sparse index" + SUFFIX),
    ("SPARSE_INVERTED_INDEX", S, "BM25", {}, "only BM25 Function output field support BM25 metric type" + SUFFIX),
    ("FLAT", I8, "HAMMING", {}, "int vector index does not support metric type: HAMMING" + SUFFIX),
    ("BIN_IVF_FLAT", B, "SUBSTRUCTURE", {}, ""),
    ("IVF_FLAT", F, "L2", {"nlist": 0}, "nlist"), ("IVF_FLAT", F, "L2", {"nlist": 65537}, "nlist"),
    ("IVF_FLAT", F, "L2", {"nlist": "a"}, "nlist"), ("IVF_PQ", F, "L2", {"m": 3, "nlist": 16}, "32"),
    ("IVF_PQ", F, "L2", {"m": 8, "nbits": 25}, "nbits"), ("HNSW", F, "L2", {"M": 1}, "M"),
    ("HNSW", F, "L2", {"M": 2049}, "M"), ("HNSW", F, "L2", {"M": 16, "efConstruction": 0}, "efConstruction"),
    ("HNSW_SQ", F, "L2", {"sq_type": "sq5"}, "sq5"), ("SCANN", F, "L2", {"sub_dim": 0}, "sub_dim"),
    ("DISKANN", F, "L2", {"max_degree": 4096}, "max_degree"),
    ("SPARSE_INVERTED_INDEX", S, "IP", {"inverted_index_algo": "FASTEST"}, "FASTEST"),
    ("SPARSE_INVERTED_INDEX", S, "IP", {"drop_ratio_build": 1.5}, "drop_ratio_build"),
    ("FLAT", F, "L2", {"dim": 64}, "dimension mismatch, dimension in schema: 32, dimension: 64"),
    ("AUTOINDEX", F, "L2", {"M": 16}, "only metric type can be passed when use AutoIndex"),
]


@pytest.mark.parametrize("index_type,kind,metric,params,text", BAD, ids=[f"{b[0]}-{b[1].name}-{b[2]}-{b[3]}" for b in BAD])
def test_bad_definitions(client, collections, name, index_type, kind, metric, params, text):
    collections.create(name, [field_of(kind)], index=False, load=False)
    with refused(text):
        collections.index(name, "v", metric=metric, index_type=index_type, **params)
    assert client.list_indexes(name) == []


def test_default_metric(client, collections, name):
    """Without a metric the type's default is taken."""
    collections.create(name, [("v", F, {"dim": 4}), ("b", B, {"dim": 16}), ("s", S)], index=False, load=False)
    for field, want in [("v", "COSINE"), ("b", "HAMMING"), ("s", "IP")]:
        collections.index(name, field, metric=None, index_type="AUTOINDEX")
        assert client.describe_index(name, field)["metric_type"] == want


def test_same_definition_again_is_a_success(client, collections, name):
    collections.create(name, load=False, index=False)
    for _ in range(2):
        collections.index(name, "vector", index_type="HNSW", M=16, efConstruction=100)
    assert client.list_indexes(name) == ["vector"]


def test_another_definition_is_refused(client, collections, name):
    collections.create(name, load=False, index=False)
    collections.index(name, "vector", index_type="HNSW", M=16, efConstruction=100)
    with refused("at most one distinct index is allowed per field", code=1100):
        collections.index(name, "vector", index_type="IVF_FLAT", nlist=16)
    with refused("CreateIndex failed: creating multiple indexes on same field is not supported", code=1100):
        collections.index(name, "vector", index_type="HNSW", index_name="second", M=16, efConstruction=100)


def test_unknown_field(client, collections, name):
    collections.create(name, load=False)
    with refused("cannot create index on non-exist field: nothing"):
        collections.index(name, "nothing")


def test_names(client, collections, name):
    collections.create(name, load=False, index=False)
    with refused("ndex name"):
        collections.index(name, "vector", index_name="1-bad name")
    collections.index(name, "vector", index_name="my_index")
    assert client.list_indexes(name) == ["my_index"]
    assert client.describe_index(name, "my_index")["field_name"] == "vector"


def test_describing_none(client, collections, name):
    collections.create(name, load=False, index=False)
    assert client.list_indexes(name) == []
    failed(
        stub(client).DescribeIndex(milvus_pb2.DescribeIndexRequest(collection_name=name)),
        f"index not found[collection={name}]", code=700,
    )
    failed(stub(client).DescribeIndex(milvus_pb2.DescribeIndexRequest(collection_name=name, index_name="x")),
           "index not found", code=700)


def test_dropping_is_idempotent(client, collections, name):
    collections.create(name, load=False)
    client.drop_index(name, "vector")
    client.drop_index(name, "vector")
    assert client.list_indexes(name) == []


def test_a_loaded_vector_index_stays(client, collections, name):
    collections.create(name)
    identifier = client.describe_collection(name)["collection_id"]
    with refused(f"vector index cannot be dropped on loaded collection: {identifier}", code=1100):
        client.drop_index(name, "vector")
    client.release_collection(name)
    client.drop_index(name, "vector")


def test_dropping_without_a_name_is_ambiguous(client, collections, name):
    collections.create(name, [("x", DataType.INT64)], load=False)
    collections.index(name, "x", metric=None, index_type="STL_SORT")
    failed(stub(client).DropIndex(milvus_pb2.DropIndexRequest(collection_name=name)), code=702)


def test_swapping_types_changes_no_answer(client, collections, name):
    collections.create(name, dim=16, load=False, index=False)
    data = vectors(300, 16)
    client.insert(name, [{"id": i, "vector": data[i].tolist()} for i in range(300)])
    answers = []
    for index_type, metric, params in [("FLAT", "L2", {}), ("IVF_FLAT", "L2", {"nlist": 16}), ("HNSW", "L2", {"M": 8, "efConstruction": 64})]:
        collections.index(name, "vector", metric=metric, index_type=index_type, **params)
        client.load_collection(name)
        answers.append([hit["id"] for hit in client.search(name, data=[data[9].tolist()], limit=10)[0]])
        client.release_collection(name)
        client.drop_index(name, "vector")
    assert answers[0] == answers[1] == answers[2]


SCALAR_GOOD = [
    ("n", "INVERTED", {}), ("n", "STL_SORT", {}), ("n", "BITMAP", {}), ("n", "", {}), ("n", "AUTOINDEX", {}),
    ("s", "INVERTED", {}), ("s", "TRIE", {}), ("s", "Trie", {}), ("s", "BITMAP", {}), ("s", "STL_SORT", {}),
    ("b", "BITMAP", {}), ("b", "INVERTED", {}), ("f", "STL_SORT", {}), ("f", "INVERTED", {}), ("a", "INVERTED", {}),
    ("a", "BITMAP", {}), ("s", "NGRAM", {"min_gram": 2, "max_gram": 3}),
    ("j", "INVERTED", {"json_path": 'j["a"]', "json_cast_type": "DOUBLE"}),
]
SCALAR_BAD = [
    ("s", "HNSW", {}, "HNSW"), ("j", "STL_SORT", {}, ""), ("a", "STL_SORT", {}, "STL_SORT are only supported on"),
    ("n", "TRIE", {}, "TRIE are only supported on varchar field"), ("b", "NO_SUCH", {}, "NO_SUCH"),
    ("f", "BITMAP", {}, "bitmap index are only supported on bool, int, string and array field"),
    ("id", "BITMAP", {}, "create bitmap index on primary key not supported"),
    ("s", "NGRAM", {}, "Ngram index must specify both min_gram and max_gram"),
    ("j", "INVERTED", {}, "json index must specify cast type"),
    ("j", "INVERTED", {"json_path": 'j["a"]', "json_cast_type": "FLOAT16"}, "json_cast_type FLOAT16 is not supported"),
    ("n", "RTREE", {}, "RTREE index can only be built on geometry field"),
]
SCALAR_FIELDS = [
    ("n", DataType.INT64), ("s", DataType.VARCHAR, {"max_length": 20}), ("b", DataType.BOOL), ("f", DataType.DOUBLE),
    ("j", DataType.JSON), ("a", DataType.ARRAY, {"element_type": DataType.INT64, "max_capacity": 4}),
]


@pytest.mark.parametrize("field,index_type,params", SCALAR_GOOD, ids=str)
def test_scalar_indexes(client, collections, name, field, index_type, params):
    collections.create(name, SCALAR_FIELDS, load=False)
    client.insert(name, [{"id": i, "n": i, "s": f"s{i}", "b": True, "f": 0.5, "j": {"a": i}, "a": [i], "vector": [0.0] * 8}
                         for i in range(20)])
    collections.index(name, field, metric=None, index_type=index_type, index_name="scalar", **params)
    told = client.describe_index(name, "scalar")
    assert told["field_name"] == field and told["state"] == "Finished"
    client.load_collection(name)
    assert count(client, name, 'n >= 10 and s != "s12" and a[0] < 15 and j["a"] > 0 and b == true') == 4
    client.drop_index(name, "scalar")
    assert count(client, name, "n >= 10") == 10


@pytest.mark.parametrize("field,index_type,params,text", SCALAR_BAD, ids=str)
def test_bad_scalar_indexes(client, collections, name, field, index_type, params, text):
    collections.create(name, SCALAR_FIELDS, load=False)
    with refused(text):
        collections.index(name, field, metric=None, index_type=index_type, **params)


def test_index_params_as_nested_json(client, collections, name):
    """ORM clients send `params` as one JSON text, others flat pairs; both are read and given back."""
    collections.create(name, index=False, load=False)
    pairs = {"index_type": "IVF_FLAT", "metric_type": "L2", "params": json.dumps({"nlist": 99})}
    request = milvus_pb2.CreateIndexRequest(
        collection_name=name, field_name="vector",
        extra_params=[common_pb2.KeyValuePair(key=k, value=v) for k, v in pairs.items()],
    )
    succeeded(stub(client).CreateIndex(request))
    told = client.describe_index(name, "vector")
    assert str(told.get("nlist") or told["params"]["nlist"]) == "99"


def test_alter_index_properties(client, collections, name):
    collections.create(name, load=False)
    client.alter_index_properties(name, "vector", {"mmap.enabled": True})
    assert str(client.describe_index(name, "vector")["mmap.enabled"]).lower() == "true"
    with refused("is not a configable index property"):
        client.alter_index_properties(name, "vector", {"nlist": 5})
    client.load_collection(name)
    with refused("can't alter index on loaded collection, please release the collection first", code=104):
        client.alter_index_properties(name, "vector", {"mmap.enabled": False})


@pytest.mark.parametrize("params,text", [
    ({"ef": 5}, "ef(5) should be larger than k(10)"),
    ({"ef": 0}, "ef"),
])
def test_search_parameters_of_hnsw(client, collections, name, params, text):
    """The parameters of the declared index are checked although the answer is exact."""
    collections.create(name, index=False, load=False)
    collections.index(name, "vector", index_type="HNSW", M=8, efConstruction=64)
    client.load_collection(name)
    client.insert(name, [{"id": i, "vector": [float(i)] * 8} for i in range(20)])
    with refused(text):
        client.search(name, data=[[0.0] * 8], limit=10, search_params={"params": params})
    assert len(client.search(name, data=[[0.0] * 8], limit=10, search_params={"params": {"ef": 64}})[0]) == 10


def test_search_parameters_of_ivf(client, collections, name):
    collections.create(name, index=False, load=False)
    collections.index(name, "vector", index_type="IVF_FLAT", nlist=16)
    client.load_collection(name)
    client.insert(name, [{"id": i, "vector": [float(i)] * 8} for i in range(20)])
    with refused("Out of range in json: param 'nprobe'"):
        client.search(name, data=[[0.0] * 8], limit=10, search_params={"params": {"nprobe": 0}})
    assert len(client.search(name, data=[[0.0] * 8], limit=10, search_params={"params": {"nprobe": 4}})[0]) == 10


def settle(client, name, index):
    """Waits until the index covers all flushed rows."""
    end = time.monotonic() + 120
    while (told := client.describe_index(name, index))["pending_index_rows"] != 0:
        assert time.monotonic() < end, told
        time.sleep(0.05)


SERVED = [(name, F, "L2", params) for name, params in [
    ("IVF_FLAT", {"nlist": 64}), ("IVF_SQ8", {"nlist": 64, "sq_type": "sq4"}), ("IVF_PQ", {"nlist": 64, "m": 8, "nbits": 8}),
    ("IVF_RABITQ", {"nlist": 64}), ("SCANN", {"nlist": 64}), ("DISKANN", {}), ("HNSW", {"M": 16, "efConstruction": 100}),
    ("HNSW_PQ", {"M": 16, "efConstruction": 100, "m": 8}), ("HNSW_PRQ", {"M": 16, "efConstruction": 100, "m": 2}),
    ("AUTOINDEX", {}),
]] + [("HNSW", B, "HAMMING", {"M": 16, "efConstruction": 100}), ("BIN_IVF_FLAT", B, "HAMMING", {"nlist": 32}),
      ("SPARSE_INVERTED_INDEX", S, "IP", {"drop_ratio_build": 0.1}), ("SPARSE_WAND", S, "IP", {}), ("AUTOINDEX", S, "IP", {})]


@pytest.mark.parametrize("index_type,kind,metric,params", SERVED, ids=[f"{s[0]}-{s[1].name}" for s in SERVED])
def test_built_indexes_find_the_nearest(client, collections, name, index_type, kind, metric, params):
    """Enough rows for an index: it is built, and finds what the scan of the same rows found before, filtered or not."""
    import numpy as np

    rng = np.random.default_rng(3)
    rows, queries = 6000, 10
    centres = rng.standard_normal((50, 32))
    dense = (centres[rng.integers(50, size=rows + queries)] + 0.4 * rng.standard_normal((rows + queries, 32)))
    dense = dense.astype(np.float32)
    if kind == S:
        dense = np.zeros((rows + queries, 2000), np.float32)
        for row in dense:
            row[(2000 ** rng.random(30)).astype(int)] = rng.random(30).astype(np.float32) + 0.1
        data = [{int(k): float(row[k]) for k in row.nonzero()[0]} for row in dense]
        truth = -(dense[rows:] @ dense[:rows].T)
    elif kind == B:
        data = [row.tobytes() for row in np.packbits(dense > 0, axis=1)]
        truth = ((dense[rows:, None] > 0) != (dense[None, :rows] > 0)).sum(axis=2)
    else:
        data = dense.tolist()
        truth = ((dense[rows:, None] - dense[None, :rows]) ** 2).sum(axis=2)
    collections.create(name, [field_of(kind), ("n", DataType.INT64)], index=False, load=False)
    for first in range(0, rows, 2000):
        client.insert(name, [{"id": i, "v": data[i], "n": i % 10} for i in range(first, first + 2000)])
    client.flush(name)
    collections.index(name, "v", metric=metric, index_type=index_type, **params)
    settle(client, name, "v")
    assert client.describe_index(name, "v")["indexed_rows"] == rows
    client.load_collection(name)
    for text, kept in (("", range(rows)), ("n < 4", [i for i in range(rows) if i % 10 < 4])):
        found = client.search(name, data=data[rows:], anns_field="v", limit=10, filter=text)
        right = 0
        for scores, hits in zip(truth[:, kept], found):
            assert len(hits) == 10 and {hit["id"] for hit in hits} <= set(kept)
            worst = np.sort(scores)[9]
            right += sum((-1 if kind == S else 1) * hit["distance"] <= worst + 1e-3 for hit in hits)
        assert right >= (queries * 10 if kind == S else queries * 9), f"{right} of {queries * 10} with filter {text!r}"
