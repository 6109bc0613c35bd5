// SPDX-License-Identifier: Apache-2.0
#include "network/model.hpp"

#include <utility>

#include "checkpoint/families/fused_attention.hpp"
#include "kvsharer/align/fold.hpp"
#include "kvsharer/core/error.hpp"
#include "network/activations.hpp"
#include "network/fingerprint.hpp"

namespace mini_llama {

using kvsharer::index_t;

namespace {

std::vector<float> as_floats(const weight& w) {
  std::vector<float> x(static_cast<std::size_t>(w.out * w.in));
  decode_row({w.type, w.data, 1, w.out * w.in}, 0, x.data());
  return x;
}

}  // namespace

model::model(model_config config, const tensor_source& tensors, std::shared_ptr<const void> owner,
             std::string fingerprint)
    : config_(std::move(config)), fingerprint_(std::move(fingerprint)), owner_(std::move(owner)) {
  const index_t hidden = config_.hidden, inner = config_.intermediate, vocab = config_.vocab;
  const index_t queries = index_t{config_.heads} * config_.head_dim,
                keys = index_t{config_.kv_heads} * config_.head_dim;
  const auto matrix = [&](const std::string& name, index_t out, index_t in) {
    const tensor_view t = tensors(name, {out, in});
    return weight{t.type, t.data, out, in};
  };
  const auto vector = [&](const std::string& name, index_t length) {
    const tensor_view t = tensors(name, {length});
    return as_floats({t.type, t.data, 1, length});
  };

  const tensor_names& names = *config_.names;
  embedding_ = matrix(names.embedding, vocab, hidden);
  head_ = config_.tied_embeddings ? embedding_ : matrix(names.head, vocab, hidden);
  final_norm_ = vector(names.final_norm, hidden);
  // Nothing is reserved: the number of layers is only a claim until their tensors are found.
  for (int l = 0; l < config_.layers; ++l) {
    const auto in_layer = [&](const char* part, const char* kind) {
      return "model.layers." + std::to_string(l) + "." + part + kind;
    };
    const auto weights = [&](const char* part, index_t out, index_t in) {
      return matrix(in_layer(part, ".weight"), out, in);
    };
    const auto gain = [&](const char* part, index_t length) { return vector(in_layer(part, ".weight"), length); };
    layer_weights w;
    w.attention_norm = gain(names.attention_norm, hidden);
    if (names.fused) {
      add_fused(w, tensors(in_layer(names.fused, ".weight"), {queries + 2 * keys, hidden}));
      if (config_.qkv_bias) add_fused_bias(w, tensors(in_layer(names.fused, ".bias"), {queries + 2 * keys}));
    } else {
      w.query = weights(names.query, queries, hidden);
      if (config_.qkv_bias) w.query_bias = vector(in_layer(names.query, ".bias"), queries);
      if (config_.stores(l)) {
        w.key = weights(names.key, keys, hidden);
        w.value = weights(names.value, keys, hidden);
        if (config_.qkv_bias) w.key_bias = vector(in_layer(names.key, ".bias"), keys);
        if (config_.qkv_bias) w.value_bias = vector(in_layer(names.value, ".bias"), keys);
      }
    }
    if (config_.head_norms) w.query_norm = gain(names.query_norm, config_.head_dim);
    if (config_.head_norms && config_.stores(l)) w.key_norm = gain(names.key_norm, config_.head_dim);
    w.output = weights(names.output, hidden, queries);
    if (config_.output_bias) w.output_bias = vector(in_layer(names.output, ".bias"), hidden);
    w.mlp_norm = gain(names.mlp_norm, hidden);
    w.gate = weights(names.gate, inner, hidden);
    w.up = weights(names.up, inner, hidden);
    w.down = weights(names.down, hidden, inner);
    layers_.push_back(std::move(w));
  }
}

void model::add_fused(layer_weights& w, const tensor_view& fused) {
  const auto parts =
      std::make_shared<const split_attention>(split_fused(fused, config_.heads / config_.kv_heads, config_.kv_heads));
  const index_t queries = index_t{config_.heads} * config_.head_dim,
                keys = index_t{config_.kv_heads} * config_.head_dim;
  w.query = {fused.type, parts->query.data(), queries, config_.hidden};
  w.key = {fused.type, parts->key.data(), keys, config_.hidden};
  w.value = {fused.type, parts->value.data(), keys, config_.hidden};
  copies_.push_back(parts);
}

void model::add_fused_bias(layer_weights& w, const tensor_view& fused) const {
  const split_attention parts = split_fused(fused, config_.heads / config_.kv_heads, config_.kv_heads);
  const index_t queries = index_t{config_.heads} * config_.head_dim,
                keys = index_t{config_.kv_heads} * config_.head_dim;
  w.query_bias = as_floats({fused.type, parts.query.data(), 1, queries});
  w.key_bias = as_floats({fused.type, parts.key.data(), 1, keys});
  w.value_bias = as_floats({fused.type, parts.value.data(), 1, keys});
}

model::model(checkpoint file) : model(std::make_shared<const checkpoint>(std::move(file))) {}

model::model(std::shared_ptr<const checkpoint> file)
    : model(
          file->config(),
          [&file](const std::string& name, std::initializer_list<index_t> shape) { return file->tensor(name, shape); },
          file) {
  fingerprint_ = fingerprint_of(*this);
}

void model::align(int l, const kvsharer::layer_alignment& a) {
  struct matrices {
    std::vector<float> query, output;
  };
  const auto copy = std::make_shared<matrices>();
  layer_weights& layer = layers_[static_cast<std::size_t>(l)];
  std::vector<float> bias = layer.output_bias;
  bias.resize(static_cast<std::size_t>(config_.hidden));
  copy->query = as_floats(layer.query);
  copy->output = as_floats(layer.output);
  if (a.kv_heads != config_.kv_heads || a.head_dim != config_.head_dim)
    throw kvsharer::error(kvsharer::errc::bad_shape,
                          "an alignment of " + std::to_string(a.kv_heads) + " KV heads of " +
                              std::to_string(a.head_dim) + " channels does not fit a model of " +
                              std::to_string(config_.kv_heads) + " of " + std::to_string(config_.head_dim));
  if (config_.head_norms)
    throw kvsharer::error(kvsharer::errc::bad_argument,
                          "an alignment cannot be folded into the queries of " + config_.architecture +
                              ", whose heads are normed after the projection; leave it out (--no-align)");
  kvsharer::fold_into_queries(a, config_.heads, config_.hidden, copy->query);
  if (!layer.query_bias.empty()) kvsharer::fold_into_queries(a, config_.heads, 1, layer.query_bias);
  kvsharer::fold_into_output(a, config_.heads, config_.hidden, copy->output, bias);

  const auto bytes = [](const std::vector<float>& x) { return reinterpret_cast<const std::byte*>(x.data()); };
  layer.query = {dtype::f32, bytes(copy->query), layer.query.out, layer.query.in};
  layer.output = {dtype::f32, bytes(copy->output), layer.output.out, layer.output.in};
  layer.output_bias = a.has_offset() || !layer.output_bias.empty() ? std::move(bias) : std::vector<float>();
  copies_.push_back(copy);
}

void embed(const model& m, std::span<const int> ids, float* x) {
  const weight& table = m.embedding();
  for (const int id : ids) {
    if (id < 0 || id >= table.out)
      throw kvsharer::error(
          kvsharer::errc::bad_argument,
          "token id " + std::to_string(id) + " is outside the model's vocabulary of " + std::to_string(table.out));
    decode_row(table, id, x);
    x += table.in;
  }
}

void final_norm(const model& m, const float* x, index_t rows, float* y) {
  const index_t hidden = m.config().hidden;
  for (index_t r = 0; r < rows; ++r)
    rms_norm(x + r * hidden, m.final_norm().data(), hidden, m.config().norm_eps, y + r * hidden);
}

void project_logits(const model& m, const float* x, index_t rows, float* logits, workspace& scratch) {
  linear(m.head(), x, logits, rows, scratch.products);
}

}  // namespace mini_llama
