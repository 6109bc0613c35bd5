// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <type_traits>
#include <vector>

#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/core/types.hpp"

/// Types that offer what a concept asks and nothing more: no default constructor, no assignment, no arithmetic on what
/// they return. An algorithm that takes them takes whatever satisfies the concept.
namespace archetypes {

using kvsharer::cache_shape;
using kvsharer::index_t;
using kvsharer::layer_id;
using kvsharer::memory_space;

/// A stored number that nothing can be done with.
class opaque {
 public:
  explicit opaque(float x) : x_(x) {}
  opaque(const opaque&) = default;
  opaque& operator=(const opaque&) = delete;
  friend float decode(opaque n) { return n.x_; }

 private:
  float x_;
};

/// What converts to float, and only implicitly.
struct number {
  const float x;
  operator float() const { return x; }
};

/// LayerView: rows [head][channel][token], which no loop may take for contiguous.
class view {
 public:
  using value_type = opaque;
  view(const std::vector<opaque>& numbers, cache_shape s)
      : data_(numbers.data()), dim_(s.head_dim), tokens_(s.capacity) {}
  number at(index_t head, index_t token, index_t channel) const {
    return {decode(data_[(head * dim_ + channel) * tokens_ + token])};
  }

 private:
  const opaque* const data_;
  const index_t dim_, tokens_;
};

/// The same with every number negated: a cache's keys and values need not be seen through one type.
class negated_view {
 public:
  using value_type = opaque;
  explicit negated_view(view v) : view_(v) {}
  number at(index_t head, index_t token, index_t channel) const { return {-view_.at(head, token, channel)}; }

 private:
  view view_;
};

/// A count of tokens that converts to index_t.
struct token_count {
  const int tokens;
  operator index_t() const { return tokens; }
};

/// KVCache: can be neither copied nor moved. value(plane, layer, head, token, channel) gives its numbers, plane 0 being
/// the keys; a capacity beyond the length holds numbers that must not be read into any result.
class cache {
 public:
  static constexpr memory_space space = memory_space::host;

  template <class Value>
  cache(cache_shape shape, int length, Value value) : shape_(shape), length_(length) {
    for (int plane = 0; plane < 2; ++plane)
      for (int l = 0; l < shape.layers; ++l) {
        auto& numbers = (plane == 0 ? keys_ : values_).emplace_back();
        for (index_t h = 0; h < shape.kv_heads; ++h)
          for (index_t d = 0; d < shape.head_dim; ++d)
            for (index_t t = 0; t < shape.capacity; ++t)
              numbers.emplace_back(t < length ? static_cast<float>(value(plane, l, h, t, d)) : 1e30f);
      }
  }
  cache(const cache&) = delete;
  cache& operator=(const cache&) = delete;

  cache_shape shape() const { return shape_; }
  token_count length() const { return {length_}; }
  view keys(layer_id l) const { return {keys_[static_cast<std::size_t>(l.value)], shape_}; }
  /// The values are stored negated, and seen through a view that negates them.
  negated_view values(layer_id l) const { return negated_view({values_[static_cast<std::size_t>(l.value)], shape_}); }

 private:
  const cache_shape shape_;
  const int length_;
  std::vector<std::vector<opaque>> keys_, values_;  // [layer][head][channel][token]
};

static_assert(kvsharer::LayerView<view> && !kvsharer::RowContiguousView<view>);
static_assert(kvsharer::LayerView<negated_view> && !kvsharer::RowContiguousView<negated_view>);
static_assert(!std::is_default_constructible_v<view> && !std::is_copy_assignable_v<view>);
static_assert(kvsharer::KVCache<cache> && !std::is_move_constructible_v<cache>);

}  // namespace archetypes
