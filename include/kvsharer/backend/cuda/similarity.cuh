// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "kvsharer/backend/cuda/backend.cuh"
#include "kvsharer/backend/cuda/device.cuh"
#include "kvsharer/backend/cuda/launch.cuh"
#include "kvsharer/backend/cuda/numbers.cuh"
#include "kvsharer/backend/cuda/ptx.cuh"
#include "kvsharer/backend/cuda/status.cuh"
#include "kvsharer/config.hpp"
#include "kvsharer/core/element.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/finite.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/search/fidelity.hpp"

namespace kvsharer::inline v0::cuda {
namespace detail {

inline constexpr int similarity_threads = 256, similarity_warps = similarity_threads / 32;

/// The sums of a cosine, over some of its numbers. In double, as on the host.
struct cosine_sums {
  double dot = 0, aa = 0, bb = 0;

  __device__ void add(double x, double y) {
    dot += x * y;
    aa += x * x;
    bb += y * y;
  }
  __device__ void add(const cosine_sums& other) {
    dot += other.dot;
    aa += other.aa;
    bb += other.bb;
  }
  /// Adds up those of all lanes of a warp, in the same order every time.
  __device__ void add_lanes() {
    for (int step = 16; step > 0; step /= 2)
      add({__shfl_xor_sync(0xffffffffu, dot, step), __shfl_xor_sync(0xffffffffu, aa, step),
           __shfl_xor_sync(0xffffffffu, bb, step)});
  }
  __device__ double cosine() const { return is_zero(aa * bb) ? 0 : dot / std::sqrt(aa * bb); }
};

/// Two arrays [samples][length]. `groups` cosines are computed, one per sample or one of the samples' means; the blocks
/// of a group share the work.
template <class E>
struct similarity_problem {
  const E* full;
  const E* shared;
  index_t samples;
  index_t length;
  index_t groups;
  index_t blocks;      // of a group
  cosine_sums* parts;  // [group][block]
};

/// The neighbours that one access reads: 16 bytes, or a single number.
template <class E, bool Wide>
struct hidden_values {
  static constexpr int count = Wide ? numbers<E>::count : 1;
  float x[count];

  __device__ explicit hidden_values(const E* from) {
    if constexpr (Wide) {
      const auto read = numbers<E>::load(from);
#pragma unroll
      for (int i = 0; i < count; ++i) x[i] = read.x[i];
    } else {
      x[0] = ptx::to_float(*from);
    }
  }
};

/// The values of the samples' mean from i on, rounded to float as on the host.
template <bool Wide, class E>
__device__ void mean_of_samples(const similarity_problem<E>& p, const E* array, index_t i,
                                float (&mean)[hidden_values<E, Wide>::count]) {
  constexpr int count = hidden_values<E, Wide>::count;
  double sums[count] = {};
  for (index_t s = 0; s < p.samples; ++s) {
    const hidden_values<E, Wide> values(array + s * p.length + i);
#pragma unroll
    for (int c = 0; c < count; ++c) sums[c] += values.x[c];
  }
#pragma unroll
  for (int c = 0; c < count; ++c) mean[c] = static_cast<float>(sums[c] / static_cast<double>(p.samples));
}

/// Grid: (blocks of a group, groups). Wide: both arrays, and every sample in them, begin at multiples of 16 bytes.
template <bool OfMean, bool Wide, class E>
KVSHARER_HIDDEN __global__ void __launch_bounds__(similarity_threads)
    cosine_parts_kernel(const __grid_constant__ similarity_problem<E> p) {
  constexpr int count = hidden_values<E, Wide>::count;
  auto* const of_warps = reinterpret_cast<cosine_sums*>(ptx::dynamic_shared());
  for (index_t group = blockIdx.y; group < p.groups; group += gridDim.y) {
    cosine_sums mine;
    const index_t pace = p.blocks * similarity_threads * count;
    for (index_t i = (index_t{blockIdx.x} * similarity_threads + threadIdx.x) * count; i < p.length; i += pace) {
      if constexpr (OfMean) {
        float x[count], y[count];
        mean_of_samples<Wide>(p, p.full, i, x);
        mean_of_samples<Wide>(p, p.shared, i, y);
#pragma unroll
        for (int c = 0; c < count; ++c) mine.add(x[c], y[c]);
      } else {
        const hidden_values<E, Wide> x(p.full + group * p.length + i), y(p.shared + group * p.length + i);
#pragma unroll
        for (int c = 0; c < count; ++c) mine.add(x.x[c], y.x[c]);
      }
    }
    mine.add_lanes();
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = mine;
    __syncthreads();
    if (threadIdx.x == 0) {
      for (int w = 1; w < similarity_warps; ++w) mine.add(of_warps[w]);
      p.parts[group * p.blocks + blockIdx.x] = mine;
    }
    __syncthreads();
  }
}

/// One block: its warps take groups in turn; then the mean of their cosines.
[[maybe_unused]] static __global__ void __launch_bounds__(similarity_threads)
    mean_cosine_kernel(const cosine_sums* parts, index_t groups, index_t blocks, double* out) {
  auto* const of_warps = reinterpret_cast<double*>(ptx::dynamic_shared());
  const index_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  double sum = 0;
  for (index_t group = warp; group < groups; group += similarity_warps) {
    cosine_sums all;
    for (index_t block = lane; block < blocks; block += 32) all.add(parts[group * blocks + block]);
    all.add_lanes();
    sum += all.cosine();
  }
  if (lane == 0) of_warps[warp] = sum;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int w = 1; w < similarity_warps; ++w) sum += of_warps[w];
  *out = sum / static_cast<double>(groups);
}

/// Blocks that work on one cosine if there are `groups` of them.
inline index_t blocks_of_cosine(const device_properties& device, index_t groups) {
  return std::max<index_t>(1, index_t{4} * device.multiprocessors / groups);
}

template <bool OfMean, class E>
void launch_cosine_parts(const backend& on, const similarity_problem<E>& p) {
  constexpr auto at_once = static_cast<index_t>(16 / sizeof(E));
  const auto begins = reinterpret_cast<std::uintptr_t>(p.full) | reinterpret_cast<std::uintptr_t>(p.shared);
  const bool wide = begins % 16 == 0 && p.length % at_once == 0;
  launch("hidden similarity", on.stream,
         {dim3(static_cast<unsigned>(p.blocks), static_cast<unsigned>(std::min<index_t>(p.groups, 65535))),
          similarity_threads, similarity_warps * sizeof(cosine_sums)},
         wide ? cosine_parts_kernel<OfMean, true, E> : cosine_parts_kernel<OfMean, false, E>, p);
}

}  // namespace detail

