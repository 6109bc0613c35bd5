// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <charconv>
#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0 {

/// The same value for layers that follow each other.
struct layer_range {
  layer_id first;     ///< the first layer
  layer_id last;      ///< the last layer, included
  std::string value;  ///< of each of them
  friend bool operator==(const layer_range&, const layer_range&) = default;
};

namespace detail {

/// Takes "7" or "0-3" and the colon behind it off a text. False, and nothing taken, if it does not begin so.
inline bool take_range(std::string_view& text, layer_range& range) {
  const std::size_t colon = text.find(':');
  if (colon == text.npos) return false;
  const char *at = text.data(), *const end = at + colon;
  const auto number = [&](int& value) {
    if (at == end || *at == '-') return false;
    const auto [stopped, failure] = std::from_chars(at, end, value);
    at = stopped;
    return failure == std::errc{};
  };
  if (!number(range.first.value)) return false;
  range.last = range.first;
  if (at != end && *at == '-' && (++at, !number(range.last.value))) return false;
  if (at != end) return false;
  text.remove_prefix(colon + 1);
  return true;
}

inline std::string range_name(const layer_range& r) {
  return r.first == r.last ? "layer " + std::to_string(r.first.value)
                           : "layers " + std::to_string(r.first.value) + "-" + std::to_string(r.last.value);
}

}  // namespace detail

/// Reads values per layer such as "0-3:native,4:native,5-23:kivi:bits=2,group=32": ranges with ascending layers,
/// separated by commas. A comma belongs to a value unless a range follows it. Returns errc::bad_rule for a text without
/// ranges or without values, for a range that runs backwards, and for ranges that overlap or descend. O(length).
inline result<std::vector<layer_range>> parse_layer_ranges(std::string_view text) {
  const auto refuse = [whole = std::string(text)](const std::string& why) {
    return error(errc::bad_rule, "\"" + whole + "\" does not say what each layer has: " + why +
                                     "; write ranges of layers and a value for each, as in 0-3:A,4-23:B");
  };
  std::vector<layer_range> ranges;
  while (true) {
    const std::size_t comma = text.find(',');
    std::string_view piece = text.substr(0, comma);
    layer_range range{};
    if (detail::take_range(piece, range)) {
      if (range.last < range.first) return refuse(detail::range_name(range) + " run backwards");
      if (!ranges.empty() && range.first <= ranges.back().last)
        return refuse(detail::range_name(range) + " overlap or precede " + detail::range_name(ranges.back()));
      if (piece.empty()) return refuse(detail::range_name(range) + " have no value");
      range.value = piece;
      ranges.push_back(std::move(range));
    } else {
      if (ranges.empty()) return refuse("it begins with no range");
      ranges.back().value += "," + std::string(piece);
    }
    if (comma == text.npos) return ranges;
    text.remove_prefix(comma + 1);
  }
}

/// What parse_layer_ranges reads.
inline std::string layer_ranges_text(const std::vector<layer_range>& ranges) {
  std::string text;
  for (const layer_range& r : ranges) {
    text += (text.empty() ? "" : ",") + std::to_string(r.first.value);
    if (r.last != r.first) text += "-" + std::to_string(r.last.value);
    text += ":" + r.value;
  }
  return text;
}

/// The value of each of `layers` layers; layers without `has(layer)` have none and get an empty text. A range may run
/// across such layers, but not be of them alone. Returns errc::bad_rule, which names the layers, for a range outside
/// the model, for one of layers that have no value, for two that overlap, and for a layer that needs a value and is in
/// no range. O(layers).
template <class Has>
result<std::vector<std::string>> spread_layer_ranges(const std::vector<layer_range>& ranges, int layers, Has has) {
  std::vector<std::string> values(static_cast<std::size_t>(layers));
  for (const layer_range& r : ranges) {
    if (r.first.value < 0 || r.last.value >= layers)
      return error(errc::bad_rule,
                   detail::range_name(r) + " of a rule are outside a model of " + std::to_string(layers) + " layers");
    bool used = false;
    for (layer_id l = r.first; l <= r.last; ++l.value)
      if (has(l)) {
        std::string& value = values[static_cast<std::size_t>(l.value)];
        if (!value.empty()) return error(errc::bad_rule, "layer " + std::to_string(l.value) + " has two rules");
        value = r.value;
        used = true;
      }
    if (!used)
      return error(errc::bad_rule, "a rule is for " + detail::range_name(r) + ", which store nothing of that kind");
  }
  for (layer_id l{0}; l.value < layers; ++l.value)
    if (has(l) && values[static_cast<std::size_t>(l.value)].empty())
      return error(errc::bad_rule, "a rule leaves out layer " + std::to_string(l.value) + ", which needs one");
  return values;
}

/// The inverse: the fewest ranges that give each layer its value, from the first to the last layer that has one. Layers
/// with an empty text have none, and a range runs across them. O(layers).
inline std::vector<layer_range> gather_layer_ranges(const std::vector<std::string>& values) {
  std::vector<layer_range> ranges;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i].empty()) continue;
    const layer_id l{static_cast<int>(i)};
    if (!ranges.empty() && ranges.back().value == values[i])
      ranges.back().last = l;
    else
      ranges.push_back({l, l, values[i]});
  }
  return ranges;
}

}  // namespace kvsharer::inline v0
