// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>

#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cpu::detail {

/// A row's numbers: floats where they lie, others decoded into `buffer` [channels].
template <class E>
const float* as_floats(const E* row, index_t channels, float* buffer) {
  if constexpr (std::same_as<E, float>) {
    return row;
  } else {
    for (index_t d = 0; d < channels; ++d) buffer[d] = static_cast<float>(row[d]);
    return buffer;
  }
}

/// Calls f(token, row) for the tokens [begin, end) of one KV head, in order, with each row's `channels` numbers as
/// floats: in the view's own memory where floats lie side by side there, else decoded into `buffer` [channels]. Every
/// stored number is read once, and a block table is asked once per page.
template <LayerView V, class F>
void for_each_row(const V& view, index_t head, index_t begin, index_t end, index_t channels, float* buffer, F&& f) {
  if constexpr (TokenRunView<V>) {
    const index_t stride = view.token_stride();
    for (index_t token = begin; token < end;) {
      const auto* row = view.row(head, token);
      for (const index_t last = token + view.run(token, end - token); token < last; ++token, row += stride)
        f(token, as_floats(row, channels, buffer));
    }
  } else if constexpr (RowContiguousView<V>) {
    for (index_t token = begin; token < end; ++token) f(token, as_floats(view.row(head, token), channels, buffer));
  } else {
    for (index_t token = begin; token < end; ++token) {
      for (index_t d = 0; d < channels; ++d) buffer[d] = static_cast<float>(view.at(head, token, d));
      f(token, static_cast<const float*>(buffer));
    }
  }
}

}  // namespace kvsharer::inline v0::cpu::detail
