# SPDX-License-Identifier: Apache-2.0
"""Makes selection.json: a compact copy of what the project's reference program (plain PyTorch, float32, written from the
papers) selected on small random tensors of 8 query heads and 2 KV heads, 120 prompt tokens and 12 decoded ones.

    python make_selection.py FOLDER_OF_THE_REFERENCE'S_GOLDEN_DATA

Votes, sums and kept sets are copied, numbers with 9 digits, rows with 7. H2O's rows of the decode steps are not in that folder: they
are computed here, in float64, from its queries and keys and the tokens that it kept (softmax, summed over each group).
"""
import json
import math
import pathlib
import struct
import sys

source = pathlib.Path(sys.argv[1]) / "selection"


def npy(name):
    """A C-order float32 array as (shape, flat list)."""
    raw = (source / name).read_bytes()
    size = struct.unpack_from("<H", raw, 8)[0]
    head = eval(raw[10:10 + size].decode(), {"__builtins__": {}})
    assert head["descr"] == "<f4" and not head["fortran_order"]
    count = math.prod(head["shape"])
    return head["shape"], list(struct.unpack_from(f"<{count}f", raw, 10 + size))


def short(numbers, digits=9):
    return [float(f"{x:.{digits}g}") for x in numbers]


info = json.loads((source / "selection.json").read_text())
votes, snapkv = {}, []
for row in info["snapkv"]:
    if "votes_file" in row:
        votes[row["window"]] = short(npy(row["votes_file"])[1])
    snapkv.append({k: row[k] for k in ("window", "kernel", "pooling", "capacity", "group_reduce", "kept")})

T, H, g, D = info["prompt"], 2, 4, 32
(_, n, _), q = npy("q.npy")
_, k = npy("k.npy")


def group_row(head, query, tokens):
    """Probabilities of one query position over `tokens`, summed over the group of a KV head."""
    total = [0.0] * len(tokens)
    for member in range(g):
        at = ((head * g + member) * n + query) * D
        scores = [sum(q[at + d] * k[(head * n + t) * D + d] for d in range(D)) / math.sqrt(D) for t in tokens]
        high = max(scores)
        weights = [math.exp(s - high) for s in scores]
        for i, w in enumerate(weights):
            total[i] += w / sum(weights)
    return total


h2o = []
for row in info["h2o"]:
    case = {key: row[key] for key in ("heavy", "recent", "kept_after_prefill")}
    if row["heavy"] + row["recent"] <= 32:
        kept = [list(tokens) for tokens in row["kept_after_prefill"]]
        case["rows"], case["evicted"] = [], row["evicted_per_step_and_head"]
        for step, gone in enumerate(case["evicted"]):
            rows = []
            for head in range(H):
                kept[head].append(T + step)
                rows.append(short(group_row(head, T + step, kept[head]), 7))
                kept[head].remove(gone[head])
            case["rows"].append(rows)
        assert kept == row["final_kept"]
        case["final_scores"] = [short(s) for s in row["final_scores"]]
    h2o.append(case)

out = pathlib.Path(__file__).parent / "selection.json"
sections = {
    "prompt": T, "kv_heads": H,
    "votes": {str(w): v for w, v in sorted(votes.items())},
    "sums": short(npy("h2o_prefill_scores.npy")[1]),
    "sums_by_visible_queries": short(npy("h2o_prefill_scores_normalised_mean.npy")[1]),
    "snapkv": snapkv, "h2o": h2o,
}
lines = []
for name, value in sections.items():
    if isinstance(value, list) and isinstance(value[0], dict):
        rows = ",\n".join("  " + json.dumps(row, separators=(",", ":")) for row in value)
        lines.append(f' "{name}": [\n{rows}\n ]')
    else:
        lines.append(f' "{name}": ' + json.dumps(value, separators=(",", ":")))
out.write_text("{\n" + ",\n".join(lines) + "\n}\n")
