# SPDX-License-Identifier: Apache-2.0
"""Makes docs/reference/measured.md from the result files in this folder.

usage: make_tables.py [--check]     --check: exits with 1 where the page is not what the files say
"""
import csv
import json
import math
import pathlib
import re
import sys

from sweep_figures import wrapped

HERE = pathlib.Path(__file__).resolve().parent
L2_BYTES = 50 << 20  # an H100's
PAGE = HERE.parent.parent / "docs" / "reference" / "measured.md"


def read(name):
    return json.loads((HERE / name).read_text())


def split_name(name):
    """'decode<layout::paged<16>>/kv_heads:8/...' -> ('decode', 'paged<16>', (('kv_heads', 8), ...))"""
    head, *axes = [part for part in name.split("/") if not part.startswith(("iterations", "manual_time"))]
    kind, _, variant = head.partition("<")
    if not variant:  # a peer: kind/backend/axes
        variant, *axes = axes
        variant += ">"
    return kind, variant[:-1].replace("layout::", ""), tuple((k, int(v)) for k, v in (a.split(":") for a in axes))


def origin(context):
    """What a file says of where it was measured: device and driver, commit, date."""
    device = (context.get("machine") or context.get("device")).replace("_", " ").replace(";", ",").replace("  ", " ")
    commit = (context.get("commit") or "").strip("_ ").replace("_", " ")
    said = device
    if commit:
        said += f", commit {commit[:12]}" + (" with changes" if " " in commit else "")
    if context.get("date"):
        said += f", {context['date'][:10]}"
    return said + ("" if commit else " (the file names no commit)")


def attention_rows(ours, peers, kind):
    table = {}
    for result in ours["benchmarks"] + peers["benchmarks"]:
        of_kind, variant, axes = split_name(result["name"])
        if of_kind == kind:
            table.setdefault(axes, {})[variant] = result
    return table


def attention_table(ours, peers, kind, value, unit):
    table = attention_rows(ours, peers, kind)
    columns = sorted({v for row in table.values() for v in row}, key=lambda v: (v in ("cudnn", "flash"), v))
    names = {"head_major": "contiguous", "flash": "PyTorch, FlashAttention", "cudnn": "PyTorch, cuDNN"}
    axes = [name for name, _ in next(iter(table))]
    lines = ["| " + " | ".join([a.replace("_", " ") for a in axes] + [names.get(c, c.replace("<", " ").replace(">", "")) for c in columns]) + " |"]
    lines.append("| " + " | ".join(["---:"] * (len(axes) + len(columns))) + " |")
    for row_axes, row in table.items():
        cells = [str(number) for _, number in row_axes]
        for c in columns:
            cells.append(f"{row[c]['real_time']:.1f} us, {value(row[c]):.{2 if unit == 'TB/s' else 0}f} {unit}" if c in row else "")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def eager_table(peers, kind):
    """Peers as Python calls them, where the file has that."""
    rows = {}
    for result in peers["benchmarks"]:
        of_kind, variant, axes = split_name(result["name"])
        if of_kind == kind and "eager_time" in result:
            rows.setdefault(axes, {})[variant] = result
    if not rows:
        return ""
    names = [name.replace("_", " ") for name, _ in next(iter(rows))]
    cells = [[str(n) for _, n in axes] +
             [f"{row[v]['eager_time']:.1f} us" if v in row else "" for v in ("cudnn", "flash")]
             for axes, row in rows.items()]
    return ("\nThe same calls of eager PyTorch, launched one by one from Python instead of from a captured graph:\n\n" +
            table(names + ["cuDNN, eager", "FlashAttention, eager"], cells) + "\n")


def fitting(inputs):
    """Says which inputs, of {name: bytes}, are larger than the L2 and which are not."""
    larger = [name for name, size in inputs.items() if size > L2_BYTES]
    others = [name for name in inputs if name not in larger]

    def listed(names):
        return ", ".join(f"{name} ({inputs[name] / 2**20:.0f} MiB)" for name in names)

    if not others:
        return f"larger in all cases, {listed(larger)}"
    return (f"larger for {listed(larger)}; " if larger else "") + f"not larger for {listed(others)}"


