// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include "../../examples/adapters/find_sharing.hpp"
#include "kvsharer/metric/cosine.hpp"
#include "kvsharer/metric/flat_euclidean.hpp"
#include "kvsharer/runtime/footprint.hpp"

/// What both example engines must satisfy, each through its own adapter.
namespace engine_checks {

using example::numbers;
using example::toy_model;
using kvsharer::index_t;
using kvsharer::layer_id;
using kvsharer::share_map;

inline share_map map_of(const std::vector<int>& owners) { return share_map::from_owners(owners).value(); }

/// Maps with chains of the kind that went wrong elsewhere: owners whose index is not below the number of owners, and
/// readers of layer 0.
inline std::vector<share_map> interesting_maps() {
  return {share_map::identity(toy_model::layers), map_of({0, 1, 0, 3, 4, 1, 6, 4}), map_of({0, 0, 0, 3, 3, 5, 5, 0}),
          map_of({0, 0, 0, 0, 0, 0, 0, 0})};
}

/// The same network without a cache: layer by layer over the whole text, attention in double, keys and values of
/// every owner kept in plain lists.
struct plain_run {
  std::vector<std::vector<numbers>> keys, values;  // [layer][token] -> [kv_head][channel], empty lists for readers
  std::vector<numbers> states;                     // [token], normalised

  plain_run(const toy_model& model, const share_map& map, const std::vector<int>& tokens)
      : keys(toy_model::layers), values(toy_model::layers) {
    for (int token : tokens) states.push_back(model.embed(token));
    const auto count = static_cast<index_t>(tokens.size());
    for (int l = 0; l < toy_model::layers; ++l) {
      std::vector<numbers> in;
      for (const numbers& x : states) in.push_back(toy_model::normalised(x));
      const auto layer = static_cast<std::size_t>(l), owner = static_cast<std::size_t>(map.owner({l}).value);
      for (index_t t = 0; owner == layer && t < count; ++t) {
        keys[layer].push_back(model.keys(l, in[static_cast<std::size_t>(t)], t));
        values[layer].push_back(model.values(l, in[static_cast<std::size_t>(t)]));
      }
      for (index_t t = 0; t < count; ++t) {
        const auto at = static_cast<std::size_t>(t);
        states[at] = model.finish_layer(l, states[at], attention(model.queries(l, in[at], t), owner, at + 1));
      }
    }
    for (numbers& x : states) x = toy_model::normalised(x);
  }

  numbers attention(const numbers& queries, std::size_t owner, std::size_t tokens) const {
    numbers out;
    for (std::size_t head = 0; head < toy_model::heads; ++head) {
      const std::size_t kv = head / 2 * toy_model::head_dim, q = head * toy_model::head_dim;
      std::vector<double> weight;
      double sum = 0;
      for (std::size_t t = 0; t < tokens; ++t) {
        double dot = 0;
        for (std::size_t c = 0; c < toy_model::head_dim; ++c)
          dot += static_cast<double>(queries[q + c]) * static_cast<double>(keys[owner][t][kv + c]);
        weight.push_back(std::exp(dot / std::sqrt(8.0)));
        sum += weight.back();
      }
      for (std::size_t c = 0; c < toy_model::head_dim; ++c) {
        double x = 0;
        for (std::size_t t = 0; t < tokens; ++t) x += weight[t] / sum * static_cast<double>(values[owner][t][kv + c]);
        out.push_back(static_cast<float>(x));
      }
    }
    return out;
  }
};

/// Calls f(layer, head, token, channel) for every number of a cache.
template <class F>
void each_number(index_t tokens, F&& f) {
  for (int l = 0; l < toy_model::layers; ++l)
    for (index_t h = 0; h < toy_model::kv_heads; ++h)
      for (index_t t = 0; t < tokens; ++t)
        for (index_t c = 0; c < toy_model::head_dim; ++c) f(layer_id{l}, h, t, c);
}

/// A plain copy of a cache, [layer][kv_head][token][channel], which its numbers reach only through at().
class plain_copy {
 public:
  static constexpr auto space = kvsharer::memory_space::host;

