// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/runtime/cache_counters.hpp"
#include "kvsharer/runtime/cache_geometry.hpp"
#include "kvsharer/runtime/page_pool.hpp"
#include "kvsharer/runtime/sequence_id.hpp"

namespace kvsharer::inline v0 {

/// Positions are counted with 31 bits, as the device's words are.
inline constexpr index_t last_position = std::numeric_limits<std::int32_t>::max() - 1;

/// Which sequences live, how long they are, which pages each of them holds, and where its tokens stand in the text.
///
/// A page is held by every sequence whose block table names it. A sequence of n tokens holds ceil(n / page_tokens)
/// pages; the other entries of its block table are 0, so that an address made from them is still inside the pool. Ids
/// are place + generation * max_sequences, the generation counting how often a place was given back.
///
/// A slot is a token's number in the cache, a position its number in the text. They are equal until `keep` takes tokens
/// out of the middle, which only a table that keeps the position of every slot allows.
template <class Allocator>
class sequence_table {
 public:
  /// Preconditions: those that make_geometry checks.
  sequence_table(index_t max_sequences, index_t capacity, const cache_geometry& geometry, bool positions,
                 const Allocator& allocator)
      : capacity_(capacity),
        page_tokens_(geometry.page_tokens),
        blocks_(geometry.blocks),
        pool_(geometry.pages, allocator),
        records_(static_cast<std::size_t>(max_sequences), allocator),
        tables_(static_cast<std::size_t>(geometry.table_elements), allocator),
        positions_(static_cast<std::size_t>(positions ? max_sequences * capacity : 0), allocator) {
    for (std::size_t i = 0; i < records_.size(); ++i)
      records_[i].next_free = i + 1 < records_.size() ? static_cast<std::int32_t>(i + 1) : none;
  }

  /// The pages, with who holds them.
  const page_pool<Allocator>& pool() const noexcept { return pool_; }
  /// How many sequences may live at once.
  index_t max_sequences() const noexcept { return static_cast<index_t>(records_.size()); }
  /// Does this id name a sequence that was made and not dropped?
  bool alive(sequence_id id) const noexcept { return find(id) != none; }
  /// Tokens stored now. Throws errc::unknown_sequence.
  index_t length(sequence_id id) const { return records_[place(id)].length; }
  /// Where the next token stands in the text. Throws errc::unknown_sequence.
  index_t next_position(sequence_id id) const { return records_[place(id)].position; }
  /// Does it keep the position of every slot?
  bool keeps_positions() const noexcept { return !positions_.empty(); }
  /// Where the token in a slot stands in the text. Throws errc::unknown_sequence, errc::out_of_range.
  index_t position(sequence_id id, index_t slot) const {
    const std::size_t at = place(id);
    if (slot < 0 || slot >= records_[at].length)
      throw error(errc::out_of_range, "sequence " + std::to_string(id.value) + " of " +
                                          std::to_string(records_[at].length) + " tokens has no slot " +
                                          std::to_string(slot));
    return position_in(at, slot);
  }

  /// The place of a living sequence in [0, max_sequences()). Throws errc::unknown_sequence.
  std::size_t place(sequence_id id) const {
    const std::int32_t at = find(id);
    if (at == none)
      throw error(errc::unknown_sequence,
                  "no sequence " + std::to_string(id.value) + " lives in this cache; it was dropped or never created");
    return static_cast<std::size_t>(at);
  }

  /// The pages of a sequence, [blocks].
  std::span<const std::int32_t> table(sequence_id id) const {
    return std::span(tables_).subspan(place(id) * static_cast<std::size_t>(blocks_), static_cast<std::size_t>(blocks_));
  }

  /// The first page in which a token of [first, first + tokens) lies that another sequence holds too, or -1.
  std::int32_t first_shared(sequence_id id, index_t first, index_t tokens) const {
    const auto pages = table(id);
    for (index_t b = first / page_tokens_; b < blocks_of(first + tokens); ++b)
      if (const std::int32_t page = pages[static_cast<std::size_t>(b)]; pool_.shared(page)) return page;
    return -1;
  }

  /// May the tokens [first, first + tokens) be written? Throws errc::unknown_sequence, and errc::out_of_range for
  /// tokens outside [0, length) or in pages that a fork holds too.
  void check_store(sequence_id id, index_t first, index_t tokens) const {
    const index_t length = this->length(id);
    if (first < 0 || tokens < 0 || first > length || tokens > length - first)
      throw error(errc::out_of_range, std::to_string(tokens) + " tokens from " + std::to_string(first) +
                                          " on do not lie in sequence " + std::to_string(id.value) + " of " +
                                          std::to_string(length) + "; append first");
    if (tokens > 0 && first_shared(id, first, tokens) >= 0)
      throw error(errc::out_of_range, "some of the " + std::to_string(tokens) + " tokens from " +
                                          std::to_string(first) + " on of sequence " + std::to_string(id.value) +
                                          " are shared with a fork; store them before forking");
  }

