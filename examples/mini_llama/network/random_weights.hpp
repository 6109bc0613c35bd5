// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

#include "checkpoint/config.hpp"
#include "kvsharer/config.hpp"
#include "kvsharer/core/types.hpp"
#include "network/model.hpp"

/// Weights of an initialised model, for measuring speed without a checkpoint. Every number is a function of the seed,
/// its tensor's name and its place, so that host and device make the same ones, in any order.
namespace mini_llama {

/// What tells a tensor's numbers from those of others.
std::uint64_t random_tensor_key(std::uint64_t seed, std::string_view name);

/// The standard deviation of a matrix's numbers: 0.02, and less for the two of each layer that write to the residual
/// stream, so that it does not grow with depth.
float random_tensor_deviation(const model_config& config, std::string_view name);

/// The number at a place of a tensor: mean 0, `deviation`, and shaped much like a normal distribution, being the sum of
/// four uniform ones. Within 3.47 deviations. The bits are mixed as SplitMix64 does.
KVSHARER_HD inline float random_weight(std::uint64_t key, kvsharer::index_t place, float deviation) {
  std::uint64_t z = key + static_cast<std::uint64_t>(place) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  z ^= z >> 31;
  const auto sum = static_cast<int>((z & 0xffff) + (z >> 16 & 0xffff) + (z >> 32 & 0xffff) + (z >> 48));
  constexpr int mean = 2 * 0xffff;
  constexpr float per_deviation = 1 / 37837.227f;  // the sum's: 2^16 / sqrt(3)
  return static_cast<float>(sum - mean) * per_deviation * deviation;
}

/// A model on the host of such numbers, rounded to `type`; norms are all ones. It owns its weights.
model random_model(const model_config& config, std::uint64_t seed, dtype type = dtype::f32);

}  // namespace mini_llama
