#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes one folder here for each family that mini_llama loads: a tiny random checkpoint and what it answers.

Needs torch and transformers (made with 2.15 and 5.23). Each folder gets
  config.json        as transformers writes it: rope_parameters, dtype, layer_types
  old.json           the same model as files of transformers 4 say it: rope_theta and rope_scaling at the top, torch_dtype
  model.safetensors  float32 weights
  expected.json      ids, the logits at some of their positions, and the greedy continuation

InternLM2 is not part of transformers. Its checkpoint is the weights of a random Llama under InternLM2's names, with
queries, keys and values fused as its own code has them: for each KV head the group's query rows, then the key's, then the
value's. Sharing layers that transformers knows only in other shapes (Gemma 3n) are a Llama whose cache hands the keys and
values of the layer that they read to the last layers, in place of their own.
"""
import json
import pathlib
import shutil

import torch
import transformers
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).resolve().parent
VOCAB, HIDDEN, TOKENS, GREEDY = 128, 16, 12, 16
BASE = dict(vocab_size=VOCAB, hidden_size=HIDDEN, intermediate_size=32, num_hidden_layers=3, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64, rms_norm_eps=1e-5, tie_word_embeddings=False,
            bos_token_id=1, eos_token_id=2, pad_token_id=None)
LLAMA3 = dict(rope_type="llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=16)


def rope(theta, **more):
    return dict(rope_theta=theta, **(more or dict(rope_type="default")))


FAMILIES = {
    "llama2": ("Llama", dict(rope_parameters=rope(10000.0))),
    "tinyllama": ("Llama", dict(rope_parameters=rope(10000.0), num_key_value_heads=1)),
    "llama3": ("Llama", dict(rope_parameters=rope(500000.0, **LLAMA3), tie_word_embeddings=True)),
    "llama_linear": ("Llama", dict(rope_parameters=rope(10000.0, rope_type="linear", factor=2.0),
                                   attention_bias=True)),
    "mistral": ("Mistral", dict(rope_parameters=rope(10000.0), sliding_window=5)),
    "qwen2": ("Qwen2", dict(rope_parameters=rope(1000000.0), num_hidden_layers=4, use_sliding_window=True,
                            sliding_window=6, max_window_layers=2, tie_word_embeddings=True)),
    "qwen3": ("Qwen3", dict(rope_parameters=rope(1000000.0), head_dim=8, tie_word_embeddings=True)),
    "internlm2": ("Llama", dict(rope_parameters=rope(10000.0))),
    "own_map": ("Llama", dict(rope_parameters=rope(10000.0), num_hidden_layers=5)),
}
OWN_READERS = 2  # of own_map


class SharingCache(transformers.DynamicCache):
    """The last layers are handed what the last layer below them stores, and store nothing that is read."""

    def __init__(self, config):
        super().__init__(config=config)
        self.first = config.num_hidden_layers - OWN_READERS

    def update(self, keys, values, layer, *args, **kwargs):
        keys, values = super().update(keys, values, layer, *args, **kwargs)
        if layer < self.first:
            self.last = keys, values
            return keys, values
        return self.last


def randomise(model, seed):
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=g)
            p.copy_(1 + 0.2 * noise if "norm" in name else 0.5 * noise if name.endswith("bias") else
                    (1.0 if "embed" in name else 0.35) * noise)


def old_form(config):
    """What a file of transformers 4 says."""
    c = json.loads(json.dumps(config))
    c["torch_dtype"] = c.pop("dtype")
    rotation = c.pop("rope_parameters")
    c["rope_theta"] = rotation.pop("rope_theta")
    kind = rotation.pop("rope_type")
    c["rope_scaling"] = None
    if kind == "linear":
        c["rope_scaling"] = {"type": kind, **rotation}
    elif kind != "default":
        c["rope_scaling"] = {"rope_type": kind, **rotation}
    c.pop("layer_types", None)
    c["transformers_version"] = "4.40.0"
    return c


def as_internlm2(tensors, c):
    names = {"model.embed_tokens": "model.tok_embeddings", "lm_head": "output", "self_attn.o_proj": "attention.wo",
             "input_layernorm": "attention_norm", "post_attention_layernorm": "ffn_norm",
             "mlp.gate_proj": "feed_forward.w1", "mlp.up_proj": "feed_forward.w3", "mlp.down_proj": "feed_forward.w2"}
    heads, kv_heads = c["num_attention_heads"], c["num_key_value_heads"]
    head_dim = c["hidden_size"] // heads
    out = {}
    for name, t in tensors.items():
        if "q_proj" in name:
            def by_head(part):
                return tensors[name.replace("q_proj", part)].view(kv_heads, -1, head_dim, t.shape[1])
            fused = torch.cat([by_head("q_proj"), by_head("k_proj"), by_head("v_proj")], dim=1)
            out[name.replace("self_attn.q_proj", "attention.wqkv")] = fused.reshape(-1, t.shape[1]).contiguous()
        elif "k_proj" not in name and "v_proj" not in name:
            for old, new in names.items():
                name = name.replace(old, new)
            out[name] = t
    c = dict(c, model_type="internlm2", architectures=["InternLM2ForCausalLM"], bias=False)
    c.pop("attention_bias", None), c.pop("mlp_bias", None)
    return out, c


def main():
    torch.set_num_threads(1)
    for seed, (name, (kind, changes)) in enumerate(FAMILIES.items(), start=1):
        folder = HERE / name
        shutil.rmtree(folder, ignore_errors=True)
        config = getattr(transformers, kind + "Config")(**{**BASE, **changes})
        config._attn_implementation = "eager"
        model = getattr(transformers, kind + "ForCausalLM")(config).float().eval()
        randomise(model, seed)
        model.save_pretrained(folder)
        for other in folder.glob("generation_config.json"):
            other.unlink()
        written = json.loads((folder / "config.json").read_text())
        written.pop("transformers_version", None)

        new_cache = (lambda: SharingCache(config)) if name == "own_map" else lambda: transformers.DynamicCache(config=config)
        ids = torch.randint(3, VOCAB, (TOKENS,), generator=torch.Generator().manual_seed(100 + seed)).tolist()
        with torch.no_grad():
            logits = model(torch.tensor([ids]), past_key_values=new_cache(), use_cache=True).logits[0].double()
            greedy, margins, all_ids = [], [], list(ids)
            for _ in range(GREEDY):  # from the beginning each time: no cache to be right or wrong about
                last = model(torch.tensor([all_ids]), past_key_values=new_cache(), use_cache=True).logits[0, -1]
                best = last.topk(2).values
                margins.append(float(best[0] - best[1]))
                greedy.append(int(last.argmax()))
                all_ids.append(greedy[-1])
        assert min(margins) > 1e-3, (name, min(margins))

        tensors = {k: v.detach().clone().contiguous() for k, v in model.state_dict().items()}
        if config.tie_word_embeddings:
            tensors.pop("lm_head.weight", None)
        if name == "internlm2":
            tensors, written = as_internlm2(tensors, written)
        if name == "own_map":
            written["num_kv_shared_layers"] = OWN_READERS
            for layer in range(config.num_hidden_layers - OWN_READERS, config.num_hidden_layers):
                for part in ("k_proj", "v_proj"):
                    del tensors[f"model.layers.{layer}.self_attn.{part}.weight"]
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "config.json").write_text(json.dumps(written, indent=1, sort_keys=True) + "\n")
        (folder / "old.json").write_text(json.dumps(old_form(written), indent=1, sort_keys=True) + "\n")
        shown = [0, 5, 7, TOKENS - 1]
        expected = dict(ids=ids, positions=shown, logits=[[round(x, 7) for x in logits[p].tolist()] for p in shown],
                        greedy=greedy, smallest_margin=round(min(margins), 4))
        (folder / "expected.json").write_text(json.dumps(expected) + "\n")
        print(name, min(margins), sum(f.stat().st_size for f in folder.iterdir()))


main()
