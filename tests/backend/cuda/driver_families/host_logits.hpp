// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "kvsharer/kvsharer.hpp"
#include "run/session.hpp"

namespace mini_llama {

/// The logits of the last position, by the host's driver. In a file of its own since nvcc does not read the host's
/// attention.
std::vector<float> host_logits(const session& s, const kvsharer::share_plan& plan, const std::vector<int>& ids);

}  // namespace mini_llama
