// SPDX-License-Identifier: Apache-2.0
#include "cuda/weights.cuh"

#include <cuda_runtime.h>

#include <string>
#include <utility>

#include "cuda/chunk.cuh"
#include "cuda/element.hpp"
#include "cuda/fill.cuh"
#include "cuda/upload.cuh"
#include "device/gpu.hpp"
#include "kvsharer/core/error.hpp"
#include "network/model.hpp"
#include "network/random_weights.hpp"

namespace mini_llama::cuda {

using kvsharer::errc;
using kvsharer::error;
using kvsharer::index_t;
using kvsharer::share_plan;
using kvsharer::cuda::device_buffer;
using kvsharer::cuda::stream_ref;

namespace {

std::size_t size(index_t rows, index_t columns) { return static_cast<std::size_t>(rows * columns); }

/// Uploads a vector of a checkpoint, in stream order; `from` must stay valid until the stream has been synchronised.
device_buffer<float> bring(stream_ref stream, const std::vector<float>& from) {
  device_buffer<float> to(stream, from.size());
  if (!from.empty())
    kvsharer::cuda::check(cudaMemcpyAsync(to.data(), from.data(), to.bytes(), cudaMemcpyHostToDevice, stream.get()),
                          "cudaMemcpyAsync");
  return to;
}

}  // namespace

template <kvsharer::CacheElement E>
std::size_t device_weights<E>::query_size() const noexcept {
  return size(index_t{config_.heads} * config_.head_dim, config_.hidden);
}

template <kvsharer::CacheElement E>
std::size_t device_weights<E>::key_size() const noexcept {
  return size(index_t{config_.kv_heads} * config_.head_dim, config_.hidden);
}

template <kvsharer::CacheElement E>
device_weights<E>::device_weights(stream_ref stream, const model_config& config, const std::optional<share_plan>& plan)
    : stream_(stream), config_(config), norms_(stream), embedding_(stream), head_(stream) {
  require_device_model(config);  // checked for every caller: weights would be missing
  if (plan) check_plan(*plan);
  const index_t hidden = config.hidden, inner = config.intermediate, heads = index_t{config.heads} * config.head_dim;
  require_chunks<E>(hidden, "a hidden state");
  require_chunks<E>(inner, "an MLP's inner row");
  norms_ = buffer<float>(stream, size(2 * index_t{config.layers} + 1, hidden));
  embedding_ = buffer<E>(stream, size(config.vocab, hidden));
  if (!config.tied_embeddings) head_ = buffer<E>(stream, size(config.vocab, hidden));
  for (int l = 0; l < config.layers; ++l) {
    const bool keys = !plan || plan->owns_keys({l}), values = !plan || plan->owns_values({l});
    layers_.push_back({buffer<E>(stream, query_size() + (keys ? key_size() : 0) + (values ? key_size() : 0)),
                       buffer<E>(stream, size(hidden, heads)), buffer<E>(stream, size(2 * inner, hidden)),
                       buffer<E>(stream, size(hidden, inner)), keys, values, buffer<float>(stream),
                       buffer<float>(stream), buffer<float>(stream), buffer<float>(stream), buffer<float>(stream),
                       buffer<float>(stream)});
  }
}

template <kvsharer::CacheElement E>
void device_weights<E>::check_plan(const share_plan& plan) const {
  if (plan.layers() != config_.layers)
    throw error(errc::bad_argument, "a map of " + std::to_string(plan.layers()) + " layers does not fit a model of " +
                                        std::to_string(config_.layers));
}

template <kvsharer::CacheElement E>
auto device_weights<E>::places_of(int l) noexcept -> places {
  layer_buffers& b = layers_[static_cast<std::size_t>(l)];
  const layer_matrices<E> at = layer(l);
  return {.query = const_cast<E*>(at.query),
          .key = const_cast<E*>(at.key),
          .value = const_cast<E*>(at.value),
          .output = b.output.data(),
          .gate = b.gate_up.data(),
          .up = b.gate_up.data() + b.gate_up.size() / 2,
          .down = b.down.data()};
}

template <kvsharer::CacheElement E>
device_weights<E> device_weights<E>::upload(stream_ref stream, const model& m, const std::optional<share_plan>& plan) {
  device_weights d(stream, m.config(), plan);
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
    const places to = d.places_of(l);
    put_norm(from.attention_norm, 2 * l);
    put_norm(from.mlp_norm, 2 * l + 1);
    put(from.query, to.query);
    if (to.key != nullptr) put(from.key, to.key);
    if (to.value != nullptr) put(from.value, to.value);
    put(from.output, to.output);
    put(from.gate, to.gate);
    put(from.up, to.up);
    put(from.down, to.down);
    layer_buffers& b = d.layers_[static_cast<std::size_t>(l)];
    b.query_bias = bring(stream, from.query_bias);
    if (b.holds_keys) b.key_bias = bring(stream, from.key_bias);
    if (b.holds_values) b.value_bias = bring(stream, from.value_bias);
    b.query_norm = bring(stream, from.query_norm);
    if (b.holds_keys) b.key_norm = bring(stream, from.key_norm);
    b.output_bias = bring(stream, from.output_bias);
  }
  stream.synchronize();
  return d;
}

