// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "kvsharer/core/distance_matrix.hpp"
#include "kvsharer/core/share_plan.hpp"

namespace mini_llama {

/// The lower triangle of a distance matrix as shaded characters, darker being farther apart; rows are readers, columns
/// owners, and the pairs that `map` shares are marked by `o`.
std::string draw_distances(const kvsharer::distance_matrix& distances, const kvsharer::share_plan& plan);

/// A map as one line per owner that is read by others, and a bar that shows owners (#) and readers (.).
std::string draw_map(const kvsharer::share_plan& plan);

}  // namespace mini_llama
