// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include "kvsharer/backend/cpu/attention_scratch.hpp"
#include "kvsharer/backend/cpu/cache_rows.hpp"
#include "kvsharer/backend/cpu/decode_parts.hpp"
#include "kvsharer/backend/cpu/decode_tiles.hpp"
#include "kvsharer/backend/cpu/simd.hpp"
#include "kvsharer/backend/cpu/softmax.hpp"
#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/core/attention_shape.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cpu::detail::inline KVSHARER_LANES {

/// Floats of scratch for decode_tokens.
constexpr index_t decode_room(const attention_shape& s, index_t tokens) noexcept {
  return s.group() * (whole_lines(tokens) + s.head_dim) + block_rows * std::max(s.head_dim, s.value_width());
}

/// One query row of one KV head's group over tokens [first, last): queries [group][head_dim], out [group][value width].
/// `weigh(g, scores, tokens)` turns the scores of query g into the weights of its values; they begin at a cache line.
/// Reads each key and value from memory once for the whole group. `room` is decode_room(s, last - first) floats from a
/// cache line on.
template <LayerView K, LayerView V, class Weigh>
void decode_tokens(const attention_shape& s, const K& keys, const V& values, index_t head, index_t first, index_t last,
                   const float* queries, float* out, float* room, Weigh&& weigh) {
  const index_t tokens = last - first, group = s.group(), n = s.head_dim, width = whole_lines(tokens);
  const index_t of_values = s.value_width();
  float* scores = room;
  float* scaled = scores + group * width;
  float* buffer = scaled + group * n;
  const float scale = s.score_scale();
  std::transform(queries, queries + group * n, scaled, [=](float q) { return q * scale; });

  for_each_block(keys, head, first, last, n, buffer, [&](index_t token, const auto& block) {
    for_each_subgroup(group, [&](index_t g, auto size) {
      score_block<size>(scaled + g * n, block, n, scores + g * width + (token - first), width);
    });
  });
  for (index_t g = 0; g < group; ++g) weigh(g, scores + g * width, tokens);
  std::fill(out, out + group * of_values, 0.0f);
  for_each_block(values, head, first, last, of_values, buffer, [&](index_t token, const auto& block) {
    for_each_subgroup(group, [&](index_t g, auto size) {
      add_block<size>(scores + g * width + (token - first), width, block, std::min(block_rows, last - token), of_values,
                      out + g * of_values);
    });
  });
}

/// All tokens at once: the weights add up to 1. Scratch as for decode_tokens.
template <LayerView K, LayerView V>
void decode_whole(const attention_shape& s, const K& keys, const V& values, index_t head, index_t first, index_t last,
                  const float* queries, float* out, float* room) {
  decode_tokens(s, keys, values, head, first, last, queries, out, room, [](index_t, float* scores, index_t tokens) {
    const float sum = exponentials(scores, tokens, largest(scores, tokens));
    for (index_t t = 0; t < tokens; ++t) scores[t] /= sum;
  });
}

/// One part of the tokens, into `to`. Scratch as for decode_tokens.
template <LayerView K, LayerView V>
void decode_part(const attention_shape& s, const K& keys, const V& values, index_t head, index_t first, index_t last,
                 const float* queries, const part_state& to, float* room) {
  decode_tokens(s, keys, values, head, first, last, queries, to.out, room,
                [&](index_t g, float* scores, index_t tokens) {
                  to.largest[g] = largest(scores, tokens);
                  to.sums[g] = exponentials(scores, tokens, shift_of(to.largest[g]));
                });
}

/// One query row of one KV head's group over tokens [first, last), in the parts of `decode_parts`, one after the other.
/// A result does not depend on the tokens before `first`.
template <LayerView K, LayerView V>
void decode_head(const attention_shape& s, const K& keys, const V& values, index_t head, index_t first, index_t last,
                 const float* queries, float* out, attention_scratch& scratch) {
  const decode_parts parts(s, last - first);
  if (parts.count() == 1) {
    decode_whole(s, keys, values, head, first, last, queries, out, scratch.at_least(decode_room(s, last - first)));
    return;
  }
  const index_t state = part_state::floats(s);
  float* states = scratch.at_least(parts.count() * state + decode_room(s, parts.longest()));
  for (index_t p = 0; p < parts.count(); ++p)
    decode_part(s, keys, values, head, first + parts.begin(p), first + parts.begin(p + 1), queries,
                part_state(states + p * state, s), states + parts.count() * state);
  merge_parts(
      s, parts.count(), [&](index_t p) { return part_state(states + p * state, s); }, out);
}

}  // namespace kvsharer::inline v0::cpu::detail::inline KVSHARER_LANES
