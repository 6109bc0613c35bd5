// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <functional>

#include "kvsharer/concepts/policies.hpp"
#include "kvsharer/core/share_map.hpp"
#include "kvsharer/core/share_plan.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::detail {

/// A probe of any type, behind std::function, so that searches are compiled once. The cost of such a call is small
/// beside a run of a model.
struct probe_calls {
  std::function<double(const share_plan&)> score;
  std::function<double(const share_plan&, layer_id)> resume = {};  ///< empty where the probe cannot
  std::function<void()> accept = {};                               ///< likewise
};

/// The argument of a probe for a plan: the plan, or its only map for a probe that takes a share_map.
template <class Plan>
const Plan& given(const share_plan& plan) noexcept {
  if constexpr (std::same_as<Plan, share_map>)
    return plan.keys();
  else
    return plan;
}

/// The calls of a probe that takes a Plan. They borrow it.
template <class Plan, FidelityProbe<Plan> Probe>
probe_calls calls_of(Probe& probe) {
  probe_calls calls{[&probe](const share_plan& plan) { return static_cast<double>(probe(given<Plan>(plan))); }};
  if constexpr (ResumableProbe<Probe, Plan>) {
    calls.resume = [&probe](const share_plan& plan, layer_id first) {
      return static_cast<double>(probe.resume(given<Plan>(plan), first));
    };
    calls.accept = [&probe] { probe.accept(); };
  }
  return calls;
}

}  // namespace kvsharer::inline v0::detail
