// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <type_traits>
#include <vector>

#include "kvsharer/backend/cpu/aligned_vector.hpp"
#include "kvsharer/backend/cpu/simd.hpp"
#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cpu::detail::inline KVSHARER_LANES {

/// Some channels of up to `lanes` rows. A row is a (head, token); they are numbered token by token and head by head.
struct row_block {
  index_t row = 0;
  index_t rows = 0;
  index_t channel = 0;
  index_t channels = 0;
};

/// A block of rows of every layer, transposed so that a register has one channel of `lanes` rows:
/// [layer][channel][lane]. Folds over channels then need no horizontal step, and every lane ends with one row's value,
/// for any head_dim. Layers that only fill the last register tile, and lanes without a row, hold zeros.
template <LayerView View>
class row_panel {
 public:
  /// Channels held at once: two register tiles of layers (4 layers x 64 channels x 64 bytes each) stay in a 48 KiB L1.
  static constexpr index_t channel_block = 64;
  /// Elements from a layer to the next.
  static constexpr index_t layer_stride = channel_block * lanes;

  explicit row_panel(index_t layers) : panel_(static_cast<std::size_t>(layers * layer_stride)) {}

  /// [channel][lane] of a layer.
  const float* layer(index_t l) const noexcept { return panel_.data() + l * layer_stride; }

  /// Fills in a block of one layer. `tokens`: rows per head.
  void load(index_t l, const View& view, row_block b, index_t tokens) {
    alignas(pack) static constexpr float zeros[channel_block] = {};
    alignas(pack) float decoded[direct ? 1 : lanes * channel_block];
    const float* source[lanes];
    for (index_t lane = b.rows; lane < lanes; ++lane) source[lane] = zeros;
    each_row(b, tokens, [&](index_t lane, index_t head, index_t token) {
      if constexpr (direct) {
        source[lane] = view.row(head, token) + b.channel;
      } else {
        source[lane] = decoded + lane * channel_block;
        decode(view, head, token, b, decoded + lane * channel_block);
      }
    });
    turn(source, b.channels, panel_.data() + l * layer_stride);
  }

 private:
  static constexpr bool direct = [] {
    if constexpr (RowContiguousView<View>)
      return std::is_same_v<typename View::value_type, float>;
    else
      return false;
  }();

  template <class F>
  static void each_row(row_block b, index_t tokens, F&& f) {
    index_t head = b.row / tokens, token = b.row % tokens;
    for (index_t lane = 0; lane < b.rows; ++lane) {
      f(lane, head, token);
      if (++token == tokens) token = 0, ++head;
    }
  }

  static void decode(const View& view, index_t head, index_t token, row_block b, float* out) {
    if constexpr (RowContiguousView<View>) {
      const auto* in = view.row(head, token) + b.channel;
      for (index_t c = 0; c < b.channels; ++c) out[c] = static_cast<float>(in[c]);
    } else {
      for (index_t c = 0; c < b.channels; ++c) out[c] = static_cast<float>(view.at(head, token, b.channel + c));
    }
  }

  static void turn(const float* const* source, index_t channels, float* out) {
    index_t c = 0;
    for (; c + lanes <= channels; c += lanes) {
      pack block[lanes];
      unrolled<lanes>([&](auto lane) { block[lane] = unaligned(source[lane] + c).value; });
      transpose(block);
      unrolled<lanes>([&](auto i) { aligned(out + (c + i) * lanes) = block[i]; });
    }
    for (; c < channels; ++c)
      for (index_t lane = 0; lane < lanes; ++lane) out[c * lanes + lane] = source[lane][c];
  }

  aligned_vector<float> panel_;
};

}  // namespace kvsharer::inline v0::cpu::detail::inline KVSHARER_LANES