def prefill_inputs(ours):
    """Bytes of queries, keys and values in bfloat16."""
    sizes = {}
    for result in ours["benchmarks"]:
        kind, _, axes = split_name(result["name"])
        if kind == "prefill":
            a = dict(axes)
            rows = a["batch"] * a["tokens"]
            sizes[f"{a['batch']}x{a['tokens']} with {a['kv_heads']} KV heads"] = rows * 128 * 2 * (32 + 2 * a["kv_heads"])
    return sizes


def distance_inputs(ours):
    """Bytes of the averages of keys and values in float32."""
    sizes = {}
    for result in ours["benchmarks"]:
        a = dict(split_name(result["name"])[2])
        sizes["x".join(str(a[k]) for k in ("layers", "heads", "tokens", "dim"))] = (
            2 * 4 * a["layers"] * a["heads"] * a["tokens"] * a["dim"])
    return sizes


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join(["---:"] * len(head)) + " |"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def distances_table(ours, peers):
    metrics = ["mean_row_norm", "flat_euclidean", "cosine"]
    rows = {}
    for result in ours["benchmarks"]:
        _, metric, axes = split_name(result["name"])
        rows.setdefault(axes, {})[metric.replace("metric::", "")] = result
    for result in peers["benchmarks"]:
        _, variant, *axes = result["name"].split("/")
        rows.setdefault(tuple((k, int(v)) for k, v in (a.split(":") for a in axes)), {})[variant] = result
    lines = []
    for axes, row in rows.items():
        cells = [str(number) for _, number in axes]
        for m in metrics:
            cells.append(f"{row[m]['median_ms']:.2f} ms, {100 * row[m]['of_floor']:.0f} %" if m in row else "")
        for v in ("batched", "by_pair"):
            cells.append(f"{row[v]['real_time']:.1f} ms" if v in row else "")
        lines.append(cells)
    names = [name for name, _ in next(iter(rows))]
    return table(names + [m.replace("_", " ") for m in metrics] + ["PyTorch, batched", "PyTorch, by pair"], lines)


def bench_rows(models, peers):
    of_peer = {r["name"]: r for r in peers["benchmarks"]}
    for report in models:
        if "runs" not in report:
            continue
        for run in report["runs"]:
            peer = of_peer.get(f"generation/batch:{run['batch']}/context:{report['context']}", {})
            if report["shape"] != "llama2-7b":
                peer = {}
            yield report, run, peer


def decode_table(models, peers):
    rows = []
    for report, run, peer in bench_rows(models, peers):
        step = run["decode_step_seconds"]
        rows.append([f"{report['shape']}, {report['type']}", str(run["batch"]), str(report["context"]),
                     shared(report, run), f"{run['kv_bytes'] / 1e9:.2f}", f"{1e3 * step:.2f}",
                     f"{1e3 * run['decode_step_floor_seconds']:.2f}", f"{100 * run['decode_of_floor']:.0f} %",
                     f"{run['decode_tokens_per_second']:.0f}",
                     f"{1e3 * peer['decode_step_seconds']:.1f}" if peer else ""])
    return peer_table(["shape", "batch", "context", "sharing", "KV GB", "ms per step", "floor, ms", "of floor",
                       "tokens/s", "transformers, ms"], rows, peers)


def prefill_table(models, peers):
    rows = []
    for report, run, peer in bench_rows(models, peers):
        seconds = run["prefill_seconds"]
        rows.append([f"{report['shape']}, {report['type']}", str(run["batch"]), str(report["context"]),
                     shared(report, run), f"{1e3 * seconds:.1f}", f"{1e3 * run['prefill_floor_seconds']:.1f}",
                     f"{100 * run['prefill_floor_seconds'] / seconds:.0f} %",
                     f"{1e3 * peer['prefill_seconds']:.1f}" if peer else ""])
    return peer_table(["shape", "batch", "tokens", "sharing", "ms", "floor, ms", "of floor", "transformers, ms"], rows, peers)


def peer_table(names, rows, peers):
    """A table whose last column is the peer's, where there is one."""
    return table(names, rows) if peers["benchmarks"] else table(names[:-1], [row[:-1] for row in rows])


