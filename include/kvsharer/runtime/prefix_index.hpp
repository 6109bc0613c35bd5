// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "kvsharer/core/cache_plan.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/hash.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/runtime/sequence_id.hpp"

namespace kvsharer::inline v0 {

/// fnv1a over the four bytes of each token, continued from `before`. Stable across platforms and versions, so that it
/// may stand in keys that leave the process.
struct prefix_hash {
  /// The hash of the tokens whose hash is `before`, followed by these. O(tokens).
  constexpr std::uint64_t operator()(std::uint64_t before, std::span<const std::int32_t> tokens) const noexcept {
    fnv1a h(before);
    for (const std::int32_t token : tokens) h.add(token);
    return h.value();
  }
};

/// The start of a chain of page hashes. It depends on the plan, which changes all hidden states above the first reader,
/// and on the salt, which stands for whatever else changes keys and values (weights, adapters, RoPE, the stored type).
inline std::uint64_t prefix_seed(const cache_plan& plan, std::uint64_t salt = 0) {
  return (plan.hash() ^ salt) * 0x9e3779b97f4a7c15u;
}

/// The longest known prefix of a text.
struct prefix_hit {
  sequence_id id;      ///< a sequence that holds the prefix; -1 if none does
  index_t tokens = 0;  ///< length of the prefix, a multiple of the page size
};

/// What a prefix index has done since it was made.
struct prefix_counters {
  std::uint64_t lookups = 0;       ///< calls of find
  std::uint64_t hits = 0;          ///< those that found a page or more
  std::uint64_t tokens_asked = 0;  ///< lengths of all texts that were looked up
  std::uint64_t tokens_hit = 0;    ///< of these, tokens that need no prefill
  std::uint64_t pages_asked = 0;   ///< whole pages of all texts that were looked up
  std::uint64_t pages_hit = 0;     ///< of these, pages that are known, so that the cache may share them
  friend constexpr bool operator==(const prefix_counters&, const prefix_counters&) = default;
};

/// Finds a sequence that holds the same first pages as a new text, so that the new sequence may `fork` it and
/// `truncate` instead of computing those pages again. Knows token ids only; the cache holds the pages.
///
/// A page is stored under the hash of all tokens up to its end, a chain that begins at prefix_seed; a hit is compared
/// token by token, so equal hashes do no harm. The engine reports what happens to sequences: `update` once their tokens
/// are stored in all owners, `truncate` and `erase` with the cache's truncate and drop. Ended sequences may stay in the
/// cache and in the index for later ones. Token t of a sequence must be at position t. One index per cache and salt.
/// Allocates on the host; not to be used by several threads at once.
template <class Hash = prefix_hash>
class prefix_index {
 public:
  /// `page_tokens` should be the cache's, so that a hit shares whole pages and copies none. Throws errc::bad_argument
  /// unless it is positive.
  prefix_index(index_t page_tokens, const cache_plan& plan, std::uint64_t salt = 0, Hash hash = {})
      : page_(page_tokens), seed_(prefix_seed(plan, salt)), hash_(std::move(hash)) {
    if (page_tokens <= 0)
      throw error(errc::bad_argument, "a page holds at least one token, not " + std::to_string(page_tokens));
  }
  prefix_index(prefix_index&&) = default;             ///< a moved-from index may only be assigned to or destroyed
  prefix_index& operator=(prefix_index&&) = default;  ///< the same

  /// The longest prefix of `tokens`, in whole pages, that some sequence holds. To leave a last token to run, ask for
  /// all but the last. O(tokens) when hashes differ.
  prefix_hit find(std::span<const std::int32_t> tokens) {
    const node* reached = nullptr;
    std::uint64_t hash = seed_;
    prefix_hit hit;
    for (auto rest = tokens; rest.size() >= page(); rest = rest.subspan(page())) {
      hash = hash_(hash, rest.first(page()));
      const node* const next = child(reached, hash, rest.first(page()));
      if (!next) break;
      reached = next;
      hit.tokens += page_;
    }
    if (reached) hit.id = reached->holders.back();
    ++counters_.lookups;
    counters_.hits += reached != nullptr;
    counters_.tokens_asked += tokens.size();
    counters_.tokens_hit += static_cast<std::uint64_t>(hit.tokens);
    counters_.pages_asked += tokens.size() / page();
    counters_.pages_hit += static_cast<std::uint64_t>(hit.tokens / page_);
    return hit;
  }

