// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "kvsharer/backend/cpu/distances.hpp"
#include "kvsharer/metric/mean_row_norm.hpp"
#include "kvsharer/policy/dissimilar_first.hpp"
#include "kvsharer/search/calibration_average.hpp"
#include "kvsharer/search/fidelity.hpp"
#include "kvsharer/search/find_share_map.hpp"
#include "toy_model.hpp"

namespace example {

using token_samples = std::vector<std::vector<int>>;

// [run-samples]
/// Runs every sample through a fresh engine under a map and returns all final hidden states, [sample][token][width].
/// `visit` sees each engine after its run.
template <class Engine, class Visit>
numbers run_samples(const toy_model& model, const kvsharer::share_map& map, const token_samples& samples, Visit visit) {
  numbers states;
  for (const std::vector<int>& tokens : samples) {
    Engine engine(model, map, static_cast<std::ptrdiff_t>(tokens.size()));
    const numbers state = engine.run(tokens);
    states.insert(states.end(), state.begin(), state.end());
    visit(engine);
  }
  return states;
}
// [/run-samples]

// [find-sharing]
/// Finds out which `share` layers of this model may read an earlier layer's cache.
template <class Engine>
kvsharer::search_report find_sharing(const toy_model& model, const token_samples& samples, int share) {
  // The unshared model, once: its caches are averaged, its final hidden states kept as the reference.
  kvsharer::calibration_average average;
  const auto everyone_owns = kvsharer::share_map::identity(toy_model::layers);
  const numbers full =
      run_samples<Engine>(model, everyone_owns, samples, [&](const Engine& engine) { average.add(cache_of(engine)); });

  // How different are every two layers?
  const kvsharer::distance_matrix distances =
      kvsharer::cpu::layer_distances(kvsharer::cpu::backend{}, average, kvsharer::metric::mean_row_norm{});

  // The probe: what does the model make of the samples under this map?
  const auto probe = [&](const kvsharer::share_map& map) {
    const numbers shared = run_samples<Engine>(model, map, samples, [](const Engine&) {});
    return kvsharer::hidden_similarity(full, shared, static_cast<kvsharer::index_t>(samples.size()));
  };
  return kvsharer::find_share_map(distances, kvsharer::policy::dissimilar_first{}, probe, {.share = share});
}
// [/find-sharing]

/// `count` samples of `length` tokens, the same on every machine.
inline token_samples make_samples(std::size_t count, std::size_t length) {
  token_samples samples(count, std::vector<int>(length));
  unsigned state = 1;
  for (std::vector<int>& tokens : samples)
    for (int& token : tokens) {
      state = state * 1664525u + 1013904223u;
      token = static_cast<int>((state >> 16) % toy_model::vocabulary);
    }
  return samples;
}

}  // namespace example
