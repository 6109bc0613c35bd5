// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <string>

#include "kvsharer/config.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cuda {

/// Throws errc::cuda_call when a call of the CUDA runtime failed; `what` names it.
inline void check(cudaError_t outcome, const char* what) {
  if (outcome != cudaSuccess)
    throw error(errc::cuda_call,
                std::string(what) + " failed: " + cudaGetErrorName(outcome) + " (" + cudaGetErrorString(outcome) + ")");
}

/// Why a kernel refused part of its work.
enum class refusal : std::int32_t { none = 0, page_out_of_range = 1, past_capacity = 2, bad_token = 3 };

/// The first refusal since the word was last cleared, in device memory. A kernel that refuses something leaves those
/// numbers out, writes what and where to this word, and goes on; reading the word synchronises.
struct status_word {
  std::int32_t why = 0;        ///< a refusal
  std::int32_t layer = -1;     ///< layer of the rows being written or read; -1: none
  std::int32_t sequence = -1;  ///< in the batch
  std::int32_t token = -1;     ///< in the sequence; -1: none
};

/// Called by a kernel. A null word reports nothing.
__device__ inline void report(status_word* status, refusal why, int layer, index_t sequence, index_t token) {
  if (status == nullptr) return;
  if (atomicCAS(&status->why, 0, static_cast<std::int32_t>(why)) != 0) return;
  status->layer = layer;
  status->sequence = static_cast<std::int32_t>(sequence);
  status->token = static_cast<std::int32_t>(token);
}

/// Throws errc::device_refusal unless the word, copied to the host, is clear.
inline void check(const status_word& status) {
  if (status.why == 0) return;
  const char* const why = status.why == static_cast<std::int32_t>(refusal::page_out_of_range)
                              ? "a block table names a page outside the pool"
                          : status.why == static_cast<std::int32_t>(refusal::past_capacity)
                              ? "a sequence is longer than the cache's capacity"
                              : "a token id is outside the vocabulary";
  throw error(errc::device_refusal, std::string(why) + " (layer " + std::to_string(status.layer) + ", sequence " +
                                        std::to_string(status.sequence) + " of the batch, token " +
                                        std::to_string(status.token) + "); the results of this run are void");
}

}  // namespace kvsharer::inline v0::cuda
