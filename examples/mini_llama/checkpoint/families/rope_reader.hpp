// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "checkpoint/config.hpp"
#include "checkpoint/families/config_reader.hpp"

namespace mini_llama {

/// The rotation that a config.json states: in "rope_parameters", or in "rope_scaling" and "rope_theta" as older files
/// do. What is stated more than once must be the same each time. Throws load_error for statements that contradict each
/// other, and for rotations that are not known or not whole.
kvsharer::rope_rule read_rope(const config_reader& config);

/// How many positions a model sees whose configuration says `max_position`: that is the context before linear scaling,
/// which stretches it, and the one after every other kind.
int stretched_context(const kvsharer::rope_rule& rope, int max_position);

}  // namespace mini_llama
