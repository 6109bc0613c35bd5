// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "checkpoint/families/config_reader.hpp"
#include "checkpoint/families/family.hpp"

namespace mini_llama {

/// By layer, the window within which it attends, as "layer_types" says or else the family's rule; 0 for all tokens.
/// Nothing where no window is shorter than the context. Where the family has a switch, windows count only while it is
/// on; for the others, a list with windows beside keys that say there is none is refused. Throws load_error for that
/// and for kinds of attention that are not known.
std::vector<int> layer_windows(const config_reader& config, const family& kind, int layers, int max_position);

/// By layer, whose cache it reads in a model that was trained to share: with "num_kv_shared_layers", the last n layers
/// read the last one below them that has the same window. Nothing where none shares. Throws load_error where one has
/// nothing to read.
std::vector<int> layer_owners(const config_reader& config, const std::vector<int>& windows, int layers);

}  // namespace mini_llama
