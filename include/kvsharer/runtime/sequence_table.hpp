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
#include <utility>
#include <vector>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/runtime/cache_counters.hpp"
#include "kvsharer/runtime/cache_geometry.hpp"
#include "kvsharer/runtime/page_pool.hpp"
#include "kvsharer/runtime/sequence_id.hpp"
#include "kvsharer/runtime/token_lists.hpp"

namespace kvsharer::inline v0 {

/// Positions are counted with 31 bits, as the device's words are.
inline constexpr index_t last_position = std::numeric_limits<std::int32_t>::max() - 1;

/// The live sequences, the tokens in each of their lists, the pages that each list holds, and the positions of tokens.
///
/// A sequence has one list of tokens, or several if token_lists says so; all lists grow together, and each loses tokens
/// on its own. A list of n tokens holds ceil(n / page_tokens) pages in each of its block tables; the other entries are
/// 0, so that an address made from them is still inside the pool. Every sequence whose tables name a page holds it. Ids
/// are place + generation * max_sequences; the generation counts how often the place was given back.
///
/// A slot is a token's number in its list, a position its number in the text. They are equal until `keep` removes
/// tokens, which requires a table that keeps the position of every slot.
template <class Allocator>
class sequence_table {
 public:
  /// Preconditions: those that make_geometry checks.
  sequence_table(index_t max_sequences, index_t capacity, const cache_geometry& geometry, token_lists lists,
                 bool positions, const Allocator& allocator)
      : capacity_(capacity),
        page_tokens_(geometry.page_tokens),
        blocks_(geometry.blocks),
        lists_(std::move(lists)),
        pool_(geometry.pages, allocator),
        records_(static_cast<std::size_t>(max_sequences), allocator),
        counts_(static_cast<std::size_t>(max_sequences * lists_.lists()), allocator),
        tables_(static_cast<std::size_t>(geometry.table_elements), allocator),
        positions_(static_cast<std::size_t>(positions ? max_sequences * lists_.lists() * capacity : 0), allocator) {
    for (std::size_t i = 0; i < records_.size(); ++i)
      records_[i].next_free = i + 1 < records_.size() ? static_cast<std::int32_t>(i + 1) : none;
  }

  /// The pages and their holders.
  const page_pool<Allocator>& pool() const noexcept { return pool_; }
  /// How lists and block tables are numbered.
  const token_lists& lists() const noexcept { return lists_; }
  /// How many sequences may live at once.
  index_t max_sequences() const noexcept { return static_cast<index_t>(records_.size()); }
  /// Does this id name a sequence that was made and not dropped?
  bool alive(sequence_id id) const noexcept { return find(id) != none; }
  /// Tokens of the longest list. Throws errc::unknown_sequence.
  index_t length(sequence_id id) const { return records_[place(id)].length; }
  /// Tokens of one list. Throws errc::unknown_sequence, errc::out_of_range.
  index_t length(sequence_id id, index_t list) const { return list_of(place(id), checked(list)).count; }
  /// Do all lists have the same length? Throws errc::unknown_sequence. O(lists).
  bool even(sequence_id id) const {
    const std::size_t at = place(id);
    for (index_t l = 0; l < lists_.lists(); ++l)
      if (list_of(at, l).count != records_[at].length) return false;
    return true;
  }
  /// The position of the next token. Throws errc::unknown_sequence.
  index_t next_position(sequence_id id) const { return records_[place(id)].position; }
  /// Does the table keep the position of every slot?
  bool keeps_positions() const noexcept { return !positions_.empty(); }
  /// The position of the token in a slot of a list. Throws errc::unknown_sequence, errc::out_of_range.
  index_t position(sequence_id id, index_t slot, index_t list = 0) const {
    const std::size_t at = place(id);
    if (const index_t count = list_of(at, checked(list)).count; slot < 0 || slot >= count)
      throw error(errc::out_of_range, "sequence " + std::to_string(id.value) + of_list(list) + " of " +
                                          std::to_string(count) + " tokens has no slot " + std::to_string(slot));
    return position_in(at, list, slot);
  }

