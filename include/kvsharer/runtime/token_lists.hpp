// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kvsharer/core/share_plan.hpp"
#include "kvsharer/core/token_sets.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0 {

/// What has a list of tokens of its own, which loses tokens and gives pages back separately.
enum class list_scope : std::uint8_t {
  cache,  ///< nothing: all planes keep the same tokens, and a page holds its tokens in all of them
  set,    ///< every token set (core/token_sets.hpp): a page holds tokens of one plane
  head    ///< every KV head of every token set: a page holds tokens of one head of one plane
};

/// How a sequence's lists and block tables are numbered. A list grows, loses tokens and gives pages back as a unit. It
/// has one block table if a page number stands for all planes, otherwise one for each of its planes. Lists are numbered
/// [set][head], tables [plane][head]; the planes are the owners' keys and then their values.
class token_lists {
 public:
  /// Throws what std::vector does. O(layers * kv_heads).
  token_lists(const share_plan& plan, index_t kv_heads, list_scope scope) : scope_(scope), layers_(plan.layers()) {
    if (scope == list_scope::cache) {
      tables_of_ = {0};
      begin_ = {0, 1};
      return;
    }
    const token_sets sets(plan);
    heads_ = scope == list_scope::head ? kv_heads : 1;
    lists_ = sets.count() * heads_;
    tables_ = plan.planes() * heads_;
    const auto layers = static_cast<std::size_t>(layers_);
    first_list_.resize(layers);
    first_table_.resize(2 * layers);
    std::vector<std::vector<std::int32_t>> of_list(static_cast<std::size_t>(lists_));
    const auto add = [&](int set, index_t plane) {
      for (index_t h = 0; h < heads_; ++h)
        of_list[static_cast<std::size_t>(set * heads_ + h)].push_back(static_cast<std::int32_t>(plane * heads_ + h));
    };
    for (int l = 0; l < plan.layers(); ++l) {
      const auto at = static_cast<std::size_t>(l);
      const index_t keys = plan.keys().slot({l}), values = plan.keys().owner_count() + plan.values().slot({l});
      first_list_[at] = sets.of({l}) * heads_;
      first_table_[at] = keys * heads_;
      first_table_[layers + at] = values * heads_;
      if (plan.owns_keys({l})) add(sets.of({l}), keys);
      if (plan.owns_values({l})) add(sets.of({l}), values);
    }
    begin_.push_back(0);
    for (const auto& list : of_list) {
      tables_of_.insert(tables_of_.end(), list.begin(), list.end());
      begin_.push_back(static_cast<std::int32_t>(tables_of_.size()));
    }
  }

  /// What has a list of its own.
  list_scope scope() const noexcept { return scope_; }
  /// Lists per sequence.
  index_t lists() const noexcept { return lists_; }
  /// Block tables per sequence.
  index_t tables() const noexcept { return tables_; }
  /// Does a page number stand for all planes?
  bool one_page_for_all() const noexcept { return scope_ == list_scope::cache; }
  /// The step, in lists or in tables, from head to head; 0 where heads share them.
  index_t head_step() const noexcept { return scope_ == list_scope::head ? 1 : 0; }

  // Precondition of the members below: the layer, KV head or list exists.

  /// The list of KV head 0 of the planes that layer l reads. That of head h lies h * head_step() further.
  index_t first_list(layer_id l) const noexcept { return first_list_.empty() ? 0 : first_list_[index(l)]; }
  /// The block table of KV head 0 of the keys that layer l reads.
  index_t key_table(layer_id l) const noexcept { return first_table_.empty() ? 0 : first_table_[index(l)]; }
  /// The same for values.
  index_t value_table(layer_id l) const noexcept {
    return first_table_.empty() ? 0 : first_table_[static_cast<std::size_t>(layers_) + index(l)];
  }
  /// The tables of a list.
  std::span<const std::int32_t> tables_of(index_t list) const noexcept {
    const auto at = static_cast<std::size_t>(list);
    return std::span(tables_of_)
        .subspan(static_cast<std::size_t>(begin_[at]), static_cast<std::size_t>(begin_[at + 1] - begin_[at]));
  }

 private:
  static std::size_t index(layer_id l) noexcept { return static_cast<std::size_t>(l.value); }

  list_scope scope_;
  int layers_;
  index_t heads_ = 1, lists_ = 1, tables_ = 1;
  std::vector<index_t> first_list_;      // [layer], or nothing
  std::vector<index_t> first_table_;     // [keys, values][layer], or nothing
  std::vector<std::int32_t> tables_of_;  // list after list
  std::vector<std::int32_t> begin_;      // [lists + 1]
};

}  // namespace kvsharer::inline v0