  /// An empty sequence. Throws errc::sequences_exhausted. O(1).
  sequence_id create() {
    if (first_free_ == none || records_.empty())
      throw error(errc::sequences_exhausted,
                  "all " + std::to_string(max_sequences()) + " sequences are in use; drop one or construct with more");
    const auto at = static_cast<std::size_t>(first_free_);
    record& r = records_[at];
    first_free_ = r.next_free;
    r.alive = true;
    return {static_cast<int>(at) + r.generation * static_cast<int>(records_.size())};
  }

  /// A sequence that holds all pages of `id` with it. Throws errc::unknown_sequence, errc::sequences_exhausted.
  sequence_id fork(sequence_id id) {
    const std::size_t from = place(id);
    const sequence_id made = create();
    const std::size_t to = place(made);
    records_[to].length = records_[from].length;
    records_[to].position = records_[from].position;
    for (index_t b = 0; b < blocks_of(records_[from].length); ++b) pool_.share(entry(to, b) = entry(from, b));
    if (keeps_positions()) std::copy_n(positions_of(from), records_[from].length, positions_of(to));
    return made;
  }

  /// Ends a sequence and lets go of its pages. Throws errc::unknown_sequence.
  void drop(sequence_id id) { drop_place(place(id)); }

  /// Ends all sequences.
  void clear() noexcept {
    for (std::size_t at = records_.size(); at-- > 0;)
      if (records_[at].alive) drop_place(at);
  }

  /// Takes the newest tokens away: the next one then stands where the first of them stood. Throws errc::out_of_range
  /// unless 0 <= length <= length(id). O(pages given back).
  void truncate(sequence_id id, index_t length) {
    const std::size_t at = place(id);
    if (length < 0 || length > records_[at].length)
      throw error(errc::out_of_range, "sequence " + std::to_string(id.value) + " of " +
                                          std::to_string(records_[at].length) + " tokens cannot be truncated to " +
                                          std::to_string(length));
    shrink(at, length);
  }

  /// Keeps the tokens in `slots`, ascending, and their positions; the text goes on where it would have. Calls
  /// copy(from page, to page, tokens) for pages that others hold and that are about to change, then once
  /// move(slots, first): for every i >= first the rows of slot slots[i] go to slot i, in ascending order, which is safe
  /// in place. Throws, having changed nothing, errc::unknown_sequence, errc::bad_argument where positions are not kept,
  /// errc::out_of_range for slots that do not ascend within [0, length(id)), errc::pages_exhausted. O(length).
  template <class Copy, class Move>
  void keep(sequence_id id, std::span<const index_t> slots, Copy&& copy, Move&& move) {
    check_keep(id, slots);
    const std::size_t at = place(id);
    const auto count = static_cast<index_t>(slots.size());
    index_t first = 0;
    while (first < count && slots[static_cast<std::size_t>(first)] == first) ++first;
    const index_t begin = first / page_tokens_, end = first < count ? blocks_of(count) : begin;
    index_t wanted = 0;
    for (index_t b = begin; b < end; ++b) wanted += pool_.shared(entry(at, b));
    if (wanted > pool_.free_pages())
      throw error(errc::pages_exhausted,
                  "keeping " + std::to_string(count) + " tokens of a sequence needs " + std::to_string(wanted) +
                      " pages in place of those that a fork holds too, and " + std::to_string(pool_.free_pages()) +
                      " are free; drop or truncate a sequence or construct with more");
    record& r = records_[at];
    for (index_t b = begin; b < end; ++b)
      if (const std::int32_t from = entry(at, b); pool_.shared(from)) {
        const std::int32_t to = pool_.acquire();
        copy(from, to, std::min(page_tokens_, r.length - b * page_tokens_));
        pool_.release(from);
        entry(at, b) = to;
      }
    if (first < count) move(slots, first);
    for (index_t i = first; i < count; ++i) positions_of(at)[i] = positions_of(at)[slots[static_cast<std::size_t>(i)]];
    release_blocks(at, blocks_of(count));
    r.length = count;
  }

