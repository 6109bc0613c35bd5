// SPDX-License-Identifier: Apache-2.0
#include "../../examples/adapters/flat_engine_cache.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <vector>

#include "engine_checks.hpp"

using namespace engine_checks;
using example::flat_engine;

TEST_CASE("the adapter reads the very element that the engine stored") {
  const toy_model model;
  for (const share_map& map : interesting_maps()) {
    flat_engine engine(model, map, 12);
    engine.run(example::make_samples(1, 9)[0]);
    const auto cache = cache_of(engine);
    CHECK(cache.shape() == kvsharer::cache_shape{8, 2, 8, 12});
    CHECK(cache.length() == 9);
    std::ptrdiff_t wrong = 0;
    each_number(9, [&](layer_id l, index_t h, index_t t, index_t c) {
      const auto at = static_cast<std::size_t>(((map.slot(l) * 12 + t) * 2 + h) * 8 + c);
      wrong += cache.keys(l).at(h, t, c) != engine.key_buffer()[at];
      wrong += cache.values(l).at(h, t, c) != engine.value_buffer()[at];
      wrong += cache.keys(l).row(h, t) + c != engine.key_buffer().data() + at;
    });
    CHECK(wrong == 0);
  }
}

TEST_CASE("every layer reads its owner's rows, however the text is cut") {
  for (const share_map& map : interesting_maps()) check_against_plain_run<flat_engine>(map);
}

TEST_CASE("distances through the adapter are those of a plain copy") {
  const toy_model model;
  flat_engine engine(model, share_map::identity(toy_model::layers), 40);
  engine.run(example::make_samples(1, 33)[0]);
  check_distances(cache_of(engine));
}

TEST_CASE("readers take no storage and are not projected") {
  for (const share_map& map : interesting_maps()) check_savings<flat_engine>(map, 12);
}
