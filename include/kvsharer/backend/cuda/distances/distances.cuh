// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "kvsharer/backend/cuda/backend.cuh"
#include "kvsharer/backend/cuda/device.cuh"
#include "kvsharer/backend/cuda/distances/kernels.cuh"
#include "kvsharer/backend/cuda/distances/problem.cuh"
#include "kvsharer/backend/cuda/distances/tuning.hpp"
#include "kvsharer/backend/cuda/launch.cuh"
#include "kvsharer/backend/cuda/status.cuh"
#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/concepts/policies.hpp"
#include "kvsharer/concepts/require.hpp"
#include "kvsharer/core/distance_matrix.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cuda {
namespace detail {

/// How the pairs of this many layers are folded, and the layout of the scratch memory.
template <class K, class V, class M>
struct distances_layout {
  using part = fold_value<M>;
  static_assert(std::is_trivially_copyable_v<part>, "the state of a metric's fold is copied through device memory");

  layer_cut cut;
  int capability;
  index_t pairs, blocks;  ///< blocks: blocks that work on one plane
  std::size_t key_views, value_views, parts, distances, end;

  distances_layout(const device_properties& device, int layers)
      : cut(cut_layers(layers, fold_tuning.max_threads)),
        capability(device.capability),
        pairs(index_t{layers} * (layers - 1) / 2),
        blocks(index_t{device.multiprocessors} * plan(0).resident / 2) {
    for (int i = 1; i < cut.launches(); ++i)
      blocks = std::min<index_t>(blocks, index_t{device.multiprocessors} * plan(i).resident / 2);
    if (blocks < 1) blocks = 1;
    key_views = 0;
    value_views = after(key_views, layers * sizeof(K));
    parts = after(value_views, layers * sizeof(V));
    distances = after(parts, static_cast<std::size_t>(2 * blocks * pairs) * sizeof(part));
    end = after(distances, static_cast<std::size_t>(pairs) * sizeof(double));
  }

  /// Bytes of scratch memory, the backend's counters included.
  std::size_t bytes() const { return backend::counter_bytes + end; }

  fold_plan plan(int launch) const {
    constexpr int place = std::max(sizeof(row_place<K>), sizeof(row_place<V>));
    return plan_fold(capability, fold_tuning, cut.launch(launch), place, sizeof(part));
  }

 private:
  template <class Bytes>
  static std::size_t after(std::size_t begin, Bytes bytes) {
    return (begin + static_cast<std::size_t>(bytes) + 255) / 256 * 256;
  }
};

/// One call, given the views of all layers (K of keys, V of values): its work in stream order.
template <class K, class V, class M>
class distances_run {
 public:
  distances_run(const backend& on, std::vector<K> keys, std::vector<V> values, const M& metric, cache_shape s,
                index_t tokens)
      : on_(on),
        metric_(metric),
        shape_(s),
        tokens_(tokens),
        layout_(on.device, static_cast<int>(s.layers)),
        scratch_(reinterpret_cast<std::byte*>(on.scratch_for(layout_.bytes()))),
        keys_(std::move(keys)),
        values_(std::move(values)) {}

  /// Sorted by reader and then by owner. Synchronises.
  std::vector<double> distances() {
    upload_views();
    const auto* keys = at<K>(layout_.key_views);
    const auto* values = at<V>(layout_.value_views);
    for (int i = 0; i < layout_.cut.launches(); ++i)
      if constexpr (std::same_as<K, V>) {
        fold<K>(i, {keys, values}, 0, 2);
      } else {
        fold<K>(i, {keys, nullptr}, 0, 1);
        fold<V>(i, {values, nullptr}, 1, 1);
      }
    launch("the merge of distances", on_.stream,
           {dim3(static_cast<unsigned>(layout_.pairs)), merge_threads, merge_threads * sizeof(part)},
           merge_distances_kernel<M>, metric_, at<part>(layout_.parts), layout_.blocks, layout_.pairs, rows(),
           shape_.head_dim, at<double>(layout_.distances));
    std::vector<double> result(static_cast<std::size_t>(layout_.pairs));
    check(cudaMemcpyAsync(result.data(), at<double>(layout_.distances), result.size() * sizeof(double),
                          cudaMemcpyDeviceToHost, on_.stream.get()),
          "cudaMemcpyAsync");
    on_.stream.synchronize();
    return result;
  }

 private:
  using part = fold_value<M>;

  index_t rows() const { return shape_.kv_heads * tokens_; }
  template <class T>
  T* at(std::size_t offset) const {
    return reinterpret_cast<T*>(scratch_ + offset);
  }

  /// Uploads all views in one copy, since each copy costs some microseconds however small it is.
  void upload_views() {
    views_.resize(layout_.parts);
    std::uninitialized_copy(keys_.begin(), keys_.end(), reinterpret_cast<K*>(views_.data() + layout_.key_views));
    std::uninitialized_copy(values_.begin(), values_.end(), reinterpret_cast<V*>(views_.data() + layout_.value_views));
    check(cudaMemcpyAsync(scratch_, views_.data(), views_.size(), cudaMemcpyHostToDevice, on_.stream.get()),
          "cudaMemcpyAsync");
  }

