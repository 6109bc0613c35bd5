// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <vector>

#include "checkpoint/safetensors.hpp"

namespace mini_llama {

/// Queries, keys and values of a fused tensor, as copies in its own type: [heads * head_dim][columns] and twice
/// [kv_heads * head_dim][columns].
struct split_attention {
  std::vector<std::byte> query, key, value;
};

/// Of a tensor [kv_heads][group + 2][head_dim][columns], in which the query heads of each KV head are followed by its
/// key and its value, as InternLM2 stores it. A bias has one column. O(size of the tensor).
inline split_attention split_fused(const tensor_view& fused, kvsharer::index_t group, kvsharer::index_t kv_heads) {
  split_attention s;
  const std::byte* at = fused.data;
  const auto head = static_cast<std::size_t>(fused.bytes() / (kv_heads * (group + 2)));
  const auto take = [&](std::vector<std::byte>& to, std::size_t bytes) {
    to.insert(to.end(), at, at + bytes);
    at += bytes;
  };
  for (kvsharer::index_t h = 0; h < kv_heads; ++h) {
    take(s.query, static_cast<std::size_t>(group) * head);
    take(s.key, head);
    take(s.value, head);
  }
  return s;
}

}  // namespace mini_llama
