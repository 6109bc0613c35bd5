# SPDX-License-Identifier: Apache-2.0
"""Makes docs/results.md and its pictures from the sweeps' figures in bench/results/sweeps.

usage: make_results.py [--check]         --check: exits with 1 where page or pictures are not what the figures say
       make_results.py --take FOLDER...  keeps the figures of sweeps' folders, without the words of any text
"""
import pathlib
import statistics
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import pictures  # noqa: E402
from sweep_figures import (ORDERS, Sweep, above, alignments, compared, explained, listed, map_text, mean,  # noqa: E402
                           percent, perplexity, signed, spearman, table, take, thorough, wrapped)

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DOCS = ROOT / "docs"
CALIBRATION = ROOT / "examples" / "mini_llama" / "calibration"
NAMES = {
    "dissimilar": "dissimilar first (the paper)",
    "similar": "similar first",
    "suffix": "suffix first",
    "random": "random",
    "best": "best of all moves",
    "best-suffix": "best at the top",
    "best:kl": "best of all moves, by KL",
    "best-suffix:kl": "best at the top, by KL",
    "best:apart": "keys and values apart",
    "best:keys": "keys alone",
    "best:values": "values alone",
}
MINUS = "\N{MINUS SIGN}"
ELSEWHERE = ("found-map.svg", "folders.svg")  # pictures that this script does not make
ALIGNED = {
    "none": "not aligned",
    "full": "full",
    "shared": "shared",
    "full-valid-30": "full, 30 of valid",
    "shared-valid-30": "shared, 30 of valid",
    "full-valid-400": "full, 400 of valid",
    "shared-valid-400": "shared, 400 of valid",
}
HOW = {"exact": "without guesses", "beam 4": "with a beam of 4"}
SHORT = {"dissimilar": "dissimilar (paper)", "best-suffix": "best-suffix", "random": "random, mean"}


def objective_of(m):
    """What the score of a map is: its rule says so."""
    return "kl" if m["order"].endswith(":kl") else "cosine"


