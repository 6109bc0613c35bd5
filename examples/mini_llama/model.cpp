// SPDX-License-Identifier: Apache-2.0
#include "model.hpp"

#include <utility>

#include "activations.hpp"
#include "kvsharer/align/fold.hpp"
#include "kvsharer/core/error.hpp"

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
  const auto vector = [&](const std::string& name) {
    const tensor_view t = tensors(name, {hidden});
    return as_floats({t.type, t.data, 1, hidden});
  };

  embedding_ = matrix("model.embed_tokens.weight", vocab, hidden);
  head_ = config_.tied_embeddings ? embedding_ : matrix("lm_head.weight", vocab, hidden);
  final_norm_ = vector("model.norm.weight");
  // Nothing is reserved: the number of layers is only a claim until their tensors are found.
  for (int l = 0; l < config_.layers; ++l) {
    const std::string layer = "model.layers." + std::to_string(l) + ".";
    const std::string attention = layer + "self_attn.", mlp = layer + "mlp.";
    layers_.push_back({
        .attention_norm = vector(layer + "input_layernorm.weight"),
        .query = matrix(attention + "q_proj.weight", queries, hidden),
        .key = matrix(attention + "k_proj.weight", keys, hidden),
        .value = matrix(attention + "v_proj.weight", keys, hidden),
        .output = matrix(attention + "o_proj.weight", hidden, queries),
        .output_bias = {},
        .mlp_norm = vector(layer + "post_attention_layernorm.weight"),
        .gate = matrix(mlp + "gate_proj.weight", inner, hidden),
        .up = matrix(mlp + "up_proj.weight", inner, hidden),
        .down = matrix(mlp + "down_proj.weight", hidden, inner),
    });
  }
}

model::model(checkpoint file) : model(std::make_shared<const checkpoint>(std::move(file))) {}

model::model(std::shared_ptr<const checkpoint> file)
    : model(
          file->config(),
          [&file](const std::string& name, std::initializer_list<index_t> shape) { return file->tensor(name, shape); },
          file, file->fingerprint()) {}

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
  kvsharer::fold_into_queries(a, config_.heads, config_.hidden, copy->query);
  kvsharer::fold_into_output(a, config_.heads, config_.hidden, copy->output, bias);

  const auto bytes = [](const std::vector<float>& x) { return reinterpret_cast<const std::byte*>(x.data()); };
  layer.query = {dtype::f32, bytes(copy->query), layer.query.out, layer.query.in};
  layer.output = {dtype::f32, bytes(copy->output), layer.output.out, layer.output.in};
  layer.output_bias = a.has_offset() || !layer.output_bias.empty() ? std::move(bias) : std::vector<float>();
  folded_.push_back(copy);
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
