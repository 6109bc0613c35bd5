// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/core/element.hpp"
#include "kvsharer/core/kv_part.hpp"
#include "kvsharer/core/share_map.hpp"
#include "kvsharer/core/share_plan.hpp"
#include "kvsharer/core/types.hpp"

/// Checks for the tests of an engine that shares its cache, with any test framework: each returns "" or, in one
/// sentence, the first thing that is wrong. How to use them: docs/how-to/test-your-engine.md.
namespace kvsharer::inline v0::testing {
namespace detail {

inline bool same_bits(float a, float b) noexcept {
  return kvsharer::detail::same_bits<std::uint32_t>(a) == kvsharer::detail::same_bits<std::uint32_t>(b);
}

inline std::string text(float x) { return std::to_string(static_cast<double>(x)); }

}  // namespace detail

/// Are two lists of numbers the same bits? For final states or logits: of the engine before and after it was adapted,
/// under the identity map, on the same tokens. O(numbers).
inline std::string same_numbers(std::span<const float> expected, std::span<const float> got) {
  if (expected.size() != got.size())
    return std::to_string(got.size()) + " numbers where there should be " + std::to_string(expected.size());
  for (std::size_t i = 0; i < got.size(); ++i)
    if (!detail::same_bits(expected[i], got[i]))
      return "number " + std::to_string(i) + " of " + std::to_string(got.size()) + " is " + detail::text(got[i]) +
             " and should be " + detail::text(expected[i]);
  return "";
}

/// The numbers that the owners of a plan store for one sequence, copied out of a cache in host memory. The cache has
/// the model's layers, of which those that store nothing are not read.
class stored_rows {
 public:
  /// O(stored numbers) of memory.
  template <KVCache C>
  stored_rows(const share_plan& plan, const C& cache)
      : shape_(cache.shape()), length_(static_cast<index_t>(cache.length())) {
    for (layer_id l{0}; l.value < plan.layers(); ++l.value) {
      if (plan.owns_keys(l)) copy(l, kv_part::keys, cache.keys(l));
      if (plan.owns_values(l)) copy(l, kv_part::values, cache.values(l));
    }
  }

  /// Tokens of each row list.
  index_t length() const noexcept { return length_; }

  /// Those of layers up to `last`.
  stored_rows up_to(layer_id last) const {
    stored_rows some = *this;
    std::erase_if(some.planes_, [&](const plane& p) { return p.layer > last; });
    return some;
  }

  /// Are the rows of `later` these, where its token i is token kept[i] of these? Planes that only one of the two has
  /// are passed over. O(stored numbers).
  std::string found_in(const stored_rows& later, std::span<const index_t> kept) const {
    if (later.length_ != static_cast<index_t>(kept.size()))
      return std::to_string(later.length_) + " tokens are stored and not " + std::to_string(kept.size());
    for (const plane& p : planes_)
      for (const plane& q : later.planes_)
        if (p.layer == q.layer && p.part == q.part)
          if (const std::string wrong = difference(p, q, kept); !wrong.empty()) return wrong;
    return "";
  }

 private:
  struct plane {
    layer_id layer;
    kv_part part;
    std::vector<float> numbers;  // [token][kv_head][channel]
  };

  template <LayerView View>
  void copy(layer_id l, kv_part part, View view) {
    plane& p = planes_.emplace_back(plane{l, part, {}});
    for (index_t t = 0; t < length_; ++t)
      for (index_t h = 0; h < shape_.kv_heads; ++h)
        for (index_t c = 0; c < width(part); ++c) p.numbers.push_back(static_cast<float>(view.at(h, t, c)));
  }

  index_t width(kv_part part) const noexcept {
    return part == kv_part::keys ? shape_.widths().keys : shape_.widths().values;
  }

  std::string difference(const plane& before, const plane& after, std::span<const index_t> kept) const {
    const auto row = static_cast<std::size_t>(shape_.kv_heads * width(before.part));
    for (std::size_t t = 0; t < kept.size(); ++t) {
      const auto from = static_cast<std::size_t>(kept[t]) * row;
      if (from + row > before.numbers.size()) return "token " + std::to_string(kept[t]) + " was never stored";
      for (std::size_t i = 0; i < row; ++i)
        if (!detail::same_bits(before.numbers[from + i], after.numbers[t * row + i]))
          return "layer " + std::to_string(before.layer.value) +
                 (before.part == kv_part::keys ? "'s keys" : "'s values") + " of token " + std::to_string(t) +
                 " have the number " + detail::text(after.numbers[t * row + i]) + " where it should be " +
                 detail::text(before.numbers[from + i]);
    }
    return "";
  }

