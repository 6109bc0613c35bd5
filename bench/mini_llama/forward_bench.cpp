// SPDX-License-Identifier: Apache-2.0
// The calibration forward: 30 samples of 64 tokens through all layers. Axes: the model.
//
// Floor: operations over the rate of Eigen's large product, which `of_product_rate` is the share of (goal: 0.6). The
// shipped model needs 74 G operations (24 layers of hidden 256: short sums, and as much attention as a small layer
// brings), the larger one 678 G.
#include "network/forward.hpp"

#include <benchmark/benchmark.h>

#include "best_iteration.hpp"
#include "calibration_run.hpp"
#include "checkpoint/checkpoint.hpp"
#include "product_rate.hpp"
#include "synthetic_model.hpp"

namespace {

using namespace mini_llama_bench;

const mini_llama::model& shipped() {
  static const mini_llama::model m{mini_llama::checkpoint(KVSHARER_SOURCE_DIR "/examples/mini_llama/model")};
  return m;
}

/// Four layers of TinyLlama-1.1B.
const mini_llama::model& larger() {
  static const mini_llama::model m = synthetic_model({.architecture = "LlamaForCausalLM",
                                                      .layers = 4,
                                                      .hidden = 2048,
                                                      .intermediate = 5632,
                                                      .heads = 32,
                                                      .kv_heads = 4,
                                                      .head_dim = 64,
                                                      .vocab = 1024,
                                                      .max_position = 2048,
                                                      .norm_eps = 1e-5f,
                                                      .rope = {},
                                                      .eos = {},
                                                      .windows = {},
                                                      .kv_owners = {}});
  return m;
}

void calibration_forward(benchmark::State& state, const mini_llama::model& (*model)()) {
  static const double product_rate = peak_rates::product_operations_per_second();
  calibration_run run(model(), 30, 64);
  const double seconds = best_iteration(state, run);
  state.counters["operations"] = run.operations();
  state.counters["operations_per_s"] = run.operations() / seconds;
  state.counters["product_operations_per_s"] = product_rate;
  state.counters["of_product_rate"] = run.operations() / seconds / product_rate;
}

BENCHMARK_CAPTURE(calibration_forward, shipped, shipped)->UseRealTime()->MinTime(3)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(calibration_forward, larger, larger)->UseRealTime()->MinTime(3)->Unit(benchmark::kMillisecond);

}  // namespace
