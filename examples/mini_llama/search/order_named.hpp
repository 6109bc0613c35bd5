// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kvsharer/core/share_map.hpp"
#include "kvsharer/policy/dissimilar_first.hpp"
#include "kvsharer/policy/explicit_map.hpp"
#include "kvsharer/policy/random_order.hpp"
#include "kvsharer/policy/similar_first.hpp"
#include "kvsharer/policy/suffix_first.hpp"
#include "search/recipe.hpp"
#include "support/usage_error.hpp"

namespace mini_llama {

/// f(policy) for an order that ranks pairs. Throws usage_error for best-first orders, which are searches of their own.
template <class F>
decltype(auto) with_order(search_order order, std::uint64_t seed, const kvsharer::share_map& map, F&& f) {
  switch (order) {
    case search_order::dissimilar:
      return f(kvsharer::policy::dissimilar_first{});
    case search_order::similar:
      return f(kvsharer::policy::similar_first{});
    case search_order::suffix:
      return f(kvsharer::policy::suffix_first{});
    case search_order::random:
      return f(kvsharer::policy::random_order{seed});
    case search_order::explicit_map:
      return f(kvsharer::policy::explicit_map{map});
    default:
      throw usage_error("a best-first search ranks no pairs");
  }
}

}  // namespace mini_llama