def shared(report, run):
    budget = report["kv_budget_bytes"]
    kept = f", {budget / 1e9:g} GB" if budget else ""
    return f"{run['layers_shared']} of {len(run['layer_map'])}" + (f", {report['order']}" if run["layers_shared"] else "") + kept


def search_figures(models, peers):
    search = next(m for m in models if "candidate_costs" in m)
    rate = next(m["product_operations_per_second"] for m in models if m.get("type") == "f16")
    peer = next(r["seconds"] for r in peers["benchmarks"] if r["name"].startswith("candidate/"))
    floor = search["teraflop"] * 1e12 / rate
    spent = sum(c["seconds"] for c in search["candidate_costs"])
    return search, rate, peer, spent, floor


def search_text(models, peers):
    search, rate, peer, spent, floor = search_figures(models, peers)
    tried = search["candidates_tried"]
    return f"""Llama-2-7B's sizes in float16, 30 samples of 64 tokens, random weights, {search['accepted']} layers to share:
{tried} candidates, {search['accepted']} accepted, {search['seconds']:.2f} s in total, of which calibration took
{search['calibration_seconds']:.2f} s and distances {1e3 * search['distance_seconds']:.0f} ms. Loading
took {search['weights_seconds']:.2f} s before that. A candidate took {1e3 * spent / tried:.1f} ms, {spent / floor:.2f} times the
time of its operations ({search['teraflop'] / tried:.1f} TFLOP on average, since candidates resume) at the rate of a large product
({rate / 1e12:.0f} TFLOP/s). The published procedure, two forwards of every sample by transformers, takes {peer:.2f} s per candidate
on a GPU of the same kind."""


def sharing_gains(models):
    """Pairs of runs, without and with sharing, of whatever was held fixed: a budget of keys and values, or a batch."""
    for report in models:
        if "runs" not in report or report["runs"][0]["layers_shared"] != 0:
            continue
        full = report["runs"][0]
        for run in report["runs"][1:]:
            if report["kv_budget_bytes"] or run["batch"] > 1:
                yield report, full, run


def throughput_ratios(full, run):
    """Measured, and what the floors of the two steps allow."""
    measured = run["decode_tokens_per_second"] / full["decode_tokens_per_second"]
    floor = (run["batch"] / run["decode_step_floor_seconds"]) / (full["batch"] / full["decode_step_floor_seconds"])
    return measured, floor


def gains_table(models):
    rows = []
    for report, full, run in sharing_gains(models):
        budget = report["kv_budget_bytes"]
        measured, floor = throughput_ratios(full, run)
        layers = len(run["layer_map"])
        rows.append([f"{report['shape']}, {report['type']}", f"{budget / 1e9:g} GB of KV" if budget else "batch",
                     str(report["context"]), f"{run['layers_shared']} of {layers}", f"{full['batch']}, {run['batch']}",
                     f"{run['batch'] / full['batch']:.2f}",
                     f"{layers / (layers - run['layers_shared']):.2f}" if budget else "1.00",
                     f"{full['decode_tokens_per_second']:.0f}, {run['decode_tokens_per_second']:.0f}",
                     f"{measured:.2f}", f"{floor:.2f}"])
    return table(["shape", "held fixed", "context", "sharing", "sequences without, with", "ratio",
                  "layers over owners", "tokens/s without, with", "ratio", "ratio at the floors"], rows)


def missed(measured, goal, higher=True):
    """'met', or how far from the goal it is, in percent of the goal."""
    if (measured >= goal) if higher else (measured <= goal):
        return "met"
    return f"**missed by {100 * abs(measured / goal - 1):.1f} %**"


