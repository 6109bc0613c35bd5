# SPDX-License-Identifier: Apache-2.0
"""The fingerprint of a HuggingFace checkpoint of the Llama family, as docs/reference/model-fingerprint.md defines it.

usage: model_fingerprint.py FOLDER [EXPECTED-FILE]     with a file: exits with 1 where that says another fingerprint
"""
import json
import pathlib
import struct
import sys

FOLDER = pathlib.Path(sys.argv[1])
CONFIG = json.loads((FOLDER / "config.json").read_text())
LAYERS, HIDDEN, INNER, HEADS = (CONFIG[key] for key in
                                ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads"))
HEAD_DIM = CONFIG.get("head_dim") or HIDDEN // HEADS
QUERIES, KEYS = HEADS * HEAD_DIM, CONFIG.get("num_key_value_heads", HEADS) * HEAD_DIM

TENSORS = {}
for file in FOLDER.glob("*.safetensors"):
    data = memoryview(file.read_bytes())
    length = struct.unpack("<Q", data[:8])[0]
    for name, entry in json.loads(bytes(data[8:8 + length])).items():
        TENSORS[name] = (entry, data[8 + length:])


def weight(name, row, column):
    entry, data = TENSORS[name]
    size, form = {"F32": (4, "<f"), "F16": (2, "<e"), "BF16": (2, "<H")}[entry["dtype"]]
    at = entry["data_offsets"][0] + size * (row * entry["shape"][-1] + column)
    number = struct.unpack(form, data[at:at + size])[0]
    return struct.unpack("<f", struct.pack("<I", number << 16))[0] if entry["dtype"] == "BF16" else number


def digits(number):
    bits = struct.unpack("<I", struct.pack("<f", number))[0]
    return f"{(bits + 0x7fff + (bits >> 16 & 1)) >> 16 & 0xffff:04x}"  # the nearest bfloat16, ties to even


def fingerprint():
    text = f"kv1:{HIDDEN}:{INNER}:{HEADS}:"
    shapes = [("model.embed_tokens", 3, HIDDEN)]
    for layer in sorted({0, LAYERS // 2, LAYERS - 1}):
        shapes += [(f"model.layers.{layer}.{part}", rows, columns) for part, rows, columns in (
            ("input_layernorm", 1, HIDDEN), ("self_attn.q_proj", QUERIES, HIDDEN), ("self_attn.k_proj", KEYS, HIDDEN),
            ("self_attn.v_proj", KEYS, HIDDEN), ("self_attn.o_proj", HIDDEN, QUERIES),
            ("post_attention_layernorm", 1, HIDDEN), ("mlp.gate_proj", INNER, HIDDEN), ("mlp.up_proj", INNER, HIDDEN),
            ("mlp.down_proj", HIDDEN, INNER))]
    shapes += [("model.norm", 1, HIDDEN)]
    return text + "".join(digits(weight(name + ".weight", k * rows // 3, k * columns // 3))
                          for name, rows, columns in shapes for k in (1, 2))


print(fingerprint())
if len(sys.argv) > 2 and pathlib.Path(sys.argv[2]).read_text().strip() != fingerprint():
    sys.exit(f"{sys.argv[2]} says another fingerprint")
