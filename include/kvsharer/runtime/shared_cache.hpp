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
#include <type_traits>
#include <utility>
#include <vector>

#include "kvsharer/codec/native.hpp"
#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/concepts/layouts.hpp"
#include "kvsharer/concepts/require.hpp"
#include "kvsharer/core/cache_plan.hpp"
#include "kvsharer/core/element.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/kv_part.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/layout/contiguous.hpp"
#include "kvsharer/layout/layer_view.hpp"
#include "kvsharer/layout/page_strides.hpp"
#include "kvsharer/runtime/cache_book.hpp"
#include "kvsharer/runtime/cache_counters.hpp"
#include "kvsharer/runtime/cache_options.hpp"
#include "kvsharer/runtime/cache_stream.hpp"
#include "kvsharer/runtime/detail/row_copy.hpp"
#include "kvsharer/runtime/footprint.hpp"
#include "kvsharer/runtime/sequence_id.hpp"
#include "kvsharer/runtime/token_lists.hpp"

namespace kvsharer::inline v0 {

/// The keys and values of many sequences under a plan of sharing, in host memory: only owner layers have storage, and
/// readers see their owner's rows. Keys and values may have different owners.
///
/// One pool holds the pages of all planes, [plane][page][kv_heads * page_tokens * head_dim] elements of E in the order
/// of Layout; the planes are the owners' keys and then their values. A sequence has one block table for all layers.
/// Under a contiguous layout a sequence is one page of `capacity` tokens. Forks share pages; a page is copied, in all
/// planes, when a sequence grows inside it while others hold it.
///
/// With options.lists, token sets or their KV heads keep tokens of their own: a page then belongs to one plane, or to
/// one KV head of one plane, and returns to the pool when its list no longer needs it.
///
/// All memory comes from Allocator in the constructor; later calls allocate and move nothing (except for error texts
/// and streams), so addresses of pools and block tables hold for the cache's life, even if the cache is moved. Numbers
/// that were never stored are 0 or what a page held before. Members that do not change the cache may run at the same
/// time, and so may `store` to different layers or sequences; any other change needs exclusive access to the cache.
template <class E = float, class Layout = layout::head_major, class Allocator = std::allocator<std::byte>>
class shared_cache {  // reached only by unsupported types; says why
  static_assert(((void)require_cache_element<E>(), (void)require_cache_layout<Layout>(), true));

 public:
  /// Never runs: an unsupported type fails to compile, with the reason.
  shared_cache(cache_plan, cache_shape, shared_cache_options = {}, Layout = {}, Allocator = {}) {}
};

/// The cache itself, for supported types; the primary template has its documentation.
template <CacheElement E, CacheLayout Layout, class Allocator>
class shared_cache<E, Layout, Allocator> : private cache_book<Allocator> {
  using book = cache_book<Allocator>;

 public:
  using element_type = E;                ///< the stored type
  using layout_type = Layout;            ///< the order inside a page
  using allocator_type = Allocator;      ///< where all memory comes from
  using options = shared_cache_options;  ///< options besides the shape
  using index_type = std::conditional_t<layout::StridedLayout<Layout>, layout::page_index,
                                        decltype(std::declval<const Layout&>().index(
                                            cache_shape{}, nullptr))>;  ///< finds a sequence's numbers
  using view_type = layer_view<E, index_type>;                          ///< one layer of one sequence

  static constexpr memory_space space = memory_space::host;

  /// Throws errc::bad_shape when sizes are not positive, disagree with the plan or overflow 64 bits, errc::bad_rule for
  /// a plan with other codecs, errc::bad_argument for options out of range, and for lists if the layout's heads and
  /// tokens do not lie at equal distances.
  shared_cache(cache_plan whole, cache_shape sizes, options chosen = {}, Layout layout = {}, Allocator allocator = {})
      : book(std::move(whole), sizes, layout.page_tokens(sizes), codec::native<E>(), codec::native<E>(), chosen,
             allocator),
        layout_(std::move(layout)),
        strides_{strides_in(layout_, page_shape(kv_part::keys), chosen),
                 strides_in(layout_, page_shape(kv_part::values), chosen)},
        pool_(static_cast<std::size_t>(elements(book::geometry().pool_bytes)), allocator) {}

  shared_cache(shared_cache&&) = default;  ///< a moved-from cache has no sequences and creates none
  shared_cache& operator=(shared_cache&&) = delete;

