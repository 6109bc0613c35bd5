# SPDX-License-Identifier: Apache-2.0
"""Makes docs/reference/measured.md from the result files in this folder.

usage: make_tables.py [--check]     --check: exits with 1 where the page is not what the files say
"""
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
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
    return table(["shape", "batch", "context", "sharing", "KV GB", "ms a step", "floor, ms", "of floor", "tokens/s",
                  "transformers, ms"], rows)


def prefill_table(models, peers):
    rows = []
    for report, run, peer in bench_rows(models, peers):
        seconds = run["prefill_seconds"]
        rows.append([f"{report['shape']}, {report['type']}", str(run["batch"]), str(report["context"]),
                     shared(report, run), f"{1e3 * seconds:.1f}", f"{1e3 * run['prefill_floor_seconds']:.1f}",
                     f"{100 * run['prefill_floor_seconds'] / seconds:.0f} %",
                     f"{1e3 * peer['prefill_seconds']:.1f}" if peer else ""])
    return table(["shape", "batch", "tokens", "sharing", "ms", "floor, ms", "of floor", "transformers, ms"], rows)


def shared(report, run):
    budget = report["kv_budget_bytes"]
    kept = f", {budget / 1e9:g} GB" if budget else ""
    return f"{run['layers_shared']} of {len(run['layer_map'])}" + (f", {report['order']}" if run["layers_shared"] else "") + kept


def search_text(models, peers):
    search = next(m for m in models if "candidate_costs" in m)
    rate = next(m["product_operations_per_second"] for m in models if m.get("type") == "f16")
    peer = next(r["seconds"] for r in peers["benchmarks"] if r["name"].startswith("candidate/"))
    tried, floor = search["candidates_tried"], search["teraflop"] * 1e12 / rate
    spent = sum(c["seconds"] for c in search["candidate_costs"])
    return f"""Llama-2-7B's sizes in float16, 30 samples of 64 tokens, random weights, {search['accepted']} layers to share:
{tried} candidates, {search['accepted']} accepted, {search['seconds']:.2f} s in all, of which calibration took
{search['calibration_seconds']:.2f} s and distances {1e3 * search['distance_seconds']:.0f} ms; loading
{search['weights_seconds']:.2f} s before it. A candidate took {1e3 * spent / tried:.1f} ms, {spent / floor:.2f} times the
time of its operations ({search['teraflop'] / tried:.1f} TFLOP on average, since candidates resume) at the rate of a large product
({rate / 1e12:.0f} TFLOP/s). The published procedure, two forwards of every sample by transformers, takes {peer:.2f} s a candidate
on the same card."""


def page():
    ours, peers = read("h100_attention.json"), read("h100_peer_torch_attention.json")
    distances, torch_distances = read("h100_distances.json"), read("h100_peer_torch_distances.json")
    models = [json.loads(line) for line in (HERE / "h100_models.jsonl").read_text().splitlines()]
    transformers = read("h100_peer_transformers_llama.json")
    context = ours["context"]
    device = context["device"].replace("_", " ").replace(";", ",")
    return f"""# Measured

<!-- Made by bench/results/make_tables.py from the files in bench/results; do not edit. -->

Medians over 25 replays of one captured pass through rotated inputs, bfloat16, 32 query heads of 128 channels. PyTorch
{peers['context']['torch']} ran on the same machine in the same session, captured likewise. {device}; commit
{context['commit'].strip('_')[:12]}. A device-to-device copy (cudaMemcpyAsync, 1 GiB, read and written bytes) moved
{ours['benchmarks'][0]['copy_bytes_per_s'] / 1e12:.2f} TB/s.

## Decode attention, one layer

Bytes of keys and values, read once, over the time.

{attention_table(ours, peers, "decode", lambda r: r["bytes_per_s"] / 1e12, "TB/s")}

## Prefill attention, one layer

Causal; 4 x head_dim operations for every query head and token it sees, over the time.

{attention_table(ours, peers, "prefill", lambda r: r["operations_per_s"] / 1e12, "TFLOP/s")}

## Distances of all pairs of layers

Keys and values in float32, from the call to the numbers on the host. Beside each time: the share of the floor, which is the
longer of reading everything once at the bandwidth of a copy and folding every pair at one instruction a lane and clock.
`batched`: a reader against all earlier layers at once; `by pair`: as the published notebook has it.

{distances_table(distances, torch_distances)}

## Whole models

`mini_llama bench`, random weights; floors from the same runs. Decode: the bytes of weights, keys and values over the
bandwidth of a copy. Where a budget is named, the batch is what fits into it. transformers {transformers['context']['transformers']}
(SDPA, its default cache) ran the unshared Llama-2-7B on the same machine.

{decode_table(models, transformers)}

Prefill, whole prompts to the last position's logits; readers at the top of the stack shorten it. Floor: its operations at
the rate of a large product of the same type.

{prefill_table(models, transformers)}

## Search

{search_text(models, transformers)}
"""


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
