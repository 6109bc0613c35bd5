// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <istream>
#include <memory>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/concepts/layouts.hpp"
#include "kvsharer/concepts/require.hpp"
#include "kvsharer/core/element.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/share_plan.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/layout/contiguous.hpp"
#include "kvsharer/layout/layer_view.hpp"
#include "kvsharer/runtime/cache_book.hpp"
#include "kvsharer/runtime/cache_counters.hpp"
#include "kvsharer/runtime/cache_options.hpp"
#include "kvsharer/runtime/cache_stream.hpp"
#include "kvsharer/runtime/detail/row_copy.hpp"
#include "kvsharer/runtime/footprint.hpp"
#include "kvsharer/runtime/sequence_id.hpp"

namespace kvsharer::inline v0 {

/// The keys and values of many sequences under a plan of sharing, in host memory: storage for owner layers only, in
/// which readers see their owner's rows. Keys and values may have different owners.
///
/// One pool of pages serves keys and one values, each [owner][page][kv_heads * page_tokens * head_dim] elements of E in
/// the order that Layout gives, for the owners of keys and those of values. A sequence has one block table, which holds
/// for all layers. Under a contiguous layout a sequence is one page of `capacity` tokens. Forks share pages; a page is
/// copied, in all planes, when a sequence grows inside it while others hold it.
///
/// All memory comes from Allocator in the constructor; nothing is allocated or moved later (error texts and streams
/// apart), so addresses of pools and block tables hold for the cache's life, moves of the cache included. Numbers that
/// were never stored are 0 or what a page held before. Members that do not change the cache may run at the same time,
/// and so may `store` to different layers or sequences; any other change needs the cache to itself.
template <class E = float, class Layout = layout::head_major, class Allocator = std::allocator<std::byte>>
class shared_cache {  // the primary template refuses types that do not fit, and says why
  static_assert(((void)require_cache_element<E>(), (void)require_cache_layout<Layout>(), true));

 public:
  /// Never runs: the type is refused, with the reason, when it is compiled.
  shared_cache(share_plan, cache_shape, shared_cache_options = {}, Layout = {}, Allocator = {}) {}
};

/// The cache itself, for types that fit; the primary template has its documentation.
template <CacheElement E, CacheLayout Layout, class Allocator>
class shared_cache<E, Layout, Allocator> : private cache_book<Allocator> {
  using book = cache_book<Allocator>;

 public:
  using element_type = E;                ///< what is stored
  using layout_type = Layout;            ///< the order inside a page
  using allocator_type = Allocator;      ///< where all memory comes from
  using options = shared_cache_options;  ///< what it is told besides its shape
  using index_type =
      decltype(std::declval<const Layout&>().index(cache_shape{}, nullptr));  ///< where a sequence's number lies
  using view_type = layer_view<E, index_type>;                                ///< one layer of one sequence

  static constexpr memory_space space = memory_space::host;

  /// Throws errc::bad_shape when sizes are not positive, disagree with the plan or overflow 64 bits, errc::bad_argument
  /// for options out of range.
  shared_cache(share_plan sharing, cache_shape sizes, options chosen = {}, Layout layout = {}, Allocator allocator = {})
      : book(std::move(sharing), sizes, layout.page_tokens(sizes), sizeof(E), chosen, allocator),
        layout_(std::move(layout)),
        keys_(static_cast<std::size_t>(book::geometry().key_elements), allocator),
        values_(static_cast<std::size_t>(book::geometry().value_elements), allocator) {}

  shared_cache(shared_cache&&) = default;  ///< what was moved from knows no sequence and makes none
  shared_cache& operator=(shared_cache&&) = delete;

  /// The order inside a page.
  const Layout& cache_layout() const noexcept { return layout_; }

  // What the book knows; see cache_book. Members that take a sequence throw errc::unknown_sequence for one that does
  // not live.
  using book::alive, book::length, book::max_sequences, book::next_position, book::position;
  using book::block_table, book::counters, book::free_pages, book::page_elements, book::page_tokens, book::pages;
  using book::clear, book::create, book::drop, book::fork, book::truncate;
  using book::owns, book::owns_keys, book::owns_values, book::plan, book::shape, book::tag;