  cache_shape shape_;
  index_t length_;
  std::vector<plane> planes_;
};

/// A map that agrees with `map` up to a layer, and in which each later layer reads itself. O(layers).
inline share_map shared_up_to(const share_map& map, layer_id last) {
  std::vector<int> owners(map.owners().begin(), map.owners().end());
  for (int l = last.value + 1; l < map.layers(); ++l) owners[static_cast<std::size_t>(l)] = l;
  return share_map::from_owners(owners).value();
}
/// The same for a plan.
inline share_plan shared_up_to(const share_plan& plan, layer_id last) {
  return {shared_up_to(plan.keys(), last), shared_up_to(plan.values(), last)};
}

/// Do owners' rows stay as their own layers wrote them, whoever reads them later? An engine in which a reader writes to
/// its owner's memory computes plausible numbers, so that nothing else shows it.
///
/// `run(map, look)` runs the engine under a share_map or share_plan (the type of `map`), on the same tokens every time,
/// and calls look(cache) once they are done, with a KVCache in host memory that has the model's layers; those of
/// readers are not read. An owner's rows depend on the layers up to it alone. So they must be the same bits as in a run
/// in which all later layers read themselves; the engine must compute the same bits from the same numbers. As many runs
/// as there are owners with readers, and one.
template <class Map, class Run>
std::string owner_rows_stay(const Map& map, Run&& run) {
  const share_plan plan = map;
  const auto rows_under = [&](const Map& one) {
    std::vector<stored_rows> seen;
    run(one, [&](const auto& cache) { seen.emplace_back(one, cache); });
    return seen;
  };
  const std::vector<stored_rows> all = rows_under(map);
  if (all.size() != 1) return "the run shows its cache " + std::to_string(all.size()) + " times and not once";
  for (layer_id l{0}; l.value < plan.layers(); ++l.value) {
    bool read = false;
    for (layer_id reader{l.value + 1}; reader.value < plan.layers(); ++reader.value)
      read = read || plan.key_owner(reader) == l || plan.value_owner(reader) == l;
    if (!read) continue;
    const std::vector<stored_rows> alone = rows_under(shared_up_to(map, l));
    std::vector<index_t> tokens(static_cast<std::size_t>(all[0].length()));
    for (std::size_t t = 0; t < tokens.size(); ++t) tokens[t] = static_cast<index_t>(t);
    // Of the two runs' planes, those up to this layer must agree; later ones may not.
    if (const std::string wrong = alone.at(0).up_to(l).found_in(all[0], tokens); !wrong.empty())
      return "with its readers, " + wrong;
  }
  return "";
}

/// After tokens were removed from a sequence's cache: are the rows that are left those of the tokens in `kept`,
/// ascending, in all owners alike? Both caches as stored_rows takes them, copied before and after. Keys must be stored
/// as they were, with the rotation of the token's own position. O(stored numbers).
inline std::string rows_after_compaction(const stored_rows& before, const stored_rows& after,
                                         std::span<const index_t> kept) {
  return before.found_in(after, kept);
}

/// And does every token that is left have its position from before? `before` and `after` have one position per stored
/// token. O(tokens).
inline std::string positions_after_compaction(std::span<const index_t> before, std::span<const index_t> after,
                                              std::span<const index_t> kept) {
  if (after.size() != kept.size())
    return std::to_string(after.size()) + " positions for " + std::to_string(kept.size()) + " tokens";
  for (std::size_t t = 0; t < kept.size(); ++t) {
    const auto from = static_cast<std::size_t>(kept[t]);
    if (from >= before.size()) return "token " + std::to_string(kept[t]) + " was never stored";
    if (after[t] != before[from])
      return "token " + std::to_string(t) + " has position " + std::to_string(after[t]) + ", and stood at " +
             std::to_string(before[from]);
  }
  return "";
}

}  // namespace kvsharer::inline v0::testing
