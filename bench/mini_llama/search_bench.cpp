// SPDX-License-Identifier: Apache-2.0
// The whole search for a plan on the shipped model: 30 samples of 64 tokens, a quarter of the 24 layers,
// from the calibration run to the report. Axis: resume (whether a candidate starts at its first changed layer).
//
// Floor: the unshared run and one run per candidate tried, each a full calibration forward, which is timed in the same
// run. `of_forwards` is the whole search over that (goal: at most 1.3 without resume); what it is above 1 is averages,
// distances, scores and copies. With resume the floor falls to `layers_run`, the share of layers that have to be run.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <limits>

#include "best_iteration.hpp"
#include "calibration_run.hpp"
#include "run/session.hpp"
#include "search/find_sharing.hpp"
#include "text/calibration.hpp"

namespace {

using namespace mini_llama;

void search(benchmark::State& state) {
  constexpr int samples = 30, tokens = 64;
  static session s(KVSHARER_SOURCE_DIR "/examples/mini_llama/model");
  static const token_batch batch = read_calibration(
      KVSHARER_SOURCE_DIR "/examples/mini_llama/calibration/encyclopaedia.txt", s.words(), samples, tokens);
  mini_llama_bench::calibration_run forward(s.llama, samples, tokens);

  // In turn, so that a busy moment of the machine does not meet only one of them.
  double forward_seconds = std::numeric_limits<double>::infinity();
  const auto time_forward = [&] {
    for (int i = 0; i < 3; ++i) {
      const auto start = std::chrono::steady_clock::now();
      forward();
      forward_seconds =
          std::min(forward_seconds, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
  };
  time_forward();
  search_outcome outcome;
  const double seconds = best_iteration(state, [&] {
    outcome = find_sharing(s, batch, {.share = s.llama.config().layers / 4, .resume = state.range(0) != 0});
  });
  time_forward();

  const auto runs = static_cast<double>(outcome.evidence.report.candidates.size() + 1);
  state.counters["of_forwards"] = seconds / (runs * forward_seconds);
  state.counters["layers_run"] = static_cast<double>(outcome.layer_evaluations) / (runs * s.llama.config().layers);
  state.counters["candidates_tried"] = runs - 1;
  state.counters["forward_s"] = forward_seconds;
  state.counters["calibration_s"] = outcome.calibration_seconds;
  state.counters["distance_s"] = outcome.distance_seconds;
}

BENCHMARK(search)->ArgName("resume")->Arg(0)->Arg(1)->UseRealTime()->MinTime(5)->Unit(benchmark::kMillisecond);

}  // namespace
