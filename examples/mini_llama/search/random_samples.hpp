// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "checkpoint/config.hpp"
#include "text/calibration.hpp"

namespace mini_llama {

/// `samples` sequences of `tokens` ids, BOS first where the model has one, the others any of the vocabulary: for
/// measuring cost, which does not depend on what is said. The same for a seed on every machine.
inline token_batch random_samples(const model_config& config, int samples, int tokens, std::uint64_t seed) {
  std::mt19937_64 bits(seed);
  token_batch batch(static_cast<std::size_t>(samples), std::vector<int>(static_cast<std::size_t>(tokens)));
  for (std::vector<int>& ids : batch) {
    for (int& id : ids) id = static_cast<int>(bits() % static_cast<std::uint64_t>(config.vocab));
    if (config.bos >= 0) ids[0] = config.bos;
  }
  return batch;
}

}  // namespace mini_llama
