// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <optional>
#include <variant>

#include "kvsharer/budget/adakv.hpp"
#include "kvsharer/budget/baklava.hpp"
#include "kvsharer/budget/pyramidinfer.hpp"
#include "kvsharer/budget/pyramidkv.hpp"
#include "kvsharer/budget/threshold.hpp"
#include "kvsharer/budget/uniform.hpp"
#include "kvsharer/budget/zigzagkv.hpp"
#include "kvsharer/concepts/budgets.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/known_methods.hpp"
#include "kvsharer/core/method_options.hpp"
#include "kvsharer/core/method_spec.hpp"
#include "kvsharer/core/token_budget.hpp"

namespace kvsharer::inline v0::budget {

/// Any budget of this folder that has a name.
using any = std::variant<uniform, pyramidkv, pyramidinfer, zigzagkv, baklava, adakv<>, adakv<pyramidkv>, threshold>;

/// The names of the budgets, with their options.
inline constexpr std::array names{
    known_method{"uniform"},
    known_method{"pyramidkv", "beta"},
    known_method{"pyramidinfer", "recent decay min_context interval"},
    known_method{"zigzagkv", "floor per_head"},
    known_method{"baklava", "rule low high kept alpha floor"},
    known_method{"adakv", "safeguard sets beta"},
    known_method{"threshold", "score"},
};

/// The budget that a text names: "pyramidkv:beta=14", "adakv:safeguard=0.2,sets=pyramidkv". Options are the members of
/// the budget's struct; those of `adakv` are its safeguard, and with `sets=pyramidkv` the division among sets, with its
/// beta. Returns errc::unknown_method for another name or option, with the known ones in its text, and errc::bad_rule
/// for a value that cannot be read. Whether a value is in its range, `spread` says.
inline result<any> named(const method_spec& method) {
  if (auto unknown = refuse_unknown(method, names, "budget")) return *unknown;
  method_options options(method);
  any chosen;
  if (method.name() == "pyramidkv") {
    pyramidkv b;
    options.number("beta", b.beta);
    chosen = b;
  } else if (method.name() == "pyramidinfer") {
    pyramidinfer b;
    options.number("recent", b.recent).number("decay", b.decay);
    options.number("min_context", b.min_context).number("interval", b.interval);
    chosen = b;
  } else if (method.name() == "zigzagkv") {
    zigzagkv b;
    options.number("floor", b.floor).flag("per_head", b.per_head);
    chosen = b;
  } else if (method.name() == "baklava") {
    using rule = baklava::rule;
    baklava b;
    options.word<rule>(
        "rule", b.by, {{"two_thresholds", rule::two_thresholds}, {"tempered", rule::tempered}, {"floor", rule::floor}});
    options.number("low", b.low).number("high", b.high).number("kept", b.kept);
    options.number("alpha", b.alpha).number("floor", b.floor);
    chosen = b;
  } else if (method.name() == "adakv") {
    adakv<pyramidkv> b;
    bool pyramid = false;
    options.number("safeguard", b.safeguard).number("beta", b.inner.beta);
    options.word("sets", pyramid, {{"uniform", false}, {"pyramidkv", true}});
    if (!pyramid && method.option("beta") != nullptr)
      return error(errc::bad_rule, "\"" + method.text() + "\" has a beta without sets=pyramidkv");
    if (pyramid)
      chosen = b;
    else
      chosen = adakv<>{.safeguard = b.safeguard};
  } else if (method.name() == "threshold") {
    threshold b;
    options.number("score", b.score);
    chosen = b;
  }
  if (options.failure()) return *options.failure();
  return chosen;
}

/// What the budget's own `spread` returns.
inline result<token_budget> spread(const any& budget, const budget_evidence& e, const budget_request& r) {
  return std::visit([&](const auto& b) { return b.spread(e, r); }, budget);
}

}  // namespace kvsharer::inline v0::budget
