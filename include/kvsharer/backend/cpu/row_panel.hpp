// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <type_traits>
#include <vector>

#include "kvsharer/backend/cpu/aligned_vector.hpp"
#include "kvsharer/backend/cpu/simd.hpp"
#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cpu::detail {

/// The same few rows of every layer, turned so that a register holds one channel of `lanes` rows:
/// [layer][channel][lane]. Folds over channels then need no horizontal step, and every lane ends as one row's value,
/// whatever head_dim is. Layers are padded to a multiple of the register tile and rows to `lanes`, with zeros.
template <LayerView View>
class row_panel {
 public:
  /// Channels held at once: two register tiles of layers (4 layers x 64 channels x 64 bytes each) stay in a 48 KiB L1.
  static constexpr index_t channel_block = 64;

  row_panel(const std::vector<View>& layers, index_t padded_layers, index_t tokens)
      : layers_(&layers), tokens_(tokens), panel_(static_cast<std::size_t>(padded_layers * channel_block * lanes)) {}

  /// Fills the panel with channels [first, first + channels) of rows [row, row + rows), rows <= lanes. A row is a
  /// (head, token); they are numbered token by token and head by head.
  void load(index_t row, index_t rows, index_t first, index_t channels) {
    alignas(64) static constexpr float zeros[channel_block] = {};
    for (std::size_t l = 0; l < layers_->size(); ++l) {
      const View view = (*layers_)[l];
      const float* source[lanes];
      for (index_t lane = 0; lane < lanes; ++lane)
        source[lane] = lane < rows ? floats(view, row + lane, first, channels, lane) : zeros;
      turn(source, channels, panel_.data() + static_cast<index_t>(l) * channel_block * lanes);
    }
  }

  /// [channel][lane] of a layer.
  const float* layer(index_t l) const noexcept { return panel_.data() + l * channel_block * lanes; }

  /// Asks for all channels of a row of a layer to be brought near, if that costs no more than asking.
  void prefetch(index_t l, index_t row, index_t channels) const noexcept {
    if constexpr (direct) {
      const float* p = (*layers_)[static_cast<std::size_t>(l)].row(row / tokens_, row % tokens_);
      for (index_t c = 0; c < channels; c += 16) __builtin_prefetch(p + c);
    }
  }

 private:
  static constexpr bool direct = [] {
    if constexpr (RowContiguousView<View>)
      return std::is_same_v<typename View::value_type, float>;
    else
      return false;
  }();

  const float* floats(const View& view, index_t row, index_t first, index_t channels, index_t lane) {
    const index_t head = row / tokens_, token = row % tokens_;
    if constexpr (direct) {
      return view.row(head, token) + first;
    } else {
      float* out = decoded_ + lane * channel_block;
      if constexpr (RowContiguousView<View>) {
        const auto* in = view.row(head, token) + first;
        for (index_t c = 0; c < channels; ++c) out[c] = static_cast<float>(in[c]);
      } else {
        for (index_t c = 0; c < channels; ++c) out[c] = view.at(head, token, first + c);
      }
      return out;
    }
  }

  static void turn(const float* const* source, index_t channels, float* out) {
    index_t c = 0;
    for (; c + lanes <= channels; c += lanes) {
      pack block[lanes];
      unrolled<lanes>([&](auto lane) { block[lane] = unaligned(source[lane] + c); });
      transpose(block);
      unrolled<lanes>([&](auto i) { aligned(out + (c + i) * lanes) = block[i]; });
    }
    for (; c < channels; ++c)
      for (index_t lane = 0; lane < lanes; ++lane) out[c * lanes + lane] = source[lane][c];
  }

  const std::vector<View>* layers_;
  index_t tokens_;
  aligned_vector<float> panel_;
  alignas(64) float decoded_[lanes * channel_block];
};

}  // namespace kvsharer::inline v0::cpu::detail
