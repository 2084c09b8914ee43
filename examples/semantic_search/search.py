#!/usr/bin/env python3
"""Semantic search over passages that ship with Debian, stored in Quiver. See README.md."""

import argparse
import hashlib
import json
import os
import sys
import textwrap
import time
from pathlib import Path

# The model is on disk already; nothing may look for it on a hub.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np

from corpus import collect
from embedder import DIM, Embedder

COLLECTION = "debian_passages"
CHUNK = 2048
TOUR = [
    ("What can I use to look at the stars and planets?", 'source == "package"'),
    ("fix the timing of subtitles in a film", ""),
    ("something small to play while I wait, no graphics needed", 'section == "games" and size_kb < 500'),
    ("recover pictures I deleted from a camera card", 'array_contains(tags, "interface::commandline")'),
    ("why do software projects take longer than planned", 'source == "fortune"'),
    ("advice about being in love", 'source == "fortune" and section in ["love", "wisdom", "cookie"]'),
]


def cache_directory() -> Path:
    root = os.environ.get("QUIVER_CACHE") or Path.home() / ".cache" / "quiver"
    directory = Path(root) / "semantic_search_data"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def spoken(passage: dict) -> str:
    """What the model reads of a passage."""
    return f"{passage['title']}. {passage['text']}" if passage["title"] else passage["text"]


def embeddings(passages: list[dict], cache: Path) -> np.ndarray:
    """Vectors of all passages, computed chunk by chunk; chunks done in an earlier run are read from the cache."""
    embedder, chunks, begun = None, [], time.time()
    for begin in range(0, len(passages), CHUNK):
        texts = [spoken(p) for p in passages[begin : begin + CHUNK]]
        path = cache / f"vectors-{hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:20]}.npy"
        if not path.exists():
            embedder = embedder or Embedder()

            def progress(done: int, total: int) -> None:
                print(f"\r  embedding {begin + done} of {len(passages)}  {time.time() - begun:.0f} s", end="", flush=True)

            vectors = embedder.encode(texts, progress=progress)
            partial = path.with_suffix(".partial.npy")
            np.save(partial, vectors)
            partial.rename(path)
        chunks.append(np.load(path))
    if embedder:
        print()
    return np.concatenate(chunks)


def connect(uri: str):
    from pymilvus import MilvusClient

    return MilvusClient(uri=uri)


def chosen(cache: Path, everything: bool) -> list[dict]:
    """All passages, or 10,240 package descriptions and 2,048 fortunes: about ten minutes of embedding on two cores."""
    passages = collect(cache)
    if everything:
        return passages
    packages = [p for p in passages if p["source"] == "package"]
    fortunes = [p for p in passages if p["source"] == "fortune"]
    return packages[: 5 * CHUNK] + fortunes[:CHUNK]


def build(uri: str, everything: bool) -> None:
    """Creates the collection anew and stores every passage with its vector and metadata."""
    from pymilvus import DataType, MilvusClient

    cache = cache_directory()
    passages = chosen(cache, everything)
    print(f"{len(passages)} passages")
    vectors = embeddings(passages, cache)

    client = connect(uri)
    client.drop_collection(COLLECTION)
    schema = MilvusClient.create_schema(description="Package descriptions and fortunes of Debian")
    schema.add_field("id", DataType.VARCHAR, max_length=160, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("source", DataType.VARCHAR, max_length=16)
    schema.add_field("section", DataType.VARCHAR, max_length=32)
    schema.add_field("title", DataType.VARCHAR, max_length=512)
    schema.add_field("text", DataType.VARCHAR, max_length=4096)
    schema.add_field("size_kb", DataType.INT64, nullable=True)
    schema.add_field("tags", DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=16, max_length=128)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="AUTOINDEX", metric_type="COSINE")
    client.create_collection(COLLECTION, schema=schema, index_params=index)

    begun = time.time()
    for begin in range(0, len(passages), 1000):
        rows = [dict(p, vector=v) for p, v in zip(passages[begin : begin + 1000], vectors[begin : begin + 1000])]
        client.insert(COLLECTION, rows)
    took = time.time() - begun
    count = client.query(COLLECTION, output_fields=["count(*)"])[0]["count(*)"]
    print(f"stored {count} passages in {took:.1f} s, all durable")


def ask(uri: str, question: str, expression: str, limit: int) -> None:
    """Prints the passages whose meaning is nearest to the question."""
    client = connect(uri)
    if not client.has_collection(COLLECTION):
        raise SystemExit("nothing stored yet: run  search.py --build")
    client.load_collection(COLLECTION)
    vector = Embedder().encode([question])[0]
    begun = time.time()
    hits = client.search(
        COLLECTION,
        data=[vector.tolist()],
        filter=expression,
        limit=limit,
        output_fields=["source", "section", "title", "text", "size_kb"],
    )[0]
    took = (time.time() - begun) * 1000
    print(f"\n? {question}" + (f"\n  where {expression}" if expression else "") + f"    ({took:.0f} ms)")
    for rank, hit in enumerate(hits, 1):
        row = hit["entity"]
        where = f"{row['source']}, {row['section']}" + (f", {row['size_kb']} kB" if row["size_kb"] is not None else "")
        print(f"  {rank}. {hit['distance']:.3f}  {row['title'] or hit['id']}  [{where}]")
        print(textwrap.fill(row["text"], 110, initial_indent=" " * 12, subsequent_indent=" " * 12, max_lines=3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uri", default="http://127.0.0.1:19530", help="address of the server (default %(default)s)")
    parser.add_argument("--build", action="store_true", help="collect, embed and store the passages")
    parser.add_argument("--embed-only", action="store_true", help="fill the cache of vectors; needs no server")
    parser.add_argument("--ask", metavar="QUESTION", help="search by meaning")
    parser.add_argument("--filter", default="", metavar="EXPR", help='e.g. \'section == "games" and size_kb < 500\'')
    parser.add_argument("--limit", type=int, default=3, help="answers to print (default %(default)s)")
    parser.add_argument("--tour", action="store_true", help="ask a few prepared questions, with and without filters")
    parser.add_argument("--all", action="store_true", help="all 20,000 passages instead of 12,288")
    options = parser.parse_args()
    if not (options.build or options.ask or options.tour or options.embed_only):
        parser.print_help()
        sys.exit(2)
    if options.embed_only:
        embeddings(chosen(cache_directory(), options.all), cache_directory())
    if options.build:
        build(options.uri, options.all)
    if options.ask:
        ask(options.uri, options.ask, options.filter, options.limit)
    if options.tour:
        for question, expression in TOUR:
            ask(options.uri, question, expression, options.limit)


if __name__ == "__main__":
    main()