  /// Throws what forbids the whole batch to grow, having changed nothing: errc::unknown_sequence, errc::bad_argument
  /// (negative tokens), errc::capacity_exceeded, errc::pages_exhausted. A sequence may occur more than once. O(batch).
  void check(std::span<const sequence_growth> batch) {
    for (const auto& g : batch) {
      place(g.id);
      if (g.tokens < 0)
        throw error(errc::bad_argument, "a sequence cannot grow by " + std::to_string(g.tokens) + " tokens");
    }
    const sequence_growth* too_long = nullptr;
    for (const auto& g : batch) {
      record& r = records_[place(g.id)];
      if (g.tokens > std::min(capacity_ - r.length, last_position - r.position) - r.planned) {
        too_long = &g;
        break;
      }
      r.planned += g.tokens;
    }
    // Letting go of shared last pages while counting makes the last of several forks keep its page, as it will in
    // `grow`; both are put back as they were before anything is thrown.
    index_t pages = 0;
    for (const auto& g : batch) {
      const std::size_t at = place(g.id);
      record& r = records_[at];
      if (r.planned == 0) continue;
      pages += blocks_of(r.length + r.planned) - blocks_of(r.length);
      if (must_copy(at)) {
        pool_.release(last_page(at));
        r.let_go = true;
        ++pages;
      }
      r.planned = 0;
    }
    for (const auto& g : batch) {
      const std::size_t at = place(g.id);
      if (records_[at].let_go) pool_.share(last_page(at));
      records_[at].let_go = false;
    }
    if (too_long)
      throw error(errc::capacity_exceeded,
                  "sequence " + std::to_string(too_long->id.value) + " of " + std::to_string(length(too_long->id)) +
                      " tokens cannot grow by " + std::to_string(too_long->tokens) + " in a capacity of " +
                      std::to_string(capacity_) + " and " + std::to_string(last_position) + " positions");
    if (pages > pool_.free_pages())
      throw error(errc::pages_exhausted, "growing needs " + std::to_string(pages) + " pages and " +
                                             std::to_string(pool_.free_pages()) +
                                             " are free; drop or truncate a sequence or construct with more");
  }

  /// Lets one sequence grow, after `check`. Calls copy(from page, to page, tokens) where its partly filled last page is
  /// held by others too. Returns the first new token. O(new pages) and the copy.
  template <class Copy>
  index_t grow(sequence_growth g, Copy&& copy) {
    const std::size_t at = place(g.id);
    record& r = records_[at];
    const index_t first = r.length;
    if (g.tokens == 0) return first;
    if (must_copy(at)) {
      const std::int32_t from = last_page(at), to = pool_.acquire();
      copy(from, to, first % page_tokens_);
      pool_.release(from);
      entry(at, first / page_tokens_) = to;
    }
    for (index_t b = blocks_of(first); b < blocks_of(first + g.tokens); ++b) entry(at, b) = pool_.acquire();
    if (keeps_positions())
      std::iota(positions_of(at) + first, positions_of(at) + first + g.tokens, static_cast<std::int32_t>(r.position));
    r.length += g.tokens;
    r.position += g.tokens;
    return first;
  }

  /// Where the tokens of a restored sequence stand: read() gives slot after slot. Precondition: positions are kept.
  /// Throws errc::bad_stream for positions that do not ascend or that reach `next_position`.
  template <class Read>
  void set_positions(sequence_id id, index_t next_position, Read&& read) {
    const std::size_t at = place(id);
    index_t before = -1;
    for (index_t slot = 0; slot < records_[at].length; ++slot) {
      const index_t position = read();
      if (position <= before || position >= next_position)
        throw error(errc::bad_stream, "the saved sequence names impossible positions");
      positions_of(at)[slot] = static_cast<std::int32_t>(before = position);
    }
    records_[at].position = next_position;
  }

  /// Sum of all sequences' lengths. O(max_sequences).
  index_t tokens() const noexcept {
    index_t sum = 0;
    for (const record& r : records_) sum += r.length;
    return sum;
  }

  /// How the pages are used, if a token takes `token_bytes` in all owners together. Allocates nothing.
  /// O(max_sequences), and as much again for each sequence that has a partly filled page in common with another.
  cache_counters counters(std::size_t token_bytes) const noexcept {
    const auto bytes = [&](index_t tokens) { return static_cast<std::size_t>(tokens) * token_bytes; };
    cache_counters c{.pages = pool_.pages(),
                     .pages_in_use = pool_.pages() - pool_.free_pages(),
                     .pages_shared = pool_.shared_pages(),
                     .pages_at_peak = pool_.peak_pages()};
    for (std::size_t at = 0; at < records_.size(); ++at) {
      c.sequences += records_[at].alive;
      c.tokens += records_[at].length;
      c.slots_empty += empty_slots(at);
    }
    c.slots_in_use = c.pages_in_use * page_tokens_;
    c.logical = bytes(c.tokens);
    c.physical = bytes(c.slots_in_use);
    c.peak = bytes(c.pages_at_peak * page_tokens_);
    return c;
  }

  /// Of all block tables.
  std::size_t table_bytes() const noexcept { return tables_.capacity() * sizeof(std::int32_t); }
  /// Of everything else that is kept of sequences and pages.
  std::size_t record_bytes() const noexcept {
    return records_.capacity() * sizeof(record) + positions_.capacity() * sizeof(std::int32_t) +
           pool_.allocated_bytes();
  }

