// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kvsharer/concepts/codecs.hpp"
#include "kvsharer/core/cache_plan.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/kv_part.hpp"
#include "kvsharer/core/share_plan.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/runtime/cache_counters.hpp"
#include "kvsharer/runtime/cache_geometry.hpp"
#include "kvsharer/runtime/cache_options.hpp"
#include "kvsharer/runtime/cache_stream.hpp"
#include "kvsharer/runtime/check_owner.hpp"
#include "kvsharer/runtime/footprint.hpp"
#include "kvsharer/runtime/page_format.hpp"
#include "kvsharer/runtime/sequence_id.hpp"
#include "kvsharer/runtime/sequence_table.hpp"
#include "kvsharer/runtime/token_lists.hpp"

namespace kvsharer::inline v0 {

/// A cache without its numbers: the plan of sharing, the live sequences, the pages that they hold, and the positions of
/// their tokens. The caches of the host and of the device are this book with memory behind it. An engine that keeps its
/// own memory may hold a book alone, and move its rows as the book says.
///
/// All memory comes from Allocator in the constructor. A call that throws changes nothing.
template <class Allocator = std::allocator<std::byte>>
class cache_book {
 public:
  /// A page has room for `page_tokens` tokens, keys and values stored by these codecs. Throws errc::bad_shape when
  /// sizes are not positive, disagree with the plan or overflow 64 bits, errc::bad_argument for options out of range.
  template <KVCodec Keys, KVCodec Values>
  cache_book(cache_plan plan, cache_shape shape, index_t page_tokens, const Keys& keys, const Values& values,
             const shared_cache_options& options, const Allocator& allocator = {})
      : plan_(std::move(plan)),
        shape_(shape),
        geometry_(geometry_of(plan_, shape, page_tokens, keys, values, options)),
        sequences_(options.max_sequences, shape.capacity, geometry_,
                   token_lists(plan_.sharing(), shape.kv_heads, options.lists), options.positions, allocator),
        tag_(options.tag.begin(), options.tag.end(), allocator) {}

  /// The geometry of such a book, with the constructor's errors, before anything is allocated.
  template <KVCodec Keys, KVCodec Values>
  static cache_geometry geometry_of(const cache_plan& whole, cache_shape shape, index_t page_tokens, const Keys& keys,
                                    const Values& values, const shared_cache_options& options) {
    const share_plan& plan = whole.sharing();
    check_sizes(plan, shape, page_tokens);
    check_codecs(whole, keys.name(), values.name());
    const index_t heads = options.lists == list_scope::head ? 1 : shape.kv_heads;
    const token_lists lists(plan, shape.kv_heads, options.lists);
    const cache_geometry g = make_geometry(plan, shape, lists, format_of(keys, page_tokens, heads, shape.widths().keys),
                                           format_of(values, page_tokens, heads, shape.widths().values),
                                           options.max_sequences, options.pages);
    if (options.positions)
      checked_product(
          {options.max_sequences, lists.lists(), shape.capacity, static_cast<index_t>(sizeof(std::int32_t))},
          "the positions");
    return g;
  }

  cache_book(cache_book&&) = default;  ///< a moved-from book has no sequences and creates none
  cache_book& operator=(cache_book&&) = delete;

  /// The plan: sharing and rules.
  const cache_plan& plan() const noexcept { return plan_; }
  /// The owners of the keys and of the values that each layer reads.
  const share_plan& sharing() const noexcept { return plan_.sharing(); }
  /// The sizes given to the constructor.
  cache_shape shape() const noexcept { return shape_; }
  /// The sizes from which storage is laid out.
  const cache_geometry& geometry() const noexcept { return geometry_; }
  /// The tag that streams of this cache must match.
  std::string_view tag() const noexcept { return {tag_.data(), tag_.size()}; }

  /// Does layer l store anything? Throws errc::out_of_range.
  bool owns(layer_id l) const { return sharing().owns(checked(l)); }
  /// Does layer l store keys? Throws errc::out_of_range.
  bool owns_keys(layer_id l) const { return sharing().owns_keys(checked(l)); }
  /// Does layer l store values? Throws errc::out_of_range.
  bool owns_values(layer_id l) const { return sharing().owns_values(checked(l)); }
  /// The stored plane of keys that layer l reads, numbered from 0. Throws errc::out_of_range.
  index_t key_slot(layer_id l) const { return sharing().keys().slot(checked(l)); }
  /// The same for values.
  index_t value_slot(layer_id l) const { return sharing().values().slot(checked(l)); }

