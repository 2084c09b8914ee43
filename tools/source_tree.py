"""The C++ files of the project and what they include: shared by the checks of `./dev check`."""

import functools
import hashlib
import json
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+(["<])([^">]+)[">]', re.MULTILINE)


def git(*arguments):
    """Output lines of a git command, or nothing where it fails (no such branch, no repository)."""
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.splitlines() if done.returncode == 0 else []


def files(*patterns):
    """Paths of the files of the work tree that match, new ones included, relative to the root and sorted."""
    listed = git("ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns)
    return sorted({name for name in listed if (ROOT / name).is_file()})


@functools.lru_cache(maxsize=None)
def text(path):
    return (ROOT / path).read_text(encoding="utf-8", errors="replace")


@functools.lru_cache(maxsize=None)
def includes(path):
    """(line, quote, name) of each include directive."""
    content = text(path)
    return [(content.count("\n", 0, match.start()) + 1, match[1], match[2]) for match in INCLUDE.finditer(content)]


def closure(path):
    """The file and every project file that it includes, directly or not."""
    seen, todo = set(), [path]
    while todo:
        current = todo.pop()
        if current in seen:
            continue
        seen.add(current)
        for _, _, name in includes(current):
            for candidate in (f"src/{name}", str(pathlib.PurePosixPath(current).parent / name)):
                if (ROOT / candidate).is_file():
                    todo.append(candidate)
                    break
    return sorted(seen)


def fingerprint(path, *others):
    """Hash of a file, all that it includes of ours, and anything else that decides the verdict on it."""
    digest = hashlib.sha256()
    for part in others:
        digest.update(part.encode() + b"\0")
    for name in closure(path):
        digest.update(name.encode() + b"\0" + text(name).encode() + b"\0")
    return digest.hexdigest()


def compile_commands(build):
    """Source file (relative to the root) -> its compiler arguments as one string, from a configured build folder."""
    commands = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        path = pathlib.Path(entry["file"])
        if path.is_relative_to(ROOT):
            commands[str(path.relative_to(ROOT))] = entry["command"]
    return commands


def changed_files():
    """Files that differ from where this branch left main, uncommitted ones included; empty when that is unknown."""
    for branch in ("origin/main", "main"):
        base = git("merge-base", "HEAD", branch)
        if base:
            return set(git("diff", "--name-only", base[0])) | set(git("ls-files", "--others", "--exclude-standard"))
    return set()