  /// Makes room for `tokens` more and returns the first of them; `store` then fills it, layer by layer. Throws
  /// errc::bad_argument (negative), errc::capacity_exceeded or errc::pages_exhausted, having changed nothing. O(new
  /// pages), and a copy of at most one page in every plane. Views of the sequence taken before are stale.
  index_t append(sequence_id id, index_t tokens) {
    const index_t first = length(id);
    const sequence_growth growth{id, tokens};
    append({&growth, 1});
    return first;
  }

  /// The same for a ragged batch, all or nothing. A sequence may occur more than once.
  void append(std::span<const sequence_growth> batch) {
    book::append(batch, copy_pages(), [](sequence_id, index_t) {});
  }

  /// Fills the tokens [first, first + tokens) of an owner layer with rows [token][kv_heads * head_dim], rounded to E;
  /// where there are none (null), what is stored stays. Throws errc::not_an_owner for a reader and for rows of what the
  /// layer reads from another, and errc::out_of_range for tokens outside [0, length) or in pages that a
  /// fork holds too: store what was appended before forking. O(tokens * kv_heads * head_dim).
  void store(layer_id owner, sequence_id id, index_t first, index_t tokens, const float* keys, const float* values) {
    book::check_owner(owner, keys != nullptr, values != nullptr);
    book::check_store(id, first, tokens);
    if (tokens == 0) return;
    const index_type index = index_of(id);
    if (keys != nullptr) detail::store_rows(keys, shape(), index, first, tokens, keys_.data() + key_plane_at(owner));
    if (values != nullptr)
      detail::store_rows(values, shape(), index, first, tokens, values_.data() + value_plane_at(owner));
  }

  /// Keeps the tokens in these slots, ascending, in all planes; they move to the slots [0, slots.size()) and keep their
  /// positions, and the text goes on where it would have. Needs options.positions. Views of the sequence taken before
  /// are stale, and a prefix index must be told to forget it from slots[i] != i on. Throws errc::bad_argument where
  /// positions are not kept, errc::out_of_range for slots that do not ascend within [0, length(id)),
  /// errc::pages_exhausted where pages are shared with a fork and none is free for their copies. O(tokens moved *
  /// planes).
  void keep(sequence_id id, std::span<const index_t> slots) {
    book::keep(id, slots, copy_pages(), [&](std::span<const index_t> from, index_t first) {
      const index_type index = index_of(id);
      for_each_plane(keys_.data(), values_.data(), [&](E* plane) {
        for (index_t to = first; to < static_cast<index_t>(from.size()); ++to)
          detail::move_token(shape(), index, from[static_cast<std::size_t>(to)], to, plane);
      });
    });
  }

  /// The rows that layer l reads: its owner's. Throws errc::out_of_range for a layer outside the map. O(1).
  view_type keys(layer_id l, sequence_id id) const { return view(keys_.data() + key_plane_at(l), id); }
  /// The same for values.
  view_type values(layer_id l, sequence_id id) const { return view(values_.data() + value_plane_at(l), id); }

  /// One sequence as a KVCache. Borrows the cache, and follows the sequence as it grows.
  class sequence_view {
   public:
    static constexpr memory_space space = shared_cache::space;
    /// Borrows `cache`; `id` has to live whenever a member is called.
    sequence_view(const shared_cache& cache, sequence_id id) noexcept : cache_(&cache), id_(id) {}
    cache_shape shape() const noexcept { return cache_->shape(); }
    index_t length() const { return cache_->length(id_); }
    view_type keys(layer_id l) const { return cache_->keys(l, id_); }
    view_type values(layer_id l) const { return cache_->values(l, id_); }

   private:
    const shared_cache* cache_;
    sequence_id id_;
  };
  /// Throws errc::unknown_sequence.
  sequence_view sequence(sequence_id id) const {
    book::place(id);
    return {*this, id};
  }

  /// Writes a sequence in the form of cache_stream.hpp. Throws errc::file_access when the stream refuses.
  void save(sequence_id id, std::ostream& out) const {
    detail::cache_stream_writer writer(out);
    book::write_header(writer, cache_stream_code<E>, id);
    const index_type index = index_of(id);
    for_each_row(length(id), keys_.data(), values_.data(), [&](const E* plane, index_t head, index_t token) {
      writer.row(shape().head_dim, [&](index_t channel) { return plane[index.offset(head, token, channel)]; });
    });
    writer.checksum();
  }