  /// Records that sequence `id` has stored exactly `tokens`. Its known pages are not compared again; further whole
  /// pages are added. Throws errc::unknown_sequence for a negative id, and errc::out_of_range for fewer tokens than are
  /// known: truncate first. O(new tokens).
  void update(sequence_id id, std::span<const std::int32_t> tokens) {
    if (id.value < 0) throw error(errc::unknown_sequence, "no sequence has the id " + std::to_string(id.value));
    const std::size_t whole = tokens.size() / page();
    const auto found = paths_.find(id.value);
    if (found != paths_.end() && found->second.size() > whole)
      throw error(errc::out_of_range, "sequence " + std::to_string(id.value) + " has " +
                                          std::to_string(found->second.size()) + " pages in the prefix index and now " +
                                          std::to_string(tokens.size()) + " tokens; truncate it here too");
    if (whole == 0) return;
    path& pages = found != paths_.end() ? found->second : paths_[id.value];
    const entry_without_pages unwanted{paths_, pages, id};
    pages.reserve(whole);  // from here on, a failure can only come between pages
    while (pages.size() < whole) {
      node* const parent = pages.empty() ? nullptr : pages.back().page;
      const auto text = tokens.subspan(pages.size() * page(), page());
      const std::uint64_t hash = hash_(parent ? parent->hash : seed_, text);
      node* next = child(parent, hash, text);
      if (next)
        next->holders.push_back(id);
      else
        next = &nodes_.emplace(hash, node{hash, parent, pages.size(), {text.begin(), text.end()}, {id}})->second;
      pages.push_back({next, next->holders.size() - 1});
    }
  }

  /// Forgets the pages of a sequence that do not lie within its first `length` tokens. Does nothing for an unknown
  /// sequence. O(pages forgotten).
  void truncate(sequence_id id, index_t length) {
    const auto found = paths_.find(id.value);
    if (found == paths_.end()) return;
    const auto keep = static_cast<std::size_t>(std::max<index_t>(length, 0)) / page();
    while (found->second.size() > keep) {
      let_go(found->second.back());
      found->second.pop_back();
    }
    if (found->second.empty()) paths_.erase(found);
  }

  /// Forgets a sequence. Does nothing for an unknown one.
  void erase(sequence_id id) { truncate(id, 0); }

  /// Forgets all sequences; counters stay.
  void clear() noexcept {
    paths_.clear();
    nodes_.clear();
  }

  /// Tokens per page.
  index_t page_tokens() const noexcept { return page_; }
  /// Known pages, each counted once.
  index_t pages() const noexcept { return static_cast<index_t>(nodes_.size()); }
  /// Sequences with at least one known page.
  index_t sequences() const noexcept { return static_cast<index_t>(paths_.size()); }
  /// Tokens of a sequence in known whole pages.
  index_t known_tokens(sequence_id id) const {
    const auto found = paths_.find(id.value);
    return found == paths_.end() ? 0 : static_cast<index_t>(found->second.size()) * page_;
  }
  /// The counts since construction.
  const prefix_counters& counters() const noexcept { return counters_; }

 private:
  /// A page, given all pages before it. Lives while it has a holder; every holder also holds its parent.
  struct node {
    std::uint64_t hash;
    const node* parent;
    std::size_t depth;  // pages before it
    std::vector<std::int32_t> tokens;
    std::vector<sequence_id> holders;
  };
  struct place {
    node* page;
    std::size_t at;  // holders[at] is the sequence
  };
  using path = std::vector<place>;

  /// On destruction, removes a sequence of which no page became known, because memory or the hash failed.
  struct entry_without_pages {
    std::unordered_map<int, path>& paths;
    const path& pages;
    sequence_id id;
    ~entry_without_pages() {
      if (pages.empty()) paths.erase(id.value);
    }
  };

  std::size_t page() const noexcept { return static_cast<std::size_t>(page_); }

  node* child(const node* parent, std::uint64_t hash, std::span<const std::int32_t> tokens) {
    for (auto [at, end] = nodes_.equal_range(hash); at != end; ++at)
      if (at->second.parent == parent && std::equal(tokens.begin(), tokens.end(), at->second.tokens.begin()))
        return &at->second;
    return nullptr;
  }

  void let_go(place from) {
    node& n = *from.page;
    n.holders[from.at] = n.holders.back();
    paths_.find(n.holders[from.at].value)->second[n.depth].at = from.at;
    n.holders.pop_back();
    if (!n.holders.empty()) return;
    for (auto [at, end] = nodes_.equal_range(n.hash); at != end; ++at)
      if (&at->second == &n) {
        nodes_.erase(at);
        return;
      }
  }

  index_t page_;
  std::uint64_t seed_;
  Hash hash_;
  std::unordered_multimap<std::uint64_t, node> nodes_;  // nodes keep their addresses
  std::unordered_map<int, path> paths_;                 // by sequence id
  prefix_counters counters_;
};

}  // namespace kvsharer::inline v0
