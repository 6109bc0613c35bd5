// SPDX-License-Identifier: Apache-2.0
#include "cuda/score.cuh"

#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "cuda/argmax.cuh"
#include "kvsharer/backend/cuda/launch.cuh"
#include "kvsharer/backend/cuda/ptx.cuh"
#include "kvsharer/backend/cuda/status.cuh"
#include "kvsharer/core/error.hpp"

namespace mini_llama::cuda {

using kvsharer::index_t;

namespace {

constexpr unsigned score_threads = 256;  // a power of two

/// The largest logits so far.
struct largest {
  detail::best_number full, shared;
  __device__ void add(const largest& more) {
    full.take(more.full.value, more.full.id);
    shared.take(more.shared.value, more.shared.id);
  }
};

/// Sums over the vocabulary so far; P is exp(full logits - the largest).
struct mass {
  double full = 0, shared = 0, difference = 0;  // sums of P, the shared model's P, P times the difference of logits
  __device__ void add(const mass& more) {
    full += more.full;
    shared += more.shared;
    difference += more.difference;
  }
};

/// Adds up over the block, always in the same order, for every thread of it. Shared memory: a T per thread.
template <class T>
__device__ T over_block(const T& mine) {
  auto* const all = reinterpret_cast<T*>(kvsharer::cuda::ptx::dynamic_shared());
  const unsigned me = threadIdx.x;
  __syncthreads();  // the previous contents have been read
  all[me] = mine;
  for (unsigned half = score_threads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (me < half) all[me].add(all[me + half]);
  }
  __syncthreads();
  return all[0];
}

/// Grid: rows.
__global__ void __launch_bounds__(score_threads)
    score_kernel(scored_rows rows, kvsharer::prediction_score* scores, kvsharer::cuda::status_word* status) {
  const index_t row = blockIdx.x;
  const float* const full = rows.full + row * rows.vocab;
  const float* const shared = rows.shared != nullptr ? rows.shared + row * rows.vocab : full;

  largest seen;
  for (index_t i = threadIdx.x; i < rows.vocab; i += score_threads) {
    seen.full.take(full[i], static_cast<std::int32_t>(i));
    seen.shared.take(shared[i], static_cast<std::int32_t>(i));
  }
  const largest top = over_block(seen);

  mass part;
  for (index_t i = threadIdx.x; i < rows.vocab; i += score_threads) {
    const float p = full[i] - top.full.value, q = shared[i] - top.shared.value;
    const double weight = static_cast<double>(expf(p));
    part.full += weight;
    part.shared += static_cast<double>(expf(q));
    part.difference += weight * (static_cast<double>(p) - static_cast<double>(q));
  }
  const mass sum = over_block(part);

  if (threadIdx.x != 0) return;
  const std::int32_t target = rows.targets[row];
  if (target < 0 || target >= rows.vocab) {
    kvsharer::cuda::report(status, kvsharer::cuda::refusal::bad_token, -1, -1, row);
    scores[row] = kvsharer::prediction_score{};
    return;
  }
  const double log_full = log(sum.full), log_shared = log(sum.shared);
  kvsharer::prediction_score s;
  s.full_loss = log_full - (static_cast<double>(full[target]) - static_cast<double>(top.full.value));
  s.loss = log_shared - (static_cast<double>(shared[target]) - static_cast<double>(top.shared.value));
  s.kl = sum.difference / sum.full - log_full + log_shared;
  s.agrees = top.full.id == top.shared.id;
  scores[row] = s;
}

}  // namespace

void score(const kvsharer::cuda::backend& on, const scored_rows& rows, kvsharer::prediction_score* scores) {
  if (rows.vocab < 1 || rows.vocab >= detail::no_id)
    throw kvsharer::error(kvsharer::errc::bad_shape,
                          "tokens of a vocabulary of " + std::to_string(rows.vocab) + " cannot be named by token ids");
  if (rows.rows == 0) return;
  kvsharer::cuda::detail::launch(
      "the scores of a text", on.stream,
      {dim3(static_cast<unsigned>(rows.rows)), score_threads, score_threads * std::max(sizeof(largest), sizeof(mass))},
      score_kernel, rows, scores, on.status);
}

}  // namespace mini_llama::cuda
