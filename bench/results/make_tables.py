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


def page():
    ours, peers = read("h100_attention.json"), read("h100_peer_torch_attention.json")
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