  /// The order inside a page.
  const Layout& cache_layout() const noexcept { return layout_; }

  // Members of the book; see cache_book. Those that take a sequence id throw errc::unknown_sequence if that sequence is
  // not alive.
  using book::alive, book::length, book::max_sequences, book::next_position, book::position;
  using book::block_table, book::counters, book::free_pages, book::page_tokens, book::pages;
  using book::clear, book::create, book::drop, book::fork, book::truncate;
  using book::even, book::list_of, book::lists;
  using book::owns, book::owns_keys, book::owns_values, book::plan, book::shape, book::sharing, book::tag;

  /// Elements of a page in one plane of keys: kv_heads * page_tokens * head_dim, or those of one head if every head has
  /// a list of its own.
  index_t page_elements() const noexcept { return elements(book::geometry().key_page.bytes()); }

  /// Makes room for `tokens` more tokens and returns the number of the first one; `store` then fills them, layer by
  /// layer. Throws errc::bad_argument (negative), errc::capacity_exceeded or errc::pages_exhausted, having changed
  /// nothing. O(new pages), and a copy of at most one page in every plane. Invalidates earlier views of the sequence.
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

  /// Fills the tokens [first, first + tokens) of an owner layer with rows [token][kv_heads * channels], rounded to E;
  /// null leaves the stored keys or values as they are. Throws errc::not_an_owner for a reader and for rows of a plane
  /// that the layer reads from another, and errc::out_of_range for tokens outside [0, length) or in pages that a fork
  /// holds too (store before forking). If lists differ in length, `first` counts in the longest one; in a list that is
  /// shorter by n, the tokens stand n slots lower. O(tokens * kv_heads * head_dim).
  void store(layer_id owner, sequence_id id, index_t first, index_t tokens, const float* keys, const float* values) {
    book::check_owner(owner, keys != nullptr, values != nullptr);
    book::check_store(owner, id, first, tokens);
    if (tokens == 0) return;
    if (keys != nullptr) store_plane(keys, shape().widths().keys, owner, id, first, tokens, key_plane(owner, id));
    if (values != nullptr)
      store_plane(values, shape().widths().values, owner, id, first, tokens, value_plane(owner, id));
  }

  /// Keeps only the tokens in these slots, ascending, in all planes. They move to the slots [0, slots.size()) and keep
  /// their positions; the next token's position does not change. Needs options.positions. Invalidates earlier views of
  /// the sequence; a prefix index must forget the sequence from the first i with slots[i] != i on. Throws
  /// errc::bad_argument if positions are not kept, errc::out_of_range for slots that do not ascend within [0,
  /// length(id)), errc::pages_exhausted if pages are shared with a fork and none is free for their copies. O(tokens
  /// moved * planes).
  void keep(sequence_id id, std::span<const index_t> slots) { book::keep(id, slots, copy_pages(), move_tokens(id)); }
  /// The same in one list (see list_of); its surplus pages return to the pool, and the other lists stay as they are.
  void keep(sequence_id id, index_t list, std::span<const index_t> slots) {
    book::keep(id, list, slots, copy_pages(), move_tokens(id));
  }

  /// The rows that layer l reads: its owner's. Throws errc::out_of_range for a layer outside the map. O(1).
  view_type keys(layer_id l, sequence_id id) const {
    const plane_pages at = key_plane(l, id);
    return {pool_.data() + at.begin, at.index};
  }
  /// The same for values.
  view_type values(layer_id l, sequence_id id) const {
    const plane_pages at = value_plane(l, id);
    return {pool_.data() + at.begin, at.index};
  }

  /// One sequence as a KVCache. Borrows the cache, and follows the sequence as it grows.
  class sequence_view {
   public:
    static constexpr memory_space space = shared_cache::space;
    /// Borrows `cache`; `id` must be alive whenever a member is called.
    sequence_view(const shared_cache& cache, sequence_id id) noexcept : cache_(&cache), id_(id) {}
    cache_shape shape() const noexcept { return cache_->shape(); }
    index_t length() const { return cache_->length(id_); }
    view_type keys(layer_id l) const { return cache_->keys(l, id_); }
    view_type values(layer_id l) const { return cache_->values(l, id_); }

