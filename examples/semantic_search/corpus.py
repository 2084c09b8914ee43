"""Collects real passages from what Debian ships: descriptions of its programs and the fortune cookies.

Everything goes through the ordinary apt tools into a cache directory of our own; nothing is installed and no root is
needed. Each passage is a dictionary with the columns of the collection (see search.py), without the vector.
"""

import re
import subprocess
import textwrap
from pathlib import Path

# Sections whose packages are programs somebody might look for, rather than libraries or language modules.
SECTIONS = """admin comm database editors education electronics embedded games gnome graphics hamradio httpd kde mail
math misc net news science shells sound text utils vcs video web x11 xfce""".split()
# Companions that repeat the description of the package they belong to.
COMPANION = re.compile(r"^lib|-(data|common|doc|docs|dbg|dev|dbgsym|l10n|plugins?|perl|cil|tests?|examples?|bin|core|gtk\d?|qt\d?)$")
FORTUNES = """art computers cookie debian definitions education food fortunes goedel kids linux linuxcookie literature
love magic medicine miscellaneous pets platitudes science sports tao wisdom work""".split()
PASSAGE_CHARS = 480


def collect(cache: Path) -> list[dict]:
    """All passages in a fixed order; the apt lists and the fortunes are fetched into `cache` on the first call."""
    return _packages(cache) + _fortunes(cache)


def _run(*command: str, cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise SystemExit(f"{command[0]} not found: the texts of this example come from Debian's package tools")
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"{' '.join(command)} failed:\n{error.stderr}")
    return done.stdout


def _apt_options(cache: Path) -> list[str]:
    lists = cache / "apt" / "lists"
    (lists / "partial").mkdir(parents=True, exist_ok=True)
    archives = cache / "apt" / "archives"
    (archives / "partial").mkdir(parents=True, exist_ok=True)
    return [
        *("-o", f"Dir::State::lists={lists}", "-o", f"Dir::Cache::archives={archives}"),
        *("-o", f"Dir::Cache::pkgcache={cache / 'apt' / 'pkgcache.bin'}"),
        *("-o", f"Dir::Cache::srcpkgcache={cache / 'apt' / 'srcpkgcache.bin'}"),
        *("-o", "Acquire::Languages=en", "-o", "APT::Sandbox::User="),
    ]


def _records(text: str):
    """Fields of each paragraph of a Debian control file; a continued field keeps its line breaks."""
    for paragraph in text.split("\n\n"):
        record, name = {}, None
        for line in paragraph.split("\n"):
            if line[:1] in (" ", "\t"):
                if name:
                    record[name] += "\n" + line[1:]
            elif ":" in line:
                name, _, value = line.partition(":")
                record[name] = value.strip()
        if record:
            yield record


def _prose(description: str) -> str:
    """First paragraphs of a long description, as one line of at most PASSAGE_CHARS characters."""
    paragraphs, lines = [], []
    for line in description.split("\n"):
        if line.strip() == ".":
            paragraphs.append(" ".join(lines))
            lines = []
        else:
            lines.append(line.strip())
    paragraphs.append(" ".join(lines))
    prose = re.sub(r"\s+", " ", " ".join(p for p in paragraphs if p))
    return textwrap.shorten(prose, PASSAGE_CHARS, placeholder=" ...")


def _packages(cache: Path) -> list[dict]:
    options = _apt_options(cache)
    lists = cache / "apt" / "lists"
    if not any(lists.glob("*Translation-en*")):
        _run("apt-get", *options, "update")
    read = lambda pattern: "\n\n".join(
        _run("/usr/lib/apt/apt-helper", "cat-file", str(path)) for path in sorted(lists.glob(pattern))
    )
    long_texts = {r["Description-md5"]: r.get("Description-en", "") for r in _records(read("*_main_i18n_Translation-en*"))}
    passages, seen = [], set()
    for record in _records(read("*_main_binary-*_Packages*")):
        name, section = record["Package"], record.get("Section", "")
        text = long_texts.get(record.get("Description-md5", ""))
        if section not in SECTIONS or COMPANION.search(name) or not text or name in seen:
            continue
        title, _, body = text.partition("\n")
        body = _prose(body)
        if len(body) < 60 or body[:100] in seen or "transitional" in text:
            continue
        seen.update((name, body[:100]))
        tags = [tag.strip() for tag in record.get("Tag", "").replace("\n", "").split(",") if tag.strip()]
        passages.append(
            {
                "id": f"package/{name}",
                "source": "package",
                "section": section,
                "title": f"{name}: {title}",
                "text": body,
                "size_kb": int(record.get("Installed-Size", 0)),
                "tags": tags[:16],
            }
        )
    return sorted(passages, key=lambda p: p["id"])


def _fortunes(cache: Path) -> list[dict]:
    root = cache / "fortunes"
    if not root.exists():
        archives = cache / "apt" / "archives"
        _run("apt-get", *_apt_options(cache), "download", "fortunes", "fortunes-min", cwd=archives)
        for archive in sorted(archives.glob("fortunes*.deb")):
            _run("dpkg-deb", "-x", str(archive), str(root))
    passages, seen = [], set()
    for topic in FORTUNES:
        path = root / "usr/share/games/fortunes" / topic
        if not path.exists():
            continue
        for number, cookie in enumerate(path.read_text(errors="replace").split("\n%\n")):
            text = textwrap.shorten(cookie, PASSAGE_CHARS, placeholder=" ...")
            if len(text) < 30 or text in seen:
                continue
            seen.add(text)
            passages.append(
                {
                    "id": f"fortune/{topic}/{number}",
                    "source": "fortune",
                    "section": topic,
                    "title": "",
                    "text": text,
                    "size_kb": None,
                    "tags": [],
                }
            )
    return passages