template <kvsharer::CacheElement E>
device_weights<E> device_weights<E>::random(stream_ref stream, const model_config& config, std::uint64_t seed,
                                            const std::optional<share_plan>& plan) {
  device_weights d(stream, config, plan);
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
    layer_buffers& b = d.layers_[static_cast<std::size_t>(l)];
    const auto vector = [&](bool has, const std::string& name, index_t numbers) {
      return has ? d.random_vector(seed, name, numbers) : buffer<float>(stream);
    };
    b.query_bias = vector(config.qkv_bias, attention + "q_proj.bias", heads);
    b.key_bias = vector(config.qkv_bias && b.holds_keys, attention + "k_proj.bias", kv_heads);
    b.value_bias = vector(config.qkv_bias && b.holds_values, attention + "v_proj.bias", kv_heads);
    b.query_norm = vector(config.head_norms, attention + "q_norm.weight", config.head_dim);
    b.key_norm = vector(config.head_norms && b.holds_keys, attention + "k_norm.weight", config.head_dim);
    b.output_bias = vector(config.output_bias, attention + "o_proj.bias", hidden);
  }
  return d;
}

/// Norms are ones; biases are random, rounded to E as in a checkpoint.
template <kvsharer::CacheElement E>
auto device_weights<E>::random_vector(std::uint64_t seed, const std::string& name, index_t numbers) const
    -> buffer<float> {
  buffer<float> to(stream_, static_cast<std::size_t>(numbers));
  if (!name.ends_with(".bias")) {
    fill_constant(stream_, to.data(), numbers, 1.0f);
    return to;
  }
  buffer<E> rounded(stream_, to.size());
  fill_random(stream_, rounded.data(), numbers, random_tensor_key(seed, name), random_tensor_deviation(config_, name));
  convert(stream_, rounded.data(), to.data(), numbers);
  return to;
}

template <kvsharer::CacheElement E>
layer_matrices<E> device_weights<E>::layer(int l) const noexcept {
  const layer_buffers& b = layers_[static_cast<std::size_t>(l)];
  const E* const query = b.query_key_value.data();
  const E* const behind = query + query_size();
  return {.attention_norm = norm(2 * l),
          .query = query,
          .key = b.holds_keys ? behind : nullptr,
          .value = b.holds_values ? behind + (b.holds_keys ? key_size() : 0) : nullptr,
          .output = b.output.data(),
          .mlp_norm = norm(2 * l + 1),
          .gate_up = b.gate_up.data(),
          .down = b.down.data(),
          .vectors = {.query_bias = b.query_bias.data(),
                      .key_bias = b.key_bias.data(),
                      .value_bias = b.value_bias.data(),
                      .query_norm = b.query_norm.data(),
                      .key_norm = b.key_norm.data(),
                      .output_bias = b.output_bias.data()}};
}

template <kvsharer::CacheElement E>
void device_weights<E>::require(const share_plan& plan) const {
  check_plan(plan);
  for (int l = 0; l < config_.layers; ++l)
    if ((plan.owns_keys({l}) && !holds_keys(l)) || (plan.owns_values({l}) && !holds_values(l)))
      throw error(errc::bad_argument, "layer " + std::to_string(l) +
                                          " is to own its cache, and the weights of its keys and values were left "
                                          "behind or given back; load the model again for this map");
}

template <kvsharer::CacheElement E>
void device_weights<E>::release_readers(const share_plan& plan) {
  check_plan(plan);
  for (int l = 0; l < config_.layers; ++l) {
    layer_buffers& b = layers_[static_cast<std::size_t>(l)];
    const bool keys = b.holds_keys && plan.owns_keys({l}), values = b.holds_values && plan.owns_values({l});
    if (keys == b.holds_keys && values == b.holds_values) continue;
    const layer_matrices<E> held = layer(l);
    buffer<E> kept(stream_, query_size() + (keys ? key_size() : 0) + (values ? key_size() : 0));
    E* to = kept.data();
    const auto keep = [&](const E* from, std::size_t numbers) {
      kvsharer::cuda::check(cudaMemcpyAsync(to, from, numbers * sizeof(E), cudaMemcpyDeviceToDevice, stream_.get()),
                            "cudaMemcpyAsync");
      to += numbers;
    };
    keep(held.query, query_size());
    if (keys) keep(held.key, key_size());
    if (values) keep(held.value, key_size());
    b.query_key_value = std::move(kept);
    b.holds_keys = keys;
    b.holds_values = values;
  }
}

template <kvsharer::CacheElement E>
std::size_t device_weights<E>::bytes() const noexcept {
  std::size_t sum = norms_.bytes() + embedding_.bytes() + head_.bytes();
  for (const layer_buffers& b : layers_)
    sum += b.query_key_value.bytes() + b.output.bytes() + b.gate_up.bytes() + b.down.bytes() + b.vector_bytes();
  return sum;
}

template <kvsharer::CacheElement E>
std::size_t device_weights<E>::bytes_per_step(const share_plan& plan) const noexcept {
  std::size_t sum = bytes() - (config_.tied_embeddings ? 0 : embedding_.bytes());
  for (int l = 0; l < config_.layers; ++l)
    sum -= ((holds_keys(l) && !plan.owns_keys({l}) ? 1 : 0) + (holds_values(l) && !plan.owns_values({l}) ? 1 : 0)) *
           key_size() * sizeof(E);
  return sum;
}

template class device_weights<float>;
template class device_weights<kvsharer::float16>;
template class device_weights<kvsharer::bfloat16>;

}  // namespace mini_llama::cuda