  /// The place of a living sequence in [0, max_sequences()). Throws errc::unknown_sequence.
  std::size_t place(sequence_id id) const {
    const std::int32_t at = find(id);
    if (at == none)
      throw error(errc::unknown_sequence,
                  "no sequence " + std::to_string(id.value) + " lives in this cache; it was dropped or never created");
    return static_cast<std::size_t>(at);
  }

  /// The page numbers of one block table of a sequence, [blocks]; its other tables lie before and after it.
  std::span<const std::int32_t> table(sequence_id id, index_t table = 0) const {
    return std::span(tables_).subspan(first_entry(place(id), table), static_cast<std::size_t>(blocks_));
  }

  /// Checks that `tokens` tokens may be written, from token `first` of the longest list on. In a list that is shorter
  /// by n they stand n slots lower. Checks the lists [list, list + count). Throws errc::unknown_sequence, and
  /// errc::out_of_range for tokens outside a list or in pages that a fork holds too.
  void check_store(sequence_id id, index_t first, index_t tokens, index_t list, index_t count) const {
    const std::size_t at = place(id);
    const index_t length = records_[at].length;
    if (first < 0 || tokens < 0 || first > length || tokens > length - first)
      throw error(errc::out_of_range, std::to_string(tokens) + " tokens from " + std::to_string(first) +
                                          " on do not lie in sequence " + std::to_string(id.value) + " of " +
                                          std::to_string(length) + "; append first");
    for (index_t l = list; l < list + count; ++l) {
      const index_t begin = first - (length - list_of(at, l).count);
      if (begin < 0)
        throw error(errc::out_of_range, "token " + std::to_string(first) + " of sequence " + std::to_string(id.value) +
                                            " was taken out of list " + std::to_string(l) + "; store what is newer");
      if (tokens > 0 && any_shared(at, l, begin, tokens))
        throw error(errc::out_of_range, "some of the " + std::to_string(tokens) + " tokens from " +
                                            std::to_string(first) + " on of sequence " + std::to_string(id.value) +
                                            " are shared with a fork; store them before forking");
    }
  }

  /// Checks that all tokens of a sequence may be written. Throws errc::unknown_sequence, and errc::out_of_range if a
  /// fork holds some.
  void check_alone(sequence_id id) const {
    const std::size_t at = place(id);
    for (index_t l = 0; l < lists_.lists(); ++l)
      if (any_shared(at, l, 0, list_of(at, l).count))
        throw error(errc::out_of_range, "some of the tokens of sequence " + std::to_string(id.value) +
                                            " are shared with a fork; store them before forking");
  }

  /// Creates an empty sequence. Throws errc::sequences_exhausted. O(1).
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

  /// Creates a sequence that also holds all pages of `id`. Throws errc::unknown_sequence, errc::sequences_exhausted.
  sequence_id fork(sequence_id id) {
    const std::size_t from = place(id);
    const sequence_id made = create();
    const std::size_t to = place(made);
    records_[to].length = records_[from].length;
    records_[to].position = records_[from].position;
    for (index_t l = 0; l < lists_.lists(); ++l) {
      const index_t count = list_of(to, l).count = list_of(from, l).count;
      for (const std::int32_t t : lists_.tables_of(l))
        for (index_t b = 0; b < blocks_of(count); ++b) pool_.share(entry(to, t, b) = entry(from, t, b));
      if (keeps_positions()) std::copy_n(positions_of(from, l), count, positions_of(to, l));
    }
    return made;
  }

  /// Ends a sequence and releases its pages. Throws errc::unknown_sequence.
  void drop(sequence_id id) { drop_place(place(id)); }

  /// Ends all sequences.
  void clear() noexcept {
    for (std::size_t at = records_.size(); at-- > 0;)
      if (records_[at].alive) drop_place(at);
  }

