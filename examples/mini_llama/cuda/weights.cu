// SPDX-License-Identifier: Apache-2.0
#include "cuda/weights.cuh"

#include <cuda_runtime.h>

#include <string>
#include <utility>

#include "cuda/chunk.cuh"
#include "cuda/element.hpp"
#include "cuda/fill.cuh"
#include "cuda/upload.cuh"
#include "kvsharer/core/error.hpp"
#include "model.hpp"
#include "random_weights.hpp"

namespace mini_llama::cuda {

using kvsharer::errc;
using kvsharer::error;
using kvsharer::index_t;
using kvsharer::share_map;
using kvsharer::cuda::stream_ref;

namespace {

std::size_t size(index_t rows, index_t columns) { return static_cast<std::size_t>(rows * columns); }

}  // namespace

template <kvsharer::CacheElement E>
std::size_t device_weights<E>::query_size() const noexcept {
  return size(index_t{config_.heads} * config_.head_dim, config_.hidden);
}

template <kvsharer::CacheElement E>
std::size_t device_weights<E>::key_value_size() const noexcept {
  return size(index_t{2} * config_.kv_heads * config_.head_dim, config_.hidden);
}

template <kvsharer::CacheElement E>
device_weights<E>::device_weights(stream_ref stream, const model_config& config, const std::optional<share_map>& map)
    : stream_(stream), config_(config), norms_(stream), embedding_(stream), head_(stream) {
  if (map) check_map(*map);
  const index_t hidden = config.hidden, inner = config.intermediate, heads = index_t{config.heads} * config.head_dim;
  require_chunks<E>(hidden, "a hidden state");
  require_chunks<E>(inner, "an MLP's inner row");
  norms_ = buffer<float>(stream, size(2 * index_t{config.layers} + 1, hidden));
  embedding_ = buffer<E>(stream, size(config.vocab, hidden));
  if (!config.tied_embeddings) head_ = buffer<E>(stream, size(config.vocab, hidden));
  for (int l = 0; l < config.layers; ++l) {
    const bool holds = !map || map->owns({l});
    layers_.push_back({buffer<E>(stream, query_size() + (holds ? key_value_size() : 0)),
                       buffer<E>(stream, size(hidden, heads)), buffer<E>(stream, size(2 * inner, hidden)),
                       buffer<E>(stream, size(hidden, inner)), holds});
  }
}

template <kvsharer::CacheElement E>
void device_weights<E>::check_map(const share_map& map) const {
  if (map.layers() != config_.layers)
    throw error(errc::bad_argument, "a map of " + std::to_string(map.layers()) + " layers does not fit a model of " +
                                        std::to_string(config_.layers));
}

template <kvsharer::CacheElement E>
auto device_weights<E>::places_of(int l) noexcept -> places {
  layer_buffers& b = layers_[static_cast<std::size_t>(l)];
  E* const query = b.query_key_value.data();
  E* const key = b.holds_key_value ? query + query_size() : nullptr;
  return {.query = query,
          .key = key,
          .value = key != nullptr ? key + key_value_size() / 2 : nullptr,
          .output = b.output.data(),
          .gate = b.gate_up.data(),
          .up = b.gate_up.data() + b.gate_up.size() / 2,
          .down = b.down.data()};
}

template <kvsharer::CacheElement E>
device_weights<E> device_weights<E>::upload(stream_ref stream, const model& m, const std::optional<share_map>& map) {
  device_weights d(stream, m.config(), map);
  uploader<E> put(stream);
  const auto put_norm = [&](const std::vector<float>& gain, int i) {
    kvsharer::cuda::check(cudaMemcpyAsync(const_cast<float*>(d.norm(i)), gain.data(), gain.size() * sizeof(float),
                                          cudaMemcpyHostToDevice, stream.get()),
                          "cudaMemcpyAsync");
  };
  put(m.embedding(), d.embedding_.data());
  if (!m.config().tied_embeddings) put(m.head(), d.head_.data());
  put_norm(m.final_norm(), 2 * m.config().layers);
  for (int l = 0; l < m.config().layers; ++l) {
    const layer_weights& from = m.layer(l);
    if (!from.output_bias.empty())
      throw error(errc::bad_argument, "layer " + std::to_string(l) +
                                          " has an output bias, from the offset of its alignment, which the device "
                                          "does not add: run on the host, search again without an offset "
                                          "(--align-no-offset), or leave the alignment out (--no-align)");
    const places to = d.places_of(l);
    put_norm(from.attention_norm, 2 * l);
    put_norm(from.mlp_norm, 2 * l + 1);
    put(from.query, to.query);
    if (to.key != nullptr) {
      put(from.key, to.key);
      put(from.value, to.value);
    }
    put(from.output, to.output);
    put(from.gate, to.gate);
    put(from.up, to.up);
    put(from.down, to.down);
  }
  stream.synchronize();
  return d;
}

template <kvsharer::CacheElement E>
device_weights<E> device_weights<E>::random(stream_ref stream, const model_config& config, std::uint64_t seed,
                                            const std::optional<share_map>& map) {
  device_weights d(stream, config, map);
  const index_t hidden = config.hidden, inner = config.intermediate, heads = index_t{config.heads} * config.head_dim,
                kv_heads = index_t{config.kv_heads} * config.head_dim;
  const auto make = [&](const std::string& name, E* to, index_t numbers) {
    if (to != nullptr)
      fill_random(stream, to, numbers, random_tensor_key(seed, name), random_tensor_deviation(config, name));
  };
  fill_constant(stream, d.norms_.data(), static_cast<index_t>(d.norms_.size()), 1.0f);
  make("model.embed_tokens.weight", d.embedding_.data(), config.vocab * hidden);
  make("lm_head.weight", d.head_.data(), config.vocab * hidden);
  for (int l = 0; l < config.layers; ++l) {
    const std::string layer = "model.layers." + std::to_string(l) + ".";
    const std::string attention = layer + "self_attn.", mlp = layer + "mlp.";
    const places to = d.places_of(l);
    make(attention + "q_proj.weight", to.query, heads * hidden);
    make(attention + "k_proj.weight", to.key, kv_heads * hidden);
    make(attention + "v_proj.weight", to.value, kv_heads * hidden);
    make(attention + "o_proj.weight", to.output, hidden * heads);
    make(mlp + "gate_proj.weight", to.gate, inner * hidden);
    make(mlp + "up_proj.weight", to.up, inner * hidden);
    make(mlp + "down_proj.weight", to.down, hidden * inner);
  }
  return d;
}

template <kvsharer::CacheElement E>
layer_matrices<E> device_weights<E>::layer(int l) const noexcept {
  const layer_buffers& b = layers_[static_cast<std::size_t>(l)];
  const E* const query = b.query_key_value.data();
  return {.attention_norm = norm(2 * l),
          .query = query,
          .key_value = b.holds_key_value ? query + query_size() : nullptr,
          .output = b.output.data(),
          .mlp_norm = norm(2 * l + 1),
          .gate_up = b.gate_up.data(),
          .down = b.down.data()};
}

template <kvsharer::CacheElement E>
void device_weights<E>::require(const share_map& map) const {
  check_map(map);
  for (int l = 0; l < config_.layers; ++l)
    if (map.owns({l}) && !holds_key_value(l))
      throw error(errc::bad_argument, "layer " + std::to_string(l) +
                                          " is to own its cache, and the weights of its keys and values were left "
                                          "behind or given back; load the model again for this map");
}

template <kvsharer::CacheElement E>
void device_weights<E>::release_readers(const share_map& map) {
  check_map(map);
  for (int l = 0; l < config_.layers; ++l) {
    layer_buffers& b = layers_[static_cast<std::size_t>(l)];
    if (map.owns({l}) || !b.holds_key_value) continue;
    buffer<E> query(stream_, query_size());
    kvsharer::cuda::check(
        cudaMemcpyAsync(query.data(), b.query_key_value.data(), query.bytes(), cudaMemcpyDeviceToDevice, stream_.get()),
        "cudaMemcpyAsync");
    b.query_key_value = std::move(query);
    b.holds_key_value = false;
  }
}

template <kvsharer::CacheElement E>
std::size_t device_weights<E>::bytes() const noexcept {
  std::size_t sum = norms_.bytes() + embedding_.bytes() + head_.bytes();
  for (const layer_buffers& b : layers_)
    sum += b.query_key_value.bytes() + b.output.bytes() + b.gate_up.bytes() + b.down.bytes();
  return sum;
}

template <kvsharer::CacheElement E>
std::size_t device_weights<E>::bytes_per_step(const share_map& map) const noexcept {
  std::size_t sum = bytes() - (config_.tied_embeddings ? 0 : embedding_.bytes());
  for (int l = 0; l < config_.layers; ++l)
    if (holds_key_value(l) && !map.owns({l})) sum -= key_value_size() * sizeof(E);
  return sum;
}

template class device_weights<float>;
template class device_weights<kvsharer::float16>;
template class device_weights<kvsharer::bfloat16>;

}  // namespace mini_llama::cuda