def attention_goals(ours, peers):
    rows = []
    decode = attention_rows(ours, peers, "decode")

    def name(axes):
        a = dict(axes)
        return f"{a['batch']} x {a['context']}, {a['kv_heads']} KV heads"

    def against(time, row):
        best = min((p for p in ("cudnn", "flash") if time in row.get(p, {})), key=lambda p: row[p][time], default=None)
        return (None, None) if best is None else (row[best][time] / row["head_major"]["real_time"], best)

    for axes, row in decode.items():
        ratio, best = against("real_time", row)
        if ratio:
            rows.append([f"decode attention, {name(axes)}, against the best captured peer", "1 x",
                         f"{ratio:.2f} x ({best})", missed(ratio, 1)])
    for axes, row in decode.items():
        a = dict(axes)
        if a["batch"] == 1 and (a["context"] == 4096 or a["kv_heads"] < 32):
            for time, how in (("real_time", "captured"), ("eager_time", "eager")):
                ratio, best = against(time, row)
                if ratio:
                    rows.append([f"decode attention, {name(axes)}, against the best {how} peer", "1.5 x",
                                 f"{ratio:.2f} x ({best})", missed(ratio, 1.5)])
    for axes, row in decode.items():
        a = dict(axes)
        if (a["batch"], a["context"]) in ((32, 4096), (64, 1024)):
            share = row["head_major"]["of_copy"]
            rows.append([f"decode attention, {name(axes)}, of a copy's bandwidth", "90 %", f"{100 * share:.1f} %",
                         missed(share, 0.9)])
    for kind in ("decode", "prefill"):
        for layout in ("paged<16>", "paged<64>"):
            of = attention_rows(ours, peers, kind)
            shares = {axes: row["head_major"]["real_time"] / row[layout]["real_time"]
                      for axes, row in of.items() if layout in row}
            if shares:
                least = min(shares, key=shares.get)
                a = dict(least)
                rows.append([f"{kind} attention, pages of {layout[6:-1]} tokens against contiguous, least of {len(shares)} "
                             f"shapes: {a['batch']} x {a.get('context', a.get('tokens'))}, {a['kv_heads']} KV heads",
                             "95 %", f"{100 * shares[least]:.1f} %", missed(shares[least], 0.95)])
    return rows


def distance_goals(ours, peers):
    axes = "layers:32/heads:32/tokens:2048/dim:128"
    result = next(r for r in ours["benchmarks"] if "mean_row_norm" in r["name"] and axes in r["name"])
    peer = next(r for r in peers["benchmarks"] if r["name"] == f"distances/batched/{axes}")
    what = "distances, 32 x 32 x 2048 x 128, mean row norm"
    ratio = peer["real_time"] / result["median_ms"]
    return [[f"{what}, of the floor", "60 %", f"{100 * result['of_floor']:.1f} %", missed(result["of_floor"], 0.6)],
            [f"{what}, against batched PyTorch; at the floor it would be {ratio / result['of_floor']:.0f} x", "100 x",
             f"{ratio:.0f} x", missed(ratio, 100)]]


def model_goals(models, transformers):
    rows = []
    runs = {}
    for report, run, peer in bench_rows(models, transformers):
        if report["shape"] == "llama2-7b" and not report["kv_budget_bytes"]:
            runs.setdefault((run["batch"], report["context"], run["layers_shared"], report["order"]), (run, peer))
    one, peer = runs[1, 2048, 0, "suffix"]
    rows.append(["Llama-2-7B, batch 1, context 2048, a step, of the floor", "85 %", f"{100 * one['decode_of_floor']:.1f} %",
                 missed(one["decode_of_floor"], 0.85)])
    if peer:
        ratio = peer["decode_step_seconds"] / one["decode_step_seconds"]
        rows.append(["the same, against transformers", "4 x", f"{ratio:.1f} x", missed(ratio, 4)])
    for batch, context in ((16, 1024), (16, 2048), (32, 1024), (32, 2048)):
        what = f"Llama-2-7B, batch {batch}, context {context}, a step, of the floor"
        if (batch, context, 0, "suffix") in runs:
            share = runs[batch, context, 0, "suffix"][0]["decode_of_floor"]
            rows.append([what, "75 %", f"{100 * share:.1f} %", missed(share, 0.75)])
        else:
            rows.append([what, "75 %", "", "not measured"])
    if peer:
        ratio = peer["prefill_seconds"] / one["prefill_seconds"]
        rows.append(["Llama-2-7B, prefill of 2048 tokens, against transformers", "1 x", f"{ratio:.2f} x", missed(ratio, 1)])
    suffix = runs[1, 2048, 12, "suffix"][0]
    ratio = one["prefill_seconds"] / suffix["prefill_seconds"]
    floor = one["prefill_floor_seconds"] / suffix["prefill_floor_seconds"]
    rows.append([f"Llama-2-7B, prefill of 2048 tokens, 12 of 32 layers share at the top, against unshared; the floors say "
                 f"{floor:.2f} x", "1.3 x", f"{ratio:.2f} x", missed(ratio, 1.3)])
    for report, full, run in sharing_gains(models):
        if report["shape"] == "llama2-7b":
            measured, floor = throughput_ratios(full, run)
            budget = report["kv_budget_bytes"]
            held = f"{budget / 1e9:g} GB of KV" if budget else f"batch {run['batch']}"
            rows.append([f"Llama-2-7B, context {report['context']}, {run['layers_shared']} of 32 share, {held}, tokens/s",
                         f"beside its floor: {floor:.2f} x", f"{measured:.2f} x", f"{100 * measured / floor:.0f} % of it"])
    search, _, _, spent, floor = search_figures(models, transformers)
    rows.append(["search, Llama-2-7B, candidates, against the time of their operations, at most", "1.6 x",
                 f"{spent / floor:.2f} x", missed(spent / floor, 1.6, higher=False)])
    rows.append([f"search, {search['accepted']} candidates accepted, after loading, at most", "1.5 s",
                 f"{search['seconds']:.2f} s", missed(search["seconds"], 1.5, higher=False)])
    return rows


