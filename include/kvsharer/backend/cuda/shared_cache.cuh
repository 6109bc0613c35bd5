// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "kvsharer/backend/cuda/batch.cuh"
#include "kvsharer/backend/cuda/cache/list_growth.cuh"
#include "kvsharer/backend/cuda/cache/row_kernels.cuh"
#include "kvsharer/backend/cuda/cache/word_table.cuh"
#include "kvsharer/backend/cuda/launch.cuh"
#include "kvsharer/backend/cuda/memory.cuh"
#include "kvsharer/backend/cuda/pool_view.cuh"
#include "kvsharer/backend/cuda/store.cuh"
#include "kvsharer/backend/cuda/stream_ref.cuh"
#include "kvsharer/codec/native.hpp"
#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/concepts/layouts.hpp"
#include "kvsharer/concepts/require.hpp"
#include "kvsharer/core/cache_plan.hpp"
#include "kvsharer/core/element.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/kv_part.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/layout/page_strides.hpp"
#include "kvsharer/layout/paged.hpp"
#include "kvsharer/runtime/cache_book.hpp"
#include "kvsharer/runtime/cache_options.hpp"
#include "kvsharer/runtime/footprint.hpp"
#include "kvsharer/runtime/sequence_id.hpp"
#include "kvsharer/runtime/token_lists.hpp"

namespace kvsharer::inline v0::cuda {

/// kvsharer::shared_cache in device memory: the keys and values of many sequences under a plan of sharing, stored for
/// owner layers only. Layouts, sequences, pages, forks and errors are those of the host's cache.
///
/// The host decides which pages a sequence holds. Block tables and lengths are also in device memory, at addresses that
/// hold for the cache's life; each call that changes them updates them there in stream order, so a captured graph that
/// reads them stays valid while sequences come, grow and go. All device work goes to the one stream that the
/// constructor was given; stream and memory resource are borrowed. Nothing waits for the device, and nothing is
/// allocated after construction.
template <class E, class Layout = layout::paged<16>, class Resource = pool_resource>
class shared_cache {  // reached only by unsupported types; says why
  static_assert(((void)require_cache_element<E>(), (void)require_cache_layout<Layout>(), true));
  static_assert(!CacheLayout<Layout> || layout::StridedLayout<Layout>,
                "kvsharer E214: the device reads rows at equal distances; the index layout that `index` of this cache "
                "layout returns needs `rows_contiguous`, `token_stride()` and `run(token, tokens)`");
  static_assert(MemoryResource<Resource>,
                "kvsharer E211: a memory resource needs `void* allocate(stream_ref, std::size_t bytes)` and "
                "`deallocate(stream_ref, void*, std::size_t bytes)`, and must be copyable");

 public:
  /// Never runs: an unsupported type fails to compile, with the reason.
  shared_cache(cache_plan, cache_shape, shared_cache_options, stream_ref, Layout = {}, Resource = {}) {}
};

template <CacheElement E, layout::StridedLayout Layout, MemoryResource Resource>
class shared_cache<E, Layout, Resource> : private cache_book<> {
  using book = cache_book<>;

 public:
  using element_type = E;                ///< the stored type
  using layout_type = Layout;            ///< the order inside a page
  using options = shared_cache_options;  ///< those of the host's cache
  using view_type = pool_view<const E>;  ///< one layer of one sequence

  static constexpr memory_space space = memory_space::device;

  /// Throws what kvsharer::shared_cache does, errc::bad_shape when head_dim is not a multiple of 16 bytes or block
  /// tables exceed 2^31 entries, and what the resource throws when there is no memory.
  shared_cache(cache_plan whole, cache_shape sizes, options chosen, stream_ref on, Layout layout = {},
               Resource resource = {})
      : book(checked(std::move(whole), sizes, layout.page_tokens(sizes), chosen), sizes, layout.page_tokens(sizes),
             codec::native<E>(), codec::native<E>(), chosen),
        layout_(std::move(layout)),
        strides_{layout::strides_of(layout_, page_shape(kv_part::keys)),
                 layout::strides_of(layout_, page_shape(kv_part::values))},
        stream_(on),
        pool_(on, static_cast<std::size_t>(elements(geometry().pool_bytes)), resource),
        words_(on, static_cast<std::size_t>(first_table() + geometry().table_elements), resource) {}

  shared_cache(shared_cache&&) = default;  ///< a moved-from cache has no sequences and creates none
  shared_cache& operator=(shared_cache&&) = delete;

