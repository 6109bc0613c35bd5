# SPDX-License-Identifier: Apache-2.0
"""PyTorch's mean row distance of all pairs of layers, at the shapes of backend/cuda/distances_bench.cu, on the same card.

usage: torch_distances.py > peers.json     needs PyTorch with CUDA; prints one JSON object in Google Benchmark's form

`batched`: one reader against all layers at once, as few launches as memory allows. `by_pair`: pair after pair, as the
published notebook has it.
"""
import json
import os
import statistics
import sys

import torch

SHAPES = [(32, 32, 2048, 128), (32, 32, 64, 128), (32, 8, 2048, 128)]


def batched(x):
    return [(x[:reader] - x[reader]).norm(dim=-1).mean(dim=(1, 2)) for reader in range(1, x.shape[0])]


def by_pair(x):
    layers = x.shape[0]
    return [(x[i] - x[j]).norm(dim=-1).mean().item() for i in range(layers) for j in range(i)]


def median_seconds(work, turns=7):
    work()
    seconds = []
    for _ in range(turns):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        work()
        end.record()
        end.synchronize()
        seconds.append(begin.elapsed_time(end) * 1e-3)
    return statistics.median(seconds)


def main():
    results = []
    with torch.inference_mode():
        for shape in SHAPES:
            planes = [torch.randn(shape, device="cuda") for _ in range(2)]
            for name, work in (("batched", batched), ("by_pair", by_pair)):
                seconds = median_seconds(lambda: [work(x) for x in planes])
                layers, heads, tokens, dim = shape
                results.append({"name": f"distances/{name}/layers:{layers}/heads:{heads}/tokens:{tokens}/dim:{dim}",
                                "real_time": seconds * 1e3, "time_unit": "ms"})
            del planes
    json.dump({"context": {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "type": "float32",
                           "commit": os.environ.get("KVSHARER_COMMIT"), "machine": os.environ.get("KVSHARER_MACHINE"),
                           "date": os.environ.get("KVSHARER_DATE")},
               "benchmarks": results}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
