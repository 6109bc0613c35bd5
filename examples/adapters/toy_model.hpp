// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

/// The network that both example engines run: a small decoder with grouped queries, RoPE and a gated MLP, whose weights
/// are drawn from a fixed sequence. It knows nothing of caches; each engine brings its own memory.
namespace example {

using numbers = std::vector<float>;

class toy_model {
 public:
  static constexpr int layers = 8;
  static constexpr std::ptrdiff_t heads = 4, kv_heads = 2, head_dim = 8, width = heads * head_dim, hidden = 48;
  static constexpr int vocabulary = 60;

  explicit toy_model(std::uint64_t seed = 7) : state_(seed), embedding_(draw(vocabulary, width)) {
    for (layer_weights& w : weights_)
      w = {draw(width, width),
           draw(kv_heads * head_dim, width),
           draw(kv_heads * head_dim, width),
           draw(width, width),
           draw(hidden, width),
           draw(hidden, width),
           draw(width, hidden)};
  }

  numbers embed(int token) const {
    const float* row = embedding_.data() + token * width;
    return {row, row + width};
  }

  /// `in` is normalised(residual stream). Queries and keys come rotated for their position.
  numbers queries(int layer, const numbers& in, std::ptrdiff_t position) const {
    return rotated(product(of(layer).query, in), position);
  }
  numbers keys(int layer, const numbers& in, std::ptrdiff_t position) const {
    return rotated(product(of(layer).key, in), position);
  }
  numbers values(int layer, const numbers& in) const { return product(of(layer).value, in); }

  /// The residual stream behind a layer, from the stream before it and its attention's [heads][head_dim].
  numbers finish_layer(int layer, numbers stream, const numbers& attended) const {
    add(stream, product(of(layer).out, attended));
    const numbers in = normalised(stream);
    numbers gate = product(of(layer).gate, in);
    const numbers up = product(of(layer).up, in);
    for (std::size_t i = 0; i < gate.size(); ++i) gate[i] *= up[i] / (1 + std::exp(-gate[i]));
    add(stream, product(of(layer).down, gate));
    return stream;
  }

  /// The next token, greedily, from a normalised final hidden state; embeddings are tied.
  int next_token(const float* state) const {
    const numbers scores = product(embedding_, {state, state + width});
    int best = 0;
    for (int i = 1; i < vocabulary; ++i)
      if (scores[static_cast<std::size_t>(i)] > scores[static_cast<std::size_t>(best)]) best = i;
    return best;
  }

  static numbers normalised(numbers x) {
    float sum = 0;
    for (float v : x) sum += v * v;
    const float scale = 1 / std::sqrt(sum / static_cast<float>(x.size()) + 1e-5f);
    for (float& v : x) v *= scale;
    return x;
  }

 private:
  struct layer_weights {
    numbers query, key, value, out, gate, up, down;  // each [outputs][inputs]
  };

  const layer_weights& of(int layer) const { return weights_[static_cast<std::size_t>(layer)]; }

  /// [outputs][inputs] numbers in +-sqrt(3 / inputs), so that a product keeps the size of its input.
  numbers draw(std::ptrdiff_t outputs, std::ptrdiff_t inputs) {
    numbers w(static_cast<std::size_t>(outputs * inputs));
    const float range = std::sqrt(3 / static_cast<float>(inputs));
    for (float& v : w) {
      state_ = state_ * 6364136223846793005u + 1442695040888963407u;
      v = range * (static_cast<float>(state_ >> 40) / static_cast<float>(1 << 23) - 1);
    }
    return w;
  }

  static numbers product(const numbers& weights, const numbers& x) {
    numbers y(weights.size() / x.size(), 0.0f);
    const float* w = weights.data();
    for (float& out : y)
      for (float v : x) out += *w++ * v;
    return y;
  }

  static void add(numbers& x, const numbers& y) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] += y[i];
  }

  static numbers rotated(numbers x, std::ptrdiff_t position) {
    constexpr std::ptrdiff_t half = head_dim / 2;
    for (float* row = x.data(); row != x.data() + x.size(); row += head_dim)
      for (std::ptrdiff_t i = 0; i < half; ++i) {
        const float angle =
            static_cast<float>(position) * std::pow(10000.0f, -static_cast<float>(i) / static_cast<float>(half));
        const float a = row[i], b = row[i + half];
        row[i] = a * std::cos(angle) - b * std::sin(angle);
        row[i + half] = b * std::cos(angle) + a * std::sin(angle);
      }
    return x;
  }

  std::uint64_t state_;
  numbers embedding_;  // [vocabulary][width]
  std::array<layer_weights, layers> weights_;
};

/// Causal attention of one position over `tokens` rows. key(head, token) and value(head, token) point at head_dim
/// numbers, wherever the engine keeps them; `head` is a KV head.
template <class Key, class Value>
numbers attend(const numbers& queries, std::ptrdiff_t tokens, Key&& key, Value&& value) {
  constexpr std::ptrdiff_t dim = toy_model::head_dim, group = toy_model::heads / toy_model::kv_heads;
  numbers out(queries.size(), 0.0f), weight(static_cast<std::size_t>(tokens));
  for (std::ptrdiff_t head = 0; head < toy_model::heads; ++head) {
    const float* q = queries.data() + head * dim;
    float most = -INFINITY, sum = 0;
    for (std::ptrdiff_t t = 0; t < tokens; ++t) {
      const float* k = key(head / group, t);
      float dot = 0;
      for (std::ptrdiff_t c = 0; c < dim; ++c) dot += q[c] * k[c];
      weight[static_cast<std::size_t>(t)] = dot / std::sqrt(static_cast<float>(dim));
      most = std::fmax(most, weight[static_cast<std::size_t>(t)]);
    }
    for (float& w : weight) sum += w = std::exp(w - most);
    for (std::ptrdiff_t t = 0; t < tokens; ++t) {
      const float* v = value(head / group, t);
      for (std::ptrdiff_t c = 0; c < dim; ++c)
        out[static_cast<std::size_t>(head * dim + c)] += weight[static_cast<std::size_t>(t)] / sum * v[c];
    }
  }
  return out;
}

}  // namespace example
