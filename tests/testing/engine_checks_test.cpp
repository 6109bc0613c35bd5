// SPDX-License-Identifier: Apache-2.0
// The checks for engines' tests pass an engine that is right, and find each of the faults that they are for.
#include "kvsharer/testing/engine_checks.hpp"

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include "kvsharer/adapt/cache.hpp"
#include "kvsharer/adapt/read_through.hpp"
#include "kvsharer/adapt/rows.hpp"

using namespace kvsharer;

namespace {

enum class fault { none, reader_writes };

constexpr index_t row = 2, capacity = 8;

/// An engine of a few numbers: a layer's keys and values are its input, times a number of the layer.
struct small_engine {
  small_engine(share_map m, fault f = fault::none)
      : map(std::move(m)),
        wrong(f),
        keys(static_cast<std::size_t>(map.owner_count() * capacity * row)),
        values(keys.size()) {}

  std::vector<float> run(int tokens) {
    std::vector<float> states;
    for (int t = 0; t < tokens; ++t, ++length) {
      float x[row] = {static_cast<float>(t + 1), 0.5f};
      for (layer_id l{0}; l.value < map.layers(); ++l.value) layer(l, x);
      states.insert(states.end(), x, x + row);
    }
    return states;
  }

  const share_map map;
  const fault wrong;
  std::vector<float> keys, values;
  index_t length = 0;

  cache_shape shape() const { return {map.owner_count(), 1, row, capacity}; }

  void layer(layer_id l, float* x) {
    const auto at = static_cast<std::size_t>((map.slot(l) * capacity + length) * row);
    for (std::size_t c = 0; c < row; ++c)
      if (map.owns(l) || wrong == fault::reader_writes) {
        keys[at + c] = x[c] * static_cast<float>(l.value + 2);
        values[at + c] = x[c] - static_cast<float>(l.value);
      }
    for (std::size_t c = 0; c < row; ++c) x[c] = 0.25f * (x[c] + keys[at + c] * 0.5f + values[at + c]);
  }
};

/// Shows an engine's cache, with the model's layers.
void show(const small_engine& e, auto&& look) {
  const auto stored =
      adapt::cache(e.shape(), e.length, adapt::flat(e.keys.data(), e.shape()), adapt::flat(e.values.data(), e.shape()));
  look(adapt::read_through(e.map, stored));
}

share_map map_of(const std::vector<int>& owners) { return share_map::from_owners(owners).value(); }

std::string rows_stay(const std::vector<int>& owners, fault f) {
  return testing::owner_rows_stay(map_of(owners), [&](const share_map& map, auto&& look) {
    small_engine e(map, f);
    e.run(5);
    show(e, look);
  });
}

testing::stored_rows rows_of(const small_engine& e) {
  std::vector<testing::stored_rows> seen;
  show(e, [&](const auto& cache) { seen.emplace_back(e.map, cache); });
  return seen.at(0);
}

}  // namespace

TEST_CASE("numbers are compared by their bits") {
  const std::vector<float> a{1, -0.0f, 3}, b{1, 0.0f, 3};
  CHECK(testing::same_numbers(a, a) == "");
  CHECK(testing::same_numbers(a, b) == "number 1 of 3 is 0.000000 and should be -0.000000");
  CHECK(testing::same_numbers(a, std::vector<float>{1}) == "1 numbers where there should be 3");
}

TEST_CASE("owners' rows stay in an engine that is right, and a reader that writes is found") {
  for (const std::vector<int>& owners : {std::vector{0, 1, 2, 3}, {0, 0, 2, 2}, {0, 1, 0, 1}, {0, 0, 0, 0}}) {
    CHECK(rows_stay(owners, fault::none) == "");
    CHECK(rows_stay(owners, fault::reader_writes).empty() == (owners[3] == 3));
  }
  CHECK(rows_stay({0, 1, 1, 3}, fault::reader_writes).starts_with("with its readers, layer 1's keys of token 0 have"));
}

TEST_CASE("a run that shows no cache is no check") {
  CHECK(testing::owner_rows_stay(map_of({0, 0}), [](const share_map&, auto&&) {}) ==
        "the run shows its cache 0 times and not once");
}

TEST_CASE("rows after a compaction") {
  small_engine e(map_of({0, 1, 0, 1}));
  e.run(6);
  const testing::stored_rows before = rows_of(e);
  const std::vector<index_t> kept{0, 2, 5};
  const auto move = [&](std::vector<float>& rows, int slot) {
    for (std::size_t i = 0; i < kept.size(); ++i)
      for (index_t c = 0; c < row; ++c)
        rows[static_cast<std::size_t>((slot * capacity + static_cast<index_t>(i)) * row + c)] =
            rows[static_cast<std::size_t>((slot * capacity + kept[i]) * row + c)];
  };
  CHECK(testing::rows_after_compaction(before, rows_of(e), kept) == "6 tokens are stored and not 3");
  e.length = 3;
  move(e.keys, 0);
  move(e.keys, 1);
  move(e.values, 0);
  CHECK(testing::rows_after_compaction(before, rows_of(e), kept)
            .starts_with("layer 1's values of token 1 have the number"));
  move(e.values, 1);
  CHECK(testing::rows_after_compaction(before, rows_of(e), kept) == "");
  CHECK(testing::rows_after_compaction(before, rows_of(e), std::vector<index_t>{0, 2, 9}) ==
        "token 9 was never stored");
}

TEST_CASE("positions after a compaction") {
  const std::vector<index_t> before{0, 1, 2, 7, 8}, kept{0, 3, 4};
  const auto check = [&](const std::vector<index_t>& after) {
    return testing::positions_after_compaction(before, after, kept);
  };
  CHECK(check({0, 7, 8}) == "");
  CHECK(check({0, 1, 2}) == "token 1 has position 1, and stood at 7");
  CHECK(check({0, 7}) == "2 positions for 3 tokens");
  CHECK(testing::positions_after_compaction(before, before, std::vector<index_t>{0, 1, 2, 3, 5}) ==
        "token 5 was never stored");
}
