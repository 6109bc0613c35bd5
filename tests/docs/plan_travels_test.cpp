// SPDX-License-Identifier: Apache-2.0
// The code of docs/how-to/find-a-plan.md and docs/reference/model-fingerprint.md.
#include <doctest/doctest.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "kvsharer/core/rope_text.hpp"
#include "kvsharer/io/plan_text.hpp"
#include "kvsharer/search/model_fingerprint.hpp"
#include "kvsharer/search/model_identity.hpp"

namespace {

using kvsharer::index_t;

constexpr kvsharer::model_extents sizes{
    .layers = 2, .hidden = 12, .intermediate = 20, .heads = 2, .kv_heads = 1, .head_dim = 6};

/// A weight of a model that no file holds.
float of_file(const kvsharer::weight_place& at) {
  return static_cast<float>((static_cast<int>(at.kind) * 31 + at.layer * 17 + at.row * 7 + at.column * 3) % 23) - 11;
}

/// An engine's weights in its own order: fused projections, transposed, heads interleaved.
struct engine {
  struct layer {
    std::vector<float> attention_norm, mlp_norm;
    std::vector<float> qkv;  // [hidden][queries + keys + values]
    std::vector<float> output, gate_up, down;
  };
  std::vector<float> embedding, final_norm;
  std::vector<layer> layers;
};

constexpr index_t queries = sizes.heads * sizes.head_dim, keys = sizes.kv_heads * sizes.head_dim;
constexpr index_t fused = queries + 2 * keys;

engine converted() {
  using enum kvsharer::weight_kind;
  engine e;
  const auto matrix = [](kvsharer::weight_kind kind, int l, index_t rows, index_t columns) {
    std::vector<float> numbers;
    for (index_t r = 0; r < rows; ++r)
      for (index_t c = 0; c < columns; ++c) numbers.push_back(of_file({kind, l, r, c}));
    return numbers;
  };
  e.embedding = matrix(embedding, 0, 5, sizes.hidden);
  e.final_norm = matrix(final_norm, 0, 1, sizes.hidden);
  for (int l = 0; l < sizes.layers; ++l) {
    engine::layer& to = e.layers.emplace_back();
    to.attention_norm = matrix(attention_norm, l, 1, sizes.hidden);
    to.mlp_norm = matrix(mlp_norm, l, 1, sizes.hidden);
    to.output = matrix(output, l, sizes.hidden, queries);
    to.down = matrix(down, l, sizes.hidden, sizes.intermediate);
    to.gate_up = matrix(gate, l, sizes.intermediate, sizes.hidden);
    for (const float x : matrix(up, l, sizes.intermediate, sizes.hidden)) to.gate_up.push_back(x);
    to.qkv.resize(static_cast<std::size_t>(sizes.hidden * fused));
    const auto put = [&](kvsharer::weight_kind kind, index_t first, index_t rows) {
      for (index_t r = 0; r < rows; ++r)
        for (index_t c = 0; c < sizes.hidden; ++c) {
          const kvsharer::weight_place at{kind, l, r, c};
          const index_t row = first + stored_row(at, kvsharer::rope_pairing::interleaved, sizes.head_dim);
          to.qkv[static_cast<std::size_t>(c * fused + row)] = of_file(at);
        }
    };
    put(query, 0, queries);
    put(key, queries, keys);
    put(value, queries + keys, keys);
  }
  return e;
}

// [fingerprint]
/// Of an engine that keeps queries, keys and values in one matrix, transposed, [hidden][queries + keys + values], heads
/// interleaved, and gate and up in one, [2 * intermediate][hidden].
std::string fingerprint_of(const engine& e) {
  return model_fingerprint(sizes, [&](const kvsharer::weight_place& at) {
    using enum kvsharer::weight_kind;
    const engine::layer& l = e.layers[static_cast<std::size_t>(at.layer)];
    const index_t row = stored_row(at, kvsharer::rope_pairing::interleaved, sizes.head_dim);
    const auto number = [&](const std::vector<float>& numbers, index_t r, index_t columns) {
      return numbers[static_cast<std::size_t>(r * columns + at.column)];
    };
    const auto projected = [&](index_t r) { return l.qkv[static_cast<std::size_t>(at.column * fused + r)]; };
    switch (at.kind) {
      case embedding:
        return number(e.embedding, row, sizes.hidden);
      case attention_norm:
        return number(l.attention_norm, 0, sizes.hidden);
      case query:
        return projected(row);
      case key:
        return projected(queries + row);
      case value:
        return projected(queries + keys + row);
      case output:
        return number(l.output, row, queries);
      case mlp_norm:
        return number(l.mlp_norm, 0, sizes.hidden);
      case gate:
        return number(l.gate_up, row, sizes.hidden);
      case up:
        return number(l.gate_up, sizes.intermediate + row, sizes.hidden);
      case down:
        return number(l.down, row, sizes.intermediate);
      case final_norm:
        return number(e.final_norm, 0, sizes.hidden);
    }
    return 0.0f;
  });
}
// [/fingerprint]

// [load]
/// What is beside the plan's line in the engine's own file or source: the identity that the driver found it for.
kvsharer::share_plan load(std::string_view line, const kvsharer::model_identity& found_for,
                          const kvsharer::model_identity& running) {
  check_same_model(found_for, running);           // throws E603 and names what differs
  return kvsharer::plan_from_text(line).value();  // throws E601, E602 or E301
}
// [/load]

}  // namespace

TEST_CASE("a plan travels from the files' layout to an engine's") {
  const std::string of_files = model_fingerprint(sizes, of_file);
  const engine e = converted();
  CHECK(fingerprint_of(e) == of_files);

  const kvsharer::model_identity found_for{2, 1, 6, "half-split theta=10000 scaling=none", of_files};
  // [identity]
  const kvsharer::model_identity running{.layers = sizes.layers,
                                         .kv_heads = sizes.kv_heads,
                                         .head_dim = sizes.head_dim,
                                         .rope = kvsharer::rope_text({.theta = 10000}),
                                         .fingerprint = fingerprint_of(e)};
  // [/identity]
  const kvsharer::share_plan plan = kvsharer::share_map::from_owners(std::vector{0, 0}).value();
  CHECK(load(plan_text(plan), found_for, running) == plan);
  engine other = e;
  for (float& x : other.layers[1].qkv) x = -x;
  kvsharer::model_identity trained = running;
  trained.fingerprint = fingerprint_of(other);
  CHECK_THROWS_AS(load(plan_text(plan), found_for, trained), kvsharer::error);
}
