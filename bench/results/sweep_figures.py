# SPDX-License-Identifier: Apache-2.0
"""The figures of sweeps, as bench/results/sweeps holds them, and how pages write numbers."""
import json
import math
import pathlib
import statistics
import textwrap

SWEEPS = pathlib.Path(__file__).resolve().parent / "sweeps"
ORDERS = ["dissimilar", "similar", "suffix", "random", "best-suffix", "best", "best:kl", "best-suffix:kl", "best:apart",
          "best:keys", "best:values"]


def take(folder):
    """Keeps the figures of a sweep's folder, without the words of any text."""
    folder = pathlib.Path(folder)
    origin = json.loads((folder / "model.json").read_text())
    del origin["plan"]
    lines = [{"kind": "origin", **origin}]
    for line in map(json.loads, (folder / "results.jsonl").read_text().splitlines()):
        for words in ("prompt", "text_goes_on", "continuation"):
            line.pop(words, None)
        if line.get("combination", {}).get("order", "").startswith("best"):
            line.pop("candidates")  # thousands; they follow no ranking
        for candidate in line.get("candidates", []):
            candidate.pop("resumed_at")
        lines.append(line)
    SWEEPS.mkdir(exist_ok=True)
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    (SWEEPS / f"{folder.name}.jsonl").write_text(text)


class Sweep:
    """A sweep's lines. Maps have their combination's keys, too."""

    def __init__(self, name):
        lines = [json.loads(line) for line in (SWEEPS / f"{name}.jsonl").read_text().splitlines()]
        self.origin = lines[0]
        self.layers = self.origin["model"]["layers"]
        self.full = next(line for line in lines if line["kind"] == "full")
        self.moves = [line for line in lines if line["kind"] == "moves"]
        self.maps = [{**line["combination"], **line} for line in lines if line["kind"] == "shared"]

    @staticmethod
    def is_there(name):
        return (SWEEPS / f"{name}.jsonl").exists()

    def add(self, other):
        """Maps of another sweep on the same text."""
        if other.origin["text"]["hash"] != self.origin["text"]["hash"] or other.origin["tokens"] != self.origin["tokens"]:
            raise SystemExit("make_results: two sweeps that stand in one table are of different texts")
        self.maps += other.maps
        self.moves += other.moves
        return self

    def select(self, **wanted):
        return [m for m in self.maps if all(m[key] == value for key, value in wanted.items())]

    def one(self, **wanted):
        found = self.select(**wanted)
        return found[0] if found else None

    def shares(self):
        return sorted({m["share"] for m in self.maps})

    def orders(self):
        return [o for o in ORDERS if self.select(order=o)]


def alignments():
    """The lines of a run of run_alignments; none where it has not been run."""
    file = SWEEPS / "alignments.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def thorough():
    """Searches of plans without guesses or with a beam, as `search --json` says of them; none where they were not run."""
    file = SWEEPS / "apart-thorough.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def ranks(values):
    order = sorted(range(len(values)), key=lambda i: values[i])
    at = [0.0] * len(values)
    first = 0
    while first < len(order):
        last = first
        while last < len(order) and values[order[last]] == values[order[first]]:
            last += 1
        for i in order[first:last]:
            at[i] = (first + last + 1) / 2
        first = last
    return at


def spearman(x, y):
    a, b = ranks(x), ranks(y)
    mean = (len(a) + 1) / 2
    ab, aa, bb = (sum((p - mean) * (q - mean) for p, q in zip(s, t)) for s, t in ((a, b), (a, a), (b, b)))
    return ab / math.sqrt(aa * bb) if aa * bb > 0 else float("nan")


def explained(values, groups):
    """Which part of the values' variance lies between groups: 0 to 1."""
    mean = statistics.mean(values)
    of = {g: [v for v, other in zip(values, groups) if other == g] for g in set(groups)}
    between = sum(len(some) * (statistics.mean(some) - mean) ** 2 for some in of.values())
    return between / sum((v - mean) ** 2 for v in values)


def wrapped(markdown, width=124):
    """Paragraphs and bullets in lines of at most this; tables, pictures, code and headings as they are."""
    lines, block, code = [], [], False

    def end():
        if block:
            lines.extend(textwrap.wrap(" ".join(block), width, break_long_words=False, break_on_hyphens=False,
                                       subsequent_indent="  " if block[0].startswith("* ") else ""))
            block.clear()

    for line in markdown.splitlines():
        fence = line.startswith("```")
        code ^= fence
        if code or fence or not line.strip() or line[0] in "|#!<":
            end()
            lines.append(line.rstrip())
        else:
            if line.startswith("* "):
                end()
            block.append(line.strip())
    end()
    return "\n".join(lines).rstrip() + "\n"


def signed(value, digits=2):
    return f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def percent(value, digits=1):
    return f"{100 * value:.{digits}f} %"


def above(ppl, full):
    return f"{100 * (ppl / full - 1):.0f} %"


def perplexity(maps, key="perplexity", digits=2):
    """One number, or mean ± standard deviation and range over seeds."""
    values = [m[key] for m in maps]
    if not values:
        return "–"
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    spread = statistics.stdev(values)
    return f"{statistics.mean(values):.{digits}f} ± {spread:.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def mean(maps, key="perplexity"):
    return statistics.mean(m[key] for m in maps)


def table(head, rows, numbers_from=1):
    lines = ["| " + " | ".join(head) + " |"]
    lines.append("| " + " | ".join("---" if i < numbers_from else "---:" for i in range(len(head))) + " |")
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def listed(words):
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def compared(a, b, tolerance=0.02):
    """How a's perplexity stands to b's."""
    if abs(a / b - 1) <= tolerance:
        return "about as good as"
    return "better than" if a < b else "worse than"


def map_text(owners):
    pairs = [f"{reader}→{owner}" for reader, owner in enumerate(owners) if owner != reader]
    return " ".join(pairs) or "none"
