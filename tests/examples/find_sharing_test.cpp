// SPDX-License-Identifier: Apache-2.0
#include "../../examples/adapters/find_sharing.hpp"

#include <doctest/doctest.h>

#include <vector>

#include "../../examples/adapters/compare_runs.hpp"
#include "../../examples/adapters/flat_engine_cache.hpp"
#include "../../examples/adapters/paged_engine_cache.hpp"
#include "engine_checks.hpp"

using namespace engine_checks;

TEST_CASE("one search serves both engines and leaves the asked number of readers") {
  const toy_model model;
  const auto samples = example::make_samples(4, 12);
  const auto flat = example::find_sharing<example::flat_engine>(model, samples, 3);
  const auto paged = example::find_sharing<example::paged_engine>(model, samples, 3);
  CHECK(flat.status == kvsharer::search_status::complete);
  CHECK(flat.map().reader_count() == 3);
  CHECK(flat.map() == paged.map());
  CHECK(flat.score == paged.score);
  CHECK(flat.candidates.size() == paged.candidates.size());

  // The score can be had again from the cacheless run of the same map.
  double score = 0;
  for (const std::vector<int>& text : samples) {
    const plain_run full(model, share_map::identity(toy_model::layers), text), shared(model, flat.map(), text);
    double dot = 0, a = 0, b = 0;
    for (std::size_t t = 0; t < text.size(); ++t)
      for (std::size_t c = 0; c < toy_model::width; ++c) {
        const double x = full.states[t][c], y = shared.states[t][c];
        dot += x * y, a += x * x, b += y * y;
      }
    score += dot / std::sqrt(a * b) / static_cast<double>(samples.size());
  }
  CHECK(flat.score == doctest::Approx(score).epsilon(1e-4));
}

TEST_CASE("a shared cache generates what the cacheless network does") {
  const toy_model model;
  const auto prompt = example::make_samples(1, 7)[0];
  for (const share_map& map : interesting_maps()) {
    example::flat_engine flat(model, map, 20);
    example::paged_engine paged(model, map, 20);
    const std::vector<int> continued = example::generate(model, flat, prompt, 6);
    CHECK(continued == example::generate(model, paged, prompt, 6));
    std::vector<int> text = prompt;
    for (int token : continued) {
      CHECK(token == model.next_token(plain_run(model, map, text).states.back().data()));
      text.push_back(token);
    }
  }
}
