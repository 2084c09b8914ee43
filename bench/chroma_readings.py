#!/usr/bin/env python3
"""The work of run_peers.py on a Chroma server. Run by it in an environment with chromadb.

fill: adds the rows of a folder to a collection. search: runs the filters of a JSON file, once each (--answers) or in a closed
loop of processes with one connection each. Prints one JSON line.
"""

import argparse
import contextlib
import json
import pathlib
import time

import chromadb
import closed_loop
import numpy

NAME = "readings"


def connect(options):
    return chromadb.HttpClient(host="127.0.0.1", port=options.port)


def fill(options):
    folder = pathlib.Path(options.folder)
    columns = {name: numpy.load(folder / f"{name}.npy") for name in ("sensor", "case", "distance")}
    vectors = numpy.memmap(folder / "vectors.f4", dtype="f4", mode="r", shape=(len(columns["sensor"]), options.dim))
    begin = time.monotonic()
    client = connect(options)
    graph = {"space": "l2", "max_neighbors": 16, "ef_construction": 200}
    collection = client.create_collection(NAME, configuration={"hnsw": graph}, embedding_function=None)
    step = min(client.get_max_batch_size(), 5000)
    for first in range(0, len(vectors), step):
        rows = range(first, min(first + step, len(vectors)))
        fields = [{name: column[row].item() for name, column in columns.items()} for row in rows]
        collection.add(ids=[str(row) for row in rows], embeddings=numpy.array(vectors[first : rows.stop]), metadatas=fields)
    return {"insert_seconds": time.monotonic() - begin, "index_seconds": 0}


@contextlib.contextmanager
def connected(options):
    wheres = json.loads(pathlib.Path(options.file).read_text())
    vectors = numpy.load(pathlib.Path(options.folder) / "queries.npy")
    collection = connect(options).get_collection(NAME, embedding_function=None)

    def search(index):
        found = collection.query(query_embeddings=vectors[index : index + 1], n_results=options.limit, where=wheres[index], include=[])
        return [int(key) for key in found["ids"][0]]

    yield search, len(wheres)


def main():
    parser = argparse.ArgumentParser()
    closed_loop.add_arguments(parser)
    options = parser.parse_args()
    if options.mode == "fill":
        print(json.dumps(fill(options)))
        return
    connect(options).get_collection(NAME, embedding_function=None).modify(configuration={"hnsw": {"ef_search": options.effort}})
    print(json.dumps(closed_loop.run(options, connected)))


if __name__ == "__main__":
    main()
