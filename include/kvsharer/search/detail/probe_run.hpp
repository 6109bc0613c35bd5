// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include "kvsharer/concepts/policies.hpp"
#include "kvsharer/core/share_map.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::detail {

/// A probe in the hands of a search that scores many maps before it keeps one, and keeps count of the layers it is
/// asked to run. A probe that cannot resume, or may not, runs every map whole and needs no state.
template <FidelityProbe Probe>
class probe_run {
 public:
  probe_run(Probe& probe, int layers, bool resume)
      : probe_(probe), resume_(resume && ResumableProbe<Probe>), state_(share_map::identity(layers)), last_(state_) {}

  /// Where a run of `map` would start now. At the latest at the last layer, even if nothing changed.
  layer_id start(const share_map& map) const {
    return resume_ ? std::min(first_difference(state_, map), layer_id{map.layers() - 1}) : layer_id{0};
  }

  double score(const share_map& map) {
    evaluations_without_resume_ += map.layers();
    return run(map);
  }

  /// Makes `map` the one that runs resume from. Free if it was the last one scored; else it is run once more.
  void resume_from(const share_map& map) {
    if constexpr (ResumableProbe<Probe>) {
      if (!resume_ || map == state_) return;
      if (!(map == last_)) run(map);
      probe_.accept();
      state_ = map;
    }
  }

  index_t evaluations() const noexcept { return evaluations_; }
  index_t evaluations_without_resume() const noexcept { return evaluations_without_resume_; }

 private:
  double run(const share_map& map) {
    const layer_id first = start(map);
    evaluations_ += map.layers() - first.value;
    last_ = map;
    if constexpr (ResumableProbe<Probe>) {
      if (resume_) return static_cast<double>(probe_.resume(map, first));
    }
    return static_cast<double>(probe_(map));
  }

  Probe& probe_;
  bool resume_;
  share_map state_, last_;  // what runs resume from, and what was run last
  index_t evaluations_ = 0, evaluations_without_resume_ = 0;
};

}  // namespace kvsharer::inline v0::detail
