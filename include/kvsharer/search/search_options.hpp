// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include "kvsharer/core/share_map.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/search/search_report.hpp"

namespace kvsharer::inline v0 {

/// What find_share_map is to look for. Callables may be left empty.
struct search_options {
  int share = 0;                   ///< layers that are to read another's cache: 0 <= share < layers
  double threshold = 0.5;          ///< a candidate is kept if its score is strictly greater
  bool resume = true;              ///< let a ResumableProbe leave out the layers below the first change
  bool throw_when_missed = false;  ///< throw errc::share_count_missed instead of returning a partial map

  /// The map that the model has already, where it was trained to share: the search goes on from it, and its readers
  /// count as shared. No layers: the identity.
  share_map start = {};
  /// May `reader` read `owner`'s cache at all? Layers of another kind (window, RoPE, KV heads) must answer no.
  std::function<bool(layer_id reader, layer_id owner)> shareable = {};
  std::function<void(const search_progress&)> progress = {};  ///< told after every candidate
  std::function<bool()> cancelled = {};                       ///< asked before every candidate
};

}  // namespace kvsharer::inline v0
