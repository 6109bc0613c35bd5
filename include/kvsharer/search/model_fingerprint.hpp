// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kvsharer/core/element.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/rope.hpp"
#include "kvsharer/core/types.hpp"

/// What tells models apart wherever their weights lie: some of the weights themselves. Defined for other programs in
/// docs/reference/model-fingerprint.md.
namespace kvsharer::inline v0 {

/// The weights of a Llama that a fingerprint looks at. Matrices are [out][in], as HuggingFace has them.
enum class weight_kind : std::uint8_t {
  embedding,       ///< [vocab][hidden]
  attention_norm,  ///< [hidden]: the gain before attention
  query,           ///< [heads * head_dim][hidden], heads half-split
  key,             ///< [kv_heads * head_dim][hidden], heads half-split
  value,           ///< [kv_heads * head_dim][hidden]
  output,          ///< [hidden][heads * head_dim]: of attention
  mlp_norm,        ///< [hidden]: the gain before the MLP
  gate,            ///< [intermediate][hidden]
  up,              ///< [intermediate][hidden]
  down,            ///< [hidden][intermediate]
  final_norm       ///< [hidden]
};

/// One weight of a model.
struct weight_place {
  weight_kind kind = weight_kind::embedding;  ///< of which tensor
  int layer = 0;                              ///< 0 where the tensor belongs to no layer
  index_t row = 0;                            ///< of a matrix; the token of the embedding; 0 for a gain
  index_t column = 0;                         ///< of a matrix, or the channel of a gain
  friend constexpr bool operator==(const weight_place&, const weight_place&) = default;
};

/// The row in a file or engine whose heads of queries and keys are stored in another pairing. `place.row` for all other
/// weights.
constexpr index_t stored_row(const weight_place& place, rope_pairing stored, index_t head_dim) noexcept {
  if (place.kind != weight_kind::query && place.kind != weight_kind::key) return place.row;
  const channel_role role = role_of(rope_pairing::half_split, head_dim, place.row % head_dim);
  const channel_pair at = channels_of(stored, head_dim, role.frequency);
  return place.row - place.row % head_dim + (role.imaginary ? at.imaginary : at.real);
}

/// What a fingerprint must know of a model.
struct model_extents {
  int layers = 0;            ///< of the model
  index_t hidden = 0;        ///< channels of a token's state
  index_t intermediate = 0;  ///< channels within the MLP
  index_t heads = 0;         ///< of queries
  index_t kv_heads = 0;      ///< of keys and values
  index_t head_dim = 0;      ///< channels of a head
};

/// The weights that a fingerprint consists of, in its order: two of the embedding, two of each tensor of the first, the
/// middle and the last layer, and two of the last norm. O(1).
inline std::vector<weight_place> fingerprint_places(const model_extents& m) {
  std::vector<weight_place> places;
  const auto add = [&](weight_kind kind, int layer, index_t rows, index_t columns) {
    for (const index_t k : {1, 2}) places.push_back({kind, layer, k * rows / 3, k * columns / 3});
  };
  const index_t queries = m.heads * m.head_dim, keys = m.kv_heads * m.head_dim;
  // Tokens 1 and 2 stay where they are when a vocabulary is padded or grows.
  add(weight_kind::embedding, 0, 3, m.hidden);
  int before = -1;
  for (const int layer : {0, m.layers / 2, m.layers - 1}) {
    if (layer == before) continue;
    before = layer;
    add(weight_kind::attention_norm, layer, 1, m.hidden);
    add(weight_kind::query, layer, queries, m.hidden);
    add(weight_kind::key, layer, keys, m.hidden);
    add(weight_kind::value, layer, keys, m.hidden);
    add(weight_kind::output, layer, m.hidden, queries);
    add(weight_kind::mlp_norm, layer, 1, m.hidden);
    add(weight_kind::gate, layer, m.intermediate, m.hidden);
    add(weight_kind::up, layer, m.intermediate, m.hidden);
    add(weight_kind::down, layer, m.hidden, m.intermediate);
  }
  add(weight_kind::final_norm, 0, 1, m.hidden);
  return places;
}

/// The fingerprint of a model whose weights `weight` returns as floats: "kv1:hidden:intermediate:heads:" and four
/// hexadecimal digits for each of fingerprint_places, the weight as bfloat16. `weight` is called with a weight_place
/// and returns 0 for a token that the vocabulary lacks. Throws errc::bad_shape for an extent that is not positive, and
/// what `weight` throws. O(1): at most 58 calls.
template <class Weight>
std::string model_fingerprint(const model_extents& m, Weight&& weight) {
  for (const index_t extent : {index_t{m.layers}, m.hidden, m.intermediate, m.heads, m.kv_heads, m.head_dim})
    if (extent <= 0)
      throw error(errc::bad_shape, "a model with an extent of " + std::to_string(extent) + " has no fingerprint");
  std::string text = "kv1";
  for (const index_t extent : {m.hidden, m.intermediate, m.heads}) text += ":" + std::to_string(extent);
  text += ":";
  for (const weight_place& place : fingerprint_places(m)) {
    const std::uint16_t bits = bfloat16(static_cast<float>(weight(place))).bits;
    for (const int shift : {12, 8, 4, 0}) text += "0123456789abcdef"[(bits >> shift) & 0xf];
  }
  return text;
}

/// A fingerprint in parts.
struct fingerprint_parts {
  std::string_view extents;       ///< "kv1:hidden:intermediate:heads"
  std::vector<bfloat16> numbers;  ///< of fingerprint_places
};

/// Nothing for a text that model_fingerprint does not write. The parts point into the text. O(length).
inline std::optional<fingerprint_parts> parts_of_fingerprint(std::string_view text) {
  const std::size_t end = text.rfind(':');
  if (!text.starts_with("kv1:") || std::count(text.begin(), text.end(), ':') != 4) return std::nullopt;
  fingerprint_parts parts{text.substr(0, end), {}};
  const std::string_view digits = text.substr(end + 1);
  if (digits.empty() || digits.size() % 4 != 0) return std::nullopt;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    const std::size_t value = std::string_view("0123456789abcdef").find(digits[i]);
    if (value == std::string_view::npos) return std::nullopt;
    if (i % 4 == 0) parts.numbers.emplace_back();
    std::uint16_t& bits = parts.numbers.back().bits;
    bits = static_cast<std::uint16_t>(bits * 16u + value);
  }
  return parts;
}

