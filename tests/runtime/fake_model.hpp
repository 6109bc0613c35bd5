// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kvsharer/config.hpp"
#include "kvsharer/core/share_map.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/runtime/sequence_id.hpp"

/// A model without weights for tests of engines: keys and values of a token depend on its layer, position and id alone,
/// so that every row of a cache can be told from all others, and the next token on attention over all of them.
namespace fake_model {

using namespace kvsharer;

inline constexpr cache_shape shape{.layers = 4, .kv_heads = 2, .head_dim = 8, .capacity = 64};
inline constexpr index_t heads = 4, row = 2 * 8, width = 4 * 8;
inline constexpr std::int32_t words = 16;
enum class what : std::uint64_t { key, value, query, word };

/// A number in [-1, 1) that nothing but its arguments decides.
KVSHARER_HD inline float number(what kind, index_t layer, index_t position, std::int32_t token, index_t i) {
  std::uint64_t x = static_cast<std::uint64_t>(kind);
  const index_t parts[] = {layer, position, static_cast<index_t>(token), i};
  for (const index_t part : parts) x = (x ^ static_cast<std::uint64_t>(part)) * 0x9e3779b97f4a7c15u, x ^= x >> 29;
  return static_cast<float>((x * 0xbf58476d1ce4e5b9u) >> 40) / 8388608.0f - 1.0f;
}

/// What a run has produced: the tokens, given ones first, and a hash of every attention output's bits on the way.
struct text {
  std::vector<std::int32_t> tokens;
  std::uint64_t outputs = 0xcbf29ce484222325u;
};

/// Fills tokens [first, length) of a sequence in all layers that store. Layer l stores what layer `source.owner(l)`
/// would: with the cache's own map that is l itself, and with a map over a cache that shares nothing, what sharing is
/// to give.
template <class Cache>
void store(Cache& cache, sequence_id id, std::span<const std::int32_t> tokens, index_t first, const share_map& source) {
  const auto count = static_cast<index_t>(tokens.size()) - first;
  std::vector<float> keys(static_cast<std::size_t>(count * row)), values(keys.size());
  for (layer_id l{0}; l.value < shape.layers; ++l.value) {
    if (!cache.owns(l)) continue;
    const index_t from = source.owner(l).value;
    for (index_t t = 0; t < count; ++t)
      for (index_t i = 0; i < row; ++i) {
        const std::int32_t token = tokens[static_cast<std::size_t>(first + t)];
        const auto at = static_cast<std::size_t>(t * row + i);
        keys[at] = 3 * number(what::key, from, first + t, token, i);
        values[at] = number(what::value, from, first + t, token, i);
      }
    cache.store(l, id, first, count, keys.data(), values.data());
  }
}

/// Runs the newest token of a sequence and adds the next one. attend(keys, values, position, queries, out) is causal
/// attention of one row.
template <class Cache, class Attend>
void decode(const Cache& cache, sequence_id id, text& t, Attend&& attend) {
  static const std::vector<float> embedded = [] {
    std::vector<float> all;
    for (index_t l = 0; l < shape.layers; ++l)
      for (std::int32_t word = 0; word < words; ++word)
        for (index_t i = 0; i < width; ++i) all.push_back(number(what::word, l, 0, word, i));
    return all;
  }();
  const index_t position = cache.length(id) - 1;
  std::vector<float> queries(width), out(width), scores(words);
  for (layer_id l{0}; l.value < shape.layers; ++l.value) {
    for (index_t i = 0; i < width; ++i)
      queries[static_cast<std::size_t>(i)] = 2 * number(what::query, l.value, position, t.tokens.back(), i);
    attend(cache.keys(l, id), cache.values(l, id), position, queries.data(), out.data());
    for (const float x : out) t.outputs = (t.outputs ^ std::bit_cast<std::uint32_t>(x)) * 0x100000001b3u;
    const float* of_word = embedded.data() + l.value * words * width;
    for (float& score : scores)
      for (const float x : out) score += *of_word++ * x;
  }
  std::int32_t best = 0;
  for (std::int32_t word = 1; word < words; ++word)
    if (scores[static_cast<std::size_t>(word)] > scores[static_cast<std::size_t>(best)]) best = word;
  t.tokens.push_back(best);
}

/// The text that `wanted` more tokens make of a prompt, run alone in a cache that shares no layer.
template <class Cache, class Attend>
text run_alone(Cache& cache, std::vector<std::int32_t> prompt, index_t wanted, const share_map& map, Attend&& attend) {
  text t{std::move(prompt)};
  const sequence_id id = cache.create();
  for (index_t stored = 0; wanted > 0; --wanted) {
    cache.append(id, static_cast<index_t>(t.tokens.size()) - stored);
    store(cache, id, t.tokens, stored, map);
    stored = cache.length(id);
    decode(cache, id, t, attend);
  }
  cache.drop(id);
  return t;
}

}  // namespace fake_model
