// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <span>
#include <string>
#include <vector>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/finite.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/select/best_tokens.hpp"
#include "kvsharer/select/kept_anyway.hpp"
#include "kvsharer/select/scores.hpp"

namespace kvsharer::inline v0::select {

/// The part of PyramidInfer (arXiv 2405.12532) that chooses keys and values; that layers compute only what earlier
/// layers kept is another part, and not here. The newest queries of a prompt score the tokens before them, the newest
/// most, and all heads keep the same tokens. How many, the budget of that name says. The choice knows the question.
struct pyramidinfer {
  index_t sinks = 4;             ///< first tokens of the prompt, which score as much as the best
  double distance_weight = 1.2;  ///< of the newest row; the oldest row has 1

  /// A score for each token before the newest `rows`: `attention` [rows][older], of these rows, averaged over all query
  /// heads. The mean of the weighted rows. Throws errc::bad_shape for numbers that are not such rows,
  /// errc::bad_argument for a weight that is not positive. O(rows x older).
  std::vector<float> scores(std::span<const float> attention, index_t rows) const {
    const index_t n = detail::row_length(attention.size(), rows, "rows");
    if (!is_finite(distance_weight) || distance_weight <= 0 || sinks < 0)
      throw error(errc::bad_argument, "pyramidinfer with a distance weight of " + std::to_string(distance_weight) +
                                          " and " + std::to_string(sinks) + " sinks");
    std::vector<float> out(static_cast<std::size_t>(n), 0.0f);
    for (index_t r = 0; r < rows; ++r) {
      const double along = rows > 1 ? static_cast<double>(r) / static_cast<double>(rows - 1) : 0.0;
      const auto weight = static_cast<float>(1 + (distance_weight - 1) * along);
      for (index_t t = 0; t < n; ++t)
        out[static_cast<std::size_t>(t)] += weight * attention[static_cast<std::size_t>(r * n + t)];
    }
    for (float& s : out) s /= static_cast<float>(rows);
    if (n > 0) {
      const float best = *std::max_element(out.begin(), out.end());
      std::fill_n(out.begin(), std::min(sinks, n), best);
    }
    return out;
  }

  /// The slots of a prompt that all heads keep: `count` tokens, of which the newest are those that `scores` leaves out,
  /// of a prompt of `tokens`. All, if there are not more. Throws errc::bad_shape for more scores than tokens, and what
  /// best_tokens does.
  std::vector<index_t> kept(std::span<const float> scores, index_t tokens, index_t count) const {
    if (static_cast<index_t>(scores.size()) > tokens)
      throw error(errc::bad_shape,
                  std::to_string(scores.size()) + " scores for a prompt of " + std::to_string(tokens) + " tokens");
    std::vector<float> all(scores.begin(), scores.end());
    all.resize(static_cast<std::size_t>(tokens), 0.0f);
    return best_tokens(all, count, {.recent = tokens - static_cast<index_t>(scores.size())});
  }

  /// Of a block of `block` decoded tokens that are no longer recent, how many layer `depth` of `layers` keeps: a part
  /// `compress` in the first layer, which falls with depth, in a cosine, to `decay` of that; at least 1. best_tokens
  /// chooses them, by scores() of the newest rows.
  static index_t kept_of_block(index_t block, index_t depth, index_t layers, double compress = 0.9,
                               double decay = 0.1) {
    const double along = static_cast<double>(depth) / static_cast<double>(layers);
    const double part = decay + (1 - decay) * (1 + std::cos(std::numbers::pi * along)) / 2;
    return std::max<index_t>(1, static_cast<index_t>(std::floor(static_cast<double>(block) * compress * part + 1e-9)));
  }
};

}  // namespace kvsharer::inline v0::select
