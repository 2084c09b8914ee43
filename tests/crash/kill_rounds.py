"""Rounds of: load from several threads, SIGKILL at a random moment, restart, comparison with a model.

Each worker thread owns its rows of two shared collections and some collections of its own, and does one operation at
a time. What was acknowledged must be there afterwards exactly; the one operation of each worker whose reply was lost
may have happened wholly or not at all. The operations follow from the seed; the moment of the kill does too, though
what it hits depends on the machine. The data directory lives through all rounds, so recovery meets old data as well.
"""

import argparse
import copy
import dataclasses
import random
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Callable

import grpc
from server_process import ServerProcess
from wire import Refused, Wire, vector_of

WORKERS = 4
SHARED = ("kill_int", "kill_str")
KEYS = 1500
OWN_COLLECTIONS = 2
DAMAGE_BYTES = 3000
DAMAGE_ROUNDS = 8  # a cut may hit only what nobody was promised yet; not so often in a row


@dataclasses.dataclass
class Own:
    """A collection that belongs to one worker."""

    rows: dict = dataclasses.field(default_factory=dict)  # key -> (version, partition)
    partitions: set = dataclasses.field(default_factory=lambda: {"_default"})
    aliases: set = dataclasses.field(default_factory=set)
    loaded: bool = False
    index: bool = False
    ttl: str = ""


@dataclasses.dataclass
class State:
    """What one worker's objects look like."""

    shared: dict = dataclasses.field(default_factory=lambda: {name: {} for name in SHARED})  # name -> key -> version
    own: dict = dataclasses.field(default_factory=dict)  # name -> Own


@dataclasses.dataclass
class Operation:
    """One request and what it does to the model."""

    text: str
    send: Callable[[Wire], int | None]
    apply: Callable[[State], None]


