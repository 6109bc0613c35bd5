// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <type_traits>
#include <vector>

#include "archetypes/engine_archetypes.hpp"
#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/core/types.hpp"

/// Views of rows [head][token][channel] in memory, each with what one refinement of LayerView asks and nothing more.
namespace archetypes {

/// RowContiguousView of a stored type that converts to float and can do nothing else.
class row_view {
 public:
  using value_type = number;
  row_view(const number* data, cache_shape s) : data_(data), dim_(s.head_dim), tokens_(s.capacity) {}
  number at(index_t head, index_t token, index_t channel) const { return row(head, token)[channel]; }
  const number* row(index_t head, index_t token) const { return data_ + (head * tokens_ + token) * dim_; }

 protected:
  const number* const data_;
  const index_t dim_, tokens_;
};

/// TokenRunView whose runs end at every eleventh token, as if pages did.
class run_view : public row_view {
 public:
  using row_view::row_view;
  index_t token_stride() const { return dim_; }
  index_t run(index_t token, index_t tokens) const { return tokens < 11 - token % 11 ? tokens : 11 - token % 11; }
};

/// Has rows, but of codes that only `at` can read: a LayerView and no more.
class code_view {
 public:
  struct value_type {
    const float negated;
  };
  static_assert(sizeof(value_type) == sizeof(number));
  code_view(const value_type* codes, cache_shape s) : codes_(codes), dim_(s.head_dim), tokens_(s.capacity) {}
  number at(index_t head, index_t token, index_t channel) const { return {-row(head, token)[channel].negated}; }
  const value_type* row(index_t head, index_t token) const { return codes_ + (head * tokens_ + token) * dim_; }

 private:
  const value_type* const codes_;
  const index_t dim_, tokens_;
};

static_assert(kvsharer::RowContiguousView<row_view> && !kvsharer::TokenRunView<row_view>);
static_assert(kvsharer::TokenRunView<run_view>);
static_assert(kvsharer::LayerView<code_view> && !kvsharer::RowContiguousView<code_view>);
static_assert(!std::is_copy_assignable_v<row_view> && !std::is_copy_assignable_v<code_view>);

/// KVCache of such views. numbers(l, i): the i-th number of layer l's keys; its values are the keys of layer l + 100.
template <class View>
class row_cache {
 public:
  static constexpr memory_space space = memory_space::host;
  template <class Numbers>
  row_cache(cache_shape shape, Numbers numbers) : shape_(shape) {
    for (int plane = 0; plane < 2; ++plane)
      for (int l = 0; l < shape.layers; ++l) {
        auto& stored = planes_.emplace_back();
        for (index_t i = 0; i < shape.kv_heads * shape.capacity * shape.head_dim; ++i)
          stored.push_back({encode(numbers(l + plane * 100, i))});
      }
  }
  row_cache(const row_cache&) = delete;

  cache_shape shape() const { return shape_; }
  index_t length() const { return shape_.capacity; }
  View keys(layer_id l) const { return {planes_[static_cast<std::size_t>(l.value)].data(), shape_}; }
  View values(layer_id l) const { return keys({l.value + static_cast<int>(shape_.layers)}); }

 private:
  static float encode(float x) { return std::is_same_v<View, code_view> ? -x : x; }

  const cache_shape shape_;
  std::vector<std::vector<typename View::value_type>> planes_;  // [keys, values][layer][head][token][channel]
};
static_assert(kvsharer::KVCache<row_cache<row_view>>);

}  // namespace archetypes
