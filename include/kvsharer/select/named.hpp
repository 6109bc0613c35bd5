// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <optional>
#include <string_view>
#include <variant>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/known_methods.hpp"
#include "kvsharer/core/method_options.hpp"
#include "kvsharer/core/method_spec.hpp"
#include "kvsharer/select/h2o.hpp"
#include "kvsharer/select/kept_anyway.hpp"
#include "kvsharer/select/observed_attention.hpp"
#include "kvsharer/select/pyramidinfer.hpp"
#include "kvsharer/select/random_choice.hpp"
#include "kvsharer/select/scores.hpp"
#include "kvsharer/select/snapkv.hpp"
#include "kvsharer/select/streaming_llm.hpp"

namespace kvsharer::inline v0::select {

/// Any selector of this folder. They ask for different numbers, so whoever has one visits it.
using any = std::variant<streaming_llm, h2o, snapkv, pyramidinfer, observed_attention, random_choice>;

/// The names of the selectors, with their options.
inline constexpr std::array names{
    known_method{"streaming_llm", "sinks"},
    known_method{"h2o", "sinks recent"},
    known_method{"snapkv", "window kernel pool group sinks recent"},
    known_method{"pyramidinfer", "sinks distance_weight"},
    known_method{"observed_attention", "sinks recent"},
    known_method{"random", "seed sinks recent"},
};

/// Does a selector's choice know the question, where the prompt ends with it? Such a cache serves no other question.
inline bool knows_question(const any& selector) noexcept {
  return !std::holds_alternative<streaming_llm>(selector) && !std::holds_alternative<random_choice>(selector);
}

/// The selector that a text names: "snapkv:window=16,pool=average,sinks=4". Options are the members of its struct and
/// of its kept_anyway. Returns errc::unknown_method for another name or option, with the known ones in its text, and
/// errc::bad_rule for a value that cannot be read.
inline result<any> named(const method_spec& method) {
  if (auto unknown = refuse_unknown(method, names, "selector")) return *unknown;
  method_options options(method);
  kept_anyway also;
  any chosen;
  if (method.name() == "streaming_llm") {
    streaming_llm s;
    options.number("sinks", s.sinks);
    chosen = s;
  } else if (method.name() == "pyramidinfer") {
    pyramidinfer s;
    options.number("sinks", s.sinks).number("distance_weight", s.distance_weight);
    chosen = s;
  } else {
    options.number("sinks", also.sinks).number("recent", also.recent);
    if (method.name() == "h2o") {
      chosen = h2o{.also = also};
    } else if (method.name() == "observed_attention") {
      chosen = observed_attention{.also = also};
    } else if (method.name() == "random") {
      random_choice s{.also = also};
      options.number("seed", s.seed);
      chosen = s;
    } else {
      snapkv s{.also = also};
      options.number("window", s.window).number("kernel", s.kernel);
      options.word<pooling>("pool", s.pool,
                            {{"none", pooling::none},
                             {"max", pooling::largest},
                             {"average", pooling::average},
                             {"average_inside", pooling::average_inside}});
      options.word<reduce>("group", s.group, {{"mean", reduce::mean}, {"sum", reduce::sum}, {"max", reduce::largest}});
      chosen = s;
    }
  }
  if (options.failure()) return *options.failure();
  return chosen;
}

}  // namespace kvsharer::inline v0::select
