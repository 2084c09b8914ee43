"""Checks who includes whom: the order of layers in docs/architecture.md, and where outside headers may appear.

Prints one line "file:line: what is wrong" per finding; exit code 1 when there is one.
"""

import pathlib
import re
import sys

import source_tree

# A layer may include itself and those before it.
LAYERS = ["base", "io", "simd", "text", "schema", "expr", "codec", "index", "storage", "jobs", "segment", "engine",
          "query", "link", "cluster", "api", "ops", "cli"]

# Usable as a library: these know nothing of storage, of the engine or of anything above them, wherever they stand in
# the order.
LIBRARY = {"simd", "codec", "index", "expr", "text", "link"}
SERVER = set(LAYERS[LAYERS.index("storage"):]) - LIBRARY

# Outside headers that only some layers may see, and why.
CONFINED = [
    (re.compile(r"^(google/protobuf/|grpc|.*\.pb\.h$)"), {"api", "cluster"}, "wire messages stay in api and cluster"),
    (re.compile(r"^nghttp2/|^http_parser\.h$"), {"api", "ops"}, "network protocols stay in api and ops"),
    (re.compile(r"^rocksdb/"), {"storage"}, "RocksDB is behind MetaStore"),
    (re.compile(r"^(liburing\.h|sys/mman\.h)$"), {"io"}, "files are read and written through io"),
    (re.compile(r"^fstream$"), {"io", "ops"}, "files are read and written through io (ops reads /proc)"),
    # SSE2 is part of every x86-64 and needs no dispatch: filters pack masks and scan JSON with it, beside a plain twin.
    (re.compile(r"^emmintrin\.h$"), {"base", "simd", "expr"}, "kernels stay in simd (checksums in base, SSE2 in expr)"),
    (re.compile(r"^(immintrin|x86intrin|arm_neon|arm_sve|[a-df-z]mmintrin)\.h$"), {"base", "simd"},
     "kernels stay in simd (checksums in base)"),
]
VAGUE_NAMES = re.compile(r"(^|_)(utils?|helpers?|common|misc)(_|$)")


def check_file(path):
    layer = pathlib.PurePosixPath(path).parts[1]
    if layer not in LAYERS:
        yield 1, f"src/{layer} is no layer of docs/architecture.md"
        return
    is_test = path.endswith("_test.cc")
    if VAGUE_NAMES.search(pathlib.PurePosixPath(path).stem):
        yield 1, "name the file after its concept, not util, helper, common or misc"
    if path.endswith(".h") and "#pragma once" not in source_tree.text(path):
        yield 1, "header without #pragma once"
    for line, quote, name in source_tree.includes(path):
        target = name.split("/")[0]
        if quote == '"' and (source_tree.SOURCE / name).is_file() and target in LAYERS:
            if LAYERS.index(target) > LAYERS.index(layer):
                yield line, f'layer {layer} includes "{name}": {target} is above it'
            elif layer in LIBRARY and target in SERVER:
                yield line, f'layer {layer} includes "{name}": it is usable as a library, {target} belongs to the server'
        elif quote == '"' and not name.endswith(".pb.h"):
            yield line, f'"{name}" is no file below src; include ours as "layer/file.h", others in angle brackets'
        for pattern, allowed, reason in CONFINED:
            if pattern.search(name) and layer not in allowed and not is_test:
                yield line, f"layer {layer} includes <{name}>: {reason}"


def main():
    paths = source_tree.files("src/*.h", "src/*.cc")
    findings = [f"{path}:{line}: {message}" for path in paths for line, message in check_file(path)]
    print("\n".join(findings) if findings else f"layers: {len(paths)} files in order")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