  /// How many sequences may live at once.
  index_t max_sequences() const noexcept { return sequences_.max_sequences(); }
  /// Does this id name a sequence that was made and not dropped?
  bool alive(sequence_id id) const noexcept { return sequences_.alive(id); }

  // Members that take a sequence id throw errc::unknown_sequence if that sequence is not alive.

  /// The place of a sequence, in [0, max_sequences()): device memory holds its lengths and block table there.
  index_t place(sequence_id id) const { return static_cast<index_t>(sequences_.place(id)); }
  /// Tokens stored now, in the slots [0, length). With several lists, the length of the longest.
  index_t length(sequence_id id) const { return sequences_.length(id); }
  /// Tokens stored now in one list. Throws errc::out_of_range if there is no such list.
  index_t length(sequence_id id, index_t list) const { return sequences_.length(id, list); }
  /// Do all lists of a sequence have the same number of tokens? O(lists).
  bool even(sequence_id id) const { return sequences_.even(id); }
  /// Throws errc::bad_argument if they do not: for code that expects one length.
  void check_even(sequence_id id) const {
    if (!even(id))
      throw error(errc::bad_argument, "the lists of sequence " + std::to_string(id.value) +
                                          " have different lengths, and a KVCache has one; read it layer by layer");
  }
  /// The position of the next token. Equal to `length` until tokens are removed from the middle.
  index_t next_position(sequence_id id) const { return sequences_.next_position(id); }
  /// The position of the token in a slot of a list. Throws errc::out_of_range.
  index_t position(sequence_id id, index_t slot, index_t list = 0) const { return sequences_.position(id, slot, list); }
  /// How lists of tokens and block tables are numbered.
  const token_lists& lists() const noexcept { return sequences_.pages().lists(); }
  /// The list of the tokens that layer l reads in a KV head. Throws errc::out_of_range.
  index_t list_of(layer_id l, index_t kv_head = 0) const {
    if (kv_head < 0 || kv_head >= shape_.kv_heads)
      throw error(errc::out_of_range, "there is no KV head " + std::to_string(kv_head) + " in a cache of " +
                                          std::to_string(shape_.kv_heads));
    return lists().first_list(checked(l)) + kv_head * lists().head_step();
  }
  /// Where a page belongs to one plane: do the pages of a block table hold keys or values?
  kv_part part_of(index_t table) const noexcept {
    const index_t of_plane = lists().head_step() != 0 ? shape_.kv_heads : 1;
    return table < geometry_.key_planes * of_plane ? kv_part::keys : kv_part::values;
  }
  /// Does the book keep the position of every token, so that slots and positions may differ?
  bool keeps_positions() const noexcept { return sequences_.keeps_positions(); }

  /// Creates an empty sequence. Throws errc::sequences_exhausted. O(1).
  sequence_id create() { return sequences_.create(); }

  /// Makes room for a ragged batch, all or nothing; a sequence may occur more than once. Calls copy(table, from page,
  /// to page, tokens) for a partly filled last page that others hold too, and grown(id, first) once the slots from
  /// `first` of the longest list on have pages. Throws errc::bad_argument (negative), errc::capacity_exceeded,
  /// errc::pages_exhausted. O(new pages + lists) and the copies.
  template <class Copy, class Grown>
  void append(std::span<const sequence_growth> batch, Copy&& copy, Grown&& grown) {
    sequences_.check(batch);
    for (const sequence_growth& growth : batch) {
      const index_t first = sequences_.grow(growth, copy);
      grown(growth.id, first);
    }
  }

  /// Removes the newest tokens, down to `length`. Throws errc::out_of_range unless 0 <= length <= length(id). The next
  /// token takes the position of the first removed one. Pages that no sequence holds any more become free.
  void truncate(sequence_id id, index_t length) { sequences_.truncate(id, length); }

  /// Keeps only the tokens in `slots`, in every list; see sequence_table::keep.
  template <class Copy, class Move>
  void keep(sequence_id id, std::span<const index_t> slots, Copy&& copy, Move&& move) {
    sequences_.keep(id, slots, 0, lists().lists(), copy, move);
  }
  /// The same in one list.
  template <class Copy, class Move>
  void keep(sequence_id id, index_t list, std::span<const index_t> slots, Copy&& copy, Move&& move) {
    sequences_.keep(id, slots, list, 1, copy, move);
  }

