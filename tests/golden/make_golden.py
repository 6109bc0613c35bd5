#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Make the golden files of this folder from the results of examples/mini_llama/train/evaluate.py.

    python make_golden.py --results results/ --model ../../examples/mini_llama/model

Needs numpy and sentencepiece.
"""
import argparse
import json
from pathlib import Path

import numpy as np
import sentencepiece

TEXTS = [
    "", " ", "  ", "a", "A", " a", "a ", "  two spaces before", "two spaces after  ", "two  spaces   within",
    "The city of Lisbon is the capital of", "In 1914, the British government",
    "Jim Hawkins looked at the old sea-chest and", "The species is found in",
    "\n", "\n\n", "line one\nline two", "line one\r\nline two", "\tindented\twith\ttabs", "trailing newline\n",
    " leading space and\n newline", "1234567890", "3.14159 and -2.5e-7", "$100, 50% off!", "e-mail: someone@example.org",
    "https://example.org/a?b=c&d=%20", "\"quoted\" and 'single' and \u201ccurly\u201d", "caf\u00e9, na\u00efve, \u00e9t\u00e9",
    "cafe\u0301 with a combining accent", "Stra\u00dfe, \u00c5ngstr\u00f6m, \u0141\u00f3d\u017a", "\u041c\u043e\u0441\u043a\u0432\u0430",
    "\u6771\u4eac\u90fd", "\u0627\u0644\u0639\u0631\u0628\u064a\u0629", "\U0001f642", "smile \U0001f642\U0001f680 go", "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "en\u2013dash em\u2014dash \u2026 ellipsis", "non\u00a0breaking", "\u3000ideographic space", "\ufb01 ligature and \u2460 circled",
    "<s> and </s> as text", "<0x0A> as text", "\u2581underline block", "zero\u200bwidth", "antidisestablishmentarianism",
    "x" * 50, "int main() { return 0; }", "a\u0000b",
]


def rows(values, indent):
    """A JSON array of arrays or objects, one a line."""
    pad = " " * indent
    return "[\n" + ",\n".join(pad + " " + json.dumps(v) for v in values) + "\n" + pad + "]"


def driver_golden(g):
    prompts = [{"text": p["text"], "token_ids": p["token_ids"], "greedy_ids": p["greedy_ids"],
                "greedy_margins": p["greedy_top2_margins"]} for p in g["prompts"]]
    strategies = [{"share": s["count"], "threshold": s["threshold"], "layer_map": s["layer_map"],
                   "similarity": s["final_similarity"],
                   "tried": [[t["later"], t["earlier"], t["similarity"], t["accepted"]] for t in s["tried"]]}
                  for s in g["strategies_dissimilar_first"]]
    return ("{\n" + ",\n".join([f' "arithmetic": {json.dumps(g["arithmetic"])}',
                                f' "prompts": {rows(prompts, 1)}',
                                f' "strategies": {rows(strategies, 1)}',
                                f' "calibration_ids": {rows(g["calibration_ids"], 1)}',
                                f' "distance_matrix": {rows(g["distance_matrix"], 1)}',
                                f' "ranked_pairs": {json.dumps(g["ranked_pairs_dissimilar_first"])}']) + "\n}\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    args = parser.parse_args()

    golden = json.loads((args.results / "golden.json").read_text())
    (args.out / "mini_llama.json").write_text(driver_golden(golden))
    for source, target in [("golden_logits", "logits"), ("golden_shared_logits", "shared_logits")]:
        np.load(args.results / f"{source}.npy").astype("<f4").tofile(args.out / f"{target}.f32")

    words = sentencepiece.SentencePieceProcessor(model_file=str(args.model / "tokenizer.model"))
    cases = [{"text": t, "ids": words.encode(t), "decoded": words.decode(words.encode(t))} for t in TEXTS]
    (args.out / "tokenizer.json").write_text(rows(cases, 0) + "\n")


if __name__ == "__main__":
    main()
