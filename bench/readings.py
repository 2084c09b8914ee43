"""Rows for searches through a server: vectors with a sensor, a distance and a case; filters over them; exact answers.

Used by run_sensors.py and run_peers.py in an environment with NumPy and pymilvus.
"""

import json

SENSORS = 2000
CASES = 400_000
LATENT = 64
CHUNK = 200_000
COLLECTION = "readings"


class Readings:
    """The rows, in files so that they take no memory: chunk by chunk the same for every number of rows."""

    def __init__(self, folder, rows, dim):
        import numpy

        self.numpy, self.rows, self.dim = numpy, rows, dim
        random = numpy.random.default_rng(7)
        self.clusters = 6000 * max(1, rows // 1_000_000)
        spectrum = numpy.arange(1, LATENT + 1, dtype="f4") ** -0.5
        self.spectrum = spectrum / numpy.linalg.norm(spectrum)
        self.basis = random.standard_normal((LATENT, dim), dtype="f4") / dim**0.5
        topics = random.standard_normal((64, LATENT), dtype="f4") * self.spectrum
        self.centres = (0.632 * topics[random.integers(0, 64, self.clusters)]
                        + 0.775 * random.standard_normal((self.clusters, LATENT), dtype="f4") * self.spectrum).astype("f4")
        self.shares = numpy.cumsum(numpy.arange(1, self.clusters + 1) ** -0.8)
        self.sensor_shares = numpy.cumsum(numpy.arange(1, SENSORS + 1) ** -0.9)
        self.case_shares = numpy.cumsum(numpy.arange(1, CASES + 1) ** -0.9)
        self.sensor_of = random.integers(0, SENSORS, self.clusters)
        self.vectors = numpy.memmap(folder / "vectors.f4", dtype="f4", mode="w+", shape=(rows, dim))
        self.sensor = numpy.empty(rows, dtype="i8")
        self.distance = numpy.empty(rows, dtype="f4")
        self.case = numpy.empty(rows, dtype="i8")
        for begin in range(0, rows, CHUNK):
            end = min(begin + CHUNK, rows)
            self.vectors[begin:end], clusters = self.draw(numpy.random.default_rng([7, begin]), end - begin)
            random = numpy.random.default_rng([8, begin])
            followed = random.random(end - begin) < 0.5
            self.sensor[begin:end] = numpy.where(followed, self.sensor_of[clusters], self.pick(random, self.sensor_shares, end - begin))
            self.distance[begin:end] = random.lognormal(1, 1.2, end - begin)
            self.case[begin:end] = self.pick(random, self.case_shares, end - begin)

    def pick(self, random, shares, count):
        return self.numpy.searchsorted(shares, random.random(count) * shares[-1])

    def draw(self, random, count):
        numpy = self.numpy
        clusters = self.pick(random, self.shares, count)
        latent = self.centres[clusters] + 0.5 * random.standard_normal((count, LATENT), dtype="f4") * self.spectrum
        vectors = latent.astype("f4") @ self.basis
        vectors += 0.45 / self.dim**0.5 * random.standard_normal((count, self.dim), dtype="f4")
        vectors /= numpy.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors, clusters


class Class:
    """A kind of filter: one expression and one set of rows per query."""

    def __init__(self, name, expressions, masks):
        self.name, self.expressions, self.masks = name, expressions, masks


def classes_of(data, rows, queries):
    """The classes for the first rows of the data. Values are chosen by their number of rows."""
    numpy = data.numpy
    sensor, distance, case = data.sensor[:rows], data.distance[:rows], data.case[:rows]

    def values_near(column, count):
        """Values whose number of rows is nearest to the one wanted, up to 50."""
        counts = numpy.bincount(column)
        present = numpy.flatnonzero(counts)
        return present[numpy.argsort(abs(numpy.log(counts[present] / max(count, 1))), kind="stable")[:50]]

    def by_value(column, name, count):
        values = values_near(column, count)
        kept = {int(v): numpy.flatnonzero(column == v) for v in values}
        chosen = [int(values[q % len(values)]) for q in range(queries)]
        return [f"{name} == {v}" for v in chosen], [kept[v] for v in chosen]

    quantile = lambda part: float(numpy.quantile(distance, part))
    one, ten = quantile(0.01), quantile(0.9)
    groups, masks = [], []
    for group in range(20):  # sensors and a distance that keep about 1 % together
        some = [int(v) for v in numpy.random.default_rng([9, group]).permutation(values_near(sensor, rows / SENSORS))[:40]]
        inside = numpy.isin(sensor, some)
        limit = float(numpy.quantile(distance[inside], min(1.0, 0.01 * rows / max(int(inside.sum()), 1))))
        groups.append(f"sensor in {some} and distance <= {limit!r}")
        masks.append(numpy.flatnonzero(inside & (distance <= numpy.float32(limit))))
    return [
        Class("no filter", [""] * queries, [None] * queries),
        Class("a rare case", *by_value(case, "case", 30)),
        Class("a case (0.01 %)", *by_value(case, "case", rows * 1e-4)),
        Class("a sensor (0.1 %)", *by_value(sensor, "sensor", rows * 1e-3)),
        Class("40 sensors and a distance (1 %)", [groups[q % 20] for q in range(queries)], [masks[q % 20] for q in range(queries)]),
        Class("near (1 %)", [f"distance < {one!r}"] * queries, [numpy.flatnonzero(distance < numpy.float32(one))] * queries),
        Class("far (10 %)", [f"distance > {ten!r}"] * queries, [numpy.flatnonzero(distance > numpy.float32(ten))] * queries),
    ]


def exact(data, rows, queries, masks, limit):
    """The nearest `limit` rows of each query, in order; fewer where fewer match."""
    numpy = data.numpy
    best = [(numpy.empty(0, "f4"), numpy.empty(0, "i8")) for _ in queries]

    def merge(q, scores, keys):
        scores, keys = numpy.concatenate([best[q][0], scores]), numpy.concatenate([best[q][1], keys])
        if len(scores) > limit:
            top = numpy.argpartition(-scores, limit - 1)[:limit]
            scores, keys = scores[top], keys[top]
        best[q] = scores, keys

    shared = {id(mask) for mask in masks}
    for begin in range(0, rows, CHUNK):
        end = min(begin + CHUNK, rows)
        chunk = numpy.asarray(data.vectors[begin:end])
        inside = {}
        if len(shared) == 1:  # one product for all queries
            mask = masks[0]
            local = None if mask is None else mask[numpy.searchsorted(mask, begin):numpy.searchsorted(mask, end)] - begin
            part = chunk if local is None else chunk[local]
            products = queries @ part.T
            for q in range(len(queries)):
                floor = best[q][0].min() if len(best[q][0]) >= limit else -2
                found = numpy.flatnonzero(products[q] > floor)
                if len(found):
                    merge(q, products[q][found], begin + (found if local is None else local[found]))
            continue
        for q, mask in enumerate(masks):
            if id(mask) not in inside:
                local = mask[numpy.searchsorted(mask, begin):numpy.searchsorted(mask, end)]
                inside[id(mask)] = local, chunk[local - begin]
            local, part = inside[id(mask)]
            if len(local):
                merge(q, part @ queries[q], local)
    return [set(keys.tolist()) for _, keys in best]


class Requests:
    """Serialized requests, as pymilvus would send them."""

    def __init__(self):
        from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

        self.common, self.milvus, self.schema = common_pb2, milvus_pb2, schema_pb2

    @staticmethod
    def write(file, message):
        data = message.SerializeToString()
        file.write(len(data).to_bytes(4, "little") + data)

    @staticmethod
    def varint(value):
        out = bytearray()
        while value >= 0x80:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        out.append(value)
        return bytes(out)

    def write_inserts(self, path, data, begin, end, batch):
        with open(path, "wb") as file:
            for at in range(begin, end, batch):
                self.write(file, self.insert(data, at, min(at + batch, end)))

    def write_searches(self, path, vectors, kind, limit, effort_name, effort):
        with open(path, "wb") as file:
            for vector, expression in zip(vectors, kind.expressions):
                self.write(file, self.search(vector, expression, limit, effort_name, effort))

    def insert(self, data, begin, end):
        request = self.milvus.InsertRequest(collection_name=COLLECTION, num_rows=end - begin)
        for name, kind, column in (("id", "Int64", None), ("sensor", "Int64", data.sensor), ("case", "Int64", data.case),
                                   ("distance", "Float", data.distance)):
            field = request.fields_data.add(field_name=name, type=self.schema.DataType.Value(kind))
            if kind == "Float":
                field.scalars.float_data.data.extend(column[begin:end].tolist())
            else:
                field.scalars.long_data.data.extend(range(begin, end) if column is None else column[begin:end].tolist())
        field = request.fields_data.add(field_name="vector", type=self.schema.DataType.Value("FloatVector"))
        field.vectors.dim = data.dim
        raw = data.vectors[begin:end].tobytes()
        field.vectors.float_vector.MergeFromString(b"\x0a" + self.varint(len(raw)) + raw)  # a packed list is its memory
        return request

    def search(self, vector, expression, limit, effort_name, effort):
        group = self.common.PlaceholderGroup()
        group.placeholders.add(tag="$0", type=self.common.PlaceholderType.FloatVector, values=[vector.tobytes()])
        request = self.milvus.SearchRequest(collection_name=COLLECTION, dsl=expression, nq=1, dsl_type=self.common.DslType.BoolExprV1,
                                            placeholder_group=group.SerializeToString(), use_default_consistency=True)
        for key, value in (("anns_field", "vector"), ("topk", limit), ("metric_type", "L2"), ("params", json.dumps({effort_name: effort}))):
            request.search_params.add(key=key, value=str(value))
        return request


def create_collection(client, dim, index, params, range_index="STL_SORT"):
    """Makes the collection with an index over the vectors and one over each other field."""
    from pymilvus import DataType

    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("sensor", DataType.INT64)
    schema.add_field("case", DataType.INT64)
    schema.add_field("distance", DataType.FLOAT)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
    indexes = client.prepare_index_params()
    indexes.add_index("vector", index_type=index, metric_type="L2", params=params)
    for name, kind in (("sensor", "INVERTED"), ("case", "INVERTED"), ("distance", range_index)):
        indexes.add_index(name, index_type=kind)
    client.create_collection(COLLECTION, schema=schema, index_params=indexes)


def read_answers(path):
    """What quiver_load replay-search wrote: a list of keys per request."""
    data = path.read_bytes()
    answers, at = [], 0
    while at < len(data):
        count = int.from_bytes(data[at:at + 4], "little")
        answers.append(memoryview(data)[at + 4:at + 4 + 8 * count].cast("q").tolist())
        at += 4 + 8 * count
    return answers


def recalls_of(answers, truth):
    """The recall of each query, ascending; None where a query got fewer rows than there are, or one twice."""
    if any(len(found) != len(wanted) or len(set(found)) != len(found) for found, wanted in zip(answers, truth)):
        return None
    return sorted(len(wanted.intersection(found)) / max(len(wanted), 1) for found, wanted in zip(answers, truth))
