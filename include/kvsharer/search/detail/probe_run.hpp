// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <utility>

#include "kvsharer/core/share_plan.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/search/detail/probe_calls.hpp"

namespace kvsharer::inline v0::detail {

/// A probe in a search that scores many plans before it keeps one. Counts the layers that the probe runs. The probe
/// must have accepted `start`; a new probe has accepted the identity. A probe that cannot resume, or may not, runs
/// every plan from the first layer.
class probe_run {
 public:
  probe_run(probe_calls probe, share_plan start, bool resume)
      : probe_(std::move(probe)), resume_(resume && probe_.resume), state_(std::move(start)), last_(state_) {}

  /// The layer at which a run of `plan` would start now; the last layer if nothing changed.
  layer_id start(const share_plan& plan) const {
    return resume_ ? std::min(first_difference(state_, plan), layer_id{plan.layers() - 1}) : layer_id{0};
  }

  double score(const share_plan& plan) {
    evaluations_without_resume_ += plan.layers();
    return run(plan);
  }

  /// Makes `plan` the plan from which runs resume. If it was not the last one scored, it is run once more.
  void resume_from(const share_plan& plan) {
    if (!resume_ || plan == state_) return;
    if (!(plan == last_)) run(plan);
    probe_.accept();
    state_ = plan;
  }

  index_t evaluations() const noexcept { return evaluations_; }
  index_t evaluations_without_resume() const noexcept { return evaluations_without_resume_; }

 private:
  double run(const share_plan& plan) {
    const layer_id first = start(plan);
    evaluations_ += plan.layers() - first.value;
    last_ = plan;
    return resume_ ? probe_.resume(plan, first) : probe_.score(plan);
  }

  probe_calls probe_;
  bool resume_;
  share_plan state_, last_;  // what runs resume from, and what was run last
  index_t evaluations_ = 0, evaluations_without_resume_ = 0;
};

}  // namespace kvsharer::inline v0::detail
