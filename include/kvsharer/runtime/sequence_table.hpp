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
#include "kvsharer/runtime/list_pages.hpp"
#include "kvsharer/runtime/page_pool.hpp"
#include "kvsharer/runtime/sequence_id.hpp"
#include "kvsharer/runtime/token_lists.hpp"

namespace kvsharer::inline v0 {

/// Positions are counted with 31 bits, as the device's words are.
inline constexpr index_t last_position = std::numeric_limits<std::int32_t>::max() - 1;

/// The live sequences, what each may do, and the positions of their tokens. list_pages has the pages.
///
/// A sequence has one list of tokens, or several if token_lists says so; all lists grow together, and each loses tokens
/// on its own. Ids are place + generation * max_sequences; the generation counts how often the place was given back.
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
        pages_(max_sequences, geometry, std::move(lists), allocator),
        records_(static_cast<std::size_t>(max_sequences), allocator),
        positions_(static_cast<std::size_t>(positions ? max_sequences * list_count() * capacity : 0), allocator) {
    for (std::size_t i = 0; i < records_.size(); ++i)
      records_[i].next_free = i + 1 < records_.size() ? static_cast<std::int32_t>(i + 1) : none;
  }

  /// The tokens and pages of lists, by place.
  const list_pages<Allocator>& pages() const noexcept { return pages_; }
  /// How many sequences may live at once.
  index_t max_sequences() const noexcept { return static_cast<index_t>(records_.size()); }
  /// Does this id name a sequence that was made and not dropped?
  bool alive(sequence_id id) const noexcept { return find(id) != none; }
  /// Tokens of the longest list. Throws errc::unknown_sequence.
  index_t length(sequence_id id) const { return records_[place(id)].length; }
  /// Tokens of one list. Throws errc::unknown_sequence, errc::out_of_range.
  index_t length(sequence_id id, index_t list) const { return pages_.count(place(id), checked(list)); }
  /// Do all lists have the same length? Throws errc::unknown_sequence. O(lists).
  bool even(sequence_id id) const {
    const std::size_t at = place(id);
    for (index_t l = 0; l < list_count(); ++l)
      if (pages_.count(at, l) != records_[at].length) return false;
    return true;
  }
  /// The position of the next token. Throws errc::unknown_sequence.
  index_t next_position(sequence_id id) const { return records_[place(id)].position; }
  /// Does the table keep the position of every slot?
  bool keeps_positions() const noexcept { return !positions_.empty(); }
  /// The position of the token in a slot of a list. Throws errc::unknown_sequence, errc::out_of_range.
  index_t position(sequence_id id, index_t slot, index_t list = 0) const {
    const std::size_t at = place(id);
    if (const index_t count = pages_.count(at, checked(list)); slot < 0 || slot >= count)
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
      const index_t begin = first - (length - pages_.count(at, l));
      if (begin < 0)
        throw error(errc::out_of_range, "token " + std::to_string(first) + " of sequence " + std::to_string(id.value) +
                                            " was taken out of list " + std::to_string(l) + "; store what is newer");
      if (tokens > 0 && pages_.any_shared(at, l, begin, tokens))
        throw error(errc::out_of_range, "some of the " + std::to_string(tokens) + " tokens from " +
                                            std::to_string(first) + " on of sequence " + std::to_string(id.value) +
                                            " are shared with a fork; store them before forking");
    }
  }

  /// Checks that all tokens of a sequence may be written. Throws errc::unknown_sequence, and errc::out_of_range if a
  /// fork holds some.
  void check_alone(sequence_id id) const {
    const std::size_t at = place(id);
    for (index_t l = 0; l < list_count(); ++l)
      if (pages_.any_shared(at, l, 0, pages_.count(at, l)))
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
    pages_.share(from, to);
    if (keeps_positions())
      for (index_t l = 0; l < list_count(); ++l)
        std::copy_n(positions_of(from, l), pages_.count(from, l), positions_of(to, l));
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
    for (index_t l = list; l < list + count; ++l) check_ascending(id, slots, checked(l), pages_.count(at, l));
    const auto kept = static_cast<index_t>(slots.size());
    index_t first = 0;
    while (first < kept && slots[static_cast<std::size_t>(first)] == first) ++first;
    index_t wanted = 0;
    if (first < kept)
      for (index_t l = list; l < list + count; ++l) wanted += pages_.shared_pages(at, l, first, kept);
    if (wanted > pages_.pool().free_pages())
      throw error(errc::pages_exhausted, "keeping " + std::to_string(kept) + " tokens of a sequence needs " +
                                             std::to_string(wanted) +
                                             " pages in place of those that a fork holds too, and " +
                                             std::to_string(pages_.pool().free_pages()) +
                                             " are free; drop or truncate a sequence or construct with more");
    for (index_t l = list; l < list + count; ++l) {
      if (first < kept) {
        pages_.own(at, l, first, kept, copy);
        move(l, slots, first);
      }
      for (index_t i = first; i < kept; ++i)
        positions_of(at, l)[i] = positions_of(at, l)[slots[static_cast<std::size_t>(i)]];
      pages_.cut(at, l, kept);
    }
    records_[at].length = pages_.longest(at);
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
    index_t pages = 0;
    for (const auto& g : batch) {
      const std::size_t at = place(g.id);
      if (const index_t tokens = std::exchange(records_[at].planned, 0); tokens > 0)
        pages += pages_.plan_growth(at, tokens);
    }
    for (const auto& g : batch) pages_.end_plan(place(g.id));
    if (too_long)
      throw error(errc::capacity_exceeded,
                  "sequence " + std::to_string(too_long->id.value) + " of " + std::to_string(length(too_long->id)) +
                      " tokens cannot grow by " + std::to_string(too_long->tokens) + " in a capacity of " +
                      std::to_string(capacity_) + " and " + std::to_string(last_position) + " positions");
    check_free(pages);
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
    for (index_t l = 0; l < list_count(); ++l) {
      if (keeps_positions()) {
        std::int32_t* const next = positions_of(at, l) + pages_.count(at, l);
        std::iota(next, next + g.tokens, static_cast<std::int32_t>(r.position));
      }
      pages_.grow(at, l, g.tokens, copy);
    }
    r.length += g.tokens;
    r.position += g.tokens;
    return first;
  }

  /// Gives the lists of an empty sequence so many tokens each, with positions from 0 on, as a saved sequence had them.
  /// Throws, having changed nothing, errc::capacity_exceeded, errc::pages_exhausted.
  void fill(sequence_id id, std::span<const index_t> counts) {
    const std::size_t at = place(id);
    index_t pages = 0;
    for (index_t l = 0; l < list_count(); ++l) {
      const index_t tokens = counts[static_cast<std::size_t>(l)];
      if (tokens > capacity_)
        throw error(errc::capacity_exceeded, "a saved sequence of " + std::to_string(tokens) +
                                                 " tokens does not fit a capacity of " + std::to_string(capacity_));
      pages += pages_.pages_of(l, tokens);
    }
    check_free(pages);
    for (index_t l = 0; l < list_count(); ++l) {
      const index_t tokens = counts[static_cast<std::size_t>(l)];
      pages_.grow(at, l, tokens, [](auto&&...) {});
      if (keeps_positions()) std::iota(positions_of(at, l), positions_of(at, l) + tokens, 0);
    }
    records_[at].length = records_[at].position = pages_.longest(at);
  }

  /// Sets the positions of the tokens in a list of a restored sequence: read() returns them slot by slot. Precondition:
  /// positions are kept. Throws errc::bad_stream for positions that do not ascend or that reach `next_position`.
  template <class Read>
  void set_positions(sequence_id id, index_t list, index_t next_position, Read&& read) {
    const std::size_t at = place(id);
    index_t before = -1;
    for (index_t slot = 0; slot < pages_.count(at, list); ++slot) {
      const index_t position = read();
      if (position <= before || position >= next_position)
        throw error(errc::bad_stream, "the saved sequence names impossible positions");
      positions_of(at, list)[slot] = static_cast<std::int32_t>(before = position);
    }
    records_[at].position = next_position;
  }

  /// How the pages are used; bytes are left 0. Allocates nothing. O(max_sequences * lists), and as much again for each
  /// sequence that has a partly filled page in common with another.
  cache_counters counters() const noexcept {
    const page_pool<Allocator>& pool = pages_.pool();
    cache_counters c{.pages = pool.pages(),
                     .pages_in_use = pool.pages() - pool.free_pages(),
                     .pages_shared = pool.shared_pages(),
                     .pages_at_peak = pool.peak_pages()};
    for (std::size_t at = 0; at < records_.size(); ++at) {
      c.sequences += records_[at].alive;
      c.tokens += records_[at].length;
      c.slots_empty += pages_.empty_slots(at);
    }
    c.slots_in_use = c.pages_in_use * pages_.page_tokens();
    return c;
  }

  /// Bytes of all records but block tables.
  std::size_t record_bytes() const noexcept {
    return records_.capacity() * sizeof(record) + positions_.capacity() * sizeof(std::int32_t) + pages_.record_bytes();
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
  template <class T>
  using array = std::vector<T, typename std::allocator_traits<Allocator>::template rebind_alloc<T>>;

  index_t list_count() const noexcept { return pages_.lists().lists(); }
  index_t checked(index_t list) const {
    if (list < 0 || list >= list_count())
      throw error(errc::out_of_range, "there is no list " + std::to_string(list) + " in a cache whose sequences have " +
                                          std::to_string(list_count()));
    return list;
  }
  /// For error texts: empty if a sequence has only one list.
  std::string of_list(index_t list) const { return list_count() > 1 ? ", list " + std::to_string(list) + "," : ""; }

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

  std::int32_t* positions_of(std::size_t at, index_t list) noexcept {
    return positions_.data() + (at * static_cast<std::size_t>(list_count()) + static_cast<std::size_t>(list)) *
                                   static_cast<std::size_t>(capacity_);
  }
  index_t position_in(std::size_t at, index_t list, index_t slot) const noexcept {
    return keeps_positions() ? const_cast<sequence_table*>(this)->positions_of(at, list)[slot] : slot;
  }

  void check_free(index_t pages) const {
    if (pages > pages_.pool().free_pages())
      throw error(errc::pages_exhausted, "growing needs " + std::to_string(pages) + " pages and " +
                                             std::to_string(pages_.pool().free_pages()) +
                                             " are free; drop or truncate a sequence or construct with more");
  }

  std::int32_t find(sequence_id id) const noexcept {
    const auto places = static_cast<int>(records_.size());
    if (id.value < 0 || places == 0) return none;
    const record& r = records_[static_cast<std::size_t>(id.value % places)];
    return r.alive && r.generation == id.value / places ? id.value % places : none;
  }

  void shrink(std::size_t at, index_t length) noexcept {
    record& r = records_[at];
    if (length == r.length) return;
    index_t longest = 0;
    while (pages_.count(at, longest) != r.length) ++longest;
    const index_t end = position_in(at, longest, length);
    for (index_t l = 0; l < list_count(); ++l) {
      index_t left = std::min(length, pages_.count(at, l));
      if (keeps_positions() && l != longest && length > 0) {
        const std::int32_t* const positions = positions_of(at, l);
        left = std::lower_bound(positions, positions + pages_.count(at, l), static_cast<std::int32_t>(end)) - positions;
      }
      pages_.cut(at, l, left);
    }
    r.position = end;
    r.length = pages_.longest(at);  // another list may be the longest now
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
  list_pages<Allocator> pages_;
  array<record> records_;          // [max_sequences]
  array<std::int32_t> positions_;  // [max_sequences][lists][capacity], or nothing
  std::int32_t first_free_ = 0;
};

}  // namespace kvsharer::inline v0