  /// Removes the newest tokens: from every list those at or after the position of token number `length` of the longest
  /// list; with a length of 0 all tokens. The next token then takes that position. Throws errc::out_of_range unless 0
  /// <= length <= length(id). O(pages given back), and O(log length) for each list if positions are kept.
  void truncate(sequence_id id, index_t length) {
    const std::size_t at = place(id);
    if (length < 0 || length > records_[at].length)
      throw error(errc::out_of_range, "sequence " + std::to_string(id.value) + " of " +
                                          std::to_string(records_[at].length) + " tokens cannot be truncated to " +
                                          std::to_string(length));
    shrink(at, length);
  }

  /// Keeps only the tokens in `slots`, ascending, of the lists [list, list + count), with their positions; the next
  /// token's position does not change. For each list, calls copy(table, from page, to page, tokens) for pages that
  /// others hold and that are about to change, then move(list, slots, first) once: for every i >= first the rows of
  /// slot slots[i] go to slot i, in ascending order, which is safe in place. Throws, having changed nothing,
  /// errc::unknown_sequence, errc::bad_argument if positions are not kept, errc::out_of_range for slots that do not
  /// ascend within a list, errc::pages_exhausted. O(length * lists).
  template <class Copy, class Move>
  void keep(sequence_id id, std::span<const index_t> slots, index_t list, index_t count, Copy&& copy, Move&& move) {
    const std::size_t at = place(id);
    if (!keeps_positions())
      throw error(errc::bad_argument,
                  "this cache does not keep the positions of its tokens, so none can be taken out of the middle; "
                  "construct it with options.positions = true");
    for (index_t l = list; l < list + count; ++l) check_ascending(id, slots, checked(l), list_of(at, l).count);
    const auto kept = static_cast<index_t>(slots.size());
    index_t first = 0;
    while (first < kept && slots[static_cast<std::size_t>(first)] == first) ++first;
    const index_t begin = first / page_tokens_, end = first < kept ? blocks_of(kept) : begin;
    index_t wanted = 0;
    for (index_t l = list; l < list + count; ++l)
      for (const std::int32_t t : lists_.tables_of(l))
        for (index_t b = begin; b < end; ++b) wanted += pool_.shared(entry(at, t, b));
    if (wanted > pool_.free_pages())
      throw error(errc::pages_exhausted,
                  "keeping " + std::to_string(kept) + " tokens of a sequence needs " + std::to_string(wanted) +
                      " pages in place of those that a fork holds too, and " + std::to_string(pool_.free_pages()) +
                      " are free; drop or truncate a sequence or construct with more");
    for (index_t l = list; l < list + count; ++l) {
      list_record& own = list_of(at, l);
      for (const std::int32_t t : lists_.tables_of(l))
        for (index_t b = begin; b < end; ++b)
          if (pool_.shared(entry(at, t, b)))
            copy_page(at, t, b, std::min(page_tokens_, own.count - b * page_tokens_), copy);
      if (first < kept) move(l, slots, first);
      for (index_t i = first; i < kept; ++i)
        positions_of(at, l)[i] = positions_of(at, l)[slots[static_cast<std::size_t>(i)]];
      release_blocks(at, l, blocks_of(kept));
      own.count = static_cast<std::int32_t>(kept);
    }
    measure(at);
  }