  /// The order inside a page.
  const Layout& cache_layout() const noexcept { return layout_; }
  /// The stream in whose order device memory is updated.
  stream_ref stream() const noexcept { return stream_; }

  // Members of the book; see cache_book. Those that take a sequence id throw errc::unknown_sequence if that sequence is
  // not alive.
  using book::alive, book::length, book::max_sequences, book::next_position, book::place, book::position;
  using book::block_table, book::check_store, book::counters, book::free_pages, book::page_tokens, book::pages;
  using book::even, book::list_of, book::lists;
  using book::owns, book::owns_keys, book::owns_values, book::plan, book::shape, book::sharing, book::tag;
  // For save and restore.
  using book::read_header, book::write_header;
  /// Fills an empty sequence with the lengths and positions after a stream's header. Throws what cache_book's does.
  void read_lists(kvsharer::detail::cache_stream_reader& in, const cache_stream_header& header, sequence_id id) {
    book::read_lists(in, header, id);
    for (index_t l = 0; l < lists().lists(); ++l) follow(id, l, 0);
    set_lengths(id);
    words_.flush();
  }

  // Members that change sequences, as on the host; device memory follows in stream order.

  /// Creates an empty sequence. Throws errc::sequences_exhausted.
  sequence_id create() {
    const sequence_id id = book::create();
    set_lengths(id);
    words_.flush();
    return id;
  }

  /// Makes room for `tokens` more tokens and returns the number of the first; `store` then fills them, layer by layer.
  index_t append(sequence_id id, index_t tokens) {
    const index_t first = length(id);
    const sequence_growth growth{id, tokens};
    append({&growth, 1});
    return first;
  }

  /// The same for a ragged batch, all or nothing. At most one launch per 480 changed words, so one for a decode step;
  /// with several lists, one more per 480 sequences.
  void append(std::span<const sequence_growth> batch) {
    detail::list_growth counts(stream_, words_.data() + first_count(), counts_kept());
    book::append(batch, copy_pages(), [&](sequence_id id, index_t first) {
      follow_growth(id, length(id) - first);
      if (counts_kept() > 0) counts.add(place(id), length(id) - first);
    });
    words_.flush();
    counts.flush();
  }

  /// Removes the newest tokens, down to `length`. Throws errc::unknown_sequence, errc::out_of_range.
  void truncate(sequence_id id, index_t length) {
    book::truncate(id, length);
    set_lengths(id);
    words_.flush();
  }

  /// Keeps only the tokens in these slots, as the host's cache does, in stream order: one launch per 900 tokens that
  /// move. Throws what the host's cache does.
  void keep(sequence_id id, std::span<const index_t> slots) {
    book::keep(id, slots, copy_pages(), move_tokens(id));
    set_lengths(id);
    words_.flush();
  }
  /// The same in one list (see list_of); its surplus pages return to the pool, and the other lists stay as they are.
  void keep(sequence_id id, index_t list, std::span<const index_t> slots) {
    book::keep(id, list, slots, copy_pages(), move_tokens(id));
    set_list_length(id, list);
    set_length(id);
    words_.flush();
  }

  /// Creates a sequence with the same tokens, at the cost of a block table.
  sequence_id fork(sequence_id id) {
    const sequence_id made = book::fork(id);
    const index_t tables = lists().tables();
    words_.copy(table_at(id, 0), table_at(made, 0),
                tables == 1 ? blocks_in_use(length(id)) : tables * geometry().blocks);
    set_lengths(made);
    words_.flush();
    return made;
  }

  /// Ends a sequence and frees the pages that no other sequence holds. Throws errc::unknown_sequence.
  void drop(sequence_id id) {
    const index_t at = place(id);
    book::drop(id);
    clear_lengths(at);
    words_.flush();
  }

  /// Drops all sequences; addresses stay.
  void clear() {
    book::clear();
    for (index_t at = 0; at < max_sequences(); ++at) clear_lengths(at);
    words_.flush();
  }

  /// [max_sequences()]: for each place, the length of its sequence's longest list, in device memory.
  const std::int32_t* device_lengths() const noexcept { return words_.data(); }
  /// [max_sequences()]: for each place, the position of its sequence's next token, in device memory. The lengths
  /// themselves if no positions are kept.
  const std::int32_t* device_positions() const noexcept { return words_.data() + first_position(); }

  /// The keys that layer l reads, of all sequences, as kernels see them. Throws errc::out_of_range.
  pool_batch<const E> keys(layer_id l) const { return key_batch<const E>(pool_.data(), l); }
  pool_batch<const E> values(layer_id l) const { return value_batch<const E>(pool_.data(), l); }