  template <class View>
  void fold(int launch_number, const View* const (&views)[2], int first_plane, unsigned planes) {
    const fold_plan plan = layout_.plan(launch_number);
    const fold_problem<View, M> problem{{views[0], views[1]},
                                        metric_,
                                        layout_.cut.launch(launch_number),
                                        plan.rows,
                                        static_cast<int>(shape_.layers),
                                        static_cast<int>(shape_.head_dim),
                                        tokens_,
                                        rows(),
                                        at<part>(layout_.parts),
                                        layout_.pairs,
                                        first_plane,
                                        on_.status};
    launch("the fold of distances", on_.stream,
           {dim3(static_cast<unsigned>(layout_.blocks), planes), static_cast<unsigned>(plan.threads),
            static_cast<std::size_t>(plan.shared_bytes)},
           fold_kernel<View, M>, problem);
  }

  const backend& on_;
  M metric_;
  cache_shape shape_;
  index_t tokens_;
  distances_layout<K, V, M> layout_;
  std::byte* scratch_;
  std::vector<K> keys_;
  std::vector<V> values_;
  std::vector<std::byte> views_;  // both kinds, as in the scratch memory
};

template <class K, class V, class M>
auto layout_of(const K&, const V&, const M&, const device_properties& device, int layers) {
  return distances_layout<K, V, M>(device, layers);
}

template <KVCache C, DistanceMetric M>
distance_matrix all_distances(const backend& on, const C& averages, const M& metric) {
  const cache_shape s = averages.shape();
  const auto tokens = static_cast<index_t>(averages.length());
  check_measurable(s, tokens);
  distance_matrix distances(static_cast<int>(s.layers));
  if (s.layers < 2) return distances;
  const auto of_layers = [&](auto view) {
    std::vector<decltype(view(layer_id{}))> views;
    for (layer_id l{0}; l.value < static_cast<int>(s.layers); ++l.value) views.push_back(view(l));
    return views;
  };
  const std::vector<double> by_pair =
      distances_run(on, of_layers([&](layer_id l) { return averages.keys(l); }),
                    of_layers([&](layer_id l) { return averages.values(l); }), metric, s, tokens)
          .distances();
  std::size_t i = 0;
  for (const layer_pair p : all_pairs(static_cast<int>(s.layers))) distances.set(p, by_pair[i++]);
  if constexpr (requires { averages.keys(layer_id{}).find(index_t{}, index_t{}); }) on.check_status();
  return distances;
}

}  // namespace detail

/// Bytes of scratch that `layer_distances` needs, whatever the number of tokens.
template <KVCache C, DistanceMetric M>
std::size_t distances_scratch_bytes(const device_properties& device, const C& averages, const M& metric) {
  const auto layers = static_cast<int>(averages.shape().layers);
  return layers < 2 ? 0
                    : detail::layout_of(averages.keys(layer_id{}), averages.values(layer_id{}), metric, device, layers)
                          .bytes();
}

/// The distance of every two layers of `averages`, in device memory: half that of their keys plus half that of their
/// values. A NaN in a layer makes that layer's distances NaN. With up to 84 layers, every number is read once, however
/// many pairs there are; with more, once per range into which the layers are cut. Rows of floats at multiples of 16
/// bytes are read at the full speed of the memory, other views more slowly. Equal inputs give equal bits on the same
/// kind of device.
///
/// Only the distances are copied back, and the call waits for them: it synchronises on.stream. The members of `metric`
/// and of views must be callable on the device (KVSHARER_HD). A row that a view's find() does not find counts as zeros;
/// the call then throws errc::device_refusal if the backend has a status word. Throws errc::bad_shape when the cache
/// has no heads, channels or tokens, errc::short_scratch (see distances_scratch_bytes), errc::cuda_call.
///
/// O(layers^2 x heads x tokens x channels), with two floors. For 32 layers of 32 heads x 2048 tokens x 128 floats on an
/// H100: 2.15 GB at 2.9 TB/s take 0.74 ms, and 496 pairs x 8.4e6 numbers of a layer at two instructions each, keys and
/// values, are 16.6e9 lanes' instructions: 0.5 to 0.6 ms at 30e12 a second. Shared memory is as busy as the arithmetic
/// units: 8 numbers are read for 16 pairs, or for the 12 of two tiles on the diagonal.
template <class C, class M>
distance_matrix layer_distances(const backend& on, const C& averages, const M& metric) {
  if constexpr (!(require_kv_cache<C>() && require_distance_metric<M>())) {
    return distance_matrix(0);
  } else if constexpr (!require_readable<backend, C::space>()) {
    return distance_matrix(0);
  } else {
    return detail::all_distances(on, averages, metric);
  }
}

}  // namespace kvsharer::inline v0::cuda