   private:
    const shared_cache* cache_;
    sequence_id id_;
  };
  /// Throws errc::unknown_sequence, and errc::bad_argument for a sequence whose lists differ in length.
  sequence_view sequence(sequence_id id) const {
    book::check_even(id);
    return {*this, id};
  }

  /// Writes a sequence in the form of cache_stream.hpp. Throws errc::file_access if the stream fails.
  void save(sequence_id id, std::ostream& out) const {
    detail::cache_stream_writer writer(out);
    book::write_header(writer, cache_stream_code<E>, id);
    for_each_row(id, [&](index_t begin, const index_type& index, index_t width, index_t head, index_t token) {
      const E* const plane = pool_.data() + begin;
      writer.row(width, [&](index_t channel) { return plane[index.offset(head, token, channel)]; });
    });
    writer.checksum();
  }

  /// Creates a sequence from what `save` wrote: in a cache of any layout and capacity, but of the same element type,
  /// layers, KV heads, head_dim, plan and tag. Throws errc::bad_stream when the bytes are cut short, damaged or of
  /// another cache, and what `create` and `append` throw; the cache is then unchanged, the stream somewhere inside the
  /// bytes.
  sequence_id restore(std::istream& in) {
    detail::cache_stream_reader reader(in);
    const cache_stream_header header = book::read_header(reader, cache_stream_code<E>);
    const sequence_id id = create();
    try {
      book::read_lists(reader, header, id);
      for_each_row(id, [&](index_t begin, const index_type& index, index_t width, index_t head, index_t token) {
        E* const plane = pool_.data() + begin;
        reader.row<E>(width, [&](index_t channel, E x) { plane[index.offset(head, token, channel)] = x; });
      });
      reader.checksum();
    } catch (...) {
      drop(id);
      throw;
    }
    return id;
  }

  /// Bytes by purpose; total() is what the allocator gave, without the plan and the numbering of lists, which take a
  /// few bytes per layer.
  cache_footprint footprint() const noexcept { return book::footprint(pool_.capacity() * sizeof(E)); }

  /// All pages of the keys that layer l reads: pages() * page_elements() elements. Throws errc::out_of_range.
  std::span<const E> key_plane(layer_id l) const {
    return plane_of(book::geometry().key_plane_at(book::key_slot(l)), book::geometry().key_plane_bytes());
  }
  /// The same for values.
  std::span<const E> value_plane(layer_id l) const {
    return plane_of(book::geometry().value_plane_at(book::value_slot(l)), book::geometry().value_plane_bytes());
  }

 private:
  template <class T>
  using array = std::vector<T, typename std::allocator_traits<Allocator>::template rebind_alloc<T>>;

  /// Where a plane's page 0 begins in the pool, and how a sequence's numbers are found from there.
  struct plane_pages {
    index_t begin;
    index_type index;
  };

  static constexpr index_t elements(index_t bytes) noexcept { return bytes / static_cast<index_t>(sizeof(E)); }
  /// The shape of one page: all KV heads or one.
  cache_shape page_shape(kv_part part) const noexcept {
    const page_format& page = part == kv_part::keys ? book::geometry().key_page : book::geometry().value_page;
    cache_shape s = shape();
    s.kv_heads = page.heads;
    s.head_dim = page.channels;
    return s;
  }

  static layout::page_strides strides_in(const Layout& order, cache_shape of_page, const options& chosen) {
    if constexpr (layout::StridedLayout<Layout>) {
      return layout::strides_of(order, of_page);
    } else {
      if (chosen.lists != list_scope::cache)
        throw error(errc::bad_argument, std::string("the layout \"") + static_cast<const char*>(order.name()) +
                                            "\" has no rows at equal distances, so its cache has one list of tokens; "
                                            "leave options.lists as it is, or take another layout");
      return {};
    }
  }