/// Are they one weight in two files, as float32, bfloat16 or float16? Rounding once or twice moves a number by at most
/// one bfloat16 step, and below the normal range of float16 by half of its spacing, 2^-25.
inline bool same_weight(bfloat16 a, bfloat16 b) noexcept {
  const float x = a, y = b;
  return a.bits == b.bits || std::fabs(x - y) <= 0x1p-7f * std::max(std::fabs(x), std::fabs(y)) + 0x1p-24f;
}

/// How two fingerprints differ, in words for an error text; empty if they are of one model. Those that
/// model_fingerprint did not write are compared as texts. O(length).
inline std::string fingerprint_difference(std::string_view found, std::string_view running) {
  if (found == running) return "";
  const auto one = parts_of_fingerprint(found), other = parts_of_fingerprint(running);
  if (!one || !other)
    return "fingerprint \"" + std::string(found) + "\" (this model: \"" + std::string(running) + "\")";
  if (one->extents != other->extents || one->numbers.size() != other->numbers.size())
    return "fingerprint of " + std::string(one->extents) + " (this model: " + std::string(other->extents) + ")";
  std::size_t different = 0;
  for (std::size_t i = 0; i < one->numbers.size(); ++i) different += !same_weight(one->numbers[i], other->numbers[i]);
  if (different == 0) return "";
  return "weights (" + std::to_string(different) + " of the fingerprint's " + std::to_string(one->numbers.size()) + ")";
}

}  // namespace kvsharer::inline v0
