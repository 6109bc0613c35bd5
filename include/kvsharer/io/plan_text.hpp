// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "kvsharer/core/cache_plan.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/layer_ranges.hpp"
#include "kvsharer/core/share_map.hpp"
#include "kvsharer/core/share_plan.hpp"
#include "kvsharer/core/types.hpp"

/// Plans as one line of integers, for engines without a JSON library. Needs the standard library alone.
namespace kvsharer::inline v0 {

/// The plan as one line that scanf reads:
///
///     kvsharer-plan 3 LAYERS OWNERS-OF-KEYS OWNERS-OF-VALUES HASH
///
/// All are whole numbers with one space between them: 3 is the schema version, each list has one owner per layer, and
/// the hash is that of the plan in decimal digits (64 bits without a sign). The line ends with a line feed and says
/// nothing of the model that the plan was found for. Throws errc::bad_rule for a plan that does more than share, since
/// the line has no place for its rules. O(layers).
inline std::string plan_text(const cache_plan& plan) {
  if (!plan.only_shares()) {
    const cache_rules r = plan.rules();
    throw error(errc::bad_rule, "a line of a plan holds maps alone, and this plan has the key codecs " +
                                    layer_ranges_text(r.key_codecs) + ", the value codecs " +
                                    layer_ranges_text(r.value_codecs) + ", the selectors " +
                                    layer_ranges_text(r.selectors) + " and the budget " + r.budget +
                                    "; write a plan file instead");
  }
  std::string text = "kvsharer-plan 3 " + std::to_string(plan.layers());
  for (const int owner : plan.sharing().keys().owners()) text += " " + std::to_string(owner);
  for (const int owner : plan.sharing().values().owners()) text += " " + std::to_string(owner);
  return text + " " + std::to_string(plan.hash()) + "\n";
}

namespace detail {

/// The words of a text, which white space separates.
class text_words {
 public:
  explicit text_words(std::string_view text) noexcept : rest_(text) { skip(); }

  bool at_end() const noexcept { return rest_.empty(); }

  /// The next word, or an empty one at the end.
  std::string_view word() noexcept {
    const std::string_view found = rest_.substr(0, rest_.find_first_of(white));
    rest_.remove_prefix(found.size());
    skip();
    return found;
  }

  /// Reads the next word as a number without a sign; false if it is none, or too large for T.
  template <class T>
  bool number(T& value) noexcept {
    const std::string_view digits = word();
    const char* const end = digits.data() + digits.size();
    const auto [stopped, failure] = std::from_chars(digits.data(), end, value);
    return failure == std::errc{} && stopped == end && !digits.starts_with('-');
  }

 private:
  static constexpr std::string_view white = " \t\r\n";

  void skip() noexcept { rest_.remove_prefix(std::min(rest_.size(), rest_.find_first_not_of(white))); }

  std::string_view rest_;
};

/// The next `layers` numbers as a map. A file holds owners, so a layer that reads a reader is an error here.
inline result<share_map> map_from_words(text_words& words, int layers, const std::string& what) {
  std::vector<int> owners;
  for (int l = 0; l < layers; ++l) {
    int owner = 0;
    if (!words.number(owner))
      return error(errc::plan_syntax,
                   "a line of a plan has no whole number as the owner of layer " + std::to_string(l) + "'s " + what);
    owners.push_back(owner);
  }
  result<share_map> map = share_map::from_owners(owners);
  if (!map) return error(errc::bad_map, "a line of a plan has no map of " + what + ": " + map.failure().what());
  for (layer_id l{0}; l.value < layers; ++l.value)
    if (map.value().owner(l).value != owners[static_cast<std::size_t>(l.value)])
      return error(errc::bad_map, "in a line of a plan, layer " + std::to_string(l.value) + " reads the " + what +
                                      " of layer " + std::to_string(owners[static_cast<std::size_t>(l.value)]) +
                                      ", which reads those of another layer");
  return map;
}

}  // namespace detail

/// Reads what plan_text writes; between the numbers, any white space will do. Returns errc::plan_syntax for a text that
/// is no such line or whose hash is not that of its maps, errc::plan_version for another schema version, and
/// errc::bad_map for maps that cannot be. O(length of the text).
inline result<share_plan> plan_from_text(std::string_view text) {
  detail::text_words words(text);
  if (words.word() != "kvsharer-plan")
    return error(errc::plan_syntax, "a line of a plan begins with \"kvsharer-plan\", and this text does not");
  int version = 0, layers = 0;
  if (!words.number(version)) return error(errc::plan_syntax, "a line of a plan has no schema version");
  if (version != 3)
    return error(errc::plan_version,
                 "a line of a plan has schema version " + std::to_string(version) + "; this library reads version 3");
  if (!words.number(layers)) return error(errc::plan_syntax, "a line of a plan has no number of layers");
  result<share_map> keys = detail::map_from_words(words, layers, "keys");
  if (!keys) return keys.failure();
  result<share_map> values = detail::map_from_words(words, layers, "values");
  if (!values) return values.failure();
  share_plan plan(std::move(keys).value(), std::move(values).value());
  std::uint64_t hash = 0;
  if (!words.number(hash)) return error(errc::plan_syntax, "a line of a plan has no hash behind its maps");
  if (hash != plan.hash())
    return error(errc::plan_syntax, "a line of a plan has the hash " + std::to_string(hash) + " where its maps have " +
                                        std::to_string(plan.hash()) + "; a number of it was changed or lost");
  if (!words.at_end()) return error(errc::plan_syntax, "a line of a plan goes on behind its hash");
  return plan;
}

}  // namespace kvsharer::inline v0
