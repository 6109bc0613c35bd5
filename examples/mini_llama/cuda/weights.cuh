// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "config.hpp"
#include "kvsharer/backend/cuda/memory.cuh"
#include "kvsharer/backend/cuda/stream_ref.cuh"
#include "kvsharer/core/element.hpp"
#include "kvsharer/core/share_map.hpp"
#include "kvsharer/core/types.hpp"

namespace mini_llama {
class model;
}

namespace mini_llama::cuda {

/// One layer's weights in device memory, as products take them: [out][in], row-major. Borrowed.
template <class E>
struct layer_matrices {
  const float* attention_norm = nullptr;  // [hidden]
  const E* query = nullptr;               // [heads * head_dim][hidden]
  /// [2 * kv_heads * head_dim][hidden], keys first, right behind `query`, so that one product from `query` on gives all
  /// three; null where they are not held.
  const E* key_value = nullptr;
  const E* output = nullptr;        // [hidden][heads * head_dim]
  const float* mlp_norm = nullptr;  // [hidden]
  const E* gate_up = nullptr;       // [2 * intermediate][hidden], gates first
  const E* down = nullptr;          // [hidden][intermediate]
};

/// A model's weights in device memory, in the element type E of activations. Reader layers need no weights of keys and
/// values, and need not hold them. Move only.
template <kvsharer::CacheElement E>
class device_weights {
 public:
  /// Copies a model's weights, converted on the device where the checkpoint has another type. With a map, those of its
  /// readers' keys and values stay behind. Synchronises: for set-up. Throws kvsharer::error: bad_shape for sizes that
  /// the kernels cannot take, bad_argument for a map of another number of layers, device_memory, cuda_call.
  static device_weights upload(kvsharer::cuda::stream_ref stream, const model& m,
                               const std::optional<kvsharer::share_map>& map = std::nullopt);

  /// Makes those of random_model(config, seed, type of E) on the device, bit for bit. Stream-ordered.
  static device_weights random(kvsharer::cuda::stream_ref stream, const model_config& config, std::uint64_t seed,
                               const std::optional<kvsharer::share_map>& map = std::nullopt);

  const model_config& config() const noexcept { return config_; }
  layer_matrices<E> layer(int l) const noexcept;
  const E* embedding() const noexcept { return embedding_.data(); }  // [vocab][hidden]
  const E* head() const noexcept {                                   // [vocab][hidden]; the embedding itself when tied
    return config_.tied_embeddings ? embedding_.data() : head_.data();
  }
  const float* final_norm() const noexcept { return norm(2 * config_.layers); }  // [hidden]

  bool holds_key_value(int l) const noexcept { return layers_[static_cast<std::size_t>(l)].holds_key_value; }

  /// Throws kvsharer::error (bad_argument) unless the weights of all owners' keys and values are held.
  void require(const kvsharer::share_map& map) const;

  /// Gives back the memory of the keys' and values' weights of a map's readers, in stream order. Addresses of those
  /// layers' queries change: graphs captured before are void. Throws kvsharer::error (bad_argument, device_memory).
  void release_readers(const kvsharer::share_map& map);

  /// Of device memory held.
  std::size_t bytes() const noexcept;

  /// What one decode step under a map must read: all weights that it multiplies with; of the embedding, which it looks
  /// up, nothing unless it is the head as well.
  std::size_t bytes_per_step(const kvsharer::share_map& map) const noexcept;

 private:
  template <class T>
  using buffer = kvsharer::cuda::device_buffer<T>;

  struct layer_buffers {
    buffer<E> query_key_value, output, gate_up, down;
    bool holds_key_value;
  };
  /// Where a layer's matrices go, in the checkpoint's own terms; key and value are null where they are not held.
  struct places {
    E *query, *key, *value, *output, *gate, *up, *down;
  };

  device_weights(kvsharer::cuda::stream_ref stream, const model_config& config,
                 const std::optional<kvsharer::share_map>& map);

  void check_map(const kvsharer::share_map& map) const;
  std::size_t query_size() const noexcept;      // of the weights of a layer's queries
  std::size_t key_value_size() const noexcept;  // of its keys and values
  places places_of(int l) noexcept;
  const float* norm(int i) const noexcept { return norms_.data() + kvsharer::index_t{i} * config_.hidden; }

  kvsharer::cuda::stream_ref stream_;
  model_config config_;
  buffer<float> norms_;  // [layers][attention, mlp][hidden], then the final one
  buffer<E> embedding_, head_;
  std::vector<layer_buffers> layers_;
};

extern template class device_weights<float>;
extern template class device_weights<kvsharer::float16>;
extern template class device_weights<kvsharer::bfloat16>;

}  // namespace mini_llama::cuda
