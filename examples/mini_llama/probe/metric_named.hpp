// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>
#include <utility>

#include "kvsharer/backend/cpu/cka_distances.hpp"
#include "probe/fold_metrics.hpp"

namespace mini_llama {

/// f(metric) for the metric of this name, folds and the CPU's linear CKA. Throws usage_error.
template <class F>
decltype(auto) with_metric(std::string_view name, F&& f) {
  if (name == "cka") return f(kvsharer::cpu::linear_cka{});
  return with_fold_metric(name, std::forward<F>(f));
}

}  // namespace mini_llama
