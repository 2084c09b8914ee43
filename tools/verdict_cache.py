"""Runs one slow command per file on all cores, and remembers which files passed: shared by the checks.

A verdict is kept under a hash of all that decides it (source_tree.fingerprint), so a changed header, flag or rule asks
again. Only passes are kept.
"""

import concurrent.futures
import pathlib
import time


class VerdictCache:
    def __init__(self, folder):
        self._folder = pathlib.Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)

    def passed(self, key):
        return (self._folder / key).exists()

    def keep(self, key):
        (self._folder / key).touch()


def run(items, check, cache, jobs, budget=None):
    """Checks the items that have no kept verdict.

    items: (name, key) in order of importance; check(name) returns "" or the findings; budget: seconds after which no
    new item is begun. Returns (findings by name, number of items that were not looked at).
    """
    deadline = time.monotonic() + budget if budget else None
    findings, left = {}, 0

    def one(item):
        if deadline and time.monotonic() > deadline:
            return None
        return check(item[0])

    todo = [item for item in items if not cache.passed(item[1])]
    with concurrent.futures.ThreadPoolExecutor(max_workers=jobs) as pool:
        for (name, key), result in zip(todo, pool.map(one, todo)):
            if result is None:
                left += 1
            elif result:
                findings[name] = result
            else:
                cache.keep(key)
    return findings, left