class Page:
    """All of it; sections return markdown, and leave their pictures in `files`."""

    def __init__(self):
        self.rules = Sweep("rules")
        for name in ("best", "divergence"):  # the longest ones, which may not have been run
            if Sweep.is_there(name):
                self.rules.add(Sweep(name))
        self.own = Sweep("own")
        self.metrics, self.thresholds, self.sizes = Sweep("metrics"), Sweep("thresholds"), Sweep("sizes")
        self.lengths = {n: Sweep(f"length-{n}") for n in (16, 32, 120)}
        self.passages = {n: Sweep(f"passages-{n}") for n in range(1, 6)}
        self.on_cpu = Sweep("rules-cpu")
        self.files = {}
        self.quarter = self.rules.layers // 4

    def picture(self, name, words, svg):
        self.files[f"pictures/{name}.svg"] = svg
        return f"![{words}](pictures/{name}.svg)"

    def curves(self, sweep, name, where):
        n = sweep.layers
        series = []
        for style, order in enumerate(ORDERS):
            line, band = [(0, sweep.full["perplexity"])], [(0, sweep.full["perplexity"], sweep.full["perplexity"])]
            for share in sweep.shares():
                maps = sweep.select(order=order, share=share)
                if maps:
                    values = [m["perplexity"] for m in maps]
                    line.append((100 * share / n, statistics.mean(values)))
                    band.append((100 * share / n, min(values), max(values)))
            if len(line) > 2:
                series.append((SHORT.get(order, order), style, line, band if order == "random" else []))
        ticks = [(100 * s / n, f"{100 * s / n:g} %") for s in [0, *sweep.shares()]]
        return self.picture(
            name,
            f"Perplexity on {where} by the fraction of layers that are readers; the numbers are in the table",
            pictures.curves(f"Perplexity on {where}", "layers that read another's cache = KV bytes saved",
                            "perplexity, log scale", series, ticks, log=True),
        )

    def quality_table(self, sweep):
        rows = [["full model", *[f"{sweep.full['perplexity']:.2f}" for _ in sweep.shares()]]]
        for order in sweep.orders():
            rows.append([NAMES[order], *[perplexity(sweep.select(order=order, share=s)) for s in sweep.shares()]])
        head = ["rule", *[f"{s} of {sweep.layers} ({100 * s / sweep.layers:g} %)" for s in sweep.shares()]]
        return table(head, rows)

    def rank_against_random(self, sweep):
        """In how many sizes the paper's rule is better than the mean of the random orders, and so on."""
        worse, all_seeds, similar = [], [], []
        for s in sweep.shares():
            paper, others = sweep.one(order="dissimilar", share=s), sweep.select(order="random", share=s)
            alike = sweep.one(order="similar", share=s)
            if not paper or not others:
                continue
            (worse if paper["perplexity"] > mean(others) else []).append(s)
            if all(paper["perplexity"] > m["perplexity"] for m in others):
                all_seeds.append(s)
            if alike and alike["perplexity"] < paper["perplexity"]:
                similar.append(s)
        return worse, all_seeds, similar

    def verdict(self, sweep, where):
        worse, all_seeds, similar = self.rank_against_random(sweep)
        n = len(sweep.shares())
        q = self.quarter
        paper, alike = sweep.one(order="dissimilar", share=q), sweep.one(order="similar", share=q)
        others = sweep.select(order="random", share=q)
        return (
            f"On {where} the paper's rule is worse than the mean of {len(others)} random orders at {len(worse)} of {n} "
            f"sizes, and worse than each of them at {len(all_seeds)} sizes. Similar first is better than the paper's rule at "
            f"{len(similar)} of {n}. At {100 * q / sweep.layers:g} % the perplexity rises from {sweep.full['perplexity']:.2f} "
            f"(full model) to {paper['perplexity']:.2f} with the paper's rule, {perplexity(others)} with random orders and "
            f"{alike['perplexity']:.2f} with similar first."
        )

    def quality(self):
        q, r = self.quarter, self.rules
        rows = []
        for order in r.orders():
            for m in sorted(r.select(order=order, share=q), key=lambda m: m["seed"]):
                rows.append([
                    NAMES[order] + (f", seed {m['seed']}" if order == "random" else ""),
                    f"{m['layers_shared']}", f"{m['perplexity']:.2f}", f"{m['kl']:.3f}", percent(m["top1_agreement"]),
                    f"{m['score']:.4f}", f"{m['candidates_tried']}", f"{m['layer_evaluations']}", map_text(m["layer_map"]),
                ])
        best = min((m for m in r.select(share=q)), key=lambda m: m["perplexity"])
        return f"""## Quality against size

{self.verdict(r, "WikiText-2")} The rule "{NAMES[best['order']]}" found the best map of that size: perplexity
{best['perplexity']:.2f}, {above(best['perplexity'], r.full['perplexity'])} above the full model.

{self.curves(r, "quality-wikitext", "WikiText-2")}

{self.quality_table(r)}

{self.verdict(self.own, "the project's own passages")}

{self.curves(self.own, "quality-own", "the project's own passages")}

{self.quality_table(self.own)}

Random: mean ± standard deviation over the seeds, and their range (the band in the pictures).

All maps with {q} readers of {r.layers} layers, on WikiText-2. KL is in nats per token; "same top" is how often the most likely
token is that of the full model; "score" is what the search maximised (minus the divergence for rules by KL); "tried" counts
candidates; "layer runs" counts layers run over all samples; the last column has the readers and their owners:

{table(["rule", "shared", "perplexity", "KL", "same top", "score", "tried", "layer runs", "readers→owners"], rows)}
"""

    def ranking(self):
        line = next(m for m in self.rules.moves if m["objective"] == "cosine")
        order = sorted(range(len(line["score"])), key=lambda i: -line["distances"]["mean-row-norm"][i])
        scores = [line["score"][i] for i in order]
        tenth = len(scores) / 10
        bands = [scores[round(i * tenth):round((i + 1) * tenth)] for i in range(10)]
        marks = (0.5, 0.9, 0.95, 0.98, 0.99)
        rows = [
            [f"{round(i * tenth)} to {round((i + 1) * tenth) - 1}", f"{statistics.mean(b):.3f}", f"{min(b):.3f}",
             *[percent(sum(s > t for s in b) / len(b), 0) for t in marks]]
            for i, b in enumerate(bands)
        ]
        svg = pictures.points(
            "Every single move, where the paper's ranking tries it", "rank by distance (0: most different, tried first)",
            "similarity of the output", [("a pair of layers", 1, list(enumerate(scores))), ("mean of a tenth", 0, [])],
            [(i * tenth, (i + 1) * tenth - 1, statistics.mean(b), 0) for i, b in enumerate(bands)],
        )
        rejected = sum(s <= 0.5 for s in scores)
        damage = {(r, o): 0.0 for r, o in zip(line["reader"], line["owner"])}
        low = min(line["score"])
        for r, o, s in zip(line["reader"], line["owner"], line["score"]):
            damage[(r, o)] = (1 - s) / (1 - low)
        far, near = bands[0], bands[-1]
        t = self.thresholds
        loose, strict = min(m["threshold"] for m in t.maps), 0.5
        without, with_test = (t.select(order="random", threshold=x) for x in (loose, strict))
        same = sum(a["layer_map"] == b["layer_map"] for a, b in zip(without, with_test))
        paper = t.one(order="dissimilar", threshold=strict)
        cut = statistics.median(scores)
        kept = [sum(s > cut for s in band) / len(band) for band in (far, near)]
        return f"""## Does the ranking matter when there is a test?

The search accepts a candidate only if its score passes a test against the threshold. All {len(scores)} maps with a single reader
were scored. At the paper's threshold of 0.5 the test rejects {rejected} of them. The first tenth of the paper's ranking has a mean
similarity of {statistics.mean(far):.3f}, the last tenth of {statistics.mean(near):.3f}. A threshold that half of all pairs pass
({cut:.3f}) would accept {percent(kept[0], 0)} of the first tenth and {percent(kept[1], 0)} of the last one.

{self.picture("moves-by-rank", "Similarity of the output of each single move by its rank; the table below has the means",
              svg)}

{table(["ranks", "mean score", "lowest", *[f"above {m:g}" for m in marks]], rows)}

Random orders reach perplexity {perplexity(without)} without a test and {perplexity(with_test)} with the test at 0.5: the same
map for {same} of {len(without)} seeds. The paper's ranking with the same test reaches {paper['perplexity']:.2f}. So the test at
0.5 {"has almost no effect here, and the ranking decides" if same == len(without) else "changes some maps"}; for stricter tests
see [below](#what-does-the-threshold-do).

The picture shows the damage of each single move, 1 minus its score. The reader explains
{percent(explained(line["score"], line["reader"]), 0)} of the variance of the scores, the owner
{percent(explained(line["score"], line["owner"]), 0)}: it matters more which layers keep a cache than whose cache a reader reads. A
ranking of pairs by distance treats reader and owner alike.

{self.picture("moves-map", "Damage of each single move by reader and owner", pictures.triangle(
    "Damage of single moves", self.rules.layers, damage,
    ["1 − similarity, from 0 (white)", f"to {1 - low:.2f} (dark)"]))}
"""

    def metric(self):
        lines = {m["objective"]: m for m in self.rules.moves}
        rows, t = [], self.metrics
        names = list(dict.fromkeys(m["metric"] for m in t.maps))
        for name in names:
            rows.append([name, *[signed(lines[o]["spearman"][name]) if o in lines else "–" for o in ("cosine", "kl")],
                         *[perplexity(t.select(metric=name, order=o)) for o in ("dissimilar", "similar")]])
        rho = {name: lines["cosine"]["spearman"][name] for name in names}
        strongest = max(rho, key=lambda n: abs(rho[n]))
        default = rho["mean-row-norm"]
        meaning = ("the more different two caches are, the less harm sharing does: the paper's supposition"
                   if rho[strongest] > 0 else "the more different two caches are, the more harm sharing does")
        best = min(t.maps, key=lambda m: m["perplexity"])
        weak = [n for n in names if abs(rho[n]) < 0.2]
        return f"""## Which metric?

The table has Spearman's rank correlation between the distance of a pair and the score of sharing this pair alone: +1 means that
sharing more different layers does less harm. The strongest is {signed(rho[strongest])} ({strongest}): {meaning}. The paper's own metric (mean-row-norm) has
{signed(default)}.{f" {listed(weak).capitalize()} say almost nothing about the damage (below 0.2 either way)." if len(weak) > 1 else f" {weak[0].capitalize()} says almost nothing about the damage." if weak else ""} The best map of this table comes from
{NAMES[best['order']]} by {best['metric']}.

{table(["metric", "with similarity", "with minus KL", "dissimilar first, perplexity", "similar first, perplexity"], rows)}

Maps with {self.quarter} readers of {self.rules.layers} layers on WikiText-2; full model {t.full['perplexity']:.2f}.
"""

    def threshold(self):
        t = self.thresholds
        steps = sorted({m["threshold"] for m in t.maps})
        orders = t.orders()

        def cell(order, step):
            maps = t.select(order=order, threshold=step)
            reached = [m["layers_shared"] for m in maps]
            words = f"{reached[0]}" if min(reached) == max(reached) else f"{min(reached)} to {max(reached)}"
            tried = sum(m["candidates_tried"] for m in maps)
            return f"{perplexity(maps)}; {words} shared, {sum(reached)} of {tried} accepted"

        rows = [["none" if s < 0 else f"{s:g}", *[cell(o, s) for o in orders]] for s in steps]
        changed = []
        for order in orders:
            base = {m["seed"]: m["layer_map"] for m in t.select(order=order, threshold=steps[0])}
            first = next((s for s in steps[1:]
                          if any(m["layer_map"] != base[m["seed"]] for m in t.select(order=order, threshold=s))), None)
            changed.append(f"{NAMES[order]} {'never' if first is None else f'from {first:g} on'}")
        complete = [s for s in steps if all(m["layers_shared"] == m["share"] for m in t.select(threshold=s))]
        gain = []
        for order in orders:
            a, b = t.select(order=order, threshold=steps[0]), t.select(order=order, threshold=complete[-1])
            gain.append(f"{NAMES[order]} {mean(a):.2f} → {mean(b):.2f}")
        beyond = ("" if complete == steps else
                  " Above it, searches end early: their maps have fewer readers, and are better for that reason alone.")
        return f"""## What does the threshold do?

The threshold changes the maps of these rules: {'; '.join(changed)}. The highest threshold at which every search still shares all
{self.quarter} layers is {complete[-1]:g}. From no test to this threshold, perplexity changes as follows: {'; '.join(gain)}.{beyond}

{table(["threshold", *[NAMES[o] for o in orders]], rows)}
"""

    def calibration(self):
        default = self.rules.one(order="dissimilar", share=self.quarter)
        alike = self.rules.one(order="similar", share=self.quarter)
        variants = []
        for count in sorted({m["samples"] for m in self.sizes.maps}):
            variants.append((f"{count} samples of 64 tokens", [self.sizes.one(order=o, samples=count)
                                                               for o in ("dissimilar", "similar")]))
        for length, sweep in self.lengths.items():
            variants.append((f"30 samples of {length} tokens", [sweep.one(order=o) for o in ("dissimilar", "similar")]))
        for number, sweep in self.passages.items():
            variants.append((f"30 other samples of 64 tokens, set {number}", [sweep.one(order=o)
                                                                       for o in ("dissimilar", "similar")]))
        rows, kinds = [], {"dissimilar": [], "similar": []}
        for name, pair in variants:
            row = [name]
            for m, base in zip(pair, (default, alike)):
                differs = sum(a != b for a, b in zip(m["layer_map"], base["layer_map"]))
                kinds[m["order"]].append((differs, m["perplexity"]))
                row += [f"{m['perplexity']:.2f}", f"{differs}" if differs else "same map"]
            rows.append(row)
        said = []
        for order, found in kinds.items():
            values = [p for _, p in found]
            said.append(f"{NAMES[order]} finds the same map in {sum(d == 0 for d, _ in found)} of {len(found)} settings, and "
                        f"perplexity stays between {min(values):.2f} and {max(values):.2f}")
        return f"""## Does the calibration matter?

The calibration was varied in the number and length of the samples and in the passages: {'; '.join(said)}.

{table(["calibration", "dissimilar first, perplexity", "layers that differ from the default map", "similar first, perplexity",
        "layers that differ from the default map"], rows)}

The default is 30 samples of 64 tokens from the shipped passages. The sets of other passages are disjoint and from WikiText-2
valid. Maps with {self.quarter} readers of {self.rules.layers} layers; perplexity on WikiText-2 test.
"""

    def objective(self):
        lines = {m["objective"]: m for m in self.rules.moves}
        if "kl" not in lines:
            return ""
        rho = spearman(lines["cosine"]["score"], lines["kl"]["score"])
        q, r = self.quarter, self.rules
        rows = []
        for order in ("best", "best-suffix"):
            for kind in (order, f"{order}:kl"):
                m = r.one(order=kind, share=q)
                if m:
                    rows.append([NAMES[kind], f"{m['perplexity']:.2f}", f"{m['kl']:.3f}", percent(m["top1_agreement"])])
        a, b = (r.one(order=o, share=q) for o in ("best", "best:kl"))
        searches = (f" The best-first search by KL is {compared(b['perplexity'], a['perplexity'])} the one by cosine "
                    f"({b['perplexity']:.2f} against {a['perplexity']:.2f})." if a and b else "")
        all_maps = [m for m in r.select(share=q) if objective_of(m) == "cosine"]
        within = spearman([m["score"] for m in all_maps], [-m["perplexity"] for m in all_maps])
        return f"""## Cosine or KL as the score?

The paper's score is the cosine of the final hidden states, after the last norm. Another score is minus the KL divergence of the
predictions. Over all single moves, the rank correlation of the two is {signed(rho)}.{searches} Among the {len(all_maps)} maps with {q}
readers found by cosine, the rank correlation of the score with minus the perplexity is {signed(within)} (+1: a higher score always
means a lower perplexity).

{table(["rule", "perplexity", "KL", "same top"], rows)}
"""

    def apart(self):
        if not Sweep.is_there("apart"):
            return ""
        t, n = Sweep("apart"), self.rules.layers
        # A plan of one map has no key_map of its own.
        orders = [o for o in ("best", "best:apart", "best:keys", "best:values") if t.select(order=o)]

        def cell(order, share):
            m = t.one(order=order, share=share)
            if not m:
                return "–"
            short = "" if m["layers_shared"] == share else f" ({m['layers_shared']:g} shared)"
            return f"{m['perplexity']:.2f}{short}"

        rows = [[NAMES[o], *[cell(o, s) for s in t.shares()]] for o in orders]
        planes = []
        for m in sorted(t.select(order="best:apart"), key=lambda m: m["share"]):
            keys, values = (sum(o != l for l, o in enumerate(m.get(k) or m["layer_map"])) for k in ("key_map", "value_map"))
            planes.append(f"{keys} layers' keys and {values} layers' values at {m['share']} of {n}")
        pairs = [(t.one(order="best", share=s), t.one(order="best:apart", share=s)) for s in t.shares()]
        pairs = [(a, b) for a, b in pairs if a and b]
        better = sum(b["perplexity"] < a["perplexity"] for a, b in pairs)
        same = [f"{b['share']}" for a, b in pairs if b.get("layer_map") == a["layer_map"]]
        found = (f"At {listed(same)} of {n} layers, the plan found is the best map itself: no plan of that size that the "
                 "search tried scores higher. " if same else "")
        other = [(b["share"], a, b) for a, b in pairs if b.get("layer_map") != a["layer_map"]]
        if other:
            found += " ".join(f"At {s} it is {'another map, found by sharing keys and values one at a time' if b.get('layer_map') else 'a plan of two maps'}, "
                              f"with a score of {b['score']:.4f} and a perplexity of {b['perplexity']:.2f}; the best map by whole "
                              f"layers has {a['score']:.4f} and {a['perplexity']:.2f}."
                              for s, a, b in other) + " "
        limits = ("A greedy search found these plans. It keeps one plan of each size and skips moves by guesses, so a better "
                  "plan may exist.")
        for share in t.shares():
            lazy, more = t.one(order="best:apart", share=share), [m for m in thorough() if m["share"] == share]
            if lazy and more:
                limits += (f" More thorough searches at {share} of {n}: " + "; ".join(
                    f"{HOW[m['search']]} a score of {m['score']:.5f} after {m['candidates_tried']:,} plans" for m in more) +
                    f"; the search above {lazy['score']:.5f} after {lazy['candidates_tried']:,}.")
        halves = [(t.one(order="best:keys", share=s), t.one(order="best:values", share=s)) for s in t.shares()]
        halves = [(a, b) for a, b in halves if a and b and a["layers_shared"] == b["layers_shared"]]
        cheaper = sum(a["perplexity"] < b["perplexity"] for a, b in halves)
        alone = (f" Sharing only keys costs less perplexity than sharing only values at {cheaper} of {len(halves)} sizes." if halves else "")
        return f"""## Separate maps for keys and values

A layer may read only another's keys, or only its values, which saves half the bytes. At equal bytes, the best plan of this kind
has lower perplexity than the best map at {better} of {len(pairs)} sizes. It shares {listed(planes)}.{alone}
{found}{limits}

{table(["shared", *[f"{s} of {n} ({100 * s / n:g} %)" for s in t.shares()]], rows)}

The table has the perplexity on WikiText-2. Each column is the number of readers of a map that frees the same bytes; full model {t.full['perplexity']:.2f}. Computed on
{listed(list(dict.fromkeys(m['device'] for m in t.maps)))}.

"""

    def optimised(self):
        """Best first against the others on the score that it goes by."""
        r, n = self.rules, self.rules.layers
        shares = r.shares()
        orders = [o for o in r.orders() if objective_of({"order": o}) == "cosine"]
        if "best" not in orders:
            return ""
        rows = [[NAMES[o], *[" to ".join(dict.fromkeys(f"{pick(m['score'] for m in r.select(order=o, share=s)):.4f}"
                                                       for pick in (min, max))) if r.select(order=o, share=s) else "–"
                             for s in shares]] for o in orders]

        def wins(order, others):
            pairs = [(r.one(order=order, share=s), m) for o in others for s in shares for m in r.select(order=o, share=s)]
            pairs = [(a, b) for a, b in pairs if a and a["layers_shared"] == b["layers_shared"]]
            return f"{sum(a['score'] >= b['score'] for a, b in pairs)} of {len(pairs)}"

        ppl = [s for s in shares if r.one(order="best", share=s) and any(
            m["perplexity"] < r.one(order="best", share=s)["perplexity"] for m in r.select(share=s))]
        but = (f" A higher score does not always mean a lower perplexity: at {listed([str(s) for s in ppl])} of {n} another rule's map "
               "has a lower one." if ppl else "")
        return f"""### The score of each map

Best first maximises the similarity of the output on the calibration samples. In comparisons with each other rule at the same size,
over all sizes and seeds, its map scores at least as high in {wins("best", [o for o in orders if o != "best"])}. The map of best at
the top scores at least as high as that of suffix first in {wins("best-suffix", ["suffix"])}.{but}

{table(["rule", *[f"{s} of {n}" for s in shares]], rows)}
"""

    def work(self):
        r, n = self.rules, self.rules.layers
        shares = r.shares()

        def cell(order, share):
            maps = r.select(order=order, share=share)
            if not maps:
                return "–"
            done, plain = (mean(maps, key) for key in ("layer_evaluations", "layer_evaluations_without_resume"))
            return f"{done:,.0f} / {plain:,.0f}"

        rows = [[NAMES[o] + (", mean" if o == "random" else ""), *[cell(o, s) for s in shares]] for o in r.orders()]
        said = ""
        asked = 3 * n // 8
        best = r.one(order="best", share=asked)
        if best:
            pairs = n * (n - 1) // 2
            every = sum((n - i) * (n - i - 1) // 2 for i in range(asked))
            forwards = best["layer_evaluations"] / n
            said = (f" Best of all moves at {asked} of {n} costs as much as {forwards:.0f} forward passes of all layers. This is "
                    f"{percent(forwards / (asked * pairs))} of {asked} x {pairs} = {asked * pairs:,} (all pairs at every step) and "
                    f"{percent(forwards / every)} of the {every:,} legal moves of these steps. The search scored "
                    f"{best['candidates_tried']} maps; resuming saves {percent(1 - best['layer_evaluations'] / best['layer_evaluations_without_resume'], 0)}"
                    f" of their layers, and guesses skip the other moves.")
        return f"""## What does a search cost?

The table has the number of layers that a whole search ran over all samples: with resuming at the first changed layer / without.{said}

{table(["rule", *[f"{s} of {n}" for s in shares]], rows)}

{self.seconds()}
"""

    def seconds(self):
        """How long the sweep of the rules that a sweep has by default took."""
        def brief(x):
            return f"{x:.0f}" if x >= 10 else f"{x:.1f}" if x >= 1 else f"{x:.1g}"

        said = []
        for sweep in (self.on_cpu, self.rules):
            maps = [m for m in sweep.maps if m["order"] in ("dissimilar", "similar", "suffix", "random")]
            rules = len({(m["order"], m["seed"]) for m in maps})
            sizes = len({m["share"] for m in maps})
            parts = {"search": 0.0, "evaluation": 0.0, "speed": 0.0}
            for m in [sweep.full, *maps]:
                for part in parts:
                    parts[part] += m["seconds"][part]
            calibration = max(m["seconds"]["calibration"] for m in maps)  # once for all of them
            total = calibration + sum(parts.values())
            at_all = [m for m in sweep.moves if m["objective"] == "cosine"]
            moves = sum(m["seconds"]["search"] for m in at_all)
            said.append(
                f"On {sweep.origin['device'].replace('CPU', 'the CPU')} the sweep of {sizes} sizes x {rules} rules took "
                f"{total:.0f} seconds with {sweep.origin['tokens']:,} evaluated tokens per map: {brief(calibration)} for "
                f"calibration, {brief(parts['search'])} for searches, {brief(parts['evaluation'])} for evaluation and "
                f"{brief(parts['speed'])} for measuring speed, including the full model. Scoring all single moves took another "
                f"{brief(moves)} seconds.")
        return " ".join(said) + (" These times do not include loading the model and tokenising the text.")

    def prefill(self):
        r, n = self.rules, self.rules.layers
        orders = [o for o in ("suffix", "best-suffix", "dissimilar") if r.select(order=o)]
        prompt = r.origin["prompt_tokens"]

        def milliseconds(m):
            return 1000 * prompt / m["prefill_tokens_per_second"]

        full = milliseconds(r.full)
        series, rows = [], [["full model", f"0 of {n}", f"{full:.2f}", "–", f"{r.full['perplexity']:.2f}"]]
        for order in orders:
            line = [(0, r.full["perplexity"])]
            for m in sorted(r.select(order=order), key=lambda m: m["share"]):
                saved = 1 - milliseconds(m) / full
                line.append((100 * saved, m["perplexity"]))
                rows.append([NAMES[order], f"{m['layers_shared']} of {n}", f"{milliseconds(m):.2f}", percent(saved),
                             f"{m['perplexity']:.2f}"])
            series.append((SHORT.get(order, order), ORDERS.index(order), line, []))
        svg = pictures.curves("Quality against prefill time", f"prefill time saved, % of the full model's {full:.2f} ms",
                              "perplexity, log scale", series, log=True)
        pairs = [(r.one(order="best-suffix", share=s), r.one(order="suffix", share=s)) for s in r.shares()]
        pairs = [(a, b) for a, b in pairs if a and b]
        better = sum(a["perplexity"] < b["perplexity"] for a, b in pairs)
        return f"""## Quality against prefill time

If the last layers are readers, prefill runs them for the last position of the prompt only and takes less time. The suffix rules
trade perplexity for this time. Choosing the owners by score (best at the top) keeps more quality than suffix first at {better} of
{len(pairs)} sizes. The paper's rule saves time only as far as its readers happen to be at the top.

{self.picture("quality-prefill", "Perplexity against prefill time saved; the numbers are in the table", svg)}

{table(["map", "shared", "prefill, ms", "saved", "perplexity"], rows)}

A prompt of {prompt} tokens on {r.origin['device']}; perplexity on WikiText-2.
"""

    def of_the_paper(self):
        passages = sum(1 for line in (CALIBRATION / "encyclopaedia.txt").read_text().splitlines() if line.strip())
        most = max(m["samples"] for m in self.sizes.maps)
        rows = [
            ["Figure 5: perplexity by share", "[Quality against size](#quality-against-size)",
             "the curves with H2O and PyramidInfer, which the library does not have"],
            ["Figure 6: dissimilar against similar first", "[Quality against size](#quality-against-size)", "–"],
            ["Table 3: another calibration text", "[Does the calibration matter?](#does-the-calibration-matter)",
             "scores of tasks; BookCorpus, replaced by other passages of WikiText-2"],
            ["Table 4: random sharing", "[Quality against size](#quality-against-size)", "scores of tasks"],
            ["Table 8: number of samples", "[Does the calibration matter?](#does-the-calibration-matter)",
             f"50 samples: the shipped text has {passages} passages, one per sample, so at most {most} were tried"],
        ]
        return "## Figures and tables of the paper\n\n" + table(["in the paper", "here", "not measured here"], rows, 3) + "\n"

    def alignment(self):
        head = "## Alignment\n\n"
        lines = alignments()
        if not lines:
            return head + ("Not measured yet on this text: `bench/results/run_alignments` writes `alignments.jsonl`, from "
                           "which this section is made.\n")
        return head + f"""An [alignment](reference/alignment.md) brings the keys and values that a reader reads nearer to its own. It is folded into the
reader's weights and costs nothing at run time. "Full" is fitted to the keys and values that readers compute in the model without
sharing; "shared" is fitted layer by layer to those that they compute in the model with sharing. The samples are 30 of the shipped
text, or, where the name says so, samples of WikiText-2 valid. The maps were found on the shipped text; all figures in a row are for
the same map.

{self.alignments_of(lines)}"""

    def alignments_of(self, lines):
        """What a run of run_alignments says, with its table."""
        kinds = [k for k in ALIGNED if any(m["alignment"] == k for m in lines)]
        maps = list(dict.fromkeys((m["order"], m["share"]) for m in lines))
        n = len(lines[0]["layer_map"])
        full = lines[0]["full_perplexity"]
        devices = ["a CPU" if d == "CPU" else d for d in dict.fromkeys(m["device"] for m in lines)]
        of = {(m["order"], m["share"], m["alignment"]): m["perplexity"] for m in lines}
        owners = {(m["order"], m["share"]): m["layer_map"] for m in lines}
        rows = []
        for order, share in maps:
            row = [f"{NAMES[order]}, {share} of {n}"]
            row += [f"{of[order, share, k]:.2f}" if (order, share, k) in of else "–" for k in kinds]
            rows.append(row)
        said = []
        for k in kinds:
            # Two rules may find the same map, which counts once.
            pairs = {tuple(owners[m]): (of[m + ("none",)], of[m + (k,)])
                     for m in maps if m + ("none",) in of and m + (k,) in of}.values()
            if k == "none" or not pairs:
                continue
            back = [(a - b) / (a - full) for a, b in pairs if a > full]
            share = " to ".join(percent(x, 0).replace("-", MINUS) for x in (min(back), max(back))) if back else "nothing"
            said.append(f"{ALIGNED[k]}: better in {sum(b < a for a, b in pairs)} of {len(pairs)} maps, and recovers {share} "
                        "of the loss")
        aligned = [(p, m, k) for (*m, k), p in of.items() if k != "none" and m[0] != "best"]
        best = [(share, of["best", share, "none"]) for o, share in maps if o == "best" and ("best", share, "none") in of]
        compare = []
        for share, ppl in best:
            others = [p for p, m, _ in aligned if m[1] == share]
            if others:
                compare.append(f"{share} of {n}: {ppl:.2f} against {min(others):.2f}")
        better = (f" For comparison, perplexity of the best map without alignment against the best of the other maps with one: "
                  f"{'; '.join(compare)}." if compare else "")
        rules = listed(list(dict.fromkeys(f'"{NAMES[o]}"' for o, s in maps if any((o, s, k) in of for k in kinds if k != "none"))))
        return f"""Each alignment, over the maps of {rules}: {'; '.join(said)}.{better}

{table(["map", *[ALIGNED[k] for k in kinds]], rows)}

Perplexity over {lines[0]['tokens']:,} tokens of WikiText-2 test in windows of {lines[0]['window']}, on
{listed(devices)} in {lines[0]['dtype']}; full model {full:.2f}.
"""

    def cost(self):
        r, n = self.rules, self.rules.layers
        tokens = r.origin["prompt_tokens"] + r.origin["new_tokens"]

        def row(name, m, saved):
            return [name, f"{m['kv_bytes'] / tokens / 1024:.0f} KiB", saved, f"{m['prefill_tokens_per_second']:.0f}",
                    f"{m['decode_tokens_per_second']:.0f}"]

        rows = [row("full model", r.full, "–")]
        for order in ("dissimilar", "similar", "best-suffix"):
            for s in r.shares():
                m = r.one(order=order, share=s)
                rows.append(row(f"{NAMES[order]}, {s} of {n}", m, percent(1 - m["kv_bytes"] / r.full["kv_bytes"])))
        exact = all(m["kv_bytes"] * n == r.full["kv_bytes"] * (n - m["layers_shared"]) for m in r.maps)
        most = max(r.shares())
        top, paper = r.one(order="best-suffix", share=most), r.one(order="dissimilar", share=most)
        return f"""## Memory and speed

KV bytes fall by the fraction of layers that are readers{", exactly, in every map" if exact else ""}. Readers read as many bytes as
owners: if the last {most} of {n} layers are readers, one sequence decodes at
{top['decode_tokens_per_second'] / r.full['decode_tokens_per_second']:.2f} times the full model's speed. Prefill then needs only the
last position above the last owner, and runs at
{top['prefill_tokens_per_second'] / r.full['prefill_tokens_per_second']:.2f} times its speed; with the paper's map of that size it is
{paper['prefill_tokens_per_second'] / r.full['prefill_tokens_per_second']:.2f} times.

{table(["map", "KV bytes per token", "saved", "prefill, tokens/s", "decode, tokens/s"], rows)}

One sequence of {r.origin['prompt_tokens']} prompt and {r.origin['new_tokens']} new tokens, cache in {r.origin['dtype']}, on
{r.origin['device']}; the best of up to five runs. Sharing frees memory for a larger
batch or a longer context. For the speed of models of published sizes on a GPU see [measured](reference/measured.md).
"""

    def summary(self):
        r, q = self.rules, self.quarter
        part = f"{100 * q / r.layers:g} %"
        line = next(m for m in r.moves if m["objective"] == "cosine")
        rho = line["spearman"]["mean-row-norm"]
        paper, alike = (r.one(order=o, share=q) for o in ("dissimilar", "similar"))
        others = r.select(order="random", share=q)
        least = r.one(order="dissimilar", share=min(r.shares()))
        cheaper = [m["share"] for m in r.select(order="similar") if m["perplexity"] <= least["perplexity"]]
        best = {s: min(r.select(share=s), key=lambda m: m["perplexity"]) for s in r.shares()}
        points = [
            f"On this model, sharing layers with more different caches is {'worse' if rho < 0 else 'better'}: the rank correlation "
            f"between the paper's distance of a pair and the score of sharing this pair alone is {signed(rho)}.",
            f"At {part} the paper's rule is {compared(paper['perplexity'], mean(others))} random orders "
            f"({paper['perplexity']:.2f} against {perplexity(others)}), and similar first is "
            f"{compared(alike['perplexity'], paper['perplexity'])} the paper's rule ({alike['perplexity']:.2f}; the full model: "
            f"{r.full['perplexity']:.2f}).",
        ]
        if cheaper:
            points.append(f"Similar first with {max(cheaper)} readers of {r.layers} layers has lower perplexity than the paper's rule with "
                          f"{least['share']}.")
        points += [
            "The best rule at each size: " + listed([f"{s} of {r.layers}: {NAMES[m['order']]} ({m['perplexity']:.2f})"
                                                    for s, m in best.items()]) + ".",
            f"Which layers are readers matters most ({percent(explained(line['score'], line['reader']), 0)} of the variance of the "
            f"scores of single moves); whose cache they read matters little ({percent(explained(line['score'], line['owner']), 0)}).",
            "This is one small model. Run [the same sweep on yours](how-to/compare-rules.md) before you choose.",
        ]
        return "\n".join("* " + p for p in points)

    def markdown(self):
        o, own = self.rules.origin, self.own.origin
        m = o["model"]
        return f"""# Results

<!-- Made by bench/results/make_results.py from the figures in bench/results/sweeps; do not edit. -->

This page shows which rule finds maps that keep the model's quality, and what each part of the method contributes, on the
shipped model: {m['layers']} layers, {m['kv_heads']} KV heads of {m['head_dim']} channels, fingerprint
`{m['fingerprint']}`. A script computes every number from the files in
[bench/results/sweeps](../bench/results/sweeps).

{self.summary()}

Perplexity is over {o['tokens']:,} tokens of WikiText-2 test, or over {own['tokens']:,} tokens of the
[shipped passages](../examples/mini_llama/calibration), in windows of {o['window']} tokens. For WikiText-2 the search is
calibrated on the passages, for the passages on WikiText-2 valid. Everything was computed on {o['device']} in {o['dtype']} by
{o['program'].split(' (')[0]}. The rule "best of all moves" tries every pair at every step; "best at the top" tries only those that keep the
readers above all owners. The other rules follow a ranking and accept a map if the similarity of the output stays above 0.5.

{self.of_the_paper()}
{self.quality()}
{self.optimised()}
{self.prefill()}
{self.ranking()}
{self.metric()}
{self.threshold()}
{self.calibration()}
{self.objective()}
{self.apart()}{self.alignment()}
{self.work()}
{self.cost()}
## Reproduce the results

These commands run all sweeps, and continue them after an interruption. With a GPU, add `--backend cuda --tokens 102400`:

```console
$ bench/results/run_sweeps build/examples/mini_llama/mini_llama ~/wikitext-2 sweeps --tokens {o['tokens']}
$ bench/results/run_alignments build/examples/mini_llama/mini_llama ~/wikitext-2 alignments --tokens {o['tokens']}
$ cp alignments/alignments.jsonl bench/results/sweeps/
$ python3 bench/results/make_results.py
```

The folder of WikiText-2 has `wiki.test.detok.txt` and `wiki.valid.detok.txt`: the raw files with ordinary spacing instead
of `@-@` and spaces before punctuation, because the model was trained on such text.
"""


def main():
    if sys.argv[1:2] == ["--take"]:
        for folder in sys.argv[2:]:
            take(folder)
        return
    page = Page()
    markdown = wrapped(page.markdown())
    files = {DOCS / "results.md": markdown, **{DOCS / name: svg for name, svg in page.files.items()}}
    if sys.argv[1:2] == ["--check"]:
        wrong = [str(path) for path, text in files.items() if not path.exists() or path.read_text() != text]
        # The pictures of README and of the glossary are made elsewhere.
        wrong += [str(p) for p in (DOCS / "pictures").glob("*.svg") if p not in files and p.name not in ELSEWHERE]
        if wrong:
            sys.exit(f"{', '.join(wrong)}: not what the figures say; run bench/results/make_results.py")
        return
    for path, text in files.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