  /// A new sequence with what `save` wrote, of a cache of any layout and capacity but of the same element type, layers,
  /// KV heads, head_dim, plan and tag. Throws errc::bad_stream when the bytes are cut short, damaged or of another
  /// cache, and what `create` and `append` throw; the cache then is as it was, the stream somewhere inside the bytes.
  sequence_id restore(std::istream& in) {
    detail::cache_stream_reader reader(in);
    const cache_stream_header header = book::read_header(reader, cache_stream_code<E>);
    const sequence_id id = create();
    try {
      append(id, header.length);
      book::read_positions(reader, header, id);
      const index_type index = index_of(id);
      for_each_row(header.length, keys_.data(), values_.data(), [&](E* plane, index_t head, index_t token) {
        reader.row<E>(shape().head_dim, [&](index_t channel, E x) { plane[index.offset(head, token, channel)] = x; });
      });
      reader.checksum();
    } catch (...) {
      drop(id);
      throw;
    }
    return id;
  }

  /// Bytes by purpose; total() is what the allocator gave. The plan, a value of a few bytes per layer, is not counted.
  cache_footprint footprint() const noexcept {
    cache_footprint all = book::footprint();
    all.keys = keys_.capacity() * sizeof(E);
    all.values = values_.capacity() * sizeof(E);
    return all;
  }

  /// All pages of the rows that layer l reads: pages() * page_elements() elements. Throws errc::out_of_range.
  std::span<const E> key_plane(layer_id l) const { return plane_of(keys_, key_plane_at(l)); }
  /// The same for values.
  std::span<const E> value_plane(layer_id l) const { return plane_of(values_, value_plane_at(l)); }

 private:
  template <class T>
  using array = std::vector<T, typename std::allocator_traits<Allocator>::template rebind_alloc<T>>;

  /// Where in the pools the planes start that layer l reads.
  index_t key_plane_at(layer_id l) const { return book::key_slot(l) * book::geometry().plane_elements; }
  index_t value_plane_at(layer_id l) const { return book::value_slot(l) * book::geometry().plane_elements; }

  std::span<const E> plane_of(const array<E>& pool, index_t at) const {
    return std::span(pool).subspan(static_cast<std::size_t>(at),
                                   static_cast<std::size_t>(book::geometry().plane_elements));
  }

  index_type index_of(sequence_id id) const { return layout_.index(shape(), block_table(id).data()); }
  view_type view(const E* plane, sequence_id id) const { return {plane, index_of(id)}; }

  /// f(plane) for every plane of both pools: all owners' keys, then all owners' values.
  template <class Pointer, class F>
  void for_each_plane(Pointer keys, Pointer values, F&& f) const {
    const cache_geometry& g = book::geometry();
    for (index_t at = 0; at < g.key_elements; at += g.plane_elements) f(keys + at);
    for (index_t at = 0; at < g.value_elements; at += g.plane_elements) f(values + at);
  }

  /// Copies the first tokens of one page to another, in all planes.
  auto copy_pages() {
    return [this](std::int32_t from, std::int32_t to, index_t tokens) {
      const index_type source = layout_.index(shape(), &from), target = layout_.index(shape(), &to);
      for_each_plane(keys_.data(), values_.data(),
                     [&](E* plane) { detail::copy_tokens(shape(), source, target, tokens, plane); });
    };
  }

  /// row(plane, head, token) in the order of saved streams.
  template <class Pointer, class Row>
  void for_each_row(index_t tokens, Pointer keys, Pointer values, Row&& row) const {
    for_each_plane(keys, values, [&](Pointer plane) {
      for (index_t token = 0; token < tokens; ++token)
        for (index_t head = 0; head < shape().kv_heads; ++head) row(plane, head, token);
    });
  }

  Layout layout_;
  array<E> keys_;    // [owner of keys][page][page_elements]
  array<E> values_;  // [owner of values][page][page_elements]
};
static_assert(KVCache<shared_cache<>::sequence_view>);

}  // namespace kvsharer::inline v0
