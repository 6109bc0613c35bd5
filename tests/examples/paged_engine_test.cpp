// SPDX-License-Identifier: Apache-2.0
#include "../../examples/adapters/paged_engine_cache.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <stdexcept>
#include <vector>

#include "engine_checks.hpp"

using namespace engine_checks;
using example::paged_engine;

namespace {

/// Two sequences that grew in turns, so that their pages lie between each other's.
paged_engine two_sequences(const toy_model& model, const share_map& map) {
  paged_engine engine(model, map, 12, 2);
  const auto texts = example::make_samples(2, 11);
  for (std::size_t t = 0; t < 11; ++t)
    for (std::size_t s = 0; s < 2; ++s) engine.run(std::vector<int>{texts[s][t]}, s);
  return engine;
}

}  // namespace

TEST_CASE("the adapter reads the very element that the engine stored, in every sequence") {
  const toy_model model;
  for (const share_map& map : interesting_maps()) {
    const paged_engine engine = two_sequences(model, map);
    CHECK(engine.block_table(0) == std::vector<std::int32_t>{5, 3, 1});
    CHECK(engine.block_table(1) == std::vector<std::int32_t>{4, 2, 0});
    for (std::size_t s = 0; s < 2; ++s) {
      const auto cache = cache_of(engine, s);
      CHECK(cache.shape() == kvsharer::cache_shape{8, 2, 8, 12});
      CHECK(cache.length() == 11);
      std::ptrdiff_t wrong = 0;
      each_number(11, [&](layer_id l, index_t h, index_t t, index_t c) {
        const std::ptrdiff_t page = engine.block_table(s)[static_cast<std::size_t>(t / 4)];
        const std::ptrdiff_t stored = page * map.owner_count() + map.slot(l);
        const auto at = [&](int kv) {
          return static_cast<std::size_t>((((stored * 2 + kv) * 2 + h) * 4 + t % 4) * 8 + c);
        };
        wrong += cache.keys(l).at(h, t, c) != engine.pool()[at(0)];
        wrong += cache.values(l).at(h, t, c) != engine.pool()[at(1)];
        wrong += cache.values(l).row(h, t) + c != engine.pool().data() + at(1);
      });
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("every layer reads its owner's rows, however the text is cut") {
  for (const share_map& map : interesting_maps()) check_against_plain_run<paged_engine>(map);
}

TEST_CASE("sequences do not see one another") {
  const toy_model model;
  const auto texts = example::make_samples(2, 11);
  for (const share_map& map : interesting_maps()) {
    const paged_engine both = two_sequences(model, map);
    for (std::size_t s = 0; s < 2; ++s) {
      paged_engine alone(model, map, 12);
      alone.run(texts[s]);
      std::ptrdiff_t wrong = 0;
      each_number(11, [&](layer_id l, index_t h, index_t t, index_t c) {
        wrong += cache_of(both, s).keys(l).at(h, t, c) != cache_of(alone).keys(l).at(h, t, c);
        wrong += cache_of(both, s).values(l).at(h, t, c) != cache_of(alone).values(l).at(h, t, c);
      });
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("distances through the adapter are those of a plain copy") {
  const toy_model model;
  paged_engine engine(model, share_map::identity(toy_model::layers), 40);
  engine.run(example::make_samples(1, 33)[0]);
  check_distances(cache_of(engine));
  check_distances(cache_of(two_sequences(model, share_map::identity(toy_model::layers)), 1));
}

TEST_CASE("readers take no storage and are not projected") {
  for (const share_map& map : interesting_maps()) check_savings<paged_engine>(map, 12);
}

TEST_CASE("a used-up pool is refused") {
  const toy_model model;
  paged_engine engine(model, share_map::identity(toy_model::layers), 4);
  engine.run(std::vector<int>{1, 2, 3, 4});
  CHECK_THROWS_AS(engine.run(std::vector<int>{5}), std::length_error);
}
