// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "kvsharer/core/types.hpp"
#include "kvsharer/runtime/cache_geometry.hpp"
#include "kvsharer/runtime/page_pool.hpp"
#include "kvsharer/runtime/token_lists.hpp"

namespace kvsharer::inline v0 {

/// How many tokens each list of each sequence has, and which pages it holds. Sequences are known by their place.
///
/// A list of n tokens holds ceil(n / page_tokens) pages in each of its block tables; the other entries are 0, so that
/// an address made from them is still inside the pool. Every list whose tables name a page holds it. The lists of a
/// fork hold the same pages in the same blocks, until one of the two changes them; then it has a copy.
///
/// Checks nothing: preconditions are that places and lists exist, and that there are as many free pages as are taken.
template <class Allocator>
class list_pages {
 public:
  /// All lists empty.
  list_pages(index_t max_sequences, const cache_geometry& geometry, token_lists lists, const Allocator& allocator)
      : page_tokens_(geometry.page_tokens),
        blocks_(geometry.blocks),
        lists_(std::move(lists)),
        pool_(geometry.pages, allocator),
        counts_(static_cast<std::size_t>(max_sequences * lists_.lists()), allocator),
        tables_(static_cast<std::size_t>(geometry.table_elements), allocator) {}

  /// The pages and their holders.
  const page_pool<Allocator>& pool() const noexcept { return pool_; }
  /// How lists and block tables are numbered.
  const token_lists& lists() const noexcept { return lists_; }
  /// Tokens of a page.
  index_t page_tokens() const noexcept { return page_tokens_; }
  /// Tokens of a list.
  index_t count(std::size_t place, index_t list) const noexcept { return record_of(place, list).count; }
  /// The page numbers of one block table of a sequence, [blocks]; its other tables lie before and after it.
  std::span<const std::int32_t> table(std::size_t place, index_t table) const noexcept {
    return std::span(tables_).subspan(first_entry(place, table), static_cast<std::size_t>(blocks_));
  }
  /// Tokens of the longest list. O(lists).
  index_t longest(std::size_t place) const noexcept {
    index_t most = 0;
    for (index_t l = 0; l < lists_.lists(); ++l) most = std::max(most, count(place, l));
    return most;
  }

  /// Does another sequence hold a page of the tokens [first, first + tokens) of a list, too?
  bool any_shared(std::size_t place, index_t list, index_t first, index_t tokens) const noexcept {
    for (const std::int32_t t : lists_.tables_of(list))
      for (index_t b = first / page_tokens_; b < blocks_of(first + tokens); ++b)
        if (pool_.shared(entry(place, t, b))) return true;
    return false;
  }

  /// The lists of an empty sequence hold all pages that those of another hold. O(pages).
  void share(std::size_t from, std::size_t to) noexcept {
    for (index_t l = 0; l < lists_.lists(); ++l) {
      record_of(to, l).count = record_of(from, l).count;
      for (const std::int32_t t : lists_.tables_of(l))
        for (index_t b = 0; b < blocks_of(count(from, l)); ++b) pool_.share(entry(to, t, b) = entry(from, t, b));
    }
  }

  /// Leaves a list its first `tokens` tokens, and releases the pages after them. O(pages released).
  void cut(std::size_t place, index_t list, index_t tokens) noexcept {
    for (const std::int32_t t : lists_.tables_of(list))
      for (index_t b = blocks_of(count(place, list)); b-- > blocks_of(tokens);) {
        pool_.release(entry(place, t, b));
        entry(place, t, b) = 0;
      }
    record_of(place, list).count = static_cast<std::int32_t>(tokens);
  }

  /// The pages that `grow` takes. Last pages that others hold too are released, so that the last of several forks keeps
  /// its page, as it will in `grow`; `end_plan` takes them back.
  index_t plan_growth(std::size_t place, index_t tokens) noexcept {
    index_t pages = 0;
    for (index_t l = 0; l < lists_.lists(); ++l) {
      const auto tables = lists_.tables_of(l);
      pages += (blocks_of(count(place, l) + tokens) - blocks_of(count(place, l))) * static_cast<index_t>(tables.size());
      if (!must_copy(place, l)) continue;
      for (const std::int32_t t : tables) pool_.release(last_page(place, l, t));
      record_of(place, l).released = true;
      pages += static_cast<index_t>(tables.size());
    }
    return pages;
  }
  /// After plan_growth, once or more often.
  void end_plan(std::size_t place) noexcept {
    for (index_t l = 0; l < lists_.lists(); ++l)
      if (std::exchange(record_of(place, l).released, false))
        for (const std::int32_t t : lists_.tables_of(l)) pool_.share(last_page(place, l, t));
  }

  /// Grows a list. Calls copy(table, from page, to page, tokens) if others hold its partly filled last page, too. O(new
  /// pages) and the copies.
  template <class Copy>
  void grow(std::size_t place, index_t list, index_t tokens, Copy&& copy) {
    const index_t before = count(place, list);
    const bool copies = must_copy(place, list);
    for (const std::int32_t t : lists_.tables_of(list)) {
      if (copies) copy_page(place, t, before / page_tokens_, before % page_tokens_, copy);
      for (index_t b = blocks_of(before); b < blocks_of(before + tokens); ++b) entry(place, t, b) = pool_.acquire();
    }
    record_of(place, list).count += static_cast<std::int32_t>(tokens);
  }

  /// Pages that a list of so many tokens holds in all its tables.
  index_t pages_of(index_t list, index_t tokens) const noexcept {
    return blocks_of(tokens) * static_cast<index_t>(lists_.tables_of(list).size());
  }

