// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/rope.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0 {

/// How a reader layer's own keys and values follow from those of the layer that it reads, per KV head:
///
///   value = B v + offset        key = g k, as complex numbers, one g per frequency
///
/// A rotation multiplies by a complex number of length 1, so g may be applied before or after it. The numbers are
/// floats, as weights are; `fold_into_queries` and `fold_into_output` fold them into weights.
struct layer_alignment {
  index_t kv_heads = 0;                             ///< of a layer; every head has a map of its own
  index_t head_dim = 0;                             ///< channels of a head, an even number
  rope_pairing pairing = rope_pairing::half_split;  ///< the channels that a gain of keys turns together
  std::vector<float> values;    ///< B [kv_heads][head_dim][head_dim], the row being the reader's channel
  std::vector<float> offset;    ///< [kv_heads][head_dim]
  std::vector<float> key_gain;  ///< g [kv_heads][head_dim / 2][real, imaginary]

  friend bool operator==(const layer_alignment&, const layer_alignment&) = default;

  /// The alignment that changes nothing. Throws errc::bad_shape unless there is a head and head_dim is even and
  /// positive.
  static layer_alignment identity(index_t kv_heads, index_t head_dim, rope_pairing pairing = rope_pairing::half_split) {
    if (kv_heads < 1 || head_dim < 2 || head_dim % 2 != 0)
      throw error(errc::bad_shape, "an alignment needs a KV head and an even number of channels; got " +
                                       std::to_string(kv_heads) + " and " + std::to_string(head_dim));
    layer_alignment a{kv_heads, head_dim, pairing, {}, {}, {}};
    a.values.resize(static_cast<std::size_t>(kv_heads * head_dim * head_dim));
    a.offset.resize(static_cast<std::size_t>(kv_heads * head_dim));
    a.key_gain.resize(static_cast<std::size_t>(kv_heads * head_dim));
    for (index_t h = 0; h < kv_heads; ++h)
      for (index_t d = 0; d < head_dim; ++d) {
        a.values[static_cast<std::size_t>((h * head_dim + d) * head_dim + d)] = 1;
        a.key_gain[static_cast<std::size_t>(h * head_dim + d)] = d % 2 == 0 ? 1.0f : 0.0f;
      }
    return a;
  }

  /// Throws errc::bad_shape unless the vectors have the lengths that follow from kv_heads and head_dim.
  void check() const {
    const layer_alignment wanted = identity(kv_heads, head_dim, pairing);
    if (values.size() != wanted.values.size() || offset.size() != wanted.offset.size() ||
        key_gain.size() != wanted.key_gain.size())
      throw error(errc::bad_shape, "an alignment of " + std::to_string(kv_heads) + " heads of " +
                                       std::to_string(head_dim) + " channels has " + std::to_string(values.size()) +
                                       " numbers for values, " + std::to_string(offset.size()) + " of offset and " +
                                       std::to_string(key_gain.size()) + " for keys");
  }

  /// Is any offset not 0? If not, folding needs no bias.
  bool has_offset() const noexcept {
    for (const float x : offset)
      if (x != 0) return true;
    return false;
  }
};

}  // namespace kvsharer::inline v0
