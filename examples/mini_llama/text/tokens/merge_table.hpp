// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace mini_llama {

/// Which pairs of tokens become one, the earliest in the list first: byte pair encoding.
class merge_table {
 public:
  /// The token of each byte; -1 for a byte that has none.
  std::array<int, 256> bytes{};

  /// What stands for a byte that has none, or, where they fuse, for a run of them. -1: nothing does, and what lies
  /// around them is joined as neighbours.
  int unknown = -1;
  bool fuses_unknown = false;

  /// The next pair of the list becomes `whole`; a pair that is there already gets this place instead.
  void add(int left, int right, int whole) { joins_[key(left, right)] = {next_++, whole}; }

  /// Appends the tokens of `word`: its bytes, the first pair of the list that stands somewhere in it joined where it
  /// stands first, and so on until none is left. O(n log n) for n bytes.
  void encode(std::string_view word, std::vector<int>& ids) const;

 private:
  struct join {
    std::int64_t rank;
    int whole;
  };

  static std::uint64_t key(int left, int right) {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 | static_cast<std::uint32_t>(right);
  }

  std::unordered_map<std::uint64_t, join> joins_;
  std::int64_t next_ = 0;
};

}  // namespace mini_llama
