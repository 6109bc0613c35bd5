// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "kvsharer/backend/cuda/backend.cuh"
#include "kvsharer/backend/cuda/launch.cuh"
#include "kvsharer/backend/cuda/memory.cuh"
#include "kvsharer/backend/cuda/row_place.cuh"
#include "kvsharer/backend/cuda/status.cuh"
#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/concepts/require.hpp"
#include "kvsharer/config.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/finite.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/layout/layer_view.hpp"
#include "kvsharer/layout/strided_index.hpp"
#include "kvsharer/search/calibration_samples.hpp"

namespace kvsharer::inline v0::cuda {
namespace detail {

/// As many views as fit the arguments of a kernel, which are 4 KB.
template <class View>
struct view_group {
  static constexpr int most = sizeof(View) < 3072 ? static_cast<int>(3072 / sizeof(View)) : 1;

  alignas(View) std::byte bytes[most * sizeof(View)];
  int count;

  /// `views_taken` <= most of `views`, from `first` on.
  view_group(const std::vector<View>& views, std::size_t first, int views_taken) : count(views_taken) {
    std::memcpy(bytes, views.data() + first, static_cast<std::size_t>(count) * sizeof(View));
  }
  __device__ const View& operator[](unsigned i) const { return reinterpret_cast<const View*>(bytes)[i]; }
};

/// The update of the mean of some layers by one sample.
struct mean_update {
  float* mean;  // [layer][kv_head][token][channel], from the group's first layer on
  index_t tokens;
  int channels;
  float weight;
  std::int32_t sample;
  std::int32_t* spoilt;  // the first sample that is not finite, from 1; negative if a row was not found; 0: none
  status_word* status;
  int first_layer;  // for status
};

inline constexpr unsigned mean_rows = 8;

/// Grid: (tokens / mean_rows, heads, views of the group). Each warp takes a row, so that its lanes read neighbours.
template <class View>
KVSHARER_HIDDEN __global__ void __launch_bounds__(mean_rows * 32)
    update_mean_kernel(const __grid_constant__ view_group<View> views, const __grid_constant__ mean_update u) {
  const index_t token = index_t{blockIdx.x} * mean_rows + threadIdx.x / 32, head = blockIdx.y;
  if (token >= u.tokens) return;
  const auto row = row_place<View>::find(views[blockIdx.z], head, token);
  const int lane = static_cast<int>(threadIdx.x % 32), layer = static_cast<int>(blockIdx.z);
  if (!row.exists()) {
    if (lane == 0) {
      report(u.status, refusal::page_out_of_range, u.first_layer + layer, 0, token);
      atomicCAS(u.spoilt, 0, -u.sample);
    }
    return;
  }
  float* const mean = u.mean + ((layer * index_t{gridDim.y} + head) * u.tokens + token) * u.channels;
  bool finite = true;
#pragma unroll 4
  for (int c = lane; c < u.channels; c += 32) {
    const float x = row.at(c);
    mean[c] += (x - mean[c]) * u.weight;
    finite &= is_finite(x);
  }
  if (!finite) atomicCAS(u.spoilt, 0, u.sample);
}

}  // namespace detail

/// kvsharer::calibration_average in device memory: the mean of every layer's keys and values over samples whose caches
/// are in device memory, position by position. It is itself a KVCache. Holds 2 * layers * kv_heads * tokens * head_dim
/// floats, [keys|values][layer][kv_head][token][channel].
///
/// `add` neither waits for the device nor copies anything back. It notes numbers that are not finite and rows that are
/// not found; the average is then invalid, and `keys` and `values` throw. Their first call after the last `add`
/// synchronises.
template <MemoryResource Resource = pool_resource>
class calibration_average {
 public:
  static constexpr memory_space space = memory_space::device;

  /// All work goes to on.stream; the first sample allocates memory from the resource.
  explicit calibration_average(const backend& on, length_mismatch on_mismatch = length_mismatch::reject,
                               Resource resource = {})
      : on_(on),
        samples_(on_mismatch),
        resource_(std::move(resource)),
        spoilt_(on.stream, 1, resource_),
        mean_(on.stream, 0, resource_) {
    check(cudaMemsetAsync(spoilt_.data(), 0, spoilt_.bytes(), on.stream.get()), "cudaMemsetAsync");
  }

