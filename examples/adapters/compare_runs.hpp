// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdio>
#include <string>
#include <vector>

#include "find_sharing.hpp"
#include "kvsharer/io/python_map.hpp"
#include "toy_model.hpp"

namespace example {

/// Continues `prompt` greedily by `count` tokens.
template <class Engine>
std::vector<int> generate(const toy_model& model, Engine& engine, const std::vector<int>& prompt, int count) {
  std::vector<int> tokens;
  numbers states = engine.run(prompt);
  for (int i = 0; i < count; ++i) {
    const int next = model.next_token(states.data() + states.size() - toy_model::width);
    tokens.push_back(next);
    states = engine.run(std::vector<int>{next});
  }
  return tokens;
}

/// The whole story on one engine: calibrate, search, and run with and without the map that was found.
template <class Engine>
int compare_runs(int share) {
  constexpr int new_tokens = 12;
  const toy_model model;
  const token_samples samples = make_samples(8, 16);
  const kvsharer::search_report found = find_sharing<Engine>(model, samples, share);
  std::printf("layer map  %s\n", kvsharer::python_map(found.map()).c_str());
  std::printf("score      %.4f after %zu candidates\n", found.score, found.candidates.size());

  const auto report = [&](const char* name, const kvsharer::share_map& map) {
    Engine engine(model, map, static_cast<std::ptrdiff_t>(samples[0].size()) + new_tokens);
    std::string text;
    for (int token : generate(model, engine, samples[0], new_tokens)) text += " " + std::to_string(token);
    std::printf("%-10s %d layers stored, %zu bytes, %td rows projected, continues%s\n", name, map.owner_count(),
                engine.cache_bytes(), engine.rows_projected(), text.c_str());
  };
  report("full", kvsharer::share_map::identity(toy_model::layers));
  report("shared", found.map());
  return found.status == kvsharer::search_status::complete ? 0 : 1;
}

}  // namespace example