  /// Fills the newest tokens of a batch in an owner layer; see cuda::store. `on.stream` is the cache's stream. Throws
  /// errc::not_an_owner for a reader and for rows of a plane that the layer reads from another, and what cuda::store
  /// does. Lengths are in device memory, so forks that hold these pages too go unnoticed: store before forking.
  template <CacheElement In>
  void store(const backend& on, layer_id owner, const ragged_batch& batch, const new_rows<In>& rows,
             const rope_angles& rope = {}) {
    book::check_owner(owner, rows.keys != nullptr, rows.values != nullptr);
    cuda::store(on, key_batch<E>(pool_.data(), owner), value_batch<E>(pool_.data(), owner), batch, rows, rope, owner);
  }

  /// One sequence as a KVCache in device memory. Borrows the cache, and follows the sequence as it grows.
  class sequence_view {
   public:
    static constexpr memory_space space = shared_cache::space;
    /// Borrows `cache`; `id` must be alive whenever a member is called.
    sequence_view(const shared_cache& cache, sequence_id id) noexcept : cache_(&cache), id_(id) {}
    cache_shape shape() const noexcept { return cache_->shape(); }
    index_t length() const { return cache_->length(id_); }
    view_type keys(layer_id l) const { return cache_->keys(l).sequence(cache_->place(id_)); }
    view_type values(layer_id l) const { return cache_->values(l).sequence(cache_->place(id_)); }

   private:
    const shared_cache* cache_;
    sequence_id id_;
  };
  /// Throws errc::unknown_sequence, and errc::bad_argument for a sequence whose lists differ in length.
  sequence_view sequence(sequence_id id) const {
    book::check_even(id);
    return {*this, id};
  }

  /// Numbers that `copy_out` writes for a sequence of `tokens` tokens.
  std::size_t row_numbers(index_t tokens) const noexcept { return kv_bytes(sharing(), shape(), 1, tokens); }

  /// Copies a sequence's numbers to memory that both host and device reach (cudaMallocHost, or the device's own), in
  /// stream order: keys [owner][token][kv_head][channel], then values, as in saved streams. At a multiple of 16 bytes.
  /// Tokens are those of the longest list; entries past the end of a shorter list are not written.
  void copy_out(sequence_id id, E* rows) const { move_rows<false>(id, rows); }

  /// Fills a sequence of as many tokens as were copied out, in stream order. Throws errc::out_of_range if a fork shares
  /// some of them.
  void copy_in(sequence_id id, const E* rows) {
    book::check_alone(id);
    move_rows<true>(id, const_cast<E*>(rows));
  }

  /// Bytes by purpose: keys, values and block tables (with lengths and positions) of the device, bookkeeping of the
  /// host.
  cache_footprint footprint() const noexcept {
    cache_footprint all = book::footprint(pool_.bytes());
    all.bookkeeping += std::exchange(all.block_tables, words_.bytes());
    return all;
  }

 private:
  static constexpr index_t elements(index_t bytes) noexcept { return bytes / static_cast<index_t>(sizeof(E)); }
  /// The shape of one page: all KV heads or one.
  cache_shape page_shape(kv_part part) const noexcept {
    const page_format& page = part == kv_part::keys ? geometry().key_page : geometry().value_page;
    cache_shape s = shape();
    s.kv_heads = page.heads;
    s.head_dim = page.channels;
    return s;
  }

  /// Returns the plan if a device can hold such a cache; throws before any memory is allocated.
  static cache_plan checked(cache_plan whole, cache_shape sizes, index_t tokens_of_page, const options& chosen) {
    const cache_geometry g =
        book::geometry_of(whole, sizes, tokens_of_page, codec::native<E>(), codec::native<E>(), chosen);
    for (const index_t width : {sizes.widths().keys, sizes.widths().values})
      if (width * static_cast<index_t>(sizeof(E)) % 16 != 0)
        throw error(errc::bad_shape,
                    "heads of " + std::to_string(width) +
                        " channels do not begin at multiples of 16 bytes, which the device's loads need");
    const index_t lists = token_lists(whole.sharing(), sizes.kv_heads, chosen.lists).lists();
    if (g.table_elements > std::numeric_limits<std::int32_t>::max() - (2 + lists) * chosen.max_sequences)
      throw error(errc::bad_shape, "block tables of " + std::to_string(g.table_elements) +
                                       " entries; the device counts them with 31 bits: take larger pages");
    return whole;
  }

