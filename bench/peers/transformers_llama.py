# SPDX-License-Identifier: Apache-2.0
"""HuggingFace transformers at Llama-2-7B's sizes with random weights, on the same card: the peer of `mini_llama bench`
and of `mini_llama search --shape`.

usage: transformers_llama.py > peers.json     needs PyTorch with CUDA and transformers; prints one JSON object
"""
import json
import os
import statistics
import sys
import time

import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

RUNS = [(1, 2048), (16, 1024), (32, 1024), (16, 2048), (32, 2048)]
STEPS = 24
SAMPLES, SAMPLE_TOKENS = 30, 64


def make_model():
    config = LlamaConfig(vocab_size=32000, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32,
                         num_attention_heads=32, num_key_value_heads=32, max_position_embeddings=4096)
    with torch.device("cuda"):
        torch.set_default_dtype(torch.float16)
        model = LlamaForCausalLM(config)
        torch.set_default_dtype(torch.float32)
    return model.eval()


def timed(work):
    torch.cuda.synchronize()
    start = time.perf_counter()
    result = work()
    torch.cuda.synchronize()
    return time.perf_counter() - start, result


def generation(model, batch, context):
    """Median prefill of whole prompts, last logits only, and median decode step of the whole batch."""
    ids = torch.randint(0, 32000, (batch, context), device="cuda")
    prefills, out = [], None
    for _ in range(4):
        out = None  # two caches of the largest batch do not fit
        seconds, out = timed(lambda: model(ids, use_cache=True, logits_to_keep=1))
        prefills.append(seconds)
    cache, next_ids, steps = out.past_key_values, out.logits[:, -1:].argmax(-1), []
    for _ in range(STEPS):
        seconds, out = timed(lambda: model(next_ids, past_key_values=cache, use_cache=True))
        next_ids = out.logits[:, -1:].argmax(-1)
        steps.append(seconds)
    return {"name": f"generation/batch:{batch}/context:{context}",
            "prefill_seconds": statistics.median(prefills[1:]),
            "decode_step_seconds": statistics.median(steps[3:])}


def candidate(model):
    """What the published notebook does for one candidate: full and shared model, sentence by sentence, cosine of the
    last hidden states. Both are the full model here, since sharing saves transformers next to nothing."""
    ids = torch.randint(0, 32000, (SAMPLES, SAMPLE_TOKENS), device="cuda")

    def work():
        scores = []
        for i in range(SAMPLES):
            full, shared = (model.model(ids[i : i + 1], use_cache=True).last_hidden_state.flatten().float()
                            for _ in range(2))
            scores.append(torch.nn.functional.cosine_similarity(full, shared, dim=0).item())
        return scores

    timed(work)
    return {"name": f"candidate/samples:{SAMPLES}/tokens:{SAMPLE_TOKENS}",
            "seconds": statistics.median(timed(work)[0] for _ in range(3))}


def main():
    with torch.inference_mode():
        model = make_model()
        results = [candidate(model)]
        for batch, context in RUNS:
            try:
                results.append(generation(model, batch, context))
            except torch.cuda.OutOfMemoryError as failure:
                print(f"batch {batch}, context {context}: {failure}", file=sys.stderr)
            torch.cuda.empty_cache()
    json.dump({"context": {"device": torch.cuda.get_device_name(), "torch": torch.__version__,
                           "transformers": transformers.__version__, "type": "float16",
                           "commit": os.environ.get("KVSHARER_COMMIT"), "machine": os.environ.get("KVSHARER_MACHINE"),
                           "date": os.environ.get("KVSHARER_DATE")},
               "benchmarks": results}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
