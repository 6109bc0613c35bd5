# SPDX-License-Identifier: Apache-2.0
"""Makes budgets.json: a compact copy of what the project's reference program (plain PyTorch, float32, written from the
papers) computed for every budget.

    python make_budgets.py FOLDER_OF_THE_REFERENCE'S_GOLDEN_DATA

Synthetic cases are copied. Of the shipped model's statistics the numbers that budgets need are kept, for three prompts, of
96, 256 and 700 tokens, without sharing and with the 25 % map: per layer and query head the tokens that hold 0.9 of the
attention of the last 32 queries (`mba`), and of the longest prompt how much attention changes the values (`importance`).
"""
import json
import pathlib
import sys

source = pathlib.Path(sys.argv[1]) / "budgets"
synthetic = json.loads((source / "synthetic.json").read_text())
model = json.loads((source / "model.json").read_text())

prompts = []
for p in model["prompts"]:
    row = {"tokens": int(p["prompt"][1:]), "source": p["src"], "mba": p["mba"], "budgets": []}
    long = row["tokens"] == 700
    if long:
        row["importance"] = p["importance_per_query_head"]
    for b in p["budgets"]:
        wanted = ("pyramidkv", "zigzagkv") + (("baklava",) if long else ())
        row["budgets"].append({"average": b["average"], **{k: v for k, v in b.items() if k.startswith(wanted) and
                                                           not (k.startswith("baklava") and k.endswith("mean"))}})
    prompts.append(row)

out = pathlib.Path(__file__).parent / "budgets.json"
sections = {**synthetic, "model": prompts}
lines = [f' "{name}": [\n' + ",\n".join("  " + json.dumps(row, separators=(",", ":")) for row in rows) + "\n ]"
         for name, rows in sections.items()]
out.write_text("{\n" + ",\n".join(lines) + "\n}\n")
