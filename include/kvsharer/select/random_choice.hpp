// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kvsharer/core/types.hpp"
#include "kvsharer/select/best_tokens.hpp"
#include "kvsharer/select/kept_anyway.hpp"

namespace kvsharer::inline v0::select {

/// The control: any tokens. A token's number in [0, 1) depends on seed, set, head and position alone, so the same
/// tokens are kept on every platform, and a list that is chosen from twice keeps the best of both.
struct random_choice {
  std::uint64_t seed = 0;  ///< the same seed keeps the same tokens everywhere
  kept_anyway also = {};   ///< part of the budget

  /// The number of a token: 24 bits of its place, mixed as in splitmix64.
  float score(index_t set, index_t head, index_t position) const noexcept {
    std::uint64_t x = mixed(mixed(mixed(seed) ^ static_cast<std::uint64_t>(set)) ^ static_cast<std::uint64_t>(head));
    x = mixed(x ^ static_cast<std::uint64_t>(position));
    return static_cast<float>(x >> 40) * 0x1p-24f;
  }

  /// The slots that a list of `slots` tokens keeps. Throws what best_tokens does. `positions` as there.
  std::vector<index_t> kept(index_t slots, index_t count, index_t set = 0, index_t head = 0,
                            std::span<const index_t> positions = no_holes) const {
    detail::check_positions(positions, slots);
    std::vector<float> scores;
    for (index_t s = 0; s < slots; ++s) scores.push_back(score(set, head, detail::position_of(positions, s)));
    return best_tokens(scores, count, also, positions);
  }

 private:
  static constexpr std::uint64_t mixed(std::uint64_t x) noexcept {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
  }
};

}  // namespace kvsharer::inline v0::select
