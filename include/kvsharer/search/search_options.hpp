// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include "kvsharer/core/share_map.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/search/search_report.hpp"

namespace kvsharer::inline v0 {

/// Options of find_share_map. Callables may be empty.
struct search_options {
  int share = 0;                   ///< readers wanted: 0 <= share < layers
  double threshold = 0.5;          ///< a candidate is kept if its score is strictly greater
  bool resume = true;              ///< let a ResumableProbe skip the layers below the first change
  bool throw_when_missed = false;  ///< throw errc::share_count_missed instead of returning a partial map

  /// The map of a model that was trained with shared layers: the search starts from it, and its readers count. Empty:
  /// the identity.
  share_map start = {};
  /// May `reader` read `owner`'s cache? Return false for layers that differ in window, RoPE or KV heads.
  std::function<bool(layer_id reader, layer_id owner)> shareable = {};
  std::function<void(const search_progress&)> progress = {};  ///< called after every candidate
  std::function<bool()> cancelled = {};                       ///< called before every candidate; true ends the search
};

}  // namespace kvsharer::inline v0