  template <kvsharer::KVCache Cache>
  explicit plain_copy(const Cache& cache) : shape_(cache.shape()), length_(cache.length()) {
    each_number(length_, [&](layer_id l, index_t h, index_t t, index_t c) {
      keys_.push_back(cache.keys(l).at(h, t, c));
      values_.push_back(cache.values(l).at(h, t, c));
    });
  }

  struct view {
    using value_type = float;
    const float* data;
    index_t tokens;
    float at(index_t h, index_t t, index_t c) const { return data[(h * tokens + t) * toy_model::head_dim + c]; }
  };
  kvsharer::cache_shape shape() const { return shape_; }
  index_t length() const { return length_; }
  view keys(layer_id l) const { return {keys_.data() + l.value * plane(), length_}; }
  view values(layer_id l) const { return {values_.data() + l.value * plane(), length_}; }

 private:
  index_t plane() const { return toy_model::kv_heads * length_ * toy_model::head_dim; }
  kvsharer::cache_shape shape_;
  index_t length_;
  numbers keys_, values_;
};
static_assert(kvsharer::KVCache<plain_copy>);

template <kvsharer::KVCache Cache>
void check_distances(const Cache& cache) {
  const plain_copy copy(cache);
  const auto both = [&](auto metric) {
    const auto through_adapter = kvsharer::cpu::layer_distances({}, cache, metric);
    CHECK(through_adapter == kvsharer::cpu::layer_distances({}, copy, metric));
    CHECK(through_adapter({7}, {3}) > 0);
  };
  both(kvsharer::metric::mean_row_norm{});
  both(kvsharer::metric::flat_euclidean{});
  both(kvsharer::metric::cosine{});
}

/// Runs a text in two pieces and then token by token, and holds states and cache against the plain run.
template <class Engine>
void check_against_plain_run(const share_map& map) {
  const toy_model model;
  const std::vector<int> text = example::make_samples(1, 23)[0];
  const plain_run expected(model, map, text);

  Engine engine(model, map, 30);
  numbers states;
  for (const auto& [first, last] : {std::pair{0, 9}, {9, 17}, {17, 18}, {18, 19}, {19, 23}})
    for (float x : engine.run(std::vector<int>(text.begin() + first, text.begin() + last))) states.push_back(x);

  REQUIRE(states.size() == text.size() * toy_model::width);
  double worst = 0;
  for (std::size_t i = 0; i < states.size(); ++i)
    worst = std::fmax(worst, std::fabs(states[i] - expected.states[i / toy_model::width][i % toy_model::width]));
  CHECK(worst < 1e-4);  // float against double attention; states have unit mean square

  const auto cache = cache_of(engine);
  worst = 0;
  each_number(cache.length(), [&](layer_id l, index_t h, index_t t, index_t c) {
    const auto owner = static_cast<std::size_t>(map.owner(l).value), token = static_cast<std::size_t>(t);
    const auto channel = static_cast<std::size_t>(h * toy_model::head_dim + c);
    worst = std::fmax(worst, std::fabs(cache.keys(l).at(h, t, c) - expected.keys[owner][token][channel]));
    worst = std::fmax(worst, std::fabs(cache.values(l).at(h, t, c) - expected.values[owner][token][channel]));
  });
  CHECK(worst < 1e-4);
}

/// Storage and projections shrink with the readers, exactly.
template <class Engine>
void check_savings(const share_map& map, index_t capacity) {
  const toy_model model;
  Engine engine(model, map, capacity);
  engine.run(example::make_samples(1, 10)[0]);
  CHECK(engine.cache_bytes() == kvsharer::kv_bytes(map, cache_of(engine).shape(), sizeof(float), capacity));
  CHECK(engine.rows_projected() == 10 * map.owner_count());
}

}  // namespace engine_checks