  /// How many pages with the tokens [first, end) of a list others hold, too.
  index_t shared_pages(std::size_t place, index_t list, index_t first, index_t end) const noexcept {
    index_t pages = 0;
    for (const std::int32_t t : lists_.tables_of(list))
      for (index_t b = first / page_tokens_; b < blocks_of(end); ++b) pages += pool_.shared(entry(place, t, b));
    return pages;
  }
  /// Replaces these pages by copies of its own: copy(table, from page, to page, tokens).
  template <class Copy>
  void own(std::size_t place, index_t list, index_t first, index_t end, Copy&& copy) {
    for (const std::int32_t t : lists_.tables_of(list))
      for (index_t b = first / page_tokens_; b < blocks_of(end); ++b)
        if (pool_.shared(entry(place, t, b)))
          copy_page(place, t, b, std::min(page_tokens_, count(place, list) - b * page_tokens_), copy);
  }

  /// Slots that no sequence fills, of the last pages of a sequence's lists. A page with several holders is counted for
  /// the holder that fills most of it, the first if there are several. O(lists), times the sequences for shared pages.
  index_t empty_slots(std::size_t place) const noexcept {
    index_t sum = 0;
    for (index_t l = 0; l < lists_.lists(); ++l)
      sum += empty_slots(place, l) * static_cast<index_t>(lists_.tables_of(l).size());
    return sum;
  }

  /// The sum over all sequences and lists of list_bytes(list) * tokens of the list. O(max_sequences * lists).
  template <class Bytes>
  std::size_t bytes(Bytes&& list_bytes) const noexcept {
    std::size_t sum = 0;
    for (std::size_t place = 0; place < places(); ++place)
      for (index_t l = 0; l < lists_.lists(); ++l)
        sum += static_cast<std::size_t>(count(place, l)) * static_cast<std::size_t>(list_bytes(l));
    return sum;
  }

  /// Bytes of all block tables.
  std::size_t table_bytes() const noexcept { return tables_.capacity() * sizeof(std::int32_t); }
  /// Bytes of all other records of lists and pages.
  std::size_t record_bytes() const noexcept { return counts_.capacity() * sizeof(record) + pool_.allocated_bytes(); }

 private:
  struct record {
    std::int32_t count = 0;  // tokens
    bool released = false;   // only between plan_growth and end_plan
  };
  template <class T>
  using array = std::vector<T, typename std::allocator_traits<Allocator>::template rebind_alloc<T>>;

  record& record_of(std::size_t place, index_t list) noexcept {
    return counts_[place * static_cast<std::size_t>(lists_.lists()) + static_cast<std::size_t>(list)];
  }
  const record& record_of(std::size_t place, index_t list) const noexcept {
    return counts_[place * static_cast<std::size_t>(lists_.lists()) + static_cast<std::size_t>(list)];
  }
  std::size_t places() const noexcept { return counts_.size() / static_cast<std::size_t>(lists_.lists()); }

  index_t blocks_of(index_t tokens) const noexcept { return tokens > 0 ? (tokens - 1) / page_tokens_ + 1 : 0; }
  std::size_t first_entry(std::size_t place, index_t table) const noexcept {
    return (place * static_cast<std::size_t>(lists_.tables()) + static_cast<std::size_t>(table)) *
           static_cast<std::size_t>(blocks_);
  }
  std::int32_t& entry(std::size_t place, index_t table, index_t block) noexcept {
    return tables_[first_entry(place, table) + static_cast<std::size_t>(block)];
  }
  std::int32_t entry(std::size_t place, index_t table, index_t block) const noexcept {
    return tables_[first_entry(place, table) + static_cast<std::size_t>(block)];
  }

  /// The page of a list's last token in one table. Precondition: the list is not empty.
  std::int32_t last_page(std::size_t place, index_t list, index_t table) const noexcept {
    return entry(place, table, blocks_of(count(place, list)) - 1);
  }

  /// Would the next token of a list go into a page that another sequence holds too? The answer is the same for all its
  /// tables, since forks share whole lists.
  bool must_copy(std::size_t place, index_t list) const noexcept {
    return count(place, list) % page_tokens_ != 0 &&
           pool_.shared(last_page(place, list, lists_.tables_of(list).front()));
  }

  template <class Copy>
  void copy_page(std::size_t place, index_t table, index_t block, index_t tokens, Copy&& copy) {
    const std::int32_t from = entry(place, table, block), to = pool_.acquire();
    copy(table, from, to, tokens);
    pool_.release(from);
    entry(place, table, block) = to;
  }

  index_t empty_slots(std::size_t place, index_t list) const noexcept {
    const index_t own = count(place, list);
    if (own % page_tokens_ == 0) return 0;
    const index_t block = blocks_of(own) - 1, table = lists_.tables_of(list).front();
    const std::int32_t page = entry(place, table, block);
    if (pool_.shared(page))
      for (std::size_t i = 0; i < places(); ++i)
        if (const index_t other = count(i, list);
            blocks_of(other) > block && entry(i, table, block) == page && (other > own || (other == own && i < place)))
          return 0;
    return page_tokens_ - own % page_tokens_;
  }

  index_t page_tokens_;
  index_t blocks_;
  token_lists lists_;
  page_pool<Allocator> pool_;
  array<record> counts_;        // [max_sequences][lists]
  array<std::int32_t> tables_;  // [max_sequences][tables][blocks]
};

}  // namespace kvsharer::inline v0