  index_t blocks_in_use(index_t tokens) const noexcept { return (tokens + page_tokens() - 1) / page_tokens(); }
  // The words: lengths [place], then positions [place] if they are kept, then lengths of lists [place][list] if there
  // are several, then block tables [place][table][block].
  index_t first_position() const noexcept { return keeps_positions() ? max_sequences() : 0; }
  index_t first_count() const noexcept { return first_position() + max_sequences(); }
  index_t counts_kept() const noexcept { return lists().lists() > 1 ? lists().lists() : 0; }
  index_t first_table() const noexcept { return first_count() + max_sequences() * counts_kept(); }
  index_t table_at(sequence_id id, index_t table) const {
    return first_table() + (place(id) * lists().tables() + table) * geometry().blocks;
  }

  void set_length(sequence_id id) {
    words_.set(place(id), length(id));
    if (keeps_positions()) words_.set(first_position() + place(id), next_position(id));
  }
  void set_list_length(sequence_id id, index_t list) {
    if (counts_kept() > 0) words_.set(first_count() + place(id) * counts_kept() + list, length(id, list));
  }
  void set_lengths(sequence_id id) {
    set_length(id);
    for (index_t l = 0; l < counts_kept(); ++l) set_list_length(id, l);
  }
  void clear_lengths(index_t place) {
    words_.set(place, 0);
    if (keeps_positions()) words_.set(first_position() + place, 0);
    for (index_t l = 0; l < counts_kept(); ++l) words_.set(first_count() + place * counts_kept() + l, 0);
  }

  /// Updates the device's block tables of a list from the book, from the block of token `first` on.
  void follow(sequence_id id, index_t list, index_t first) {
    for (const std::int32_t table : lists().tables_of(list)) {
      const std::span<const std::int32_t> pages = block_table(id, table);
      for (index_t block = first / page_tokens(); block < blocks_in_use(length(id, list)); ++block)
        words_.set(table_at(id, table) + block, pages[static_cast<std::size_t>(block)]);
    }
  }
  /// The same for all lists and the length, after growth by `tokens`.
  void follow_growth(sequence_id id, index_t tokens) {
    for (index_t l = 0; l < lists().lists(); ++l) follow(id, l, length(id, l) - tokens);
    set_length(id);
  }

  /// Planes of one width that a page number stands for, with the shape of their pages.
  struct plane_group {
    detail::pool_planes<E> planes;
    cache_shape page;
    kv_part part;
  };

  /// Calls f(group) for the planes whose pages a block table names: once for all of them if they have one width.
  template <class F>
  void for_each_group(index_t table, F&& f) const {
    E* const pool = const_cast<E*>(pool_.data());
    const cache_geometry& g = geometry();
    if (!g.plane_by_plane) return f(plane_group{{pool, 1, 0}, page_shape(book::part_of(table)), book::part_of(table)});
    const index_t keys = elements(g.key_plane_bytes()), values = elements(g.value_plane_bytes());
    if (keys == values)
      return f(plane_group{{pool, sharing().planes(), keys}, page_shape(kv_part::keys), kv_part::keys});
    f(plane_group{{pool, g.key_planes, keys}, page_shape(kv_part::keys), kv_part::keys});
    f(plane_group{{pool + g.key_planes * keys, g.value_planes, values}, page_shape(kv_part::values), kv_part::values});
  }

  /// Copies the first tokens of one page to another, in all planes that it stands for.
  auto copy_pages() {
    return [this](index_t table, std::int32_t from, std::int32_t to, index_t tokens) {
      for_each_group(table, [&](const plane_group& group) {
        detail::launch("the copy of a shared page", stream_,
                       {dim3(static_cast<unsigned>(tokens), static_cast<unsigned>(group.planes.count)), 128},
                       detail::copy_page_kernel<E>, group.planes, group.page, index_at(group.part, nullptr), from, to);
      });
    };
  }