  /// The index of the pages in a block table: `step` bytes from page to page, head_blocks entries from head to head.
  index_type index_of(kv_part part, const std::int32_t* table, index_t step, index_t head_blocks = 0) const {
    if constexpr (layout::StridedLayout<Layout>) {
      return layout::index_of(strides_[part == kv_part::keys ? 0 : 1], table, elements(step), head_blocks);
    } else {
      return layout_.index(page_shape(part), table);
    }
  }
  plane_pages key_plane(layer_id l, sequence_id id) const {
    const cache_geometry& g = book::geometry();
    return {elements(g.key_plane_at(book::key_slot(l))),
            index_of(kv_part::keys, block_table(id, lists().key_table(l)).data(), g.key_step(),
                     lists().head_step() * g.blocks)};
  }
  plane_pages value_plane(layer_id l, sequence_id id) const {
    const cache_geometry& g = book::geometry();
    return {elements(g.value_plane_at(book::value_slot(l))),
            index_of(kv_part::values, block_table(id, lists().value_table(l)).data(), g.value_step(),
                     lists().head_step() * g.blocks)};
  }
  std::span<const E> plane_of(index_t begin, index_t bytes) const {
    return std::span(pool_).subspan(static_cast<std::size_t>(elements(begin)),
                                    static_cast<std::size_t>(elements(bytes)));
  }

  void store_plane(const float* rows, index_t width, layer_id owner, sequence_id id, index_t first, index_t tokens,
                   const plane_pages& at) {
    E* const to = pool_.data() + at.begin;
    if (lists().lists() == 1) {
      cache_shape of_rows = shape();
      of_rows.head_dim = width;
      return detail::store_rows(rows, of_rows, at.index, first, tokens, to);
    }
    const index_t behind = length(id) - first;
    for (index_t h = 0; h < shape().kv_heads; ++h) {
      const index_t begin = length(id, list_of(owner, h)) - behind;
      for (index_t t = 0; t < tokens; ++t)  // several lists have rows
        detail::convert(rows + (t * shape().kv_heads + h) * width, width, to + at.index.offset(h, begin + t, 0));
    }
  }

  /// Calls f(part, plane begin, page step in bytes) for every plane whose pages one block table names.
  template <class F>
  void for_each_plane(index_t table, F&& f) const {
    const cache_geometry& g = book::geometry();
    if (!g.plane_by_plane) return f(book::part_of(table), index_t{0}, g.page_bytes);
    for (index_t slot = 0; slot < g.key_planes; ++slot) f(kv_part::keys, elements(g.key_plane_at(slot)), g.key_step());
    for (index_t slot = 0; slot < g.value_planes; ++slot)
      f(kv_part::values, elements(g.value_plane_at(slot)), g.value_step());
  }

  /// Copies the first tokens of one page to another, in all planes that it stands for.
  auto copy_pages() {
    return [this](index_t table, std::int32_t from, std::int32_t to, index_t tokens) {
      for_each_plane(table, [&](kv_part part, index_t begin, index_t step) {
        detail::copy_tokens(page_shape(part), index_of(part, &from, step), index_of(part, &to, step), tokens,
                            pool_.data() + begin);
      });
    };
  }

  /// Moves the tokens of a list to lower slots, in all its planes.
  auto move_tokens(sequence_id id) {
    return [this, id](index_t list, std::span<const index_t> from, index_t first) {
      for (const std::int32_t table : lists().tables_of(list))
        for_each_plane(table, [&](kv_part part, index_t begin, index_t step) {
          const index_type index = index_of(part, block_table(id, table).data(), step);
          for (index_t to = first; to < static_cast<index_t>(from.size()); ++to)
            detail::move_token(page_shape(part), index, from[static_cast<std::size_t>(to)], to, pool_.data() + begin);
        });
    };
  }

  /// Calls row(plane begin, index, channels, head, token) in the order of saved streams.
  template <class Row>
  void for_each_row(sequence_id id, Row&& row) const {
    const auto of_plane = [&](layer_id l, const plane_pages& at, index_t width) {
      for (index_t token = 0; token < length(id); ++token)
        for (index_t head = 0; head < shape().kv_heads; ++head)
          if (token < length(id, list_of(l, head))) row(at.begin, at.index, width, head, token);
    };
    for (int l = 0; l < sharing().layers(); ++l)
      if (owns_keys({l})) of_plane({l}, key_plane({l}, id), shape().widths().keys);
    for (int l = 0; l < sharing().layers(); ++l)
      if (owns_values({l})) of_plane({l}, value_plane({l}, id), shape().widths().values);
  }

  Layout layout_;
  layout::page_strides strides_[2];  // of pages of keys and of values, in a strided layout
  array<E> pool_;                    // [plane][page][page_elements], or [page][page_elements] of any plane
};
static_assert(KVCache<shared_cache<>::sequence_view>);

}  // namespace kvsharer::inline v0
