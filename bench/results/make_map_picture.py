# SPDX-License-Identifier: Apache-2.0
"""Makes docs/pictures/found-map.svg from the golden strategy of the shipped model at 25 % (tests/golden/mini_llama.json): how
different the layers' caches are, and who reads whose.

usage: make_map_picture.py [--check]     --check: exits with 1 where the picture is not what the data say
"""
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PICTURE = ROOT / "docs" / "pictures" / "found-map.svg"
SHARE = 6

# Seen on light and dark pages alike: nothing but the marks is drawn, and their colours follow the reader's.
STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1d2127; }
.pale { fill: #5c6470; font-size: 12px; } .head { font-weight: 600; }
.far { fill: #0b4f9e; } .owner { fill: #0b4f9e; } .empty { fill: none; stroke: #8a93a0; stroke-dasharray: 2 2; }
.shared { fill: none; stroke: #c8401a; stroke-width: 2; } .bar { fill: #c8ced6; }
@media (prefers-color-scheme: dark) {
text { fill: #dfe3e8; } .pale { fill: #98a2ae; } .far { fill: #8cc1fa; } .owner { fill: #6aaaf0; }
.empty { stroke: #6f7883; } .shared { stroke: #ff8a5c; } .bar { fill: #3b434d; }
}
"""


def text(x, y, words, kind="", **values):
    more = "".join(f' {k.replace("_", "-")}="{v}"' for k, v in values.items())
    return f'<text x="{x:g}" y="{y:g}"' + (f' class="{kind}"' if kind else "") + f"{more}>{words}</text>"


def rect(x, y, width, height, kind, opacity=None):
    shade = f' fill-opacity="{opacity:.2f}"' if opacity is not None else ""
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="2" class="{kind}"{shade}/>'


def triangle(distances, readers, left, top, cell):
    layers = len(distances)
    lower = [distances[r][o] for r in range(layers) for o in range(r)]
    low, high = min(lower), max(lower)
    body = [text(left, top - 12, "How different the layers' caches are", "head")]
    for r in range(layers):
        for o in range(r):
            shade = (distances[r][o] - low) / (high - low)
            body.append(rect(left + o * cell, top + r * cell, cell - 1, cell - 1, "far", 0.06 + 0.94 * shade))
    for r, o in readers:
        body.append(rect(left + o * cell, top + r * cell, cell - 1, cell - 1, "shared"))
    for l in range(0, layers, 4):
        body.append(text(left + l * cell + cell / 2, top + layers * cell + 14, l, "pale", text_anchor="middle"))
        body.append(text(left - 6, top + l * cell + cell - 3, l, "pale", text_anchor="end"))
    body.append(text(left, top + layers * cell + 32, "Row: reader. Column: owner. Outlined: shared.", "pale"))
    return body


def layers_in_a_row(owners, left, top, cell):
    body = [text(left, top - 78, "Whose cache each layer reads", "head")]
    for l, o in enumerate(owners):
        x = left + l * cell
        body.append(rect(x + 0.5, top + 0.5, cell - 3, 22, "owner" if l == o else "empty"))
        if l % 4 == 0:
            body.append(text(x + cell / 2 - 1, top + 38, l, "pale", text_anchor="middle"))
        if l != o:
            a, b = x + cell / 2 - 1, left + o * cell + cell / 2 - 1
            body.append(f'<path class="shared" stroke-opacity="0.8" d="M{a:g} {top - 2:g} C{a:g} {top - 72:g} '
                        f'{b:g} {top - 72:g} {b:g} {top - 2:g}"/>')
    return body


def sizes(owners, head_dim, kv_heads, left, top, width):
    layers, kept = len(owners), len(set(owners))
    per_token = 2 * kv_heads * head_dim * 2
    body = [text(left, top, "KV cache of a token, in fp16", "head")]
    for row, (name, count) in enumerate((("full model", layers), ("shared", kept))):
        y = top + 14 + row * 32
        body.append(rect(left, y, width * count / layers, 22, "bar"))
        body.append(text(left + 8, y + 15.5, f"{name}: {count} of {layers} layers, {count * per_token // 1024} KiB"))
    return body


def runs(numbers):
    """[18, 19, 20, 23] -> "18 to 20, 23"."""
    parts = []
    for n in numbers:
        if parts and n == parts[-1][1] + 1:
            parts[-1][1] = n
        else:
            parts.append([n, n])
    return ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in parts)


def picture():
    golden = json.loads((ROOT / "tests/golden/mini_llama.json").read_text())
    config = json.loads((ROOT / "examples/mini_llama/model/config.json").read_text())
    strategy = next(s for s in golden["strategies"] if s["share"] == SHARE)
    owners = strategy["layer_map"]
    readers = [(l, o) for l, o in enumerate(owners) if l != o]
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    right, cell, layers = 400, 14, len(owners)
    words = "; ".join(f"{owner} is read by {runs([r for r, o in readers if o == owner])}"
                      for owner in sorted({o for _, o in readers}))
    body = triangle(golden["distance_matrix"], readers, 34, 36, 13)
    body += layers_in_a_row(owners, right, 102, cell)
    body.append(text(right, 164, f"Layer {words}.", "pale"))
    body.append(text(right, 182, f"Cosine similarity of the model's output: {strategy['similarity']:.3f}.", "pale"))
    body += sizes(owners, head_dim, config["num_key_value_heads"], right, 236, layers * cell)
    body.append(text(right, 348, "The shipped model, by the paper's rule, at 25 %.", "pale"))
    title = f"A share map found on the shipped model: layer {words}, so {len(set(owners))} of {layers} layers are stored"
    return ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 390" width="760" height="390" role="img">\n'
            f"<title>{title}</title>\n<style>{STYLE}</style>\n" + "\n".join(body) + "\n</svg>\n")


def main():
    made = picture()
    if "--check" not in sys.argv[1:]:
        PICTURE.write_text(made)
    elif not PICTURE.exists() or PICTURE.read_text() != made:
        sys.exit(f"{PICTURE} is not what the data say; run bench/results/make_map_picture.py")


if __name__ == "__main__":
    main()
