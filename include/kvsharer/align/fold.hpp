// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "kvsharer/align/layer_alignment.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/rope.hpp"
#include "kvsharer/core/types.hpp"

/// Folds an alignment into weights, so that it costs nothing at run time. Weights are [out][in], row-major, as
/// checkpoints store them; query head h reads KV head h / (heads / kv_heads).
namespace kvsharer::inline v0 {

namespace detail {

inline index_t query_group(const layer_alignment& a, index_t heads) {
  a.check();
  if (heads < 1 || heads % a.kv_heads != 0)
    throw error(errc::bad_shape,
                std::to_string(heads) + " query heads cannot share " + std::to_string(a.kv_heads) + " KV heads evenly");
  return heads / a.kv_heads;
}

inline void check_numbers(const char* what, std::size_t has, index_t wanted) {
  if (static_cast<index_t>(has) != wanted)
    throw error(errc::bad_shape, std::string("the ") + what + " has " + std::to_string(has) + " numbers, but needs " +
                                     std::to_string(wanted));
}

}  // namespace detail

/// Multiplies the rows of a query projection [heads * head_dim][in] by the conjugate gains, in place: a score is the
/// real part of conj(q) k, and conj(q) (g k) = conj(conj(g) q) k. It commutes with the queries' rotation. Throws
/// errc::bad_shape. O(heads * head_dim * in).
inline void fold_into_queries(const layer_alignment& a, index_t heads, index_t in, std::span<float> query) {
  const index_t group = detail::query_group(a, heads), d = a.head_dim;
  detail::check_numbers("query projection", query.size(), heads * d * in);
  for (index_t h = 0; h < heads; ++h)
    for (index_t f = 0; f < d / 2; ++f) {
      const float* g = a.key_gain.data() + (h / group * (d / 2) + f) * 2;
      const channel_pair c = channels_of(a.pairing, d, f);
      float* const real = query.data() + (h * d + c.real) * in;
      float* const imaginary = query.data() + (h * d + c.imaginary) * in;
      for (index_t i = 0; i < in; ++i) {
        const double re = static_cast<double>(real[i]), im = static_cast<double>(imaginary[i]);
        const double g_re = static_cast<double>(g[0]), g_im = static_cast<double>(g[1]);
        real[i] = static_cast<float>(g_re * re + g_im * im);
        imaginary[i] = static_cast<float>(g_re * im - g_im * re);
      }
    }
}

/// Multiplies an output projection [out][heads * head_dim] by B of each query head's KV head, in place, and adds the
/// projection of the offset to `bias` [out]. This is correct because attention's weights sum to 1: attention of B v +
/// offset is B times attention of v, plus offset. Throws errc::bad_shape. O(out * heads * head_dim^2).
inline void fold_into_output(const layer_alignment& a, index_t heads, index_t out, std::span<float> output,
                             std::span<float> bias) {
  const index_t group = detail::query_group(a, heads), d = a.head_dim;
  detail::check_numbers("output projection", output.size(), out * heads * d);
  detail::check_numbers("output bias", bias.size(), out);
  std::vector<double> row(static_cast<std::size_t>(d));
  for (index_t o = 0; o < out; ++o) {
    double sum = static_cast<double>(bias[static_cast<std::size_t>(o)]);
    for (index_t h = 0; h < heads; ++h) {
      float* const w = output.data() + (o * heads + h) * d;
      const float* const b = a.values.data() + h / group * d * d;
      const float* const offset = a.offset.data() + h / group * d;
      row.assign(row.size(), 0.0);
      for (index_t i = 0; i < d; ++i) {
        const double wi = static_cast<double>(w[i]);
        sum += wi * static_cast<double>(offset[i]);
        for (index_t j = 0; j < d; ++j) row[static_cast<std::size_t>(j)] += wi * static_cast<double>(b[i * d + j]);
      }
      for (index_t j = 0; j < d; ++j) w[j] = static_cast<float>(row[static_cast<std::size_t>(j)]);
    }
    bias[static_cast<std::size_t>(o)] = static_cast<float>(sum);
  }
}

}  // namespace kvsharer::inline v0
