#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Make the golden tokenizers of this folder: tokenizer.json files of byte-level BPE, and what they make of hard texts.

    pip install tokenizers==0.23.3
    python make_tokenizers.py

Each style has the normalizer, pre-tokenizer, post-processor and decoder of a family of models, and a small vocabulary
trained on texts of this repository. <style>.ids.json holds "encoded": for each text of texts.json its ids, what the
post-processor puts before them, and the text that the ids decode to; and "decoded": sequences of ids that no text has,
broken characters and special tokens among them, and their text.
"""
import json
import random
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = Path(__file__).parent
SOURCES = HERE.parents[2]
CORPUS = ["examples/mini_llama/calibration/encyclopaedia.txt", "README.md", "docs/tutorial.md",
          "include/kvsharer/core/share_map.hpp"]
# Characters that those texts lack, so that merges meet them.
MANY_SCRIPTS = ["caf\u00e9 na\u00efve \u00e9t\u00e9 Stra\u00dfe \u00c5ngstr\u00f6m", "\u041c\u043e\u0441\u043a\u0432\u0430 \u0440\u0435\u043a\u0430",
                "\u6771\u4eac\u90fd \u6771\u4eac", "\u0627\u0644\u0639\u0631\u0628\u064a\u0629", "\U0001f642\U0001f642 \U0001f680",
                "12 123 1234 2024 1999", "  if (x) {\n    return 0;\n  }\n\n\n", "don't we'll I'm they've IT'S"] * 40

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
TAIL = r"\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + TAIL
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + TAIL
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
NEMO = (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*|\p{{N}}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + TAIL)

TEXTS = [
    "", " ", "  ", "   ", "a", " a", "a ", "  two before", "two after  ", "three   within", "\t", "\ttab\t tab",
    "\n", "\n\n", "\n\n\n a", " \n", " \n \n  x", "line one\nline two", "line one\r\nline two\r\n", "\r", "a\r\rb", "trailing\n",
    "spaces then newline   \n   indented", "a\u000bb\u000cc", "a \u0085 b", "non\u00a0breaking\u00a0 space", "\u3000ideographic \u3000 space",
    "\u2003em \u2009thin \u2028 line \u2029 paragraph", "\u180e vowel \u180eseparator", "zero\u200bwidth \u200d joiner \ufeff mark",
    "The city of Lisbon is the capital of Portugal.", "In 1914, the British government", "lighthouse the lighthouse Lighthouse",
    "unlighthouse lighthouses LIGHTHOUSE", "int main() { return 0; }", "  for (int i = 0; i < n; ++i) {\n    sum += x[i];\n  }\n",
    "0", "12", "123", "1234", "12345", "1234567890", "3.14159 and -2.5e-7", "$1,000.50, 50% off!", "year2024and1999", "\u00bd \u2167 \u00b2 \u2460 \u0663\u0664\u0665\u0666 \uff11\uff12\uff13",
    "don't we'll I'm they've he's she'd you're", "DON'T WE'LL I'M THEY'VE HE'S", "'s 's' ''s 'tis 'S'T", "it\u2019s don\u2019t", "'\u017f and '\u212a",
    "caf\u00e9, na\u00efve, \u00e9t\u00e9", "cafe\u0301 combining e\u0301\u0323 and a\u030a", "\u0344 \u0958 \u212b \u2126 \uac00 \u1100\u1161\u11a8", "\u0301 alone", "x\u0301\u0301\u0301",
    "Stra\u00dfe, \u00c5ngstr\u00f6m, \u0141\u00f3d\u017a", "\u01c5 \u02b0 \u00aa \u01bb", "\u041c\u043e\u0441\u043a\u0432\u0430 \u0440\u0435\u043a\u0430", "camelCase PascalCase HTTPServer iPhone XMLHttpRequest", "\u0394\u03b5\u03bb\u03c4\u03b1 \u03a3\u03a3",
    "\u6771\u4eac\u90fd\u306f\u65e5\u672c\u306e\u9996\u90fd", "\ud55c\uad6d\uc5b4", "\u0627\u0644\u0639\u0631\u0628\u064a\u0629", "\u0939\u093f\u0928\u094d\u0926\u0940", "\u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22",
    "\U0001f642", "smile \U0001f642\U0001f680 go", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1f5\U0001f1f9", "\U0001d54f \U00010348", "\U0010ffff \ue000",
    "!!!", "...", " ...\n\n", "a/b//c/\n", "path/to\r\n/x", "-- --- \u2014 \u2013", "\"quoted\" 'single' \u201ccurly\u201d", "https://example.org/a?b=c&d=%20",
    "a_b __init__ _", "<|begin|>", "a<|end|>b", " <|end|> ", "<|end|><|end|>", "<|en", "<|end", "<|endless|>x", "<think>why</think> so", "<s>text</s>", "[INST] x [/INST]",
    "two words", "a two words b", "t\u00f6k and to\u0308k", "xt\u00f6ky", "<0x0A>", "\u2581block", "\u0120 \u010a spelt", "x" * 60, "ab" * 30, " " * 40, "\n" * 20, "=" * 33, "a\u0000b",
]


def split(pattern):
    return pre_tokenizers.Split(Regex(pattern), behavior="isolated", invert=False)


def byte_level(use_regex, prefix=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=use_regex)


def special(text, normalized=False):
    return AddedToken(text, special=True, normalized=normalized)


def corpus():
    for name in CORPUS:
        yield from (SOURCES / name).read_text().splitlines(keepends=True)
    yield from MANY_SCRIPTS


def train(pre_tokenizer, merges, normalizer=None, first=()):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizer
    if normalizer:
        t.normalizer = normalizer
    t.decoder = decoders.ByteLevel()
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    t.train_from_iterator(corpus(), trainers.BpeTrainer(
        vocab_size=len(first) + 256 + merges, show_progress=False, special_tokens=list(first),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return t


def begins_with(t, token):
    return processors.TemplateProcessing(single=f"{token} $A", pair=f"{token} $A {token}:1 $B:1",
                                         special_tokens=[(token, t.token_to_id(token))])


def gpt2():
    t = train(byte_level(True), 250)
    t.add_special_tokens([special("<|end|>", normalized=True)])
    return t


def qwen2():
    t = train(pre_tokenizers.Sequence([split(QWEN2), byte_level(False)]), 250, normalizers.NFC())
    t.add_special_tokens([special("<|begin|>"), special("<|end|>"), special("<|endless|>")])
    t.add_tokens([AddedToken("<think>", normalized=False), AddedToken("</think>", normalized=False),
                  AddedToken("two words", normalized=True), AddedToken("to\u0308k", normalized=True)])
    return t


def llama3():
    t = train(pre_tokenizers.Sequence([split(LLAMA3), byte_level(False)]), 250)
    t.add_special_tokens([special("<|begin|>"), special("<|end|>")])
    t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), begins_with(t, "<|begin|>")])
    return t


def nemo():
    t = train(pre_tokenizers.Sequence([split(NEMO), byte_level(False)]), 250,
              first=[special(s) for s in ("<unk>", "<s>", "</s>", "[INST]", "[/INST]")])
    t.post_processor = begins_with(t, "<s>")
    return t


def digits():
    """As SmolLM's, with a space before the text as RoBERTa's."""
    t = train(pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level(True, prefix=True)]), 150,
              first=[special("<|end|>")])
    return t


def edit(name, j):
    """What the training cannot make: words without merges, and merges as strings, which older files have."""
    model = j["model"]
    if name == "llama3":
        model["ignore_merges"] = True
        ids = len(model["vocab"])
        words = ["lighthouse", "\u0120lighthouse", "\u0120capital"]
        for added in j["added_tokens"]:
            added["id"] += len(words)
        template = j["post_processor"]["processors"][1]["special_tokens"]["<|begin|>"]
        template["ids"] = [i + len(words) for i in template["ids"]]
        model["vocab"].update({w: ids + i for i, w in enumerate(words)})
    if name in ("gpt2", "qwen2"):
        model["merges"] = [" ".join(m) for m in model["merges"]]
    return j


def broken_bytes(t):
    """Tokens of single bytes that begin and continue characters, or do neither."""
    letters = {b: chr(b) for b in [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]}
    rest = [b for b in range(256) if b not in letters]
    letters.update({b: chr(0x100 + i) for i, b in enumerate(rest)})
    return [t.token_to_id(letters[b]) for b in (0xF0, 0x9F, 0x99, 0x82, 0xE6, 0x9D, 0xED, 0xA0, 0xC3, 0xA9, 0xFF, 0xC0, 0x41)]


def main():
    (HERE / "texts.json").write_text("[\n" + ",\n".join(json.dumps(t) for t in TEXTS) + "\n]\n")
    for name, make in [("gpt2", gpt2), ("qwen2", qwen2), ("llama3", llama3), ("nemo", nemo), ("digits", digits)]:
        file = HERE / f"{name}.json"
        file.write_text(json.dumps(edit(name, json.loads(make().to_str())), separators=(",", ":")) + "\n")
        t = Tokenizer.from_file(str(file))
        encoded = []
        for text in TEXTS:
            ids, whole = t.encode(text, add_special_tokens=False).ids, t.encode(text).ids
            before = whole[:len(whole) - len(ids)]
            assert whole == before + ids
            encoded.append(json.dumps([ids, before, t.decode(ids)]))
        draw = random.Random(1)
        lists = [[draw.choice(broken_bytes(t) if draw.random() < 0.7 else range(t.get_vocab_size()))
                  for _ in range(draw.randint(1, 12))] for _ in range(40)]
        decoded = [json.dumps([ids, t.decode(ids)]) for ids in lists]
        (HERE / f"{name}.ids.json").write_text('{"encoded": [\n' + ",\n".join(encoded) + '\n],\n"decoded": [\n' +
                                               ",\n".join(decoded) + "\n]}\n")


if __name__ == "__main__":
    main()
