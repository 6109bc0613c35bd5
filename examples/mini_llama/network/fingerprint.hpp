// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "network/model.hpp"

namespace mini_llama {

/// kvsharer::model_fingerprint of a model's weights, which other engines compute from the same weights in their own
/// layouts. Reads some sixty rows. Precondition: no alignment was folded into the model.
std::string fingerprint_of(const model& m);

}  // namespace mini_llama
