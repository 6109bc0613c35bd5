// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "engine.hpp"
#include "kvsharer/search/search_report.hpp"

namespace flat_shared {

using token_samples = std::vector<std::vector<int>>;

/// Which `share` layers of this model may read an earlier layer's cache, by what the samples' final states say. Every
/// candidate runs all samples through an engine of its own.
kvsharer::search_report find_sharing(const hparams& hp, const weights& w, const token_samples& samples, int share);

}  // namespace flat_shared
