# SPDX-License-Identifier: Apache-2.0
"""Writes the figures of README.md, between its marks, from the result files in this folder.

usage: make_readme_figures.py [--check]     --check: exits with 1 where README is not what the files say
"""
import json
import pathlib
import re
import sys

from make_tables import attention_rows, read
from sweep_figures import Sweep, above, perplexity, percent, wrapped

README = pathlib.Path(__file__).resolve().parent.parent.parent / "README.md"
OPEN, CLOSE = "<!-- figures: made by bench/results/make_readme_figures.py -->\n", "<!-- /figures -->\n"
SHARE = 6


def quality():
    sweep = Sweep("rules")
    full = sweep.full["perplexity"]

    def row(name, order):
        maps = sweep.select(order=order, share=SHARE, metric="mean-row-norm")
        mean = sum(m["perplexity"] for m in maps) / len(maps)
        return f"| {name} | {sweep.layers - SHARE} of {sweep.layers} | {perplexity(maps)} | {above(mean, full)} |"

    rows = [f"| full model | {sweep.layers} of {sweep.layers} | {full:.2f} | |",
            row("dissimilar first, the paper's rule and the default", "dissimilar"),
            row("random orders", "random"), row("similar first", "similar")]
    return ("| rule | layers stored | perplexity | above the full model |\n| --- | ---: | ---: | ---: |\n" +
            "\n".join(rows)), sweep.origin["tokens"]


def run_of(models, shape, context, batch, shared, budget=None):
    for report in models:
        if report.get("shape") != shape or report.get("context") != context or report["kv_budget_bytes"] != budget:
            continue
        for run in report["runs"]:
            if run["layers_shared"] == shared and (batch is None or run["batch"] == batch):
                return run
    raise SystemExit(f"make_readme_figures: no run of {shape} with {shared} layers shared")


def speed():
    models = [json.loads(line) for line in (pathlib.Path(__file__).parent / "h100_models.jsonl").read_text().splitlines()]
    full, shared = (run_of(models, "llama2-7b", 1024, 32, n) for n in (0, 8))
    search = next(m for m in models if "candidate_costs" in m)
    budgets = sorted({m["kv_budget_bytes"] for m in models if m.get("kv_budget_bytes")})
    rows = [f"| KV cache | {full['kv_bytes'] / 1e9:.2f} GB | {shared['kv_bytes'] / 1e9:.2f} GB |",
            f"| prefill | {1e3 * full['prefill_seconds']:.0f} ms | {1e3 * shared['prefill_seconds']:.0f} ms |",
            f"| decode, one step | {1e3 * full['decode_step_seconds']:.2f} ms | {1e3 * shared['decode_step_seconds']:.2f} ms |"]
    for budget in budgets:
        a, b = (run_of(models, "llama2-7b", 1024, None, n, budget) for n in (0, 8))
        name = f"what fits {budget / 1e9:g} GB of KV cache"
        rows.append(f"| {name} | {a['batch']} sequences, {a['decode_tokens_per_second']:.0f} tokens/s | "
                    f"{b['batch']} sequences, {b['decode_tokens_per_second']:.0f} tokens/s |")
    return "| batch of 32, 1024 tokens | full model | 8 of 32 layers share |\n| --- | ---: | ---: |\n" + "\n".join(rows), search


def attention():
    ours, peers = read("h100_attention.json"), read("h100_peer_torch_attention.json")
    shares = []
    for row in attention_rows(ours, peers, "decode").values():
        shares.append(row["cudnn"]["real_time"] / row["paged<16>"]["real_time"])
    flash = [row["flash"]["real_time"] / row["paged<16>"]["real_time"]
             for row in attention_rows(ours, peers, "decode").values()]
    return min(shares), max(shares), min(flash), max(flash)


def figures():
    table, tokens = quality()
    models, search = speed()
    least, most, flash_least, flash_most = attention()
    device = search["device"] if isinstance(search["device"], str) else "H100"
    return wrapped(f"""
Quality: the shipped model of 24 layers on {tokens:,} tokens of WikiText-2. **On this small model the paper's rule is not the
best one**: compare the rules on your model before you share layers ([all rules and sizes](docs/results.md),
[how to compare them](docs/how-to/compare-rules.md)).

{table}

Speed: Llama-2-7B's sizes in float16, random weights, on one {device.split(',')[0]}, with the readers at the top of the stack
([all shapes, with floors and PyTorch for comparison](docs/reference/measured.md)).

{models}

On this GPU a search for 8 readers takes {search['seconds']:.2f} s. Decode attention over pages of 16 tokens has {percent(least, 0)} to
{percent(most, 0)} of the speed of cuDNN's attention in PyTorch, and {percent(flash_least, 0)} to {percent(flash_most, 0)} of that of FlashAttention.
""".strip())


def main():
    text = README.read_text()
    if text.count(OPEN) != 1 or text.count(CLOSE) != 1:
        sys.exit("make_readme_figures: README.md lacks its marks")
    made = re.sub(re.escape(OPEN) + ".*?" + re.escape(CLOSE), lambda _: OPEN + "\n" + figures() + "\n" + CLOSE, text, flags=re.S)
    if "--check" not in sys.argv[1:]:
        README.write_text(made)
    elif made != text:
        sys.exit("the figures of README.md are not what the files say; run bench/results/make_readme_figures.py")


if __name__ == "__main__":
    main()
