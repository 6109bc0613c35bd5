// SPDX-License-Identifier: Apache-2.0
// Engines that rotate keys where they store them: what a reader sees is rotated once, and stays so.
#include <complex>

#include "adapt/cache_checks.hpp"
#include "kvsharer/adapt/read_through.hpp"
#include "kvsharer/adapt/ring.hpp"
#include "kvsharer/adapt/rotated.hpp"
#include "kvsharer/adapt/rows.hpp"
#include "kvsharer/core/share_map.hpp"

using namespace adapt_test;

namespace {

using pairs = rope_pairing;

constexpr index_t tokens = 7, head_dim = 8;
constexpr cache_shape stored_shape{.layers = 2, .kv_heads = 2, .head_dim = head_dim, .capacity = tokens};

double angle(index_t pair) { return std::pow(10000.0, -2.0 * static_cast<double>(pair) / head_dim); }
index_t first_of(pairs p, index_t pair) { return p == pairs::interleaved ? 2 * pair : pair; }
index_t second_of(pairs p, index_t pair) { return p == pairs::interleaved ? 2 * pair + 1 : pair + head_dim / 2; }

/// What an engine does to a head's row in its place.
void rotate(pairs p, index_t position, float* row) {
  for (index_t pair = 0; pair < head_dim / 2; ++pair) {
    const float c = std::cos(static_cast<float>(position) * static_cast<float>(angle(pair))),
                s = std::sin(static_cast<float>(position) * static_cast<float>(angle(pair)));
    float &x = row[first_of(p, pair)], &y = row[second_of(p, pair)];
    const float turned = x * c - y * s;
    y = y * c + x * s;
    x = turned;
  }
}

/// An engine of [owner][token][kv_head * head_dim] that stores a projected row and then turns it in place. Its layers
/// read through a map; one that forgets to ask it turns its owner's rows again.
struct engine {
  pairs order;
  share_map map;
  bool asks_the_map;
  std::vector<float> key_buffer = std::vector<float>(2 * tokens * 2 * head_dim), value_buffer = key_buffer;

  float* row(std::vector<float>& buffer, layer_id l, index_t t, index_t h) {
    return buffer.data() + ((map.slot(l) * tokens + t) * stored_shape.kv_heads + h) * head_dim;
  }
  void run_layer(layer_id l, index_t t) {
    for (index_t h = 0; h < stored_shape.kv_heads; ++h) {
      // [owners_rotate]
      if (map.owns(l)) {
        std::copy_n(projected(part::keys, l, h, t).data(), head_dim, row(key_buffer, l, t, h));
        std::copy_n(projected(part::values, l, h, t).data(), head_dim, row(value_buffer, l, t, h));
        rotate(order, t, row(key_buffer, l, t, h));  // in place, by the one layer that stored it
      }
      // [/owners_rotate]
      else if (!asks_the_map)
        rotate(order, t, row(key_buffer, l, t, h));
    }
  }
  void run() {
    for (index_t t = 0; t < tokens; ++t)
      for (layer_id l{0}; l.value < map.layers(); ++l.value) run_layer(l, t);
  }
  /// Of value rows channel t of token t is one, so that attention's result is its weights.
  static std::vector<float> projected(part which, layer_id l, index_t h, index_t t) {
    std::vector<float> row(head_dim);
    for (index_t d = 0; d < head_dim; ++d)
      row[static_cast<std::size_t>(d)] =
          which == part::keys ? number(which, l.value, h, t, d) / 4 : static_cast<float>(d == t);
    return row;
  }
};

/// The weights of a query at the last position, from numbers that were never rotated: a pair of channels is a complex
/// number, and its part of the score depends on the distance of the two positions alone. `written(t)` is the token
/// whose key stands at position t.
template <class Written>
std::vector<double> weights(pairs p, layer_id owner, index_t h, const std::vector<float>& query, Written&& written) {
  std::vector<double> w;
  double sum = 0;
  for (index_t t = 0; t < tokens; ++t) {
    const std::vector<float> key = engine::projected(part::keys, owner, h, written(t));
    const auto pair_of = [p](const std::vector<float>& row, index_t pair) {
      return std::complex<double>(static_cast<double>(row[static_cast<std::size_t>(first_of(p, pair))]),
                                  static_cast<double>(row[static_cast<std::size_t>(second_of(p, pair))]));
    };
    double score = 0;
    for (index_t pair = 0; pair < head_dim / 2; ++pair)
      score += (pair_of(query, pair) * std::conj(pair_of(key, pair)) *
                std::polar(1.0, static_cast<double>(tokens - 1 - t) * angle(pair)))
                   .real();
    w.push_back(std::exp(score / std::sqrt(static_cast<double>(head_dim))));
    sum += w.back();
  }
  for (double& x : w) x /= sum;
  return w;
}

/// The largest error of the weights that layer l of a cache comes to, `owner` having projected what it reads.
template <class Cache, class Written>
double worst_error(pairs order, const Cache& cache, layer_id l, layer_id owner, Written&& written) {
  std::vector<float> queries, rotated, out(stored_shape.kv_heads * head_dim);
  for (index_t i = 0; i < stored_shape.kv_heads * head_dim; ++i)
    queries.push_back(std::cos(static_cast<float>(i + l.value)));
  rotated = queries;
  for (index_t h = 0; h < stored_shape.kv_heads; ++h) rotate(order, tokens - 1, rotated.data() + h * head_dim);
  cpu::attend({.heads = stored_shape.kv_heads, .kv_heads = stored_shape.kv_heads, .head_dim = head_dim}, cache.keys(l),
              cache.values(l), tokens - 1, 1, rotated.data(), out.data());
  double worst = 0;
  for (index_t h = 0; h < stored_shape.kv_heads; ++h) {
    const auto from = queries.begin() + h * head_dim;
    const auto expected = weights(order, owner, h, {from, from + head_dim}, written);
    for (index_t t = 0; t < tokens; ++t)
      worst = std::max(worst, std::abs(static_cast<double>(out[static_cast<std::size_t>(h * head_dim + t)]) -
                                       expected[static_cast<std::size_t>(t)]));
  }
  return worst;
}

/// That of layer l of an engine which shares.
double worst_weight(pairs order, bool asks_the_map, layer_id l) {
  engine e{order, share_map::from_owners(std::vector<int>{0, 1, 1}).value(), asks_the_map};
  e.run();
  const share_map& map = e.map;
  const float *k = e.key_buffer.data(), *v = e.value_buffer.data();
  // [read_through]
  const auto stored = adapt::cache(stored_shape, tokens, adapt::flat(k, stored_shape), adapt::flat(v, stored_shape));
  const auto cache = adapt::read_through(map, stored);  // of all layers, from what the owners stored
  // [/read_through]
  CHECK(cache.shape().layers == map.layers());
  return worst_error(order, cache, l, map.owner(l), [](index_t t) { return t; });
}

}  // namespace

