# SPDX-License-Identifier: Apache-2.0
"""PyTorch's attention at the shapes of backend/cuda/attention_bench.cu, on the same card: the peers of its table.

usage: torch_attention.py > peers.json     needs PyTorch with CUDA; prints one JSON object in Google Benchmark's form

real_time: a replay of one captured pass through rotated inputs, as ours is measured. eager_time: the same pass launched call
by call from Python, as most programs use it; what a short call takes then is the launch.
"""
import json
import os
import statistics
import sys

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

HEADS, HEAD_DIM = 32, 128
DECODE = [(1, 4096), (1, 32768), (16, 2048), (32, 4096), (64, 1024)]
PREFILL = [(1, 2048), (1, 8192), (30, 64)]
BACKENDS = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION}


def median_seconds(run, stream, sets):
    """Median over turns of one pass through all input sets, per set."""
    seconds = []
    for turn in range(28):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        with torch.cuda.stream(stream):
            begin.record()
            run()
            end.record()
        end.synchronize()
        if turn >= 3:
            seconds.append(begin.elapsed_time(end) * 1e-3 / sets)
    return statistics.median(seconds)


def captured_and_eager_seconds(work, sets):
    def once():
        for i in range(sets):
            work(i)

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for i in range(min(sets, 2)):
            work(i)
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        once()
    return median_seconds(graph.replay, stream, sets), median_seconds(once, stream, sets)


def run(kind, backend, kv_heads, batch, tokens):
    rows = 1 if kind == "decode" else tokens
    size = 2 * batch * tokens * kv_heads * HEAD_DIM * 2
    sets = max(1, (512 << 20) // size) if kind == "decode" else 1
    shape = (sets, batch, kv_heads, tokens, HEAD_DIM)
    keys = torch.randn(shape, device="cuda", dtype=torch.bfloat16)
    values = torch.randn(shape, device="cuda", dtype=torch.bfloat16)
    queries = torch.randn((batch, HEADS, rows, HEAD_DIM), device="cuda", dtype=torch.bfloat16)

    def work(i):
        scaled_dot_product_attention(queries, keys[i], values[i], is_causal=rows > 1, enable_gqa=kv_heads != HEADS)

    with sdpa_kernel(BACKENDS[backend]):
        seconds, eager = captured_and_eager_seconds(work, sets)
    return {
        "name": f"{kind}/{backend}/kv_heads:{kv_heads}/batch:{batch}/{'context' if rows == 1 else 'tokens'}:{tokens}",
        "real_time": seconds * 1e6,
        "eager_time": eager * 1e6,
        "time_unit": "us",
        "bytes_per_s": size / seconds,
        "operations_per_s": 4 * batch * HEADS * HEAD_DIM * (tokens * (tokens + 1) // 2 if rows > 1 else tokens) / seconds,
    }


def copy_rate():
    source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    # As part of a graph the same copy is slower.
    return 2 * source.numel() / captured_and_eager_seconds(lambda _: target.copy_(source), 1)[1]


def main():
    results = []
    for kind, shapes in (("decode", DECODE), ("prefill", PREFILL)):
        for kv_heads in (32, 8):
            for batch, tokens in shapes:
                for backend in BACKENDS:
                    try:
                        results.append(run(kind, backend, kv_heads, batch, tokens))
                    except RuntimeError as failure:  # a backend that does not take this shape
                        print(f"{kind} {backend} {kv_heads} {batch} {tokens}: {failure}", file=sys.stderr)
                    torch.cuda.empty_cache()
    context = {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "commit": os.environ.get("KVSHARER_COMMIT"),
        "machine": os.environ.get("KVSHARER_MACHINE"),
        "date": os.environ.get("KVSHARER_DATE"),
        "copy_bytes_per_s": copy_rate(),
    }
    json.dump({"context": context, "benchmarks": results}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