 private:
  static constexpr std::int32_t none = -1;

  struct record {
    index_t length = 0;
    index_t position = 0;         // where the next token stands in the text; length counts slots
    index_t planned = 0;          // only inside `check`
    std::int32_t generation = 0;  // how often this place was given back
    std::int32_t next_free = none;
    bool alive = false;
    bool let_go = false;  // only inside `check`
  };
  template <class T>
  using array = std::vector<T, typename std::allocator_traits<Allocator>::template rebind_alloc<T>>;

  void check_keep(sequence_id id, std::span<const index_t> slots) const {
    const index_t length = this->length(id);
    if (!keeps_positions())
      throw error(errc::bad_argument,
                  "this cache does not keep the positions of its tokens, so none can be taken out of the middle; "
                  "construct it with options.positions = true");
    index_t before = -1;
    for (const index_t slot : slots) {
      if (slot <= before || slot >= length)
        throw error(errc::out_of_range, "the slots to keep must ascend and lie in sequence " +
                                            std::to_string(id.value) + " of " + std::to_string(length) + " tokens; " +
                                            std::to_string(slot) + " follows " + std::to_string(before));
      before = slot;
    }
  }

  std::int32_t* positions_of(std::size_t at) noexcept {
    return positions_.data() + at * static_cast<std::size_t>(capacity_);
  }
  index_t position_in(std::size_t at, index_t slot) const noexcept {
    return keeps_positions() ? positions_[at * static_cast<std::size_t>(capacity_) + static_cast<std::size_t>(slot)]
                             : slot;
  }

  index_t blocks_of(index_t tokens) const noexcept { return tokens > 0 ? (tokens - 1) / page_tokens_ + 1 : 0; }
  std::int32_t& entry(std::size_t at, index_t block) noexcept {
    return tables_[at * static_cast<std::size_t>(blocks_) + static_cast<std::size_t>(block)];
  }

  /// The page of a sequence's last token. Precondition: it has one.
  std::int32_t last_page(std::size_t at) noexcept { return entry(at, blocks_of(records_[at].length) - 1); }

  /// Would the next token go into a page that another sequence holds too?
  bool must_copy(std::size_t at) noexcept {
    return records_[at].length % page_tokens_ != 0 && pool_.shared(last_page(at));
  }

  /// Slots of a sequence's last page that no sequence fills. Those of a page with several holders are counted for the
  /// one that fills most of it, the first of such. Holders have a page in the same block, as forks and `truncate` leave
  /// blocks where they are.
  index_t empty_slots(std::size_t at) const noexcept {
    const index_t length = records_[at].length;
    if (length % page_tokens_ == 0) return 0;
    const auto block = static_cast<std::size_t>(blocks_of(length) - 1), width = static_cast<std::size_t>(blocks_);
    const std::int32_t page = tables_[at * width + block];
    if (pool_.shared(page))
      for (std::size_t i = 0; i < records_.size(); ++i)
        if (blocks_of(records_[i].length) > static_cast<index_t>(block) && tables_[i * width + block] == page &&
            (records_[i].length > length || (records_[i].length == length && i < at)))
          return 0;
    return page_tokens_ - length % page_tokens_;
  }

  std::int32_t find(sequence_id id) const noexcept {
    const auto places = static_cast<int>(records_.size());
    if (id.value < 0 || places == 0) return none;
    const record& r = records_[static_cast<std::size_t>(id.value % places)];
    return r.alive && r.generation == id.value / places ? id.value % places : none;
  }

  /// Gives back the pages behind the first `blocks`.
  void release_blocks(std::size_t at, index_t blocks) noexcept {
    for (index_t b = blocks_of(records_[at].length); b-- > blocks;) {
      pool_.release(entry(at, b));
      entry(at, b) = 0;
    }
  }

  void shrink(std::size_t at, index_t length) noexcept {
    record& r = records_[at];
    release_blocks(at, blocks_of(length));
    if (length < r.length) r.position = position_in(at, length);
    r.length = length;
  }

  void drop_place(std::size_t at) noexcept {
    shrink(at, 0);
    record& r = records_[at];
    const std::int32_t generations = std::numeric_limits<std::int32_t>::max() / static_cast<int>(records_.size());
    r.generation = (r.generation + 1) % generations;
    r.position = 0;
    r.alive = false;
    r.next_free = first_free_;
    first_free_ = static_cast<std::int32_t>(at);
  }

  index_t capacity_;
  index_t page_tokens_;
  index_t blocks_;
  page_pool<Allocator> pool_;
  array<record> records_;          // [max_sequences]
  array<std::int32_t> tables_;     // [max_sequences][blocks]
  array<std::int32_t> positions_;  // [max_sequences][capacity], or nothing
  std::int32_t first_free_ = 0;
};

}  // namespace kvsharer::inline v0