def goals_table(ours, peers, distances, torch_distances, models, transformers):
    rows = (attention_goals(ours, peers) + distance_goals(distances, torch_distances) +
            model_goals(models, transformers))
    return table(["what", "goal", "measured", "result"], rows).replace("| ---:", "| ---", 1)


PROFILED = {
    "gpu__time_duration.sum": ("us", 1e-3, 1),
    "dram__bytes_read.sum": ("MB read", 1e-6, 0),
    "dram__throughput.avg.pct_of_peak_sustained_elapsed": ("memory, %", 1, 0),
    "sm__throughput.avg.pct_of_peak_sustained_elapsed": ("multiprocessors, %", 1, 0),
    "sm__warps_active.avg.pct_of_peak_sustained_active": ("warps active, %", 1, 0),
    "launch__registers_per_thread": ("registers", 1, 0),
}
STALLED = "smsp__average_warps_issue_stalled_"


def profile_section():
    """Kernels under ncu, from what `bench/gpu/run profile` left: a comment with its origin, then ncu's CSV, units second."""
    rows, origins = [], []
    for file in sorted(HERE.glob("profile-*.csv")):
        lines = file.read_text().splitlines()
        origins += [line[2:] for line in lines if line.startswith("# ") and line[2:] not in origins]
        records = list(csv.DictReader(line for line in lines if line.startswith('"')))
        for record in filter(lambda r: r["ID"], records):
            def number(metric):
                try:
                    return float(record.get(metric, "").replace(",", ""))
                except ValueError:  # this ncu or card does not know it
                    return math.nan

            stalls = {m[len(STALLED):].split("_per_")[0]: number(m) for m in record if m.startswith(STALLED)}
            stalls = {reason: warps for reason, warps in stalls.items() if not math.isnan(warps)}
            most = sorted(stalls, key=stalls.get, reverse=True)[:3]
            rows.append([file.stem[len("profile-"):]] +
                        [f"{number(m) * scale:.{digits}f}" for m, (_, scale, digits) in PROFILED.items()] +
                        [", ".join(f"{m.replace('_', ' ')} {stalls[m]:.1f}" for m in most)])
    if not rows:
        return ""
    head = ["kernel and shape"] + [name for name, _, _ in PROFILED.values()] + ["what warps wait for, warps per issue"]
    return f"""
## Profiles

One launch each under ncu, with cold caches and without fixed clocks. {'; '.join(origins)}.

{table(head, rows)}
"""


TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")


