// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/concepts/require.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/finite.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/layout/layer_view.hpp"
#include "kvsharer/layout/strided_index.hpp"

namespace kvsharer::inline v0 {

/// What to do with a calibration sample that is not as long as the first.
enum class length_mismatch : std::uint8_t {
  reject,  ///< throw, naming both lengths: the default
  skip,    ///< leave it out and count it; the mean is over the samples used
};

/// The mean of every layer's keys and values over calibration samples, position by position (KVSharer, section 3.1). It
/// is itself a KVCache, so that whatever measures caches measures it. Holds 2 * layers * kv_heads * tokens * head_dim
/// floats, [keys|values][layer][kv_head][token][channel].
class calibration_average {
 public:
  static constexpr memory_space space = memory_space::host;

  /// No samples yet. `on_mismatch`: what becomes of samples of another length than the first.
  explicit calibration_average(length_mismatch on_mismatch = length_mismatch::reject) : on_mismatch_(on_mismatch) {}

  /// Adds one sample: the cache of one sequence after the unshared model ran it. The first one fixes shape and length.
  /// Throws errc::short_samples (under two tokens: no positions to average over), errc::mismatched_samples,
  /// errc::bad_shape (another model's cache) and errc::not_finite, each leaving the average as it was. O(sample).
  template <class Cache>
  void add(const Cache& cache) {
    if constexpr (require_kv_cache<Cache>()) {
      static_assert(Cache::space == memory_space::host,
                    "kvsharer E201: this backend cannot read device memory; average there and pass the mean on");
      if (!admit(cache.shape(), static_cast<index_t>(cache.length()))) return;
      check_finite(cache);
      const float weight = 1.0f / static_cast<float>(++samples_);
      for_each_row(cache, [&](float* mean, const auto& view, index_t head, index_t token) {
        for (index_t d = 0; d < shape_.head_dim; ++d)
          mean[d] += (static_cast<float>(view.at(head, token, d)) - mean[d]) * weight;
      });
    }
  }

  cache_shape shape() const noexcept { return shape_; }
  index_t length() const noexcept { return shape_.capacity; }
  auto keys(layer_id l) const noexcept { return plane(l.value); }
  auto values(layer_id l) const noexcept { return plane(shape_.layers + l.value); }

  /// Samples in the mean.
  index_t samples() const noexcept { return samples_; }
  /// Samples left out because of their length.
  index_t skipped() const noexcept { return skipped_; }

 private:
  layer_view<float, layout::strided_index> plane(index_t i) const noexcept {
    return {mean_.data() + i * plane_size(), {.head = shape_.capacity * shape_.head_dim, .token = shape_.head_dim}};
  }
  index_t plane_size() const noexcept { return shape_.kv_heads * shape_.capacity * shape_.head_dim; }

  bool admit(cache_shape shape, index_t tokens) {
    if (tokens < 2)
      throw error(errc::short_samples, "a calibration sample of " + std::to_string(tokens) +
                                           " token(s) says nothing; use at least 2, normally 64");
    if (shape.layers <= 0 || shape.kv_heads <= 0 || shape.head_dim <= 0)
      throw error(errc::bad_shape, "a calibration cache has no layers, heads or channels");
    if (samples_ == 0) {
      shape_ = {shape.layers, shape.kv_heads, shape.head_dim, tokens};
      mean_.assign(static_cast<std::size_t>(2 * shape.layers * plane_size()), 0.0f);
      return true;
    }
    if (shape.layers != shape_.layers || shape.kv_heads != shape_.kv_heads || shape.head_dim != shape_.head_dim)
      throw error(errc::bad_shape, "this sample's cache has other layers, KV heads or head_dim than the first one's");
    if (tokens == length()) return true;
    if (on_mismatch_ == length_mismatch::skip) {
      ++skipped_;
      return false;
    }
    throw error(errc::mismatched_samples, "this sample has " + std::to_string(tokens) + " tokens, the first one had " +
                                              std::to_string(length()) +
                                              "; cut all to one length, or choose length_mismatch::skip");
  }

  template <class Cache>
  void check_finite(const Cache& cache) {
    bool finite = true;
    for_each_row(cache, [&](const float*, const auto& view, index_t head, index_t token) {
      for (index_t d = 0; d < shape_.head_dim; ++d) finite &= is_finite(static_cast<float>(view.at(head, token, d)));
    });
    if (!finite) {
      if (samples_ == 0) shape_ = {};
      throw error(errc::not_finite, "a calibration sample's keys or values contain NaN or infinity");
    }
  }

  template <class Cache, class F>
  void for_each_row(const Cache& cache, F&& f) {
    for (index_t plane = 0; plane < 2; ++plane)
      for (index_t l = 0; l < shape_.layers; ++l) {
        float* mean = mean_.data() + (plane * shape_.layers + l) * plane_size();
        const auto visit = [&](const auto view) {
          for (index_t h = 0; h < shape_.kv_heads; ++h)
            for (index_t t = 0; t < length(); ++t) f(mean + (h * length() + t) * shape_.head_dim, view, h, t);
        };
        const layer_id layer{static_cast<int>(l)};
        plane == 0 ? visit(cache.keys(layer)) : visit(cache.values(layer));
      }
  }

  length_mismatch on_mismatch_;
  cache_shape shape_{};
  std::vector<float> mean_;
  index_t samples_ = 0;
  index_t skipped_ = 0;
};
static_assert(KVCache<calibration_average>);

}  // namespace kvsharer::inline v0
