// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cstddef>
#include <sstream>
#include <vector>

#include "archetypes/layout_archetypes.hpp"
#include "kvsharer/backend/cpu/backend.hpp"
#include "kvsharer/backend/cpu/distances.hpp"
#include "kvsharer/core/element.hpp"
#include "kvsharer/core/share_map.hpp"
#include "kvsharer/layout/contiguous.hpp"
#include "kvsharer/metric/mean_row_norm.hpp"
#include "kvsharer/runtime/shared_cache.hpp"
#include "kvsharer/search/calibration_average.hpp"

using namespace kvsharer;

namespace {

constexpr cache_shape shape{.layers = 4, .kv_heads = 2, .head_dim = 3, .capacity = 11};
constexpr index_t row = shape.kv_heads * shape.head_dim;
const std::vector<int> owners{0, 1, 0, 1};

/// Small integers, exact in every element type.
float number(int plane, int owner, int sequence, index_t token, index_t column) {
  return static_cast<float>((plane * 31 + owner * 7 + sequence * 53 + token * 6 + column * 5) % 97);
}

/// Appends tokens one lot after another and stores them as those of `sequence`.
template <class Cache>
void grow(Cache& cache, sequence_id id, int sequence, index_t tokens) {
  const index_t first = cache.append(id, tokens);
  for (int owner = 0; owner < 2; ++owner) {
    std::vector<float> rows[2];
    for (int plane = 0; plane < 2; ++plane)
      for (index_t t = first; t < first + tokens; ++t)
        for (index_t c = 0; c < row; ++c) rows[plane].push_back(number(plane, owner, sequence, t, c));
    cache.store({owner}, id, first, tokens, rows[0].data(), rows[1].data());
  }
}

/// Tokens below `fork_at` are those of `parent`, the others those of `sequence`.
template <class Cache>
void check(const Cache& cache, sequence_id id, index_t length, int sequence, int parent, index_t fork_at) {
  REQUIRE(cache.length(id) == length);
  for (layer_id l{0}; l.value < shape.layers; ++l.value) {
    const auto keys = cache.keys(l, id), values = cache.values(l, id);
    for (index_t t = 0; t < length; ++t)
      for (index_t h = 0; h < shape.kv_heads; ++h)
        for (index_t d = 0; d < shape.head_dim; ++d) {
          const int owner = owners[static_cast<std::size_t>(l.value)], from = t < fork_at ? parent : sequence;
          REQUIRE(keys.at(h, t, d) == number(0, owner, from, t, h * shape.head_dim + d));
          REQUIRE(values.at(h, t, d) == number(1, owner, from, t, h * shape.head_dim + d));
        }
  }
}

}  // namespace

TEST_CASE_TEMPLATE("shared_cache takes any CacheLayout", E, float, float16, bfloat16) {
  const share_map map = share_map::from_owners(owners).value();
  shared_cache<E, archetypes::channel_first> cache(map, shape, {.max_sequences = 4}, archetypes::channel_first(4));
  CHECK(cache.page_tokens() == 4);

  const sequence_id a = cache.create(), b = cache.create();
  grow(cache, a, 1, 3);
  grow(cache, b, 2, 5);
  grow(cache, a, 1, 6);
  check(cache, a, 9, 1, 1, 0);
  check(cache, b, 5, 2, 2, 0);

  // The fork's sixth token goes into a page that both hold, which is copied first.
  const sequence_id c = cache.fork(b);
  grow(cache, c, 3, 4);
  grow(cache, b, 2, 1);
  check(cache, c, 9, 3, 2, 5);
  check(cache, b, 6, 2, 2, 0);

  cache.truncate(a, 2);
  grow(cache, a, 4, 9);
  check(cache, a, 11, 4, 1, 2);
  check(cache, c, 9, 3, 2, 5);

  // What was saved under this layout can be read under another one, and back.
  std::stringstream out, back;
  cache.save(c, out);
  shared_cache<E, layout::token_major> other(map, shape);
  const sequence_id there = other.restore(out);
  check(other, there, 9, 3, 2, 5);
  other.save(there, back);
  check(cache, cache.restore(back), 9, 3, 2, 5);
}

TEST_CASE("what measures caches takes one of any CacheLayout, and sees the same numbers") {
  const share_map map = share_map::identity(2);
  constexpr cache_shape two{.layers = 2, .kv_heads = 2, .head_dim = 3, .capacity = 11};
  shared_cache<float, archetypes::channel_first> odd(map, two, {}, archetypes::channel_first(4));
  shared_cache<float, layout::head_major> plain(map, two);
  const sequence_id odd_id = odd.create(), plain_id = plain.create();
  grow(odd, odd_id, 1, 10);
  grow(plain, plain_id, 1, 10);

  calibration_average mean;
  mean.add(odd.sequence(odd_id));
  for (index_t t = 0; t < 10; ++t) CHECK(mean.values({1}).at(1, t, 2) == number(1, 1, 1, t, 5));

  const cpu::backend backend;
  const distance_matrix seen = cpu::layer_distances(backend, odd.sequence(odd_id), metric::mean_row_norm{});
  CHECK(seen({1}, {0}) > 0);
  CHECK(seen == cpu::layer_distances(backend, plain.sequence(plain_id), metric::mean_row_norm{}));
}
