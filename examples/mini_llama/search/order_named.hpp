// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "kvsharer/core/share_map.hpp"
#include "kvsharer/policy/dissimilar_first.hpp"
#include "kvsharer/policy/explicit_map.hpp"
#include "kvsharer/policy/random_order.hpp"
#include "kvsharer/policy/similar_first.hpp"
#include "kvsharer/policy/suffix_first.hpp"
#include "support/usage_error.hpp"

namespace mini_llama {

/// Of the orders that rank; those of is_best_first are searches of their own.
template <class F>
decltype(auto) with_order(std::string_view name, std::uint64_t seed, const kvsharer::share_map& map, F&& f) {
  if (name == "dissimilar") return f(kvsharer::policy::dissimilar_first{});
  if (name == "similar") return f(kvsharer::policy::similar_first{});
  if (name == "suffix") return f(kvsharer::policy::suffix_first{});
  if (name == "random") return f(kvsharer::policy::random_order{seed});
  if (name == "explicit") return f(kvsharer::policy::explicit_map{map});
  throw usage_error("there is no order \"" + std::string(name) +
                    "\"; choose dissimilar, similar, suffix, random, best, best-suffix or explicit");
}

}  // namespace mini_llama
