// SPDX-License-Identifier: Apache-2.0
#include "text/tokens/merge_table.hpp"

#include <cstddef>
#include <functional>
#include <queue>
#include <tuple>

namespace mini_llama {

void merge_table::encode(std::string_view word, std::vector<int>& ids) const {
  constexpr std::size_t none = SIZE_MAX;
  struct symbol {
    int id;  // -1 once joined to the symbol on its left
    std::size_t before, after;
  };
  std::vector<symbol> symbols;
  symbols.reserve(word.size());
  bool in_run = false;
  for (const char c : word) {
    const int id = bytes[static_cast<unsigned char>(c)];
    const bool lost = id < 0, skipped = lost && (unknown < 0 || (in_run && fuses_unknown));
    in_run = lost;
    if (!skipped) symbols.push_back({lost ? unknown : id, symbols.size() - 1, symbols.size() + 1});
  }
  if (symbols.empty()) return;
  symbols.front().before = symbols.back().after = none;

  struct candidate {
    std::int64_t rank;
    std::size_t left;
    int whole;
    bool operator>(const candidate& other) const { return std::tie(rank, left) > std::tie(other.rank, other.left); }
  };
  std::priority_queue<candidate, std::vector<candidate>, std::greater<>> waiting;
  const auto consider = [&](std::size_t left) {
    if (left == none || symbols[left].after == none) return;
    const auto found = joins_.find(key(symbols[left].id, symbols[symbols[left].after].id));
    if (found != joins_.end()) waiting.push({found->second.rank, left, found->second.whole});
  };
  for (std::size_t i = 0; i < symbols.size(); ++i) consider(i);
  while (!waiting.empty()) {
    const candidate best = waiting.top();
    waiting.pop();
    symbol& left = symbols[best.left];
    // A pair that an earlier join took apart may still stand in the queue.
    if (left.id < 0 || left.after == none) continue;
    const auto found = joins_.find(key(left.id, symbols[left.after].id));
    if (found == joins_.end() || found->second.whole != best.whole) continue;
    symbol& right = symbols[left.after];
    left.id = best.whole;
    left.after = right.after;
    right.id = -1;
    if (left.after != none) symbols[left.after].before = best.left;
    consider(left.before);
    consider(best.left);
  }
  for (const symbol& s : symbols)
    if (s.id >= 0) ids.push_back(s.id);
}

}  // namespace mini_llama