def tests_section():
    """How tests and sanitizers went, from the summary that bench/gpu/run keeps: one part for each of its calls."""
    file = HERE / "gpu_summary.txt"
    if not file.exists():
        return ""
    calls = []
    for line in file.read_text().splitlines():
        if line.startswith("machine: "):
            calls.append({"said": {}, "counts": {}})
        if not calls:
            continue
        name, colon, value = line.partition(": ")
        if colon and name in ("machine", "commit", "date"):
            calls[-1]["said"][name] = value
        verdict, *rest = line.split() or [""]
        if verdict not in ("ok", "FAILED", "unended") or not rest:
            continue
        tool = next((t for t in TOOLS if rest[0].startswith(t + ".")), "tests" if rest[0].startswith("test_cuda.") else "")
        if tool:
            counts = calls[-1]["counts"].setdefault(tool, {"ok": 0, "FAILED": 0, "unended": 0})
            counts[verdict] += 1
    rows = []
    for call in calls:
        if call["counts"]:
            cells = []
            for tool in ("tests",) + TOOLS:
                count = call["counts"].get(tool)
                cells.append("" if not count else f"{count['ok']} ok" +
                             (f", **{count['FAILED']} failed**" if count["FAILED"] else "") +
                             (f", **{count['unended']} stopped unfinished**" if count["unended"] else ""))
            rows.append([origin(call["said"])] + cells)
    if not rows:
        return ""
    return f"""
## Tests

Device test programs, alone and under compute-sanitizer; one row for each call of `run` on a GPU machine. For the tests that the
sanitizers skip, see [test on a GPU machine](../how-to/test-on-a-gpu-machine.md).

{table(["where"] + ["tests"] + list(TOOLS), rows).replace("| ---:", "| ---", 1)}
"""


def step_table(ours):
    """A step of `store` and attention, strict and with settled tokens copied early, beside attention alone."""
    rows = {}
    for result in ours["benchmarks"]:
        kind, variant, axes = split_name(result["name"])
        if kind == "decode_step" or (kind == "decode" and variant == "paged<16>"):
            rows.setdefault(axes, {})[variant] = result["real_time"]
    columns = {"paged<16>": "attention alone", "store": "store alone", "strict": "store, then attention",
               "settled": "the same, settled tokens copied early"}
    cells = [[str(n) for _, n in axes] + [f"{row[c]:.1f} us" if c in row else "" for c in columns]
             for axes, row in rows.items() if "strict" in row]
    return table([name.replace("_", " ") for name, _ in next(iter(rows))] + list(columns.values()), cells)


NO_PEERS = {"benchmarks": []}


def second_card_section():
    """The same benchmarks on an H200, where the files are."""
    if not (HERE / "h200_attention.json").exists():
        return ""
    ours, peers = read("h200_attention.json"), read("h200_peer_torch_attention.json")
    models = [json.loads(line) for line in (HERE / "h200_models.jsonl").read_text().splitlines()]
    return f"""
## On an H200

Measured in one session: {origin(ours['context'])}; PyTorch: {origin(peers['context'])}. A copy
moved {ours['benchmarks'][0]['copy_bytes_per_s'] / 1e12:.2f} TB/s.

{attention_table(ours, peers, "decode", lambda r: r["bytes_per_s"] / 1e12, "TB/s")}
{eager_table(peers, "decode")}
A step of decode as a model has it, with pages of 16: the newest rows are stored, then attention reads all. A batch may say
that its older tokens are settled ([the
rules](cuda-backend.md#copying-before-the-launch-before-has-ended)).

{step_table(ours)}

Prefill:

{attention_table(ours, peers, "prefill", lambda r: r["operations_per_s"] / 1e12, "TFLOP/s")}
{eager_table(peers, "prefill")}
Whole models ({"; ".join(dict.fromkeys(origin(m) for m in models))}), decode steps and then prefill:

{decode_table(models, NO_PEERS)}

{prefill_table(models, NO_PEERS)}
"""


