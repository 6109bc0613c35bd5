// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kvsharer/align/layer_alignment.hpp"
#include "network/model.hpp"

/// A small Llama with random weights, as the driver runs it and as a textbook would, in float64 and without a cache.
namespace tiny_llama {

using kvsharer::index_t;
using mini_llama::model_config;

inline model_config config(int layers = 6) {
  model_config c;
  c.architecture = "LlamaForCausalLM";
  c.layers = layers;
  c.hidden = 32;
  c.intermediate = 44;
  c.heads = 4;
  c.kv_heads = 2;
  c.head_dim = 10;  // not hidden / heads
  c.vocab = 61;
  c.max_position = 128;
  c.norm_eps = 1e-5f;
  c.bos = 1;
  c.eos = {2};
  return c;
}

using tensors = std::map<std::string, std::vector<float>>;

/// The driver's model; `weights` gets what it was made of.
inline mini_llama::model make(const model_config& c, std::shared_ptr<tensors> weights) {
  return {c,
          [weights](const std::string& name, std::initializer_list<index_t> shape) {
            index_t n = 1;
            for (index_t s : shape) n *= s;
            std::vector<float>& numbers = (*weights)[name];
            std::mt19937 bits(static_cast<unsigned>(weights->size()));
            const bool norm = shape.size() == 1;
            const double size = norm ? 0.2 : 1 / std::sqrt(static_cast<double>(*(shape.end() - 1)));
            for (index_t i = 0; i < n; ++i) {
              const double uniform = static_cast<double>(bits() % 20001) / 10000 - 1;
              numbers.push_back(static_cast<float>((norm ? 1 : 0) + 1.7 * size * uniform));
            }
            return mini_llama::tensor_view{mini_llama::dtype::f32, shape,
                                           reinterpret_cast<const std::byte*>(numbers.data())};
          },
          weights};
}

using rows = std::vector<std::vector<double>>;  // [token][channel]

namespace detail {

inline rows times(const rows& x, const std::vector<float>& w) {  // w is [out][in]
  const std::size_t in = x[0].size(), out = w.size() / in;
  rows y(x.size(), std::vector<double>(out, 0.0));
  for (std::size_t r = 0; r < x.size(); ++r)
    for (std::size_t o = 0; o < out; ++o)
      for (std::size_t i = 0; i < in; ++i) y[r][o] += x[r][i] * static_cast<double>(w[o * in + i]);
  return y;
}

inline rows normed(const rows& x, const std::vector<float>& w, double eps) {
  rows y = x;
  for (auto& row : y) {
    double squares = 0;
    for (double v : row) squares += v * v;
    const double scale = 1 / std::sqrt(squares / static_cast<double>(row.size()) + eps);
    for (std::size_t i = 0; i < row.size(); ++i) row[i] *= scale * static_cast<double>(w[i]);
  }
  return y;
}

inline void add(rows& x, const rows& y) {
  for (std::size_t r = 0; r < x.size(); ++r)
    for (std::size_t i = 0; i < x[r].size(); ++i) x[r][i] += y[r][i];
}

/// Turns the pairs (i, i + dim / 2) of each head by position * theta^(-2 i / dim).
inline void rotate(rows& x, int dim, double theta) {
  for (std::size_t t = 0; t < x.size(); ++t)
    for (std::size_t h = 0; h < x[t].size(); h += static_cast<std::size_t>(dim))
      for (int i = 0; i < dim / 2; ++i) {
        const double angle = static_cast<double>(t) * std::pow(theta, -2.0 * i / dim);
        double &a = x[t][h + static_cast<std::size_t>(i)], &b = x[t][h + static_cast<std::size_t>(i + dim / 2)];
        const double turned = a * std::cos(angle) - b * std::sin(angle);
        b = a * std::sin(angle) + b * std::cos(angle);
        a = turned;
      }
}

inline void align(rows& keys, rows& values, const kvsharer::layer_alignment& a) {
  const auto heads = static_cast<std::size_t>(a.kv_heads), dim = static_cast<std::size_t>(a.head_dim);
  for (auto& row : keys)
    for (std::size_t h = 0; h < heads; ++h)
      for (std::size_t f = 0; f < dim / 2; ++f) {
        double &re = row[h * dim + f], &im = row[h * dim + f + dim / 2];
        const double g = static_cast<double>(a.key_gain[(h * dim / 2 + f) * 2]),
                     j = static_cast<double>(a.key_gain[(h * dim / 2 + f) * 2 + 1]);
        const double real = g * re - j * im;
        im = g * im + j * re;
        re = real;
      }
  for (auto& row : values)
    for (std::size_t h = 0; h < heads; ++h) {
      std::vector<double> changed(dim);
      for (std::size_t i = 0; i < dim; ++i) {
        changed[i] = static_cast<double>(a.offset[h * dim + i]);
        for (std::size_t n = 0; n < dim; ++n)
          changed[i] += static_cast<double>(a.values[(h * dim + i) * dim + n]) * row[h * dim + n];
      }
      std::copy(changed.begin(), changed.end(), row.begin() + static_cast<std::ptrdiff_t>(h * dim));
    }
}

}  // namespace detail

/// What a run has: logits [token][vocab], and every layer's own keys, after rotation, and values.
struct run {
  rows logits;
  std::vector<rows> keys, values;
};

/// A run with layer l reading the keys and values that layer `owners[l]` computed, changed as `aligned` says, where it
/// names l: each value v into B v + offset, each pair of key channels, as a complex number, into its gain times itself.
/// Where `value_owners` are given, the values are theirs. `hidden_from(token, other)` masks what a token does not see.
inline run textbook_run(const model_config& c, const tensors& w, const std::vector<int>& owners,
                        const std::vector<int>& ids, const std::map<int, kvsharer::layer_alignment>& aligned = {},
                        const std::vector<int>& value_owners = {},
                        const std::function<bool(std::size_t, std::size_t)>& hidden_from = {}) {
  const auto hidden = static_cast<std::size_t>(c.hidden), dim = static_cast<std::size_t>(c.head_dim);
  rows x;
  for (int id : ids) {
    const float* row = w.at("model.embed_tokens.weight").data() + static_cast<std::size_t>(id) * hidden;
    x.emplace_back(row, row + hidden);
  }
  run result;
  std::vector<rows>&keys = result.keys, &values = result.values;
  for (int l = 0; l < c.layers; ++l) {
    const std::string layer = "model.layers." + std::to_string(l) + ".";
    const auto of = [&](const std::string& name) -> const std::vector<float>& {
      return w.at(layer + name + ".weight");
    };
    const rows n = detail::normed(x, of("input_layernorm"), static_cast<double>(c.norm_eps));
    rows q = detail::times(n, of("self_attn.q_proj"));
    keys.push_back(detail::times(n, of("self_attn.k_proj")));
    values.push_back(detail::times(n, of("self_attn.v_proj")));
    detail::rotate(q, c.head_dim, c.rope.theta);
    detail::rotate(keys.back(), c.head_dim, c.rope.theta);
    const auto owner = static_cast<std::size_t>(owners[static_cast<std::size_t>(l)]);
    const auto value_owner =
        value_owners.empty() ? owner : static_cast<std::size_t>(value_owners[static_cast<std::size_t>(l)]);
    rows k = keys[owner], v = values[value_owner];
    if (const auto found = aligned.find(l); found != aligned.end()) detail::align(k, v, found->second);
    rows attended(x.size(), std::vector<double>(q[0].size(), 0.0));
    for (std::size_t t = 0; t < x.size(); ++t)
      for (std::size_t h = 0; h < static_cast<std::size_t>(c.heads); ++h) {
        const std::size_t from = h * dim, kv = h / static_cast<std::size_t>(c.heads / c.kv_heads) * dim;
        std::vector<double> weight(t + 1, 0.0);
        double sum = 0;
        for (std::size_t s = 0; s <= t; ++s) {
          if (hidden_from && hidden_from(t, s)) continue;
          for (std::size_t i = 0; i < dim; ++i) weight[s] += q[t][from + i] * k[s][kv + i];
          sum += weight[s] = std::exp(weight[s] / std::sqrt(static_cast<double>(dim)));
        }
        for (std::size_t s = 0; s <= t; ++s)
          for (std::size_t i = 0; i < dim; ++i) attended[t][from + i] += weight[s] / sum * v[s][kv + i];
      }
    detail::add(x, detail::times(attended, of("self_attn.o_proj")));
    const rows m = detail::normed(x, of("post_attention_layernorm"), static_cast<double>(c.norm_eps));
    rows gate = detail::times(m, of("mlp.gate_proj"));
    const rows up = detail::times(m, of("mlp.up_proj"));
    for (std::size_t t = 0; t < gate.size(); ++t)
      for (std::size_t i = 0; i < gate[t].size(); ++i) gate[t][i] *= up[t][i] / (1 + std::exp(-gate[t][i]));
    detail::add(x, detail::times(gate, of("mlp.down_proj")));
  }
  result.logits = detail::times(detail::normed(x, w.at("model.norm.weight"), static_cast<double>(c.norm_eps)),
                                w.at("lm_head.weight"));
  return result;
}

/// Its logits alone.
inline rows logits(const model_config& c, const tensors& w, const std::vector<int>& owners,
                   const std::vector<int>& ids) {
  return textbook_run(c, w, owners, ids).logits;
}

}  // namespace tiny_llama