/// Bytes of scratch that `hidden_similarity` needs for `samples` samples.
inline std::size_t similarity_scratch_bytes(const device_properties& device, index_t samples) {
  const index_t parts = std::max<index_t>(4 * index_t{device.multiprocessors}, samples);
  return backend::counter_bytes + static_cast<std::size_t>(parts) * sizeof(detail::cosine_sums) + sizeof(double);
}

/// kvsharer::hidden_similarity of arrays in device memory, [samples][tokens * hidden] of a stored type: the acceptance
/// score of the greedy search. All sums are kept in double; equal inputs give equal bits on the same kind of device.
///
/// Only the score is copied back, and the call waits for it: it synchronises on.stream. Throws errc::bad_shape when
/// sizes do not agree, errc::short_scratch (see similarity_scratch_bytes) and errc::cuda_call. Every number is read
/// once: the floor is the bytes of both arrays over the bandwidth, 11 us for 30 samples of 64 tokens and 4096 channels
/// in 16 bits.
template <CacheElement E>
double hidden_similarity(const backend& on, std::span<const E> full, std::span<const E> shared, index_t samples,
                         similarity mode = similarity::mean_of_cosines) {
  if (samples <= 0 || full.size() != shared.size() || full.empty() || full.size() % static_cast<std::size_t>(samples))
    throw error(errc::bad_shape, std::to_string(full.size()) + " and " + std::to_string(shared.size()) +
                                     " hidden values cannot be compared as " + std::to_string(samples) + " samples");
  const bool of_mean = mode == similarity::cosine_of_mean;
  const index_t groups = of_mean ? 1 : samples, blocks = detail::blocks_of_cosine(on.device, groups);
  auto* const out = reinterpret_cast<double*>(on.scratch_for(similarity_scratch_bytes(on.device, samples)));
  const detail::similarity_problem<E> problem{full.data(),
                                              shared.data(),
                                              samples,
                                              static_cast<index_t>(full.size()) / samples,
                                              groups,
                                              blocks,
                                              reinterpret_cast<detail::cosine_sums*>(out + 1)};
  of_mean ? detail::launch_cosine_parts<true>(on, problem) : detail::launch_cosine_parts<false>(on, problem);
  detail::launch("the mean of cosines", on.stream,
                 {dim3(1), detail::similarity_threads, detail::similarity_warps * sizeof(double)},
                 detail::mean_cosine_kernel, problem.parts, groups, blocks, out);
  double score = 0;
  check(cudaMemcpyAsync(&score, out, sizeof score, cudaMemcpyDeviceToHost, on.stream.get()), "cudaMemcpyAsync");
  on.stream.synchronize();
  return score;
}

}  // namespace kvsharer::inline v0::cuda
