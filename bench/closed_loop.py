"""Searches in a closed loop of processes with one connection each, for peers that have clients in Python only."""

import json
import multiprocessing
import pathlib
import time

WARM_UP = 20  # searches of each process before the clock starts


def client(options, connected, number, barrier, results):
    times = []
    with connected(options) as (search, count):
        for index in range(WARM_UP):
            search(index % count)
        barrier.wait()
        end = time.monotonic() + options.seconds
        index = number
        while (begin := time.monotonic()) < end:
            search(index % count)
            times.append(time.monotonic() - begin)
            index += options.clients
    results.put(times)


def run(options, connected):
    """Each search once, whose keys go to the file options.answers, or a loop of options.clients for options.seconds.

    `connected(options)` is a context that gives a function, which answers search i by a list of keys, and the number of
    searches there are.
    """
    if options.answers:
        with connected(options) as (search, count):
            pathlib.Path(options.answers).write_text(json.dumps([search(index) for index in range(count)]))
        return {}
    barrier, results = multiprocessing.Barrier(options.clients), multiprocessing.Queue()
    clients = [multiprocessing.Process(target=client, args=(options, connected, number, barrier, results))
               for number in range(options.clients)]
    for each in clients:
        each.start()
    times = sorted(t for _ in clients for t in results.get())
    for each in clients:
        each.join()
    at = lambda part: times[int(part * (len(times) - 1))] * 1e6
    return {"calls_per_second": len(times) / options.seconds, "p50_us": at(0.5), "p95_us": at(0.95), "p99_us": at(0.99)}


def add_arguments(parser):
    parser.add_argument("mode", choices=["fill", "search"])
    parser.add_argument("--folder", required=True)
    parser.add_argument("--file")
    parser.add_argument("--answers")
    for name in ("port", "dim", "limit", "effort", "clients"):
        parser.add_argument(f"--{name}", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5)