TEST_CASE("a reader reads rows that its owner rotated, once") {
  for (const pairs order : {pairs::interleaved, pairs::half_split})
    for (layer_id l{0}; l.value < 3; ++l.value) CHECK(worst_weight(order, true, l) < 1e-6);
}

TEST_CASE("a reader that rotates its owner's rows again is seen, in its own attention and in the owner's") {
  for (const pairs order : {pairs::interleaved, pairs::half_split}) {
    CHECK(worst_weight(order, false, {0}) < 1e-6);  // nobody reads this layer
    CHECK(worst_weight(order, false, {1}) > 1e-2);
    CHECK(worst_weight(order, false, {2}) > 1e-2);
  }
}

TEST_CASE("keys that are stored before rotation are turned by their age as they are read") {
  const layout::sink_ring ring{.sinks = 2, .slots = tokens, .seen = 19};
  std::vector<float> angles;  // [position][cosines, sines][head_dim / 2]
  for (index_t t = 0; t < tokens; ++t) {
    for (index_t i = 0; i < head_dim / 2; ++i)
      angles.push_back(static_cast<float>(std::cos(static_cast<double>(t) * angle(i))));
    for (index_t i = 0; i < head_dim / 2; ++i)
      angles.push_back(static_cast<float>(std::sin(static_cast<double>(t) * angle(i))));
  }
  // Positions 0 and 1, and of 2 to 18 the last five, each where (p - 2) % 5 puts it.
  const std::vector<index_t> in_slots{0, 1, 17, 18, 14, 15, 16}, by_age{0, 1, 14, 15, 16, 17, 18};
  const layer_list<float> key_slots([&](std::vector<float>& memory, index_t l) {
    for (const index_t p : in_slots)
      for (index_t h = 0; h < stored_shape.kv_heads; ++h)
        for (const float x : engine::projected(part::keys, {static_cast<int>(l)}, h, p)) memory.push_back(x);
  });
  std::vector<float> ones;  // of the t-th token, channel t
  for (index_t t = 0; t < tokens; ++t)
    for (index_t i = 0; i < stored_shape.kv_heads * head_dim; ++i)
      ones.push_back(static_cast<float>(i % head_dim == t));
  const std::vector<const float*>& k = key_slots.list;
  const auto values = adapt::token_rows(adapt::stacked{ones.data(), 0}, stored_shape);
  for (const pairs order : {pairs::interleaved, pairs::half_split}) {
    // [rotated]
    const auto keys = adapt::ring_rows(adapt::separate{k.data()}, stored_shape, ring);
    const auto cache =
        adapt::cache(stored_shape, ring.length(), adapt::rotated(keys, stored_shape, angles.data(), order), values);
    // [/rotated]
    for (const layer_id l : {layer_id{0}, layer_id{1}})
      CHECK(worst_error(order, cache, l, l, [&](index_t t) { return by_age[static_cast<std::size_t>(t)]; }) < 1e-6);
  }
}

TEST_CASE("a map that stores other layers than the cache does is refused") {
  const float none = 0;
  const auto stored = adapt::cache(stored_shape, 0, adapt::flat(&none, stored_shape), adapt::flat(&none, stored_shape));
  const share_map two = share_map::from_owners(std::vector<int>{0, 1, 0}).value(), three = share_map::identity(3);
  CHECK_NOTHROW(adapt::read_through(two, stored));
  CHECK_THROWS_WITH_AS(adapt::read_through(three, stored), doctest::Contains("3 owners"), error);
}