class Worker:
    """Chooses operations, sends them and keeps the model of what was acknowledged."""

    def __init__(self, owner: int):
        self.owner = owner
        self.state = State()
        self.in_flight: Operation | None = None
        self.acknowledged = 0
        self.newest = 0  # largest timestamp the server gave to a write
        self.failure: str | None = None
        self._serial = 0

    def run(self, port: int, rng: random.Random, stop: threading.Event) -> None:
        """Works until the server is gone (or `stop`); an answer that is an error is a failure of the test."""
        wire = Wire(port)
        try:
            while not stop.is_set():
                operation = self._choose(rng)
                self.in_flight = operation
                try:
                    timestamp = operation.send(wire)
                except grpc.RpcError as error:
                    if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN):
                        self.failure = f"worker {self.owner}: {operation.text}: {error.code()} {error.details()}"
                    return
                except Refused as error:
                    self.failure = f"worker {self.owner}: {operation.text}: {error}"
                    return
                operation.apply(self.state)
                self.in_flight = None
                self.acknowledged += 1
                if timestamp:
                    if timestamp <= self.newest:
                        self.failure = f"worker {self.owner}: timestamp {timestamp} after {self.newest}"
                        return
                    self.newest = timestamp
        finally:
            wire.close()

    # ---- choosing

    def _choose(self, rng: random.Random) -> Operation:
        self._serial += 1
        kinds = [(self._write, 50), (self._delete_keys, 10), (self._delete_filter, 6), (self._flush, 3), (self._ddl, 31)]
        kind = rng.choices([k for k, _ in kinds], [w for _, w in kinds])[0]
        return kind(rng)

    def _key(self, name: str, number: int):
        number += self.owner * 1_000_000
        return f"k{number}" if name == "kill_str" else number

    def _write(self, rng: random.Random) -> Operation:
        name, version, owner = rng.choice(SHARED), self._serial, self.owner
        method = rng.choice(["Insert", "Upsert"])
        size = rng.choice([1, 1, 3, 20, 100, 100, 1000])
        numbers = rng.sample(range(KEYS), size) if method == "Upsert" or rng.random() < 0.7 else rng.choices(range(KEYS), k=size)
        keys = [self._key(name, number) for number in numbers]
        return Operation(
            f"{method} of {size} rows into {name}, version {version}",
            lambda wire: wire.write(method, name, keys, version, owner),
            lambda state: state.shared[name].update((key, version) for key in keys),
        )

    def _delete_keys(self, rng: random.Random) -> Operation:
        name = rng.choice(SHARED)
        keys = [self._key(name, number) for number in rng.sample(range(KEYS), rng.choice([1, 10, 200]))]

        def apply(state: State) -> None:
            for key in keys:
                state.shared[name].pop(key, None)

        return Operation(f"Delete of {len(keys)} keys from {name}", lambda wire: wire.delete(name, f"id in {keys}"), apply)

    def _delete_filter(self, rng: random.Random) -> Operation:
        name, owner = rng.choice(SHARED), self.owner
        versions = sorted(set(self.state.shared[name].values())) or [0]
        bound = versions[min(len(versions) - 1, rng.randrange(1 + len(versions) // 4))]

        def apply(state: State) -> None:
            state.shared[name] = {key: version for key, version in state.shared[name].items() if version >= bound}

        expression = f"owner == {owner} and version < {bound}"
        return Operation(f"Delete from {name} where {expression}", lambda wire: wire.delete(name, expression), apply)

    def _flush(self, rng: random.Random) -> Operation:
        name = rng.choice(SHARED)
        return Operation(f"Flush of {name}", lambda wire: wire.flush(name), lambda state: None)

    def _ddl(self, rng: random.Random) -> Operation:
        if len(self.state.own) < OWN_COLLECTIONS:
            return self._create(rng)
        name = rng.choice(sorted(self.state.own))
        own = self.state.own[name]
        choices = [(self._own_write, 8), (self._own_write, 8), (self._set_property, 2), (self._rename, 2)]
        choices.append((self._drop_alias, 2) if own.aliases else (self._create_alias, 2))
        choices.append((self._release, 2) if own.loaded else (self._load, 3))
        if not own.aliases:
            choices.append((self._drop, 2))
        if not own.loaded:
            choices.append((self._drop_index, 1) if own.index else (self._create_index, 1))
            if len(own.partitions) > 1:
                choices.append((self._drop_partition, 2))
        if len(own.partitions) < 4:
            choices.append((self._create_partition, 2))
        kind = rng.choices([k for k, _ in choices], [w for _, w in choices])[0]
        return kind(rng, name)

    def _create(self, rng: random.Random) -> Operation:
        name = f"own_{self.owner}_{self._serial}"
        return Operation(f"Create {name}", lambda wire: wire.create_collection(name), lambda state: state.own.update({name: Own()}))

    def _drop(self, rng: random.Random, name: str) -> Operation:
        return Operation(f"Drop {name}", lambda wire: wire.drop_collection(name), lambda state: state.own.pop(name) and None)

    def _own_write(self, rng: random.Random, name: str) -> Operation:
        version, owner = self._serial, self.owner
        partition = rng.choice(sorted(self.state.own[name].partitions))
        keys = rng.sample(range(300), rng.choice([1, 10, 100]))
        return Operation(
            f"Insert of {len(keys)} rows into {name}/{partition}, version {version}",
            lambda wire: wire.write("Insert", name, keys, version, owner, partition),
            lambda state: state.own[name].rows.update((key, (version, partition)) for key in keys),
        )

    def _set_property(self, rng: random.Random, name: str) -> Operation:
        value = rng.randrange(1_000_000, 2_000_000)
        return Operation(
            f"Property of {name} = {value}", lambda wire: wire.set_property(name, value),
            lambda state: setattr(state.own[name], "ttl", str(value)),
        )

    def _rename(self, rng: random.Random, name: str) -> Operation:
        new = f"own_{self.owner}_{self._serial}"

        def apply(state: State) -> None:
            state.own[new] = state.own.pop(name)

        return Operation(f"Rename {name} to {new}", lambda wire: wire.rename(name, new), apply)

    def _create_alias(self, rng: random.Random, name: str) -> Operation:
        alias = f"alias_{self.owner}_{self._serial}"
        return Operation(
            f"Alias {alias} of {name}", lambda wire: wire.create_alias(name, alias), lambda state: state.own[name].aliases.add(alias)
        )

    def _drop_alias(self, rng: random.Random, name: str) -> Operation:
        alias = sorted(self.state.own[name].aliases)[0]
        return Operation(f"Drop alias {alias}", lambda wire: wire.drop_alias(alias), lambda state: state.own[name].aliases.discard(alias))

    def _load(self, rng: random.Random, name: str) -> Operation:
        return Operation(f"Load {name}", lambda wire: wire.load(name), lambda state: setattr(state.own[name], "loaded", True))

    def _release(self, rng: random.Random, name: str) -> Operation:
        return Operation(f"Release {name}", lambda wire: wire.release(name), lambda state: setattr(state.own[name], "loaded", False))

    def _create_index(self, rng: random.Random, name: str) -> Operation:
        return Operation(f"Index of {name}", lambda wire: wire.create_index(name), lambda state: setattr(state.own[name], "index", True))

    def _drop_index(self, rng: random.Random, name: str) -> Operation:
        return Operation(f"Drop index of {name}", lambda wire: wire.drop_index(name), lambda state: setattr(state.own[name], "index", False))

    def _create_partition(self, rng: random.Random, name: str) -> Operation:
        partition = f"p{self._serial}"
        return Operation(
            f"Partition {partition} of {name}", lambda wire: wire.create_partition(name, partition),
            lambda state: state.own[name].partitions.add(partition),
        )

    def _drop_partition(self, rng: random.Random, name: str) -> Operation:
        partition = rng.choice(sorted(self.state.own[name].partitions - {"_default"}))

        def apply(state: State) -> None:
            own = state.own[name]
            own.partitions.discard(partition)
            own.rows = {key: row for key, row in own.rows.items() if row[1] != partition}

        return Operation(f"Drop partition {partition} of {name}", lambda wire: wire.drop_partition(name, partition), apply)

    # ---- comparing

    def read(self, wire: Wire, everything: set[str]) -> State:
        """This worker's objects as the server shows them."""
        state = State(shared={name: wire.rows(name, self.owner) for name in SHARED})
        for name in sorted(one for one in everything if one.startswith(f"own_{self.owner}_")):
            told = wire.describe(name)
            own = Own(
                partitions=wire.partitions(name), aliases=set(told.aliases), loaded=wire.loaded(name), index=wire.has_index(name),
                ttl={pair.key: pair.value for pair in told.properties}.get("collection.ttl.seconds", ""),
            )
            if not own.loaded:
                wire.load(name)
            for partition in sorted(own.partitions):
                for key, version in wire.rows(name, self.owner, partition).items():
                    if key in own.rows:
                        raise AssertionError(f"{name}: row {key} is in two partitions")
                    own.rows[key] = (version, partition)
            if not own.loaded:
                wire.release(name)
            state.own[name] = own
        return state

    def settle(self, actual: State) -> str | None:
        """Takes the server's state as the model when it is one that may be; otherwise says how it differs."""
        if actual == self.state:
            self.in_flight = None
            return None
        if self.in_flight:
            with_it = copy.deepcopy(self.state)
            self.in_flight.apply(with_it)
            if actual == with_it:
                self.state, self.in_flight = with_it, None
                return None
        lost = f"; reply lost: {self.in_flight.text}" if self.in_flight else "; no reply was lost"
        return f"worker {self.owner}: {'; '.join(differences(self.state, actual))}{lost}"


def differences(model: State, actual: State) -> list[str]:
    found = []
    for name in SHARED:
        mine, theirs = model.shared[name], actual.shared[name]
        if mine != theirs:
            missing = sorted(mine.keys() - theirs.keys())
            extra = sorted(theirs.keys() - mine.keys())
            other = sorted(key for key in mine.keys() & theirs.keys() if mine[key] != theirs[key])
            sample = [(key, mine[key], theirs[key]) for key in other[:3]]
            found.append(f"{name}: {len(missing)} rows missing {[(k, mine[k]) for k in missing[:3]]}, "
                         f"{len(extra)} too many {[(k, theirs[k]) for k in extra[:3]]}, "
                         f"{len(other)} of another version (key, model, server) {sample}")
    for name in sorted(model.own.keys() | actual.own.keys()):
        mine, theirs = model.own.get(name), actual.own.get(name)
        if mine is None or theirs is None:
            found.append(f"{name} is {'missing' if theirs is None else 'there'} and should {'' if mine else 'not '}be")
        elif mine != theirs:
            parts = [f"{field.name} {getattr(theirs, field.name)} instead of {getattr(mine, field.name)}"
                     for field in dataclasses.fields(Own) if getattr(mine, field.name) != getattr(theirs, field.name)]
            found.append(f"{name}: {', '.join(part[:300] for part in parts)}")
    return found


class KillTest:
    """The server, its workers and the rounds."""

    def __init__(self, options: argparse.Namespace, scratch: Path):
        self.options = options
        # Indexes of small segments, so that the kill meets builds.
        self.server = ServerProcess(options.binary, scratch / "data", arguments=["--index.min-rows=50"])
        self.workers = [Worker(owner) for owner in range(WORKERS)]

    def prepare(self) -> None:
        self.server.start()
        wire = Wire(self.server.port)
        for name in SHARED:
            wire.create_collection(name, string_key=name == "kill_str")
            wire.create_index(name)
            wire.load(name)
        wire.close()

    def load(self, number: int) -> None:
        """Runs the workers for a random while and kills the server under them."""
        rng = random.Random(f"{self.options.seed}/{number}")
        stop = threading.Event()
        threads = [
            threading.Thread(target=worker.run, args=(self.server.port, random.Random(f"{self.options.seed}/{number}/{worker.owner}"), stop))
            for worker in self.workers
        ]
        for thread in threads:
            thread.start()
        # The moment of the kill is the random input of this test; nothing waits for it.
        time.sleep(rng.uniform(0.3, 1.5))
        if not self.server.alive():
            raise AssertionError(f"the server ended by itself with {self.server.process.returncode}\n{self.server.log_tail()}")
        self.server.kill()
        stop.set()
        for thread in threads:
            thread.join()
        failures = [worker.failure for worker in self.workers if worker.failure]
        if failures:
            raise AssertionError("\n".join(failures))

    def damage(self) -> None:
        """Cuts off the newest records of the log, as a server that answers before the disk has them would lose them."""
        newest = sorted((self.server.data / "log").glob("*.log"))[-1]
        content = newest.read_bytes()
        # The end of the file is space reserved ahead, all zeros: cutting that would lose nothing.
        written = len(content.rstrip(b"\0"))
        with newest.open("r+b") as file:
            file.truncate(max(64, written - DAMAGE_BYTES))

    def restart(self, number: int) -> None:
        rng = random.Random(f"{self.options.seed}/{number}/restart")
        if rng.random() < 0.2:
            # Kill the recovery itself, then let the next one do its work.
            self.server.launch()
            time.sleep(rng.uniform(0.0, 0.15))
            self.server.kill()
        self.server.start()

    def compare(self) -> None:
        wire = Wire(self.server.port)
        try:
            newest = max(worker.newest for worker in self.workers)
            drawn = wire.timestamp()
            if drawn <= newest:
                raise AssertionError(f"timestamp {drawn} is not after {newest}, which a write had before the kill")
            everything = wire.collections()
            wrong = [worker.settle(worker.read(wire, everything)) for worker in self.workers]
            if any(wrong):
                raise AssertionError("\n".join(text for text in wrong if text))
            for name in SHARED:
                rows = sum(len(worker.state.shared[name]) for worker in self.workers)
                if (wire.count(name), wire.stored_rows(name)) != (rows, rows):
                    raise AssertionError(f"{name}: count {wire.count(name)}, statistics {wire.stored_rows(name)}, model {rows}")
                self._check_search(wire, name)
        finally:
            wire.close()

    def _check_search(self, wire: Wire, name: str) -> None:
        """The index agrees with the rows: a row that is there is found by its own vector, at distance 0."""
        for worker in self.workers:
            for key, version in list(worker.state.shared[name].items())[:2]:
                number = int(key[1:]) if isinstance(key, str) else key
                hits = wire.nearest(name, vector_of(number, version, worker.owner), 5)
                if not hits or hits[0][1] != 0 or len({hit[0] for hit in hits}) != len(hits):
                    raise AssertionError(f"{name}: search for the vector of row {key} found {hits}")

    def round(self, number: int) -> None:
        self.load(number)
        if self.options.damage:
            self.damage()
        self.restart(number)
        self.compare()


def notices_damage(options: argparse.Namespace) -> bool:
    """Whether this test sees a server that loses acknowledged writes: without that its passing would mean nothing."""
    damaged = argparse.Namespace(**{**vars(options), "damage": True})
    scratch = Path(tempfile.mkdtemp(prefix="quiver-crash-"))
    test = KillTest(damaged, scratch)
    try:
        test.prepare()
        for number in range(DAMAGE_ROUNDS):
            try:
                test.round(number)
            except (AssertionError, RuntimeError) as error:  # differs, or does not start
                print(f"  with the log's end cut off, round {number} fails as it must: {str(error)[:200]}")
                return True
        print(f"{DAMAGE_ROUNDS} rounds with the log's end cut off went unnoticed (seed {options.seed})")
        return False
    finally:
        test.server.kill()
        shutil.rmtree(scratch)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--binary", type=Path, default=None, help="server to test (default: the release build)")
    parser.add_argument("--keep", action="store_true", help="keep the data directory also after success")
    parser.add_argument("--damage", action="store_true", help="only prove that lost writes are seen: cut off the log's end")
    options = parser.parse_args()
    if options.damage:
        noticed = notices_damage(options)
        print(f"{int(noticed)} passed, {int(not noticed)} failed, 0 skipped")
        return 0 if noticed else 1

    print(f"kill test: {options.rounds} rounds, seed {options.seed}", flush=True)
    scratch = Path(tempfile.mkdtemp(prefix="quiver-crash-"))
    test = KillTest(options, scratch)
    passed, failure, begun = 0, None, time.monotonic()
    try:
        test.prepare()
        for number in range(options.rounds):
            test.round(number)
            passed += 1
            if passed % 10 == 0:
                done = sum(worker.acknowledged for worker in test.workers)
                print(f"  {passed} rounds, {done} operations acknowledged, {time.monotonic() - begun:.0f} s", flush=True)
        if test.server.stop() != 0:
            raise AssertionError(f"the last stop ended with {test.server.process.returncode}")
        test.server.start()
        test.compare()
        rows = {name: sum(len(worker.state.shared[name]) for worker in test.workers) for name in SHARED}
        print(f"  at the end: {rows} rows, {sum(len(worker.state.own) for worker in test.workers)} other collections")
    except Exception as error:
        failure = error
        print(f"round {passed} failed (seed {options.seed}): {type(error).__name__}: {error}")
        print(test.server.log_tail())
        print(f"data and log are kept in {scratch}")
    finally:
        test.server.kill()
        if failure is None and not options.keep:
            shutil.rmtree(scratch)
    failed = 0 if failure is None else 1
    if failure is None:
        if notices_damage(options):
            passed += 1
        else:
            failed = 1
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