  /// Moves the tokens of a list to lower slots, in all its planes, after updating its tables.
  auto move_tokens(sequence_id id) {
    return [this, id](index_t list, std::span<const index_t> slots, index_t first) {
      follow(id, list, first);
      words_.flush();
      for (const std::int32_t table : lists().tables_of(list))
        for_each_group(table, [&](const plane_group& group) { move_slots(id, table, group, slots, first); });
    };
  }
  void move_slots(sequence_id id, index_t table, const plane_group& group, std::span<const index_t> slots,
                  index_t next) {
    while (next < static_cast<index_t>(slots.size())) {
      detail::slot_list moved;
      moved.first = static_cast<std::int32_t>(next);
      for (; moved.count < detail::slot_list::capacity && next < static_cast<index_t>(slots.size()); ++next)
        moved.from[moved.count++] = static_cast<std::int32_t>(slots[static_cast<std::size_t>(next)]);
      detail::launch("the move of a sequence's tokens", stream_,
                     {dim3(static_cast<unsigned>(group.page.kv_heads), static_cast<unsigned>(group.planes.count)), 256},
                     detail::move_tokens_kernel<E>, group.planes, group.page,
                     index_at(group.part, words_.data() + table_at(id, table)), moved);
    }
  }

  template <bool ToPools>
  void move_rows(sequence_id id, E* rows) const {
    const index_t tokens = length(id);
    if (tokens == 0) return;
    const auto launch = [&](const plane_group& group, const layout::page_index& index, const list_counts& counts) {
      cache_shape all_heads = group.page;
      all_heads.kv_heads = shape().kv_heads;
      detail::launch("the copy of a sequence", stream_,
                     {dim3(static_cast<unsigned>(tokens), static_cast<unsigned>(group.planes.count)), 128},
                     detail::move_rows_kernel<ToPools, E>, group.planes, all_heads, index, counts, rows);
      rows += group.planes.count * tokens * all_heads.kv_heads * all_heads.head_dim;
    };
    if (lists().one_page_for_all())
      return for_each_group(0, [&](const plane_group& group) {
        launch(group, index_at(group.part, words_.data() + table_at(id, 0)), {words_.data() + place(id), 0, 0});
      });
    const auto one = [&](layer_id l, index_t table, const pool_batch<const E>& batch) {
      const list_counts counts{words_.data() + first_count() + place(id) * counts_kept() + lists().first_list(l), 0,
                               static_cast<std::int32_t>(lists().head_step())};
      for_each_group(table, [&](const plane_group& group) { launch(group, batch.sequence(place(id)).layout, counts); });
    };
    for (int l = 0; l < sharing().layers(); ++l)
      if (owns_keys({l})) one({l}, lists().key_table({l}), keys({l}));
    for (int l = 0; l < sharing().layers(); ++l)
      if (owns_values({l})) one({l}, lists().value_table({l}), values({l}));
  }

  template <class T>
  pool_batch<T> key_batch(T* pool, layer_id l) const {
    return batch_of(kv_part::keys, pool + elements(geometry().key_plane_at(book::key_slot(l))),
                    elements(geometry().key_plane_bytes()), lists().key_table(l), l);
  }
  template <class T>
  pool_batch<T> value_batch(T* pool, layer_id l) const {
    return batch_of(kv_part::values, pool + elements(geometry().value_plane_at(book::value_slot(l))),
                    elements(geometry().value_plane_bytes()), lists().value_table(l), l);
  }
  template <class T>
  pool_batch<T> batch_of(kv_part part, T* plane, index_t size, index_t table, layer_id l) const {
    const index_t blocks = geometry().blocks;
    cache_shape rows = page_shape(part);
    rows.kv_heads = shape().kv_heads;
    pool_batch<T> batch = pool_of(plane, size, nullptr, lists().tables() * blocks, rows, strides_of(part));
    batch.pages = index_at(part, words_.data() + first_table() + table * blocks);
    batch.pages.head_blocks = static_cast<std::uint32_t>(lists().head_step() * blocks);
    if (counts_kept() > 0)
      batch.tokens = {words_.data() + first_count() + lists().first_list(l), static_cast<std::int32_t>(counts_kept()),
                      static_cast<std::int32_t>(lists().head_step())};
    return batch;
  }

  const layout::page_strides& strides_of(kv_part part) const noexcept {
    return strides_[part == kv_part::keys ? 0 : 1];
  }
  /// The index of rows behind one block table; only kernels read the table's entries.
  layout::page_index index_at(kv_part part, const std::int32_t* table) const noexcept {
    return layout::index_of(strides_of(part), table,
                            elements(part == kv_part::keys ? geometry().key_step() : geometry().value_step()));
  }

  Layout layout_;
  layout::page_strides strides_[2];  // for kernels: strides of pages of keys and of values
  stream_ref stream_;
  device_buffer<E, Resource> pool_;     // [plane][page][page_elements], or [page][page_elements] of any plane
  detail::word_table<Resource> words_;  // see first_position and those that follow it
};

}  // namespace kvsharer::inline v0::cuda
