// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "kvsharer/kvsharer.hpp"

namespace mini_llama {

/// A model on its calibration samples, as a search sees it, wherever it runs: scores plans, and keeps of the accepted
/// one's run what candidates resume from.
class probe {
 public:
  virtual ~probe() = default;

  double operator()(const kvsharer::cache_plan& plan) { return score(plan, {0}); }
  double resume(const kvsharer::cache_plan& plan, kvsharer::layer_id first) { return score(plan, first); }

  /// The plan scored last is now the accepted one.
  virtual void accept() = 0;

  /// How different the layers' caches are on the samples. Names are those of choices.hpp; throws usage_error for
  /// others.
  virtual kvsharer::distance_matrix distances(const std::string& metric, const std::string& keys) = 0;

  /// Layers run so far over the whole batch, the reference run included.
  virtual kvsharer::index_t layer_evaluations() const noexcept = 0;

 private:
  /// Runs the samples under `plan` from layer `first` on; below, it equals the accepted plan.
  virtual double score(const kvsharer::cache_plan& plan, kvsharer::layer_id first) = 0;
};
static_assert(kvsharer::ResumableProbe<probe, kvsharer::cache_plan>);
static_assert(kvsharer::ResumableProbe<probe, kvsharer::share_map>);

}  // namespace mini_llama
