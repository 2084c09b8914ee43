# File: bench/texts.py
# Real text for benchmarks, from Debian's own packages: nothing is downloaded while a benchmark runs.
#
# packages()   the descriptions of all packages of the distribution, from apt's lists ("Packages", "Translation-en"),
#              with what apt knows of each package: section, priority, installed size, maintainer, tags
# paragraphs() their distinct paragraphs, each with the package that it came from first
# passages()   those paragraphs, the glosses of WordNet (wordnet-base) and the entries of the Collaborative International
#              Dictionary of English (dict-gcide), distinct and shuffled
#
# apt keeps lists and archives of its own for this under ${QUIVER_CACHE:-~/.cache/quiver}/data/debian; the machine's own
# lists and packages stay as they are. Once fetched they are used as they are: a security update of a package between two
# machines changes a few texts, so figures are compared within one run.
import gzip
import os
import pathlib
import random
import re
import subprocess

CACHE = pathlib.Path(os.environ.get("QUIVER_CACHE", pathlib.Path.home() / ".cache" / "quiver"))
FOLDER = CACHE / "data" / "debian"
LISTS = FOLDER / "lists"
ARCHIVES = ["wordnet-base", "dict-gcide"]
SHORTEST = 30  # characters of a passage
DIGITS = {letter: value for value, letter in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")}


def apt(command, *arguments):
    """Runs apt-get with lists of its own."""
    options = ["-q", "-o", f"Dir::State::Lists={LISTS}", "-o", "Acquire::Languages=en", "-o", "APT::Sandbox::User=root"]
    subprocess.run(["apt-get", *options, command, *arguments], cwd=FOLDER, check=True, stdout=subprocess.DEVNULL, timeout=600)


def read_list(ending):
    """The text of the largest of apt's lists with this ending: that of the release, not of its updates."""
    (LISTS / "partial").mkdir(parents=True, exist_ok=True)
    find = lambda: sorted(LISTS.glob(f"*{ending}*"), key=lambda path: path.stat().st_size)
    if not find():
        apt("update")
    path = find()[-1]
    return subprocess.run(["/usr/lib/apt/apt-helper", "cat-file", str(path)], check=True, capture_output=True).stdout.decode()


def stanzas(text):
    """The paragraphs of a control file as dictionaries; continued lines keep their line ends."""
    for stanza in text.split("\n\n"):
        fields = {}
        for name, value in re.findall(r"^([A-Za-z0-9-]+): ?(.*(?:\n .*)*)", stanza, re.M):
            fields.setdefault(name, value)
        if fields:
            yield fields


def packages():
    """One dictionary per package: name, section, priority, size (KiB), maintainer, tags, paragraphs."""
    described = {fields["Package"]: fields["Description-en"] for fields in stanzas(read_list("_i18n_Translation-en"))}
    found = []
    for fields in stanzas(read_list("_Packages")):
        name = fields["Package"]
        if name not in described:
            continue
        lines = described.pop(name).split("\n")
        text = "\n".join("" if line.strip() == "." else line.strip() for line in lines[1:])
        found.append({
            "name": name,
            "section": fields.get("Section", ""),
            "priority": fields.get("Priority", ""),
            "size": int(fields.get("Installed-Size", 0)),
            "maintainer": fields.get("Maintainer", ""),
            "tags": [tag for tag in re.split(r",\s*", fields.get("Tag", "").strip()) if tag],
            "paragraphs": [lines[0], *(" ".join(part.split()) for part in text.split("\n\n"))],
        })
    return found


def paragraphs():
    """Distinct (text, package), in the order of the packages."""
    seen = {}
    for package in packages():
        for text in package["paragraphs"]:
            if len(text) >= SHORTEST:
                seen.setdefault(text, package)
    return list(seen.items())


def unpacked(name):
    """The folder of an unpacked archive."""
    folder = FOLDER / name
    if not folder.exists():
        read_list("_Packages")  # apt needs its lists
        apt("download", name)
        archive = next(FOLDER.glob(f"{name}_*.deb"))
        subprocess.run(["dpkg-deb", "-x", str(archive), str(folder.with_suffix(".part"))], check=True)
        folder.with_suffix(".part").rename(folder)
    return folder


def glosses():
    """'word, word: what it means' of each synonym set of WordNet."""
    for part in ("noun", "verb", "adj", "adv"):
        for line in (unpacked("wordnet-base") / "usr/share/wordnet" / f"data.{part}").read_text().splitlines():
            if line.startswith(" "):
                continue  # the licence
            data, gloss = line.split(" | ", 1)
            fields = data.split()
            words = [word.split("(")[0].replace("_", " ") for word in fields[4 : 4 + 2 * int(fields[3], 16) : 2]]
            yield f"{', '.join(words)}: {gloss.strip()}"


def entries():
    """The entries of the dictionary, without the marks of their sources."""
    folder = unpacked("dict-gcide") / "usr/share/dictd"
    text = gzip.decompress((folder / "gcide.dict.dz").read_bytes())
    number = lambda digits: sum(DIGITS[digit] << 6 * place for place, digit in enumerate(reversed(digits)))
    places = {(number(offset), number(length)) for _, offset, length in
              (line.split("\t") for line in (folder / "gcide.index").read_text(errors="replace").splitlines())}
    for offset, length in sorted(places):
        entry = text[offset : offset + length].decode(errors="replace")
        yield " ".join(re.sub(r"\[[^\]\[]*(?:Webster|PJC|WordNet|Soukhanov|RH)[^\]\[]*\]|[{}]", " ", entry).split())


def passages():
    """All distinct passages in an order that depends on nothing but the texts: any number from the front is a sample."""
    found = list(dict.fromkeys([*(text for text, _ in paragraphs()), *glosses(), *entries()]))
    found = [text for text in found if len(text) >= SHORTEST]
    random.Random(7).shuffle(found)
    return found


if __name__ == "__main__":
    texts = passages()
    print(f"{len(paragraphs())} paragraphs, {len(texts)} passages, {sum(map(len, texts)) / len(texts):.0f} characters on average")