  /// Creates a sequence with the same tokens, at the cost of a block table. Throws errc::sequences_exhausted.
  sequence_id fork(sequence_id id) { return sequences_.fork(id); }
  /// Ends a sequence and frees the pages that no other sequence holds.
  void drop(sequence_id id) { sequences_.drop(id); }
  /// Drops all sequences; addresses stay.
  void clear() noexcept { sequences_.clear(); }

  /// Checks that these tokens of a sequence may be written in all lists. Throws errc::out_of_range for slots that the
  /// sequence does not have, or that lie in pages which a fork holds too.
  void check_store(sequence_id id, index_t first, index_t tokens) const {
    sequences_.check_store(id, first, tokens, 0, lists().lists());
  }
  /// Checks that all tokens of a sequence may be written. Throws errc::out_of_range if a fork holds some of them.
  void check_alone(sequence_id id) const { sequences_.check_alone(id); }
  /// The same as check_store, for the lists of the planes that layer l reads.
  void check_store(layer_id l, sequence_id id, index_t first, index_t tokens) const {
    sequences_.check_store(id, first, tokens, lists().first_list(checked(l)),
                           lists().head_step() != 0 ? shape_.kv_heads : 1);
  }
  /// Checks that a layer stores what is about to be written. Throws errc::out_of_range, errc::not_an_owner.
  void check_owner(layer_id l, bool keys, bool values) const {
    kvsharer::check_owner(sharing(), checked(l), keys, values);
  }

  /// Tokens per page.
  index_t page_tokens() const noexcept { return geometry_.page_tokens; }
  /// Pages in the pool, used and free.
  index_t pages() const noexcept { return sequences_.pages().pool().pages(); }
  /// Pages that no sequence holds.
  index_t free_pages() const noexcept { return sequences_.pages().pool().free_pages(); }
  /// One block table of a sequence: ceil(capacity / page_tokens) entries; those past its length are 0. Most caches have
  /// one table per sequence; see token_lists.
  std::span<const std::int32_t> block_table(sequence_id id, index_t table = 0) const {
    return sequences_.pages().table(sequences_.place(id), table);
  }

  /// How the pages are used now, and were used at the peak. Allocates nothing. O(max_sequences * lists) unless many
  /// sequences are forks that share their last page.
  cache_counters counters() const noexcept {
    cache_counters c = sequences_.counters();
    c.logical = logical_bytes();
    c.physical = page_bytes(c.pages_in_use);
    c.peak = page_bytes(c.pages_at_peak);
    return c;
  }

  /// The footprint of the pages, of a pool of `pool_bytes` and of this book's own memory.
  cache_footprint footprint(std::size_t pool_bytes) const noexcept {
    cache_footprint f{.block_tables = sequences_.pages().table_bytes(),
                      .bookkeeping = sequences_.record_bytes() + tag_.capacity(),
                      .held = page_bytes(pages() - free_pages()),
                      .logical = logical_bytes()};
    if (geometry_.plane_by_plane) {
      f.keys = static_cast<std::size_t>(geometry_.key_planes * geometry_.key_plane_bytes());
      f.values = pool_bytes - f.keys;
    } else {
      f.pages = pool_bytes;
    }
    return f;
  }

  /// Writes the header of a saved sequence, which precedes its numbers. `element` is cache_stream_code.
  void write_header(detail::cache_stream_writer& out, std::uint32_t element, sequence_id id) const {
    cache_stream_header header = stream_header(element);
    header.length = length(id);
    header.next_position = next_position(id);
    const bool alike = even(id) && header.next_position == header.length;  // no token was taken out of any list
    header.lists = alike ? 1 : lists().lists();
    detail::write_header(out, header, tag());
    if (header.lists > 1)
      for (index_t l = 0; l < header.lists; ++l) out.number(static_cast<std::uint32_t>(length(id, l)));
    if (header.has_holes())
      for (index_t l = 0; l < header.lists; ++l)
        for (index_t slot = 0; slot < length(id, l); ++slot)
          out.number(static_cast<std::uint32_t>(position(id, slot, l)));
  }

