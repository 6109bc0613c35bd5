// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0 {

/// What to do with a calibration sample that is not as long as the first.
enum class length_mismatch : std::uint8_t {
  reject,  ///< throw, naming both lengths: the default
  skip,    ///< leave it out and count it; the mean is over the samples used
};

/// Which samples an average over calibration samples takes, and how many it took: the first one fixes shape and length,
/// and the others must agree. It knows no numbers, so averages in any memory ask it the same.
class calibration_samples {
 public:
  /// No samples yet. `on_mismatch`: what becomes of samples of another length than the first.
  explicit calibration_samples(length_mismatch on_mismatch = length_mismatch::reject) noexcept
      : on_mismatch_(on_mismatch) {}

  /// May a sample of this shape (whatever its capacity) and so many tokens be added? False where it is to be left out,
  /// which is counted; nothing else changes before `take`. Throws errc::short_samples (under two tokens: no positions
  /// to average over), errc::bad_shape (nothing, or another model's cache) and errc::mismatched_samples.
  bool admit(cache_shape shape, index_t tokens) {
    if (tokens < 2)
      throw error(errc::short_samples, "a calibration sample of " + std::to_string(tokens) +
                                           " token(s) is too short; use at least 2, normally 64");
    if (shape.layers <= 0 || shape.kv_heads <= 0 || shape.head_dim <= 0)
      throw error(errc::bad_shape, "a calibration cache has no layers, heads or channels");
    if (!shape.one_width())
      throw error(errc::bad_shape, "a calibration cache has keys of " + std::to_string(shape.head_dim) +
                                       " and values of " + std::to_string(shape.value_dim) +
                                       " channels; layers are compared where the widths are equal");
    if (used_ == 0) return true;
    if (shape.layers != shape_.layers || shape.kv_heads != shape_.kv_heads || shape.head_dim != shape_.head_dim)
      throw error(errc::bad_shape, "this sample's cache has other layers, KV heads or head_dim than the first one's");
    if (tokens == shape_.capacity) return true;
    if (on_mismatch_ == length_mismatch::skip) {
      ++skipped_;
      return false;
    }
    throw error(errc::mismatched_samples, "this sample has " + std::to_string(tokens) + " tokens, the first one had " +
                                              std::to_string(shape_.capacity) +
                                              "; cut all to one length, or choose length_mismatch::skip");
  }

  /// Counts a sample that was admitted; the first one's shape and length stay.
  void take(cache_shape shape, index_t tokens) noexcept {
    if (used_++ == 0) shape_ = {shape.layers, shape.kv_heads, shape.head_dim, tokens};
  }

  /// The first sample's, its capacity being its length; all zero before.
  cache_shape shape() const noexcept { return shape_; }
  /// Samples taken.
  index_t used() const noexcept { return used_; }
  /// Samples left out because of their length.
  index_t skipped() const noexcept { return skipped_; }

 private:
  length_mismatch on_mismatch_;
  cache_shape shape_{};
  index_t used_ = 0, skipped_ = 0;
};

}  // namespace kvsharer::inline v0
