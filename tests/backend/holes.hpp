// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <random>
#include <vector>

#include "kvsharer/core/attention_shape.hpp"
#include "kvsharer/core/types.hpp"

/// What attention over a cache with holes must give, in float64 and without a cache: of a text whose every token is
/// known, those that were taken out are masked.
namespace holes {

using namespace kvsharer;

/// Cosine and sine of the angle by which channels c and c + dim / 2 turn at a position.
inline double angle(index_t position, index_t c, index_t dim) {
  return static_cast<double>(position) * std::pow(10000.0, -2.0 * static_cast<double>(c) / static_cast<double>(dim));
}

/// [position][cosines, sines][dim / 2].
inline std::vector<float> angle_table(index_t positions, index_t dim) {
  std::vector<float> table;
  for (index_t p = 0; p < positions; ++p) {
    for (index_t c = 0; c < dim / 2; ++c) table.push_back(static_cast<float>(std::cos(angle(p, c, dim))));
    for (index_t c = 0; c < dim / 2; ++c) table.push_back(static_cast<float>(std::sin(angle(p, c, dim))));
  }
  return table;
}

/// A row of heads, turned to stand at a position.
inline std::vector<float> turned(const std::vector<float>& row, index_t position, index_t dim) {
  std::vector<float> out(row.size());
  for (std::size_t head = 0; head < row.size(); head += static_cast<std::size_t>(dim))
    for (index_t c = 0; c < dim / 2; ++c) {
      const std::size_t low = head + static_cast<std::size_t>(c), high = low + static_cast<std::size_t>(dim / 2);
      const double cosine = std::cos(angle(position, c, dim)), sine = std::sin(angle(position, c, dim));
      out[low] = static_cast<float>(row[low] * cosine - row[high] * sine);
      out[high] = static_cast<float>(row[high] * cosine + row[low] * sine);
    }
  return out;
}

/// Numbers as a cache of E stores them.
template <class E>
std::vector<E> rounded(const std::vector<float>& x) {
  std::vector<E> out;
  for (const float f : x) out.push_back(E(f));
  return out;
}

/// A text, token by token: what a layer projects of each, before rotation, and which KV heads' lists still have it.
struct text {
  struct token {
    std::vector<float> query, key, value;
    std::vector<bool> kept;  // [kv_head]
  };
  attention_shape shape;
  std::mt19937 random;
  std::vector<token> tokens;

  text(attention_shape s, unsigned seed) : shape(s), random(seed) {}

  void add(index_t count) {
    std::normal_distribution<float> normal;
    const auto row = [&](index_t heads) {
      std::vector<float> r(static_cast<std::size_t>(heads * shape.head_dim));
      for (float& x : r) x = normal(random);
      return r;
    };
    for (; count > 0; --count)
      tokens.push_back({row(shape.heads), row(shape.kv_heads), row(shape.kv_heads),
                        std::vector<bool>(static_cast<std::size_t>(shape.kv_heads), true)});
  }

  /// Rows of the newest `count` tokens; keys and queries turned to where they stand.
  template <class Row>
  std::vector<float> newest(index_t count, bool turn, Row&& row) const {
    std::vector<float> rows;
    for (std::size_t t = tokens.size() - static_cast<std::size_t>(count); t < tokens.size(); ++t) {
      const auto r = turn ? turned(row(tokens[t]), static_cast<index_t>(t), shape.head_dim) : row(tokens[t]);
      rows.insert(rows.end(), r.begin(), r.end());
    }
    return rows;
  }

  /// The slots that stay if the tokens in the slots for which gone(slot) says so are taken out of a KV head's list;
  /// marks these.
  template <class Gone>
  std::vector<index_t> take_out(index_t kv_head, Gone&& gone) {
    std::vector<index_t> slots;
    index_t slot = 0;
    for (token& t : tokens) {
      auto kept = t.kept[static_cast<std::size_t>(kv_head)];
      if (!kept) continue;
      if (gone(slot))
        kept = false;
      else
        slots.push_back(slot);
      ++slot;
    }
    return slots;
  }
  /// The same of all heads, whose lists are alike.
  template <class Gone>
  std::vector<index_t> take_out(Gone&& gone) {
    std::vector<index_t> slots;
    for (index_t h = 0; h < shape.kv_heads; ++h) slots = take_out(h, gone);
    return slots;
  }
  /// Takes the newest tokens back.
  void truncate(index_t length) { tokens.resize(static_cast<std::size_t>(length)); }

  /// What the token at `position` sees of all that are kept up to itself: [heads * head_dim].
  std::vector<double> attention(index_t position) const {
    const index_t dim = shape.head_dim;
    const auto query = turned(tokens[static_cast<std::size_t>(position)].query, position, dim);
    std::vector<double> out(query.size());
    for (index_t h = 0; h < shape.heads; ++h) {
      const index_t kv = h / shape.group();
      const auto at = [dim](index_t head, index_t c) { return static_cast<std::size_t>(head * dim + c); };
      double total = 0;
      for (index_t t = 0; t <= position; ++t) {
        const token& other = tokens[static_cast<std::size_t>(t)];
        if (!other.kept[static_cast<std::size_t>(kv)]) continue;
        const auto key = turned(other.key, t, dim);
        double score = 0;
        for (index_t c = 0; c < dim; ++c) score += static_cast<double>(query[at(h, c)]) * key[at(kv, c)];
        const double weight = std::exp(score * static_cast<double>(shape.score_scale()));
        total += weight;
        for (index_t c = 0; c < dim; ++c) out[at(h, c)] += weight * other.value[at(kv, c)];
      }
      for (index_t c = 0; c < dim; ++c) out[at(h, c)] /= total;
    }
    return out;
  }

  /// The largest difference of rows of the newest `count` tokens from what they must be.
  template <class T>
  double error_of(const std::vector<T>& rows, index_t count) const {
    double worst = 0;
    std::size_t i = 0;
    for (auto t = static_cast<index_t>(tokens.size()) - count; t < static_cast<index_t>(tokens.size()); ++t)
      for (const double x : attention(t)) {
        const double difference = std::abs(static_cast<double>(static_cast<float>(rows[i++])) - x);
        worst = difference <= worst ? worst : difference;  // NaN is worst of all
      }
    return worst;
  }
};

}  // namespace holes