  /// Throws if the batch cannot grow, having changed nothing: errc::unknown_sequence, errc::bad_argument (negative
  /// tokens), errc::capacity_exceeded, errc::pages_exhausted. A sequence may occur more than once. O(batch * lists).
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
    // Shared last pages are released while counting, so that the last of several forks keeps its page, as it will in
    // `grow`. They are shared again before anything is thrown.
    index_t pages = 0;
    for (const auto& g : batch) {
      const std::size_t at = place(g.id);
      record& r = records_[at];
      if (r.planned == 0) continue;
      for (index_t l = 0; l < lists_.lists(); ++l) {
        list_record& own = list_of(at, l);
        const auto tables = lists_.tables_of(l);
        pages += (blocks_of(own.count + r.planned) - blocks_of(own.count)) * static_cast<index_t>(tables.size());
        if (!must_copy(at, l)) continue;
        for (const std::int32_t t : tables) pool_.release(last_page(at, l, t));
        own.let_go = true;
        pages += static_cast<index_t>(tables.size());
      }
      r.planned = 0;
    }
    for (const auto& g : batch)
      for (index_t l = 0; l < lists_.lists(); ++l) {
        const std::size_t at = place(g.id);
        if (!std::exchange(list_of(at, l).let_go, false)) continue;
        for (const std::int32_t t : lists_.tables_of(l)) pool_.share(last_page(at, l, t));
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

  /// Grows one sequence in all its lists, after `check`. Calls copy(table, from page, to page, tokens) if others hold
  /// the partly filled last page of a list too. Returns the first new token of the longest list. O(new pages + lists)
  /// and the copies.
  template <class Copy>
  index_t grow(sequence_growth g, Copy&& copy) {
    const std::size_t at = place(g.id);
    record& r = records_[at];
    const index_t first = r.length;
    if (g.tokens == 0) return first;
    for (index_t l = 0; l < lists_.lists(); ++l) {
      list_record& own = list_of(at, l);
      const bool copies = must_copy(at, l);
      for (const std::int32_t t : lists_.tables_of(l)) {
        if (copies) copy_page(at, t, own.count / page_tokens_, own.count % page_tokens_, copy);
        for (index_t b = blocks_of(own.count); b < blocks_of(own.count + g.tokens); ++b)
          entry(at, t, b) = pool_.acquire();
      }
      if (keeps_positions()) {
        std::int32_t* const next = positions_of(at, l) + own.count;
        std::iota(next, next + g.tokens, static_cast<std::int32_t>(r.position));
      }
      own.count += static_cast<std::int32_t>(g.tokens);
    }
    r.length += g.tokens;
    r.position += g.tokens;
    return first;
  }

  /// Sets the number of tokens in each list of a restored sequence to count(list), at most those that were appended.
  template <class Count>
  void set_counts(sequence_id id, Count&& count) {
    const std::size_t at = place(id);
    for (index_t l = 0; l < lists_.lists(); ++l) {
      const index_t tokens = count(l);
      if (tokens < 0 || tokens > list_of(at, l).count)
        throw error(errc::bad_stream, "the saved sequence names impossible lengths");
      release_blocks(at, l, blocks_of(tokens));
      list_of(at, l).count = static_cast<std::int32_t>(tokens);
    }
    measure(at);
  }

  /// Sets the positions of the tokens in a list of a restored sequence: read() returns them slot by slot. Precondition:
  /// positions are kept. Throws errc::bad_stream for positions that do not ascend or that reach `next_position`.
  template <class Read>
  void set_positions(sequence_id id, index_t list, index_t next_position, Read&& read) {
    const std::size_t at = place(id);
    index_t before = -1;
    for (index_t slot = 0; slot < list_of(at, list).count; ++slot) {
      const index_t position = read();
      if (position <= before || position >= next_position)
        throw error(errc::bad_stream, "the saved sequence names impossible positions");
      positions_of(at, list)[slot] = static_cast<std::int32_t>(before = position);
    }
    records_[at].position = next_position;
  }

  /// sum over all sequences and lists of list_bytes(list) * tokens of the list. O(max_sequences * lists).
  template <class Bytes>
  std::size_t bytes(Bytes&& list_bytes) const noexcept {
    std::size_t sum = 0;
    for (std::size_t at = 0; at < records_.size(); ++at)
      for (index_t l = 0; l < lists_.lists(); ++l)
        sum += static_cast<std::size_t>(list_of(at, l).count) * static_cast<std::size_t>(list_bytes(l));
    return sum;
  }

  /// How the pages are used; bytes are left 0. Allocates nothing. O(max_sequences * lists), and as much again for each
  /// sequence that has a partly filled page in common with another.
  cache_counters counters() const noexcept {
    cache_counters c{.pages = pool_.pages(),
                     .pages_in_use = pool_.pages() - pool_.free_pages(),
                     .pages_shared = pool_.shared_pages(),
                     .pages_at_peak = pool_.peak_pages()};
    for (std::size_t at = 0; at < records_.size(); ++at) {
      c.sequences += records_[at].alive;
      c.tokens += records_[at].length;
      for (index_t l = 0; l < lists_.lists(); ++l)
        c.slots_empty += empty_slots(at, l) * static_cast<index_t>(lists_.tables_of(l).size());
    }
    c.slots_in_use = c.pages_in_use * page_tokens_;
    return c;
  }

  /// Bytes of all block tables.
  std::size_t table_bytes() const noexcept { return tables_.capacity() * sizeof(std::int32_t); }
  /// Bytes of all other records of sequences and pages.
  std::size_t record_bytes() const noexcept {
    return records_.capacity() * sizeof(record) + counts_.capacity() * sizeof(list_record) +
           positions_.capacity() * sizeof(std::int32_t) + pool_.allocated_bytes();
  }

 private:
  static constexpr std::int32_t none = -1;

  struct record {
    index_t length = 0;           // of the longest list
    index_t position = 0;         // position of the next token; length counts slots
    index_t planned = 0;          // only inside `check`
    std::int32_t generation = 0;  // how often this place was given back
    std::int32_t next_free = none;
    bool alive = false;
  };
  struct list_record {
    std::int32_t count = 0;  // tokens
    bool let_go = false;     // only inside `check`
  };
  template <class T>
  using array = std::vector<T, typename std::allocator_traits<Allocator>::template rebind_alloc<T>>;

  index_t checked(index_t list) const {
    if (list < 0 || list >= lists_.lists())
      throw error(errc::out_of_range, "there is no list " + std::to_string(list) + " in a cache whose sequences have " +
                                          std::to_string(lists_.lists()));
    return list;
  }
  /// For error texts: empty if a sequence has only one list.
  std::string of_list(index_t list) const { return lists_.lists() > 1 ? ", list " + std::to_string(list) + "," : ""; }

  void check_ascending(sequence_id id, std::span<const index_t> slots, index_t list, index_t count) const {
    index_t before = -1;
    for (const index_t slot : slots) {
      if (slot <= before || slot >= count)
        throw error(errc::out_of_range, "the slots to keep must ascend and lie in sequence " +
                                            std::to_string(id.value) + of_list(list) + " of " + std::to_string(count) +
                                            " tokens; " + std::to_string(slot) + " follows " + std::to_string(before));
      before = slot;
    }
  }

  list_record& list_of(std::size_t at, index_t list) noexcept {
    return counts_[at * static_cast<std::size_t>(lists_.lists()) + static_cast<std::size_t>(list)];
  }
  const list_record& list_of(std::size_t at, index_t list) const noexcept {
    return counts_[at * static_cast<std::size_t>(lists_.lists()) + static_cast<std::size_t>(list)];
  }
  std::int32_t* positions_of(std::size_t at, index_t list) noexcept {
    return positions_.data() + (at * static_cast<std::size_t>(lists_.lists()) + static_cast<std::size_t>(list)) *
                                   static_cast<std::size_t>(capacity_);
  }
  index_t position_in(std::size_t at, index_t list, index_t slot) const noexcept {
    return keeps_positions() ? const_cast<sequence_table*>(this)->positions_of(at, list)[slot] : slot;
  }

  index_t blocks_of(index_t tokens) const noexcept { return tokens > 0 ? (tokens - 1) / page_tokens_ + 1 : 0; }
  std::size_t first_entry(std::size_t at, index_t table) const noexcept {
    return (at * static_cast<std::size_t>(lists_.tables()) + static_cast<std::size_t>(table)) *
           static_cast<std::size_t>(blocks_);
  }
  std::int32_t& entry(std::size_t at, index_t table, index_t block) noexcept {
    return tables_[first_entry(at, table) + static_cast<std::size_t>(block)];
  }
  std::int32_t entry(std::size_t at, index_t table, index_t block) const noexcept {
    return tables_[first_entry(at, table) + static_cast<std::size_t>(block)];
  }

  /// The page of a list's last token in one table. Precondition: the list is not empty.
  std::int32_t last_page(std::size_t at, index_t list, index_t table) const noexcept {
    return entry(at, table, blocks_of(list_of(at, list).count) - 1);
  }

  /// Would the next token of a list go into a page that another sequence holds too? The answer is the same for all its
  /// tables, since forks share whole lists.
  bool must_copy(std::size_t at, index_t list) const noexcept {
    return list_of(at, list).count % page_tokens_ != 0 && pool_.shared(last_page(at, list, lists_.tables_of(list)[0]));
  }

  /// Replaces a page that others hold too by one of the sequence's own.
  template <class Copy>
  void copy_page(std::size_t at, index_t table, index_t block, index_t tokens, Copy&& copy) {
    const std::int32_t from = entry(at, table, block), to = pool_.acquire();
    copy(table, from, to, tokens);
    pool_.release(from);
    entry(at, table, block) = to;
  }

  bool any_shared(std::size_t at, index_t list, index_t first, index_t tokens) const noexcept {
    for (const std::int32_t t : lists_.tables_of(list))
      for (index_t b = first / page_tokens_; b < blocks_of(first + tokens); ++b)
        if (pool_.shared(entry(at, t, b))) return true;
    return false;
  }

  /// Slots of a list's last page that no sequence fills. A page with several holders is counted for the holder that
  /// fills most of it, the first if there are several. Holders have the page in the same block, since forks and
  /// `truncate` leave blocks where they are.
  index_t empty_slots(std::size_t at, index_t list) const noexcept {
    const index_t count = list_of(at, list).count;
    if (count % page_tokens_ == 0) return 0;
    const index_t block = blocks_of(count) - 1, table = lists_.tables_of(list)[0];
    const std::int32_t page = entry(at, table, block);
    if (pool_.shared(page))
      for (std::size_t i = 0; i < records_.size(); ++i) {
        const index_t other = list_of(i, list).count;
        if (blocks_of(other) > block && entry(i, table, block) == page && (other > count || (other == count && i < at)))
          return 0;
      }
    return page_tokens_ - count % page_tokens_;
  }

  std::int32_t find(sequence_id id) const noexcept {
    const auto places = static_cast<int>(records_.size());
    if (id.value < 0 || places == 0) return none;
    const record& r = records_[static_cast<std::size_t>(id.value % places)];
    return r.alive && r.generation == id.value / places ? id.value % places : none;
  }

  /// Releases the pages of a list after the first `blocks`.
  void release_blocks(std::size_t at, index_t list, index_t blocks) noexcept {
    for (const std::int32_t t : lists_.tables_of(list))
      for (index_t b = blocks_of(list_of(at, list).count); b-- > blocks;) {
        pool_.release(entry(at, t, b));
        entry(at, t, b) = 0;
      }
  }

  void measure(std::size_t at) noexcept {
    index_t longest = 0;
    for (index_t l = 0; l < lists_.lists(); ++l) longest = std::max<index_t>(longest, list_of(at, l).count);
    records_[at].length = longest;
  }

  void shrink(std::size_t at, index_t length) noexcept {
    record& r = records_[at];
    if (length == r.length) return;
    index_t longest = 0;
    while (list_of(at, longest).count != r.length) ++longest;
    const index_t end = position_in(at, longest, length);
    for (index_t l = 0; l < lists_.lists(); ++l) {
      index_t left = std::min<index_t>(length, list_of(at, l).count);
      if (keeps_positions() && l != longest && length > 0) {
        const std::int32_t* const positions = positions_of(at, l);
        left =
            std::lower_bound(positions, positions + list_of(at, l).count, static_cast<std::int32_t>(end)) - positions;
      }
      release_blocks(at, l, blocks_of(left));
      list_of(at, l).count = static_cast<std::int32_t>(left);
    }
    r.position = end;
    measure(at);  // another list may be the longest now
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
  token_lists lists_;
  page_pool<Allocator> pool_;
  array<record> records_;          // [max_sequences]
  array<list_record> counts_;      // [max_sequences][lists]
  array<std::int32_t> tables_;     // [max_sequences][tables][blocks]
  array<std::int32_t> positions_;  // [max_sequences][lists][capacity], or nothing
  std::int32_t first_free_ = 0;
};

}  // namespace kvsharer::inline v0
