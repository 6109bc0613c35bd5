// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <vector>

#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/concepts/require.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/finite.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/layout/layer_view.hpp"
#include "kvsharer/layout/strided_index.hpp"
#include "kvsharer/search/calibration_samples.hpp"

namespace kvsharer::inline v0 {

/// The mean of every layer's keys and values over calibration samples, position by position (KVSharer, section 3.1). It
/// is itself a KVCache, so that distances can be computed from it. Holds 2 * layers * kv_heads * tokens * head_dim
/// floats, [keys|values][layer][kv_head][token][channel].
class calibration_average {
 public:
  static constexpr memory_space space = memory_space::host;

  /// No samples yet. `on_mismatch`: what becomes of samples of another length than the first.
  explicit calibration_average(length_mismatch on_mismatch = length_mismatch::reject) : samples_(on_mismatch) {}

  /// Adds one sample: the cache of one sequence after the model ran it without sharing. The first one sets shape and
  /// length. Throws errc::short_samples (under two tokens: no positions to average over), errc::mismatched_samples,
  /// errc::bad_shape (another model's cache) and errc::not_finite; the average then stays unchanged. O(sample).
  template <class Cache>
  void add(const Cache& cache) {
    if constexpr (require_kv_cache<Cache>()) {
      static_assert(Cache::space == memory_space::host,
                    "kvsharer E201: this backend cannot read device memory; average there and pass the mean on");
      const cache_shape of = cache.shape();
      const auto tokens = static_cast<index_t>(cache.length());
      if (!samples_.admit(of, tokens)) return;
      check_finite(cache, {of.layers, of.kv_heads, of.head_dim, tokens});
      if (samples_.used() == 0)
        mean_.assign(static_cast<std::size_t>(2 * of.layers * of.kv_heads * tokens * of.head_dim), 0.0f);
      samples_.take(of, tokens);
      const float weight = 1.0f / static_cast<float>(samples_.used());
      float* mean = mean_.data();  // rows come in its order
      for_each_row(cache, shape(), [&](const auto& view, index_t head, index_t token) {
        for (index_t d = 0; d < of.head_dim; ++d)
          mean[d] += (static_cast<float>(view.at(head, token, d)) - mean[d]) * weight;
        mean += of.head_dim;
      });
    }
  }

  cache_shape shape() const noexcept { return samples_.shape(); }
  index_t length() const noexcept { return shape().capacity; }
  auto keys(layer_id l) const noexcept { return plane(l.value); }
  auto values(layer_id l) const noexcept { return plane(shape().layers + l.value); }

  /// Samples in the mean.
  index_t samples() const noexcept { return samples_.used(); }
  /// Samples left out because of their length.
  index_t skipped() const noexcept { return samples_.skipped(); }

 private:
  layer_view<float, layout::strided_index> plane(index_t i) const noexcept {
    const cache_shape s = shape();
    return {mean_.data() + i * s.kv_heads * s.capacity * s.head_dim,
            {.head = s.capacity * s.head_dim, .token = s.head_dim}};
  }

  template <class Cache>
  static void check_finite(const Cache& cache, cache_shape s) {
    bool finite = true;
    for_each_row(cache, s, [&](const auto& view, index_t head, index_t token) {
      for (index_t d = 0; d < s.head_dim; ++d) finite &= is_finite(static_cast<float>(view.at(head, token, d)));
    });
    if (!finite) throw error(errc::not_finite, "a calibration sample's keys or values contain NaN or infinity");
  }

  /// f(view, head, token), in the order [keys|values][layer][kv_head][token] of s.capacity tokens.
  template <class Cache, class F>
  static void for_each_row(const Cache& cache, cache_shape s, F&& f) {
    const auto visit = [&](const auto view) {
      for (index_t h = 0; h < s.kv_heads; ++h)
        for (index_t t = 0; t < s.capacity; ++t) f(view, h, t);
    };
    for (layer_id l{0}; l.value < s.layers; ++l.value) visit(cache.keys(l));
    for (layer_id l{0}; l.value < s.layers; ++l.value) visit(cache.values(l));
  }

  calibration_samples samples_;
  std::vector<float> mean_;
};
static_assert(KVCache<calibration_average>);

}  // namespace kvsharer::inline v0
