// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <span>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/token_budget.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0 {

/// What a budget is asked for: how many tokens of one prompt the KV heads of all token sets keep.
struct budget_request {
  index_t sets = 0;                     ///< token sets: the owners, where keys and values have one map
  index_t kv_heads = 0;                 ///< of a set
  index_t tokens = 0;                   ///< of the prompt; nobody keeps more
  index_t average = 0;                  ///< tokens that a head keeps on average, `least` included
  index_t least = 0;                    ///< tokens that every head keeps whatever happens: the newest ones, sinks
  index_t layers = 0;                   ///< of the model, readers included; 0: as many as sets
  std::span<const index_t> depth = {};  ///< [sets] layer of each set's owner, ascending; empty: set i is layer i
};

/// What was measured of a model or of a prompt. A method says which of these it needs; the others may be empty. Readers
/// have no numbers of their own: see budget/over_readers.hpp.
struct budget_evidence {
  std::span<const double> spread = {};      ///< [sets][kv_heads] tokens that hold most of a head's attention, >= 0
  std::span<const double> importance = {};  ///< [sets][kv_heads] of a profiling run, >= 0
  std::span<const float> scores = {};  ///< [sets][kv_heads][tokens - least] of the prompt's older tokens, comparable
                                       ///< from head to head
};

/// How many tokens each KV head keeps. It sees numbers and no tensor, and knows nothing of what selects the tokens.
///
/// Required of `const B b`: b.spread(evidence, request) -> result<token_budget>. Where the method distributes a total,
/// the numbers add up to it exactly: to average x sets x kv_heads. A prompt of at most `average` tokens is kept whole.
template <class B>
concept BudgetPolicy = requires(const B b, const budget_evidence& e, const budget_request& r) {
  { b.spread(e, r) } -> std::same_as<result<token_budget>>;
};

}  // namespace kvsharer::inline v0