def page():
    ours, peers = read("h100_attention.json"), read("h100_peer_torch_attention.json")
    distances, torch_distances = read("h100_distances.json"), read("h100_peer_torch_distances.json")
    models = [json.loads(line) for line in (HERE / "h100_models.jsonl").read_text().splitlines()]
    transformers = read("h100_peer_transformers_llama.json")
    context = ours["context"]
    text = f"""# Measured

<!-- Made by bench/results/make_tables.py from the files in bench/results; do not edit. -->

Attention: medians over 25 replays of one captured pass, in bfloat16, with 32 query heads of 128 channels, timed on the
device. PyTorch {peers['context']['torch']} was captured in the same way. Each table was measured here:

* attention: {origin(context)}
* PyTorch's attention: {origin(peers['context'])}
* distances: {origin(distances['context'])}
* PyTorch's distances: {origin(torch_distances['context'])}
* whole models and search: {"; ".join(dict.fromkeys(origin(m) for m in models))}
* transformers: {origin(transformers['context'])}

A device-to-device copy (cudaMemcpyAsync, 1 GiB, counting bytes read and written) moved
{ours['benchmarks'][0]['copy_bytes_per_s'] / 1e12:.2f} TB/s.

## Goals

The goals of the backend, and the values from the tables of the H100 below. These are of the kernels before
[decision 26](../decisions/0026-prefill-by-warpgroups.md) and [decision
28](../decisions/0028-decode-copies-runs-in-bulk.md), which were measured [on an H200](#on-an-h200). "Ours" is the contiguous layout unless another is named. For
the reasons of missed goals and for what was tried, see [attention](../decisions/0015-decode-work-stands-in-line.md),
[distances](../decisions/0009-floats-in-rows-doubles-across.md).

{goals_table(ours, peers, distances, torch_distances, models, transformers)}

## Decode attention, one layer

The bandwidth is the bytes of keys and values, each counted once, over the time. To avoid hits in the L2 cache, a pass uses as
many sets of keys and values as fit in 512 MiB, {(512 << 20) / L2_BYTES:.0f} times the size of the L2, and at least one.

{attention_table(ours, peers, "decode", lambda r: r["bytes_per_s"] / 1e12, "TB/s")}
{eager_table(peers, "decode")}
## Prefill attention, one layer

Causal attention. The rate is 4 x head_dim operations for every query head and token that it sees, over the time. All passes
use the same inputs. Compared with the L2 cache of {L2_BYTES >> 20} MiB, queries, keys and values are: {fitting(prefill_inputs(ours))}.

{attention_table(ours, peers, "prefill", lambda r: r["operations_per_s"] / 1e12, "TFLOP/s")}
{eager_table(peers, "prefill")}
## Distances of all pairs of layers

Keys and values are in float32. The times are medians over 25 calls without capture, from the call to the numbers on the host.
All calls use the same inputs. Compared with the L2 cache of {L2_BYTES >> 20} MiB, the inputs are: {fitting(distance_inputs(distances))}.
The percentage beside each time is the floor over the time. The floor is the longer of two times: reading everything once at the
bandwidth of a copy, and folding every pair at one instruction per lane and clock. `batched` computes a reader against all earlier
layers at once; `by pair` is the method of the published notebook.

{distances_table(distances, torch_distances)}

## Whole models

Measured with `mini_llama bench` and random weights; floors are from the same runs. The floor of decode is the bytes of weights,
keys and values over the bandwidth of a copy. If a memory budget is named, the batch is the largest that fits. transformers {transformers['context']['transformers']}
(SDPA, its default cache) ran the unshared Llama-2-7B.

{decode_table(models, transformers)}

The gain of sharing: with a fixed memory budget for keys and values, more sequences fit; with a fixed batch, a step reads fewer
weights but as many bytes of keys and values. The last column is the ratio of throughputs if both ran at their floors.

{gains_table(models)}

Prefill of whole prompts up to the logits of the last position. Readers at the top of the stack shorten it. The floor is its
operations at the rate of a large product of the same type.

{prefill_table(models, transformers)}

## Search

{search_text(models, transformers)}
{second_card_section()}{profile_section()}{tests_section()}"""
    return wrapped(re.sub("\n{3,}", "\n\n", text), 126)


def main():
    text = page()
    if "--check" in sys.argv[1:]:
        if not PAGE.exists() or PAGE.read_text() != text:
            print(f"{PAGE} is not what the result files say; run bench/results/make_tables.py", file=sys.stderr)
            sys.exit(1)
    else:
        PAGE.write_text(text)


if __name__ == "__main__":
    main()