  /// Adds one sample, in stream order: the cache of one sequence after a run of the unshared model. The first sample
  /// fixes shape and length. Throws errc::short_samples, errc::mismatched_samples and errc::bad_shape like the host's,
  /// each leaving the average unchanged, errc::device_memory and errc::cuda_call. O(sample).
  template <class Cache>
  void add(const Cache& cache) {
    if constexpr (require_kv_cache<Cache>()) {
      if constexpr (require_readable<backend, Cache::space>()) {
        const cache_shape of = cache.shape();
        const auto tokens = static_cast<index_t>(cache.length());
        if (!samples_.admit(of, tokens)) return;
        if (of.kv_heads > 65535)
          throw error(errc::bad_shape,
                      "the device averages at most 65535 KV heads, not " + std::to_string(of.kv_heads));
        if (samples_.used() == 0) make_means(of, tokens);
        samples_.take(of, tokens);
        add_planes(0, [&](layer_id l) { return cache.keys(l); });
        add_planes(of.layers, [&](layer_id l) { return cache.values(l); });
      }
    }
  }

  cache_shape shape() const noexcept { return samples_.shape(); }
  index_t length() const noexcept { return shape().capacity; }

  /// Throw errc::not_finite, which names the first sample with NaN or infinity, and errc::device_refusal for rows that
  /// a cache's views could not find. The first call after `add` synchronises.
  auto keys(layer_id l) const { return plane(l.value); }
  auto values(layer_id l) const { return plane(shape().layers + l.value); }

  /// Samples in the mean.
  index_t samples() const noexcept { return samples_.used(); }
  /// Samples left out because of their length.
  index_t skipped() const noexcept { return samples_.skipped(); }

 private:
  layer_view<float, layout::strided_index> plane(index_t i) const {
    settle();
    const cache_shape s = shape();
    return {mean_.data() + i * plane_size(), {.head = s.capacity * s.head_dim, .token = s.head_dim}};
  }
  index_t plane_size() const noexcept { return shape().kv_heads * shape().capacity * shape().head_dim; }

  /// Waits for the samples and checks that they were finite, unless that is known.
  void settle() const {
    if (settled_ == samples()) return;
    std::int32_t spoilt = 0;
    check(cudaMemcpyAsync(&spoilt, spoilt_.data(), sizeof spoilt, cudaMemcpyDeviceToHost, on_.stream.get()),
          "cudaMemcpyAsync");
    on_.stream.synchronize();
    if (spoilt < 0) {
      on_.check_status();  // gives more detail, if there is a status word
      throw error(errc::device_refusal, "rows of calibration sample " + std::to_string(-spoilt - 1) +
                                            " (of those used, from 0) lie outside the pool; the average is void, so "
                                            "average again with its block tables mended");
    }
    if (spoilt > 0)
      throw error(errc::not_finite, "the keys or values of calibration sample " + std::to_string(spoilt - 1) +
                                        " (of those used, from 0) contain NaN or infinity; the average is void, so "
                                        "average again without it");
    settled_ = samples();
  }

  /// Allocates the means, for the shape of the first sample.
  void make_means(cache_shape of, index_t tokens) {
    device_buffer<float, Resource> made(
        on_.stream, static_cast<std::size_t>(2 * of.layers * of.kv_heads * tokens * of.head_dim), resource_);
    check(cudaMemsetAsync(made.data(), 0, made.bytes(), on_.stream.get()), "cudaMemsetAsync");
    mean_ = std::move(made);
  }

  /// Adds the sample's keys or values, `view(layer)`, to the planes from `first_plane` on.
  template <class F>
  void add_planes(index_t first_plane, F&& view) {
    std::vector<decltype(view(layer_id{}))> views;
    for (layer_id l{0}; l.value < shape().layers; ++l.value) views.push_back(view(l));
    add_views(first_plane, views);
  }
  template <class View>
  void add_views(index_t first_plane, const std::vector<View>& views) {
    using group = detail::view_group<View>;
    const index_t layers = shape().layers;
    for (index_t first = 0; first < layers; first += group::most) {
      const int count = static_cast<int>(std::min<index_t>(group::most, layers - first));
      const detail::mean_update update{mean_.data() + (first_plane + first) * plane_size(),
                                       length(),
                                       static_cast<int>(shape().head_dim),
                                       1.0f / static_cast<float>(samples()),
                                       static_cast<std::int32_t>(samples()),
                                       spoilt_.data(),
                                       on_.status,
                                       static_cast<int>(first)};
      const dim3 grid(static_cast<unsigned>((length() + detail::mean_rows - 1) / detail::mean_rows),
                      static_cast<unsigned>(shape().kv_heads), static_cast<unsigned>(count));
      detail::launch("the update of a calibration average", on_.stream, {grid, detail::mean_rows * 32},
                     detail::update_mean_kernel<View>, group(views, static_cast<std::size_t>(first), count), update);
    }
  }

  backend on_;
  calibration_samples samples_;
  Resource resource_;
  device_buffer<std::int32_t, Resource> spoilt_;  // [1], see mean_update
  device_buffer<float, Resource> mean_;
  mutable index_t settled_ = 0;  // samples that are known to be finite
};
static_assert(KVCache<calibration_average<>>);

}  // namespace kvsharer::inline v0::cuda