  /// Reads the header of a saved sequence. Throws errc::bad_stream for bytes that are damaged or of another cache, and
  /// for holes if this cache keeps no positions.
  cache_stream_header read_header(detail::cache_stream_reader& in, std::uint32_t element) const {
    const cache_stream_header header = detail::read_header(in, stream_header(element), tag());
    if (header.lists > 1 && header.lists != lists().lists())
      throw error(errc::bad_stream, "the saved sequence has " + std::to_string(header.lists) +
                                        " lists of different lengths, and sequences of this cache have " +
                                        std::to_string(lists().lists()) + "; construct it with the same options.lists");
    if (header.has_holes() && !keeps_positions())
      throw error(errc::bad_stream,
                  "the saved sequence lost tokens out of its middle; construct the cache with options.positions = true "
                  "to restore it");
    return header;
  }
  /// Fills an empty sequence with the lengths and positions that follow such a header. Throws errc::bad_stream,
  /// errc::capacity_exceeded, errc::pages_exhausted.
  void read_lists(detail::cache_stream_reader& in, const cache_stream_header& header, sequence_id id) {
    std::vector<index_t> counts(static_cast<std::size_t>(lists().lists()), header.length);
    if (header.lists > 1) {
      for (index_t& count : counts) count = in.number<std::uint32_t>();
      if (*std::max_element(counts.begin(), counts.end()) != header.length)
        throw error(errc::bad_stream, "the saved sequence names impossible lengths");
    }
    sequences_.fill(id, counts);
    if (!header.has_holes()) return;
    std::vector<index_t> positions;  // of one list, or of the list that stands for all
    for (index_t l = 0; l < lists().lists(); ++l) {
      if (l < header.lists) {
        positions.clear();
        for (index_t slot = 0; slot < counts[static_cast<std::size_t>(l)]; ++slot)
          positions.push_back(in.number<std::uint32_t>());
      }
      std::size_t next = 0;
      sequences_.set_positions(id, l, header.next_position, [&] { return positions[next++]; });
    }
  }

 private:
  layer_id checked(layer_id l) const {
    if (l.value < 0 || l.value >= plan_.layers())
      throw error(errc::out_of_range,
                  "there is no layer " + std::to_string(l.value) + " in a cache of " + std::to_string(plan_.layers()));
    return l;
  }
  /// Throws errc::bad_rule if the plan asks for other codecs than the cache's.
  static void check_codecs(const cache_plan& plan, const std::string& keys, const std::string& values) {
    const auto check = [](layer_id l, const char* of, const std::string& asked, const std::string& has) {
      if (asked != has)
        throw error(errc::bad_rule, "the plan stores the " + std::string(of) + " of layer " + std::to_string(l.value) +
                                        " as \"" + asked + "\", and this cache stores them as \"" + has +
                                        "\"; make a cache of that codec");
    };
    for (layer_id l{0}; l.value < plan.layers(); ++l.value) {
      if (plan.sharing().owns_keys(l)) check(l, "keys", plan.key_codec(l).name(), keys);
      if (plan.sharing().owns_values(l)) check(l, "values", plan.value_codec(l).name(), values);
    }
  }

  std::size_t page_bytes(index_t pages) const noexcept {
    return static_cast<std::size_t>(pages) * static_cast<std::size_t>(geometry_.page_bytes);
  }
  /// Bytes of the tokens of all lists, each token counted once for every sequence that sees it.
  std::size_t logical_bytes() const noexcept {
    const index_t key_bytes = geometry_.key_page.token_bytes(), value_bytes = geometry_.value_page.token_bytes();
    if (lists().one_page_for_all())
      return sequences_.pages().bytes(
          [&](index_t) { return geometry_.key_planes * key_bytes + geometry_.value_planes * value_bytes; });
    return sequences_.pages().bytes([&](index_t list) {
      index_t sum = 0;
      for (const std::int32_t t : lists().tables_of(list)) sum += part_of(t) == kv_part::keys ? key_bytes : value_bytes;
      return sum;
    });
  }
  cache_stream_header stream_header(std::uint32_t element) const {
    return {.element = element, .shape = shape_, .plan_hash = plan_.hash()};
  }

  cache_plan plan_;
  cache_shape shape_;
  cache_geometry geometry_;
  sequence_table<Allocator> sequences_;
  std::vector<char, typename std::allocator_traits<Allocator>::template rebind_alloc<char>> tag_;
};

}  // namespace kvsharer::inline v0
