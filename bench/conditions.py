# File: bench/conditions.py
# Conditions on attributes that keep a wanted share of the rows, for benchmarks of filtered search.
#
# columns: name -> one value per row: section (text, few values), maintainer (text, many), size (integer) and tags (lists of
# text). read_columns takes those of data T, which are real; made_columns makes some for any number of rows, of skewed
# shares and unrelated to the vectors. find_conditions gives, for each share, the condition of each kind that comes nearest
# to it; real attributes do not have every share.
import json
import pathlib
from typing import NamedTuple

KINDS = ["range", "equal", "in", "and", "not", "labels"]
MOST = 20  # values of an "in"


class Condition(NamedTuple):
    kind: str
    text: str  # as zvec takes it
    mask: object  # an array of bool


def read_columns(path):
    return json.loads(pathlib.Path(path).read_text())


def made_columns(numpy, rows):
    random = numpy.random.default_rng(9)
    zipf = lambda values, count: numpy.minimum(random.zipf(1.3, count) - 1, values - 1)
    labels = zipf(1000, 4 * rows).reshape(rows, 4)
    return {
        "section": [f"section{value}" for value in zipf(60, rows).tolist()],
        "maintainer": [f"person{value}" for value in (rows ** random.random(rows)).astype(int).tolist()],
        "size": random.integers(0, 10 * rows, rows).tolist(),
        "tags": [sorted({f"tag{value}" for value in row}) for row in labels.tolist()],
    }


class Table:
    """Columns with the rows of each value."""

    def __init__(self, numpy, columns):
        self.numpy, self.rows = numpy, len(columns["size"])
        self.size = numpy.array(columns["size"])
        self.sorted_size = numpy.sort(self.size)
        self.values = {}
        for name in ("section", "maintainer"):
            for row, value in enumerate(columns[name]):
                self.values.setdefault((name, value), []).append(row)
        self.tags = {}
        for row, tags in enumerate(columns["tags"]):
            for tag in tags:
                self.tags.setdefault(tag, []).append(row)

    def mask(self, rows):
        mask = self.numpy.zeros(self.rows, bool)
        mask[rows] = True
        return mask

    def nearest(self, groups, wanted):
        """The name of the group whose rows come nearest to a number, by ratio."""
        return min(groups, key=lambda name: (max(len(groups[name]) / wanted, wanted / len(groups[name])), name))

    def range(self, share):
        """From a third of the way up, or lower where that does not suffice."""
        first = min(self.rows // 3, self.rows - round(share * self.rows))
        low, high = self.sorted_size[first], self.sorted_size[min(first + max(1, round(share * self.rows)), self.rows) - 1]
        return Condition("range", f"size >= {low} and size <= {high}", (self.size >= low) & (self.size <= high))

    def equal(self, share):
        name, value = key = self.nearest(self.values, share * self.rows)
        return Condition("equal", f"{name} = {quoted(value)}", self.mask(self.values[key]))

    def some(self, share):
        """Up to MOST values of the column that fits, and their rows."""
        best = None
        for name in ("maintainer", "section"):
            groups = {value: rows for (column, value), rows in self.values.items() if column == name}
            each = max(1.0, share * self.rows / MOST)
            # Values of about the same share each; what is left over goes to the last ones.
            order = sorted(groups, key=lambda value: (max(len(groups[value]) / each, each / len(groups[value])), value))
            values, count = [], 0
            for value in order:
                if len(values) < MOST and count + len(groups[value]) <= 1.2 * share * self.rows:
                    values.append(value)
                    count += len(groups[value])
            off = abs(count - share * self.rows)
            if values and (best is None or off < best[0]):
                best = (off, name, values, [row for value in values for row in groups[value]])
        return best and best[1:]

    def within(self, share):
        found = self.some(share)
        return found and Condition("in", f"{found[0]} in ({', '.join(map(quoted, found[1]))})", self.mask(found[2]))

    def without(self, share):
        found = self.some(1 - share)
        return found and Condition("not", f"{found[0]} not in ({', '.join(map(quoted, found[1]))})", ~self.mask(found[2]))

    def both(self, share):
        """A half-open range of sizes and a section, each of which keeps about the root of the share."""
        sections = {key: rows for key, rows in self.values.items() if key[0] == "section"}
        name, value = key = self.nearest(sections, share**0.5 * self.rows)
        inside = self.numpy.sort(self.size[sections[key]])
        high = inside[min(len(inside), max(1, round(share * self.rows))) - 1]
        return Condition("and", f"{name} = {quoted(value)} and size <= {high}", self.mask(sections[key]) & (self.size <= high))

    def labels(self, share):
        tag = self.nearest(self.tags, share * self.rows)
        return Condition("labels", f"tags contain_any ({quoted(tag)})", self.mask(self.tags[tag]))


def quoted(value):
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def find_conditions(numpy, columns, kinds, shares):
    """Conditions in the order of the kinds; of each kind none twice, and none that misses its share by more than 3 times."""
    table = Table(numpy, columns)
    ways = {"range": table.range, "equal": table.equal, "in": table.within, "and": table.both, "not": table.without, "labels": table.labels}
    for kind in kinds:
        seen = set()
        for share in shares:
            condition = ways[kind](share)
            if condition is None or condition.text in seen or not 1 / 3 < condition.mask.mean() / share < 3:
                continue
            seen.add(condition.text)
            yield condition
