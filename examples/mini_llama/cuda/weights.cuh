// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/config.hpp"
#include "kvsharer/backend/cuda/memory.cuh"
#include "kvsharer/backend/cuda/stream_ref.cuh"
#include "kvsharer/core/element.hpp"
#include "kvsharer/core/share_plan.hpp"
#include "kvsharer/core/types.hpp"

namespace mini_llama {
class model;
}

namespace mini_llama::cuda {

/// A layer's vectors that only some families have, in device memory; null if absent. Borrowed.
struct layer_vectors {
  const float* query_bias = nullptr;  // [heads * head_dim]
  const float* key_bias = nullptr;    // [kv_heads * head_dim], like the next
  const float* value_bias = nullptr;
  const float* query_norm = nullptr;  // [head_dim], like the next: gain of each head's norm before rotation
  const float* key_norm = nullptr;
  const float* output_bias = nullptr;  // [hidden]
};

/// One layer's weights in device memory, as products read them: [out][in], row-major. Borrowed.
template <class E>
struct layer_matrices {
  const float* attention_norm = nullptr;  // [hidden]
  const E* query = nullptr;               // [heads * head_dim][hidden]
  /// [kv_heads * head_dim][hidden] each, contiguous after `query`, so that one product computes all of them; null if
  /// they are not held.
  const E* key = nullptr;
  const E* value = nullptr;
  const E* output = nullptr;        // [hidden][heads * head_dim]
  const float* mlp_norm = nullptr;  // [hidden]
  const E* gate_up = nullptr;       // [2 * intermediate][hidden], gates first
  const E* down = nullptr;          // [hidden][intermediate]
  layer_vectors vectors = {};
};

/// A model's weights in device memory, in the element type E of activations. Reader layers do not need, and need not
/// hold, the weights of the keys and values that they read. Move only.
template <kvsharer::CacheElement E>
class device_weights {
 public:
  /// Copies a model's weights; the device converts those of another type. With a plan, the weights of its readers' keys
  /// and values are left out. Synchronises: for set-up. Throws kvsharer::error: bad_shape for sizes that the kernels
  /// cannot take, bad_argument for a plan with another number of layers and for a model that the device does not run
  /// (see require_device_model), device_memory, cuda_call.
  static device_weights upload(kvsharer::cuda::stream_ref stream, const model& m,
                               const std::optional<kvsharer::share_plan>& plan = std::nullopt);

  /// Makes the weights of random_model(config, seed, type of E) on the device, bit for bit. Stream-ordered. Throws what
  /// upload throws.
  static device_weights random(kvsharer::cuda::stream_ref stream, const model_config& config, std::uint64_t seed,
                               const std::optional<kvsharer::share_plan>& plan = std::nullopt);

  const model_config& config() const noexcept { return config_; }
  layer_matrices<E> layer(int l) const noexcept;
  const E* embedding() const noexcept { return embedding_.data(); }  // [vocab][hidden]
  const E* head() const noexcept {                                   // [vocab][hidden]; the embedding itself when tied
    return config_.tied_embeddings ? embedding_.data() : head_.data();
  }
  const float* final_norm() const noexcept { return norm(2 * config_.layers); }  // [hidden]

  bool holds_keys(int l) const noexcept { return layers_[static_cast<std::size_t>(l)].holds_keys; }
  bool holds_values(int l) const noexcept { return layers_[static_cast<std::size_t>(l)].holds_values; }

  /// Throws kvsharer::error (bad_argument) unless the weights of all owners' keys and values are held.
  void require(const kvsharer::share_plan& plan) const;

  /// Frees the weights of the keys and values of a plan's readers, in stream order. The addresses of those layers'
  /// queries change, so graphs captured earlier become invalid. Throws kvsharer::error (bad_argument, device_memory).
  void release_readers(const kvsharer::share_plan& plan);

  /// Bytes of device memory held.
  std::size_t bytes() const noexcept;

  /// Bytes that one decode step under a plan must read: all weights that it multiplies with. The embedding counts only
  /// if it is also the head, since a step only looks it up.
  std::size_t bytes_per_step(const kvsharer::share_plan& plan) const noexcept;

 private:
  template <class T>
  using buffer = kvsharer::cuda::device_buffer<T>;

  struct layer_buffers {
    buffer<E> query_key_value, output, gate_up, down;
    bool holds_keys, holds_values;
    buffer<float> query_bias, key_bias, value_bias, query_norm, key_norm, output_bias;  // empty if absent

    std::size_t vector_bytes() const noexcept {
      return query_bias.bytes() + key_bias.bytes() + value_bias.bytes() + query_norm.bytes() + key_norm.bytes() +
             output_bias.bytes();
    }
  };
  /// Where a layer's matrices go, in the checkpoint's own terms; key and value are null if they are not held.
  struct places {
    E *query, *key, *value, *output, *gate, *up, *down;
  };

  device_weights(kvsharer::cuda::stream_ref stream, const model_config& config,
                 const std::optional<kvsharer::share_plan>& plan);

  void check_plan(const kvsharer::share_plan& plan) const;
  std::size_t query_size() const noexcept;  // of the weights of a layer's queries
  std::size_t key_size() const noexcept;    // of its keys, or of its values
  places places_of(int l) noexcept;
  buffer<float> random_vector(std::uint64_t seed, const std::string& name, kvsharer::index_t numbers) const;
  const float* norm(int i) const noexcept { return norms_.data() + kvsharer::index_t{i} * config_.hidden; }

  kvsharer::cuda::stream_ref stream_;
  model_config config_;
  buffer<float> norms_;  // [layers][attention, mlp][hidden], then the final norm
  buffer<E> embedding_, head_;
  std::vector<layer_buffers> layers_;
};

extern template class device_weights<float>;
extern template class device_weights<kvsharer::float16>;
extern template class device_weights<kvsharer::bfloat16>;

}  // namespace mini_llama::cuda
