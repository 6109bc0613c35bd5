// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "kvsharer/metric/cosine.hpp"
#include "kvsharer/metric/flat_euclidean.hpp"
#include "kvsharer/metric/mean_row_norm.hpp"
#include "kvsharer/metric/scaled_euclidean.hpp"
#include "support/usage_error.hpp"

namespace mini_llama {

/// f(metric) of the metrics that are folds, which host and device compute alike.
template <class F>
decltype(auto) with_fold_metric(std::string_view name, F&& f) {
  if (name == "mean-row-norm") return f(kvsharer::metric::mean_row_norm{});
  if (name == "flat") return f(kvsharer::metric::flat_euclidean{});
  if (name == "cosine") return f(kvsharer::metric::cosine{});
  if (name == "scaled-euclidean") return f(kvsharer::metric::scaled_euclidean{});
  throw usage_error("there is no metric \"" + std::string(name) +
                    "\"; choose mean-row-norm, flat, cosine, scaled-euclidean or cka");
}

}  // namespace mini_llama
