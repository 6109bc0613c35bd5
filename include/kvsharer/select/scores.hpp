// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/types.hpp"

/// What becomes of attention before tokens are chosen: rows of queries become a score for each token, query heads
/// become KV heads, neighbours share their scores. Arrays are in the order that their names say, the last index
/// fastest.
namespace kvsharer::inline v0::select {

/// How numbers of the same token become one.
enum class reduce : std::uint8_t {
  mean,    ///< their mean
  sum,     ///< their sum; the same order as the mean, where all have equally many
  largest  ///< the largest
};

namespace detail {

/// Throws errc::bad_shape unless `numbers` are rows of equal length.
inline index_t row_length(std::size_t numbers, index_t rows, const char* what) {
  if (rows < 1 || numbers % static_cast<std::size_t>(rows) != 0)
    throw error(errc::bad_shape, std::to_string(numbers) + " scores are not " + std::to_string(rows) + " " + what +
                                     " of equally many tokens");
  return static_cast<index_t>(numbers) / rows;
}

/// Rows [rows][n] become one.
inline void reduce_rows(std::span<const float> rows, index_t n, reduce how, std::span<float> out) {
  std::copy_n(rows.begin(), n, out.begin());
  const auto count = static_cast<index_t>(rows.size()) / std::max<index_t>(n, 1);
  for (index_t r = 1; r < count; ++r)
    for (index_t t = 0; t < n; ++t) {
      const float x = rows[static_cast<std::size_t>(r * n + t)];
      float& to = out[static_cast<std::size_t>(t)];
      to = how == reduce::largest ? std::max(to, x) : to + x;
    }
  if (how == reduce::mean)
    for (float& x : out) x /= static_cast<float>(count);
}

}  // namespace detail

/// Attention of `rows` queries of one head, [rows][tokens], becomes a score for each token. Throws errc::bad_shape for
/// numbers that are not such rows. O(rows x tokens).
inline std::vector<float> over_rows(std::span<const float> attention, index_t rows, reduce how) {
  const index_t n = detail::row_length(attention.size(), rows, "rows");
  std::vector<float> scores(static_cast<std::size_t>(n));
  detail::reduce_rows(attention, n, how, scores);
  return scores;
}

/// The same, for the worst case: the largest of each token's rows, but not less than the mean of these over all tokens.
/// One query that needs a token is enough to keep it, and tokens that none needs much differ in nothing but age, within
/// a head and from head to head. Throws what over_rows does.
inline std::vector<float> over_rows_defensively(std::span<const float> attention, index_t rows) {
  std::vector<float> scores = over_rows(attention, rows, reduce::largest);
  double sum = 0;
  for (const float x : scores) sum += static_cast<double>(x);
  const auto mean = static_cast<float>(sum / static_cast<double>(std::max<std::size_t>(scores.size(), 1)));
  for (float& x : scores) x = std::max(x, mean);
  return scores;
}

/// Scores of query heads, [heads][tokens], become those of KV heads, [kv_heads][tokens]: each is read by a group of
/// neighbouring query heads. Throws errc::bad_shape for heads that are not a multiple of the KV heads, or other
/// numbers. O(heads x tokens).
inline std::vector<float> over_group(std::span<const float> scores, index_t heads, index_t kv_heads, reduce how) {
  const index_t n = detail::row_length(scores.size(), heads, "heads");
  if (kv_heads < 1 || heads % kv_heads != 0)
    throw error(errc::bad_shape, std::to_string(heads) + " query heads do not read " + std::to_string(kv_heads) +
                                     " KV heads; heads must be a multiple of KV heads");
  std::vector<float> out(static_cast<std::size_t>(kv_heads * n));
  const auto of_group = static_cast<std::size_t>(heads / kv_heads * n);
  for (index_t h = 0; h < kv_heads; ++h)
    detail::reduce_rows(scores.subspan(static_cast<std::size_t>(h) * of_group, of_group), n, how,
                        std::span(out).subspan(static_cast<std::size_t>(h * n), static_cast<std::size_t>(n)));
  return out;
}

/// How a token's score is smoothed over its neighbours.
enum class pooling : std::uint8_t {
  none,            ///< not at all
  largest,         ///< the largest of the neighbours that exist
  average,         ///< their sum over the kernel's length: outside are zeros, which count, so that the ends lose
  average_inside,  ///< the mean of the neighbours that exist
};

/// Smooths scores over `kernel` neighbours, the token in their middle, [heads][tokens] each on its own. Throws
/// errc::bad_argument for an even or a negative kernel, errc::bad_shape for other numbers. O(scores x kernel).
inline std::vector<float> pooled(std::span<const float> scores, index_t heads, index_t kernel, pooling how) {
  const index_t n = detail::row_length(scores.size(), heads, "heads"), reach = kernel / 2;
  if (kernel < 1 || kernel % 2 == 0)
    throw error(errc::bad_argument, "pooling over " + std::to_string(kernel) + " tokens; their number must be odd");
  std::vector<float> out(scores.begin(), scores.end());
  if (how == pooling::none || kernel == 1) return out;
  for (index_t h = 0; h < heads; ++h) {
    const auto row = scores.subspan(static_cast<std::size_t>(h * n), static_cast<std::size_t>(n));
    for (index_t t = 0; t < n; ++t) {
      const index_t begin = std::max<index_t>(0, t - reach), end = std::min(n, t + reach + 1);
      float sum = 0, highest = -std::numeric_limits<float>::infinity();
      for (index_t i = begin; i < end; ++i) {
        sum += row[static_cast<std::size_t>(i)];
        highest = std::max(highest, row[static_cast<std::size_t>(i)]);
      }
      const index_t counted = how == pooling::average ? kernel : end - begin;
      out[static_cast<std::size_t>(h * n + t)] = how == pooling::largest ? highest : sum / static_cast<float>(counted);
    }
  }
  return out;
}

/// Multiplies scores by the length of each token's value row: what attention takes from a token is both. `norms` are as
/// many numbers in the same order. Throws errc::bad_shape for another number of them. O(scores).
inline std::vector<float> weighted_by_values(std::span<const float> scores, std::span<const float> norms) {
  if (scores.size() != norms.size())
    throw error(errc::bad_shape, std::to_string(norms.size()) + " lengths of values for " +
                                     std::to_string(scores.size()) + " scores; give one for each");
  std::vector<float> out(scores.size());
  std::transform(scores.begin(), scores.end(), norms.begin(), out.begin(), [](float s, float n) { return s * n; });
  return out;
}

/// Divides sums over all rows of a prompt, [heads][tokens], by the number of queries that saw the token, so that old
/// tokens have no advantage. Throws errc::bad_shape for other numbers. O(scores).
inline std::vector<float> by_visible_queries(std::span<const float> sums, index_t heads) {
  const index_t n = detail::row_length(sums.size(), heads, "heads");
  std::vector<float> out(sums.begin(), sums.end());
  for (std::size_t i = 0; i < out.size(); ++i) out[i] /= static_cast<float>(n - static_cast<index_t>(i) % n);
  return out;
}

}  // namespace kvsharer::inline v0::select
