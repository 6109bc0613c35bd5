// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kvsharer/backend/cuda/backend.cuh"
#include "kvsharer/core/types.hpp"
#include "kvsharer/search/prediction_quality.hpp"

namespace mini_llama::cuda {

/// Logits of rows of a text, and the token after each row. In device memory.
struct scored_rows {
  const float* full = nullptr;            // [rows][vocab], of the full model
  const float* shared = nullptr;          // [rows][vocab]; null: the full model itself is scored
  const std::int32_t* targets = nullptr;  // [rows]
  kvsharer::index_t rows = 0;
  kvsharer::index_t vocab = 0;
};

/// scores [rows], in device memory: how well each token was predicted. Exponentials are in float, sums in double and in
/// an order that depends on the vocabulary alone. NaN for a row that holds NaN or infinity. A target outside the
/// vocabulary is reported (refusal::bad_token). Stream-ordered: neither allocates nor synchronises, and may be
/// captured. Throws kvsharer::error (bad_shape, cuda_call).
void score(const kvsharer::cuda::backend& on, const scored_rows& rows, kvsharer::prediction_score* scores);

}  // namespace mini_llama::cuda
