#!/usr/bin/env python3
"""Compares our wire definitions with the published ones.

Loads the descriptors inside the newest pymilvus and those made by protoc from proto/, and compares every message, field
(number, type, label, oneof, presence), enum value and method that we define. Then lists the published methods that the
binary does not serve, and checks that docs/compatibility.md says the same.

Usage: tests/conformance/run.py            exit code 0 = no difference; 77 = pymilvus cannot be installed (skipped)
Environment: QUIVER_CACHE (default ~/.cache/quiver) holds the environment with pymilvus, QUIVER_BINARY the quiver binary
(default build/release/quiver). QUIVER_REQUIRE_CLIENTS=1 turns what would be skipped into a failure.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(os.environ.get("QUIVER_CACHE") or pathlib.Path.home() / ".cache" / "quiver")
ENVIRONMENT = CACHE / "venv-pymilvus-newest"
REQUIRE_CLIENTS = os.environ.get("QUIVER_REQUIRE_CLIENTS", "") not in ("", "0")


def enter_environment():
    """Runs this script again under the Python that has pymilvus, made on first use."""
    python = ENVIRONMENT / "bin" / "python"
    if pathlib.Path(sys.prefix).resolve() == ENVIRONMENT.resolve():
        return
    if not (ENVIRONMENT / "complete").exists():
        try:
            subprocess.run([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], check=True)
            subprocess.run([python, "-m", "pip", "install", "-q", "--upgrade", "pymilvus"], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"{'FAILED' if REQUIRE_CLIENTS else 'SKIPPED'} cannot install pymilvus: {error}")
            print(f"0 passed, {int(REQUIRE_CLIENTS)} failed, {int(not REQUIRE_CLIENTS)} skipped")
            sys.exit(1 if REQUIRE_CLIENTS else 77)
        (ENVIRONMENT / "complete").touch()
    os.execv(python, [str(python), *sys.argv])


enter_environment()

from google.protobuf import descriptor_pb2  # noqa: E402
from pymilvus.grpc_gen import common_pb2, feder_pb2, milvus_pb2, msg_pb2, rg_pb2, schema_pb2  # noqa: E402

FIELD = descriptor_pb2.FieldDescriptorProto


class Definitions:
    """Messages, enums and methods of a set of files, by full name."""

    def __init__(self, files):
        self.messages, self.enums, self.methods = {}, {}, {}
        for file in files:
            for message in file.message_type:
                self._add_message(file.package, message)
            for enum in file.enum_type:
                self.enums[f"{file.package}.{enum.name}"] = enum
            for service in file.service:
                for method in service.method:
                    self.methods[f"{file.package}.{service.name}/{method.name}"] = method

    def _add_message(self, scope, message):
        name = f"{scope}.{message.name}"
        self.messages[name] = message
        for nested in message.nested_type:
            self._add_message(name, nested)
        for enum in message.enum_type:
            self.enums[f"{name}.{enum.name}"] = enum


def published():
    modules = (common_pb2, schema_pb2, rg_pb2, msg_pb2, feder_pb2, milvus_pb2)
    return Definitions([descriptor_pb2.FileDescriptorProto.FromString(m.DESCRIPTOR.serialized_pb) for m in modules])


def ours():
    with tempfile.TemporaryDirectory() as directory:
        output = pathlib.Path(directory) / "descriptors.pb"
        sources = sorted((ROOT / "proto").glob("*.proto"))
        subprocess.run(["protoc", f"-I{ROOT / 'proto'}", f"--descriptor_set_out={output}", *sources], check=True)
        return Definitions(descriptor_pb2.FileDescriptorSet.FromString(output.read_bytes()).file)


def describe_field(message, field):
    """What has to agree, as readable text."""
    text = FIELD.Label.Name(field.label)[len("LABEL_"):].lower() + " "
    text += field.type_name.lstrip(".") or FIELD.Type.Name(field.type)[len("TYPE_"):].lower()
    text += f" {field.name} = {field.number}"
    if field.proto3_optional:
        text += " with presence"
    elif field.HasField("oneof_index"):
        text += f" in oneof {message.oneof_decl[field.oneof_index].name}"
    if field.options.HasField("packed"):
        text += f" packed={field.options.packed}"
    return text


def compare_parts(name, mine, theirs):
    """Yields differences of two {key: description} tables."""
    for key in sorted(mine.keys() | theirs.keys(), key=str):
        if mine.get(key) != theirs.get(key):
            yield f"{name}: ours is [{mine.get(key, 'nothing')}], published is [{theirs.get(key, 'nothing')}]"


def fields_of(message):
    return {field.number: describe_field(message, field) for field in message.field}


def values_of(enum):
    return {value.name: f"{value.name} = {value.number}" for value in enum.value}


def describe_method(method):
    kind = ("stream " if method.client_streaming else "") + method.input_type.lstrip(".")
    return {"": f"({kind}) returns ({'stream ' if method.server_streaming else ''}{method.output_type.lstrip('.')})"}


class Report:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def check(self, differences):
        """Counts one case; `differences` are its failures."""
        differences = list(differences)
        for line in differences:
            print("FAILED", line)
        if differences:
            self.failed += 1
        else:
            self.passed += 1

    def skip(self, reason):
        print("FAILED" if REQUIRE_CLIENTS else "SKIPPED", reason)
        if REQUIRE_CLIENTS:
            self.failed += 1
        else:
            self.skipped += 1


def compare_definitions(report, mine, theirs):
    for kind, describe in (("messages", fields_of), ("enums", values_of), ("methods", describe_method)):
        known = getattr(theirs, kind)
        for name, definition in sorted(getattr(mine, kind).items()):
            if name in known:
                report.check(compare_parts(name, describe(definition), describe(known[name])))
            else:
                report.check([f"{name}: not among the published {kind}"])


def documented_methods():
    """Returns {method: state} of the table rows `| Method | works |` in docs/compatibility.md."""
    text = (ROOT / "docs" / "compatibility.md").read_text()
    section = text.split("\n## RPCs", 1)[1].split("\n## ", 1)[0]
    return dict(re.findall(r"^\| ([A-Z]\w+) \| (works|missing) \|", section, re.M))


def compare_served(report, theirs):
    binary = pathlib.Path(os.environ.get("QUIVER_BINARY") or ROOT / "build" / "release" / "quiver")
    if not binary.exists():
        report.skip(f"the served methods: {binary} is not built")
        return
    served = set(subprocess.run([binary, "rpcs"], check=True, capture_output=True, text=True).stdout.split())
    names = {name.split("/")[1] for name in theirs.methods if name.startswith("milvus.proto.milvus.MilvusService/")}
    missing = sorted(names - served)
    print(f"Published methods that are not served ({len(missing)} of {len(names)}): {', '.join(missing) or 'none'}")
    report.check(f"{name}: served, but not published" for name in sorted(served - names))

    states = documented_methods()
    for name in sorted(names | states.keys()):
        expected = "works" if name in served else "missing"
        actual = states.get(name, "not listed")
        report.check([f"docs/compatibility.md says {name}: {actual}; it is: {expected}"] if actual != expected else [])


def main():
    report = Report()
    theirs = published()
    compare_definitions(report, ours(), theirs)
    compare_served(report, theirs)
    print(f"{report.passed} passed, {report.failed} failed, {report.skipped} skipped")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
