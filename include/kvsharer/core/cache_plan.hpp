// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/hash.hpp"
#include "kvsharer/core/known_methods.hpp"
#include "kvsharer/core/layer_ranges.hpp"
#include "kvsharer/core/method_spec.hpp"
#include "kvsharer/core/share_map.hpp"
#include "kvsharer/core/share_plan.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0 {

/// What a plan says beside its maps, as text: per layer a method (layer_ranges.hpp, method_spec.hpp), and a budget. No
/// ranges mean the default for every layer: codec `native`, selector `none`.
struct cache_rules {
  std::vector<layer_range> key_codecs = {};    ///< of the layers that store keys
  std::vector<layer_range> value_codecs = {};  ///< of the layers that store values
  std::vector<layer_range> selectors = {};     ///< of the layers that store anything
  std::string budget = "none";                 ///< of the whole plan
};

/// Everything that is decided about a cache before it is made: which layer reads which (share_plan), how each owner
/// stores its keys and its values (codecs), which tokens it keeps (selector), and how many tokens are kept (budget).
///
/// A plan is valid whenever it exists. A share_plan or share_map converts to one: all codecs are then `native`, and
/// there is no selector and no budget. Keys and values are planes of their own: a layer that stores only one of them
/// has a codec only for that one.
class cache_plan {
 public:
  /// The plan of no layers.
  cache_plan() = default;
  /// This sharing and no rules.
  cache_plan(share_plan sharing) : sharing_(std::move(sharing)) {}
  /// The same map for keys and values, and no rules.
  cache_plan(share_map both) : sharing_(std::move(both)) {}

  /// A plan with rules. Returns errc::bad_rule for a text that names no method, for ranges that overlap, leave out a
  /// layer that stores something, are outside the model or are of layers that store nothing; errc::unknown_method for a
  /// method or an option that is not among `known`. O(layers).
  static result<cache_plan> make(share_plan sharing, const cache_rules& rules, const known_methods& known = {}) {
    const share_plan& s = sharing;
    const auto owns_keys = [&](layer_id l) { return s.owns_keys(l); };
    const auto owns_values = [&](layer_id l) { return s.owns_values(l); };
    const auto owns = [&](layer_id l) { return s.owns(l); };
    auto keys = methods_of(rules.key_codecs, s.layers(), owns_keys, native(), known.codecs, "codec");
    if (!keys) return keys.failure();
    auto values = methods_of(rules.value_codecs, s.layers(), owns_values, native(), known.codecs, "codec");
    if (!values) return values.failure();
    auto selectors = methods_of(rules.selectors, s.layers(), owns, none(), known.selectors, "selector");
    if (!selectors) return selectors.failure();
    result<method_spec> budget = method_of(rules.budget, known.budgets, "budget");
    if (!budget) return budget.failure();
    cache_plan plan(std::move(sharing));
    plan.key_codecs_ = std::move(keys).value();
    plan.value_codecs_ = std::move(values).value();
    plan.selectors_ = std::move(selectors).value();
    plan.budget_ = std::move(budget).value();
    return plan;
  }

  /// Which layer reads which.
  const share_plan& sharing() const noexcept { return sharing_; }
  /// Of the model, owners and readers.
  int layers() const noexcept { return sharing_.layers(); }

  /// The codec of the keys that layer l stores. Precondition: sharing().owns_keys(l).
  const method_spec& key_codec(layer_id l) const noexcept { return at(key_codecs_, l, native()); }
  /// The codec of the values that layer l stores. Precondition: sharing().owns_values(l).
  const method_spec& value_codec(layer_id l) const noexcept { return at(value_codecs_, l, native()); }
  /// Which tokens layer l keeps. Precondition: sharing().owns(l).
  const method_spec& selector(layer_id l) const noexcept { return at(selectors_, l, none()); }
  /// How many tokens are kept.
  const method_spec& budget() const noexcept { return budget_; }

  /// Does the plan share layers and do nothing else?
  bool only_shares() const noexcept {
    return key_codecs_.empty() && value_codecs_.empty() && selectors_.empty() && budget_ == none();
  }

  /// Does the plan change nothing: every layer reads its own cache, and there are no rules?
  bool is_identity() const noexcept { return only_shares() && sharing_.shared_planes() == 0; }

  /// The rules of all layers that store something, in as few ranges as they need. `make(sharing(), rules())` is this
  /// plan. O(layers).
  cache_rules rules() const {
    const share_plan& s = sharing_;
    return {ranges_of(key_codecs_, native(), [&](layer_id l) { return s.owns_keys(l); }),
            ranges_of(value_codecs_, native(), [&](layer_id l) { return s.owns_values(l); }),
            ranges_of(selectors_, none(), [&](layer_id l) { return s.owns(l); }), budget_.text()};
  }

  /// The hash of the maps if the plan only shares, so that rules which change nothing change no key; else a hash of the
  /// maps and the rules. The same on all platforms and in all versions. O(layers).
  std::uint64_t hash() const {
    if (only_shares()) return sharing_.hash();
    const cache_rules r = rules();
    fnv1a h(sharing_.hash());
    for (const std::string& part :
         {layer_ranges_text(r.key_codecs), layer_ranges_text(r.value_codecs), layer_ranges_text(r.selectors), r.budget})
      h.add(part).add(std::uint8_t{0});  // no text holds a zero, so no two lists of four are one
    return h.value();
  }

  /// The same maps, and the same methods with the same options.
  friend bool operator==(const cache_plan&, const cache_plan&) = default;

 private:
  /// One method per layer; empty if every layer has the default.
  using methods = std::vector<method_spec>;

  static const method_spec& native() {
    static const method_spec method = method_spec::parse("native").value();
    return method;
  }
  static const method_spec& none() {
    static const method_spec method;
    return method;
  }

  static result<method_spec> method_of(const std::string& text, std::span<const known_method> known,
                                       const std::string& what) {
    result<method_spec> method = method_spec::parse(text);
    if (!method) return method;
    if (std::optional<error> unknown = refuse_unknown(method.value(), known, what)) return *unknown;
    return method;
  }

  template <class Has>
  static result<methods> methods_of(const std::vector<layer_range>& ranges, int layers, Has has,
                                    const method_spec& standard, std::span<const known_method> known,
                                    const std::string& what) {
    if (ranges.empty()) return methods{};
    const result<std::vector<std::string>> values = spread_layer_ranges(ranges, layers, has);
    if (!values) return values.failure();
    methods all(values.value().size(), standard);  // of layers that store nothing, too, so that equal plans are equal
    for (std::size_t l = 0; l < all.size(); ++l) {
      if (values.value()[l].empty()) continue;
      result<method_spec> method = method_of(values.value()[l], known, what);
      if (!method) return method.failure();
      all[l] = std::move(method).value();
    }
    if (std::all_of(all.begin(), all.end(), [&](const method_spec& m) { return m == standard; })) all.clear();
    return all;
  }

  static const method_spec& at(const methods& all, layer_id l, const method_spec& standard) noexcept {
    return all.empty() ? standard : all[static_cast<std::size_t>(l.value)];
  }

  template <class Has>
  std::vector<layer_range> ranges_of(const methods& all, const method_spec& standard, Has has) const {
    std::vector<std::string> values(static_cast<std::size_t>(layers()));
    for (layer_id l{0}; l.value < layers(); ++l.value)
      if (has(l)) values[static_cast<std::size_t>(l.value)] = at(all, l, standard).text();
    return gather_layer_ranges(values);
  }

  share_plan sharing_;
  methods key_codecs_, value_codecs_, selectors_;
  method_spec budget_;
};

}  // namespace kvsharer::inline v0
