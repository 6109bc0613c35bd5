// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "kvsharer/kvsharer.hpp"

namespace mini_llama {

/// The keys and values of all calibration samples, of the accepted map's run and of the candidate's. A candidate's run
/// that starts at layer `first` reads what layers below it stored from the accepted run, and writes its own planes, so
/// a rejected one leaves no trace. Each plane is [sample][kv_head][token][channel].
class calibration_store {
 public:
  using view_type = kvsharer::layer_view<float, kvsharer::layout::strided_index>;

  calibration_store(int layers, int samples, kvsharer::index_t tokens, kvsharer::index_t kv_heads,
                    kvsharer::index_t head_dim)
      : shape_{layers, kv_heads, head_dim, tokens},
        layers_(layers),
        plane_(static_cast<std::size_t>(samples * kv_heads * tokens * head_dim)) {}

  kvsharer::cache_shape shape() const noexcept { return shape_; }

  /// From now on layers from `first` on are the candidate's.
  void begin_candidate(kvsharer::layer_id first) noexcept { layers_.begin(first); }

  /// The candidate's layers become the accepted ones.
  void accept() noexcept { layers_.accept(); }

  void store(kvsharer::layer_id layer, kvsharer::sequence_id sample, kvsharer::index_t first, kvsharer::index_t tokens,
             const float* keys, const float* values) {
    layer_planes& planes = layers_.own(layer);
    if (keys != nullptr) scatter(planes.keys, sample, first, tokens, keys);
    if (values != nullptr) scatter(planes.values, sample, first, tokens, values);
  }

  view_type keys(kvsharer::layer_id owner, kvsharer::sequence_id sample) const {
    return view(layers_[owner].keys, sample);
  }
  view_type values(kvsharer::layer_id owner, kvsharer::sequence_id sample) const {
    return view(layers_[owner].values, sample);
  }

 private:
  struct layer_planes {
    std::vector<float> keys, values;
  };

  kvsharer::layout::strided_index index(kvsharer::sequence_id sample) const {
    const kvsharer::index_t head = shape_.capacity * shape_.head_dim;
    return {.head = head, .token = shape_.head_dim, .base = sample.value * shape_.kv_heads * head};
  }

  view_type view(const std::vector<float>& plane, kvsharer::sequence_id sample) const {
    return {plane.data(), index(sample)};
  }

  void scatter(std::vector<float>& plane, kvsharer::sequence_id sample, kvsharer::index_t first,
               kvsharer::index_t tokens, const float* rows) const {
    plane.resize(plane_);
    const auto to = index(sample);
    for (kvsharer::index_t t = 0; t < tokens; ++t)
      for (kvsharer::index_t h = 0; h < shape_.kv_heads; ++h, rows += shape_.head_dim)
        std::copy_n(rows, shape_.head_dim, plane.data() + to.offset(h, first + t, 0));
  }

  kvsharer::cache_shape shape_;
  kvsharer::resumable_layers<layer_planes> layers_;
  std::size_t plane_;
};

/// One sample of the store's accepted run as the library's KVCache, for the calibration average.
struct calibration_sample {
  static constexpr auto space = kvsharer::memory_space::host;
  const calibration_store& store;
  kvsharer::sequence_id sample;
  const kvsharer::share_map* map = nullptr;  ///< under which it ran; null: no layer shared

  kvsharer::layer_id read_by(kvsharer::layer_id l) const { return map ? map->owner(l) : l; }
  kvsharer::cache_shape shape() const { return store.shape(); }
  kvsharer::index_t length() const { return store.shape().capacity; }
  auto keys(kvsharer::layer_id l) const { return store.keys(read_by(l), sample); }
  auto values(kvsharer::layer_id l) const { return store.values(read_by(l), sample); }
};
static_assert(kvsharer::KVCache<calibration_sample>);

}  // namespace mini_llama
