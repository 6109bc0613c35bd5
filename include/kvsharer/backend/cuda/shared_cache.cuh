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
#include "kvsharer/backend/cuda/cache/row_kernels.cuh"
#include "kvsharer/backend/cuda/cache/word_table.cuh"
#include "kvsharer/backend/cuda/launch.cuh"
#include "kvsharer/backend/cuda/memory.cuh"
#include "kvsharer/backend/cuda/pool_view.cuh"
#include "kvsharer/backend/cuda/store.cuh"
#include "kvsharer/backend/cuda/stream_ref.cuh"
#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/concepts/layouts.hpp"
#include "kvsharer/concepts/require.hpp"
#include "kvsharer/core/divisor.hpp"
#include "kvsharer/core/element.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/share_plan.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/layout/page_strides.hpp"
#include "kvsharer/layout/paged.hpp"
#include "kvsharer/runtime/cache_book.hpp"
#include "kvsharer/runtime/cache_options.hpp"
#include "kvsharer/runtime/footprint.hpp"
#include "kvsharer/runtime/sequence_id.hpp"

namespace kvsharer::inline v0::cuda {

/// kvsharer::shared_cache in device memory: the keys and values of many sequences under a plan of sharing, stored for
/// owner layers only. Layouts, sequences, pages, forks and refusals are those of the host's.
///
/// The host decides which pages a sequence holds; block tables and lengths lie in device memory too, at addresses that
/// hold for the cache's life, and are brought up to date in stream order by whatever changes them. So a captured graph
/// that reads them stays valid while sequences come, grow and go. All device work is given to the one stream that the
/// cache was made with, which is borrowed, as is the memory resource. Nothing waits for the device, and nothing is
/// allocated after construction.
template <class E, class Layout = layout::paged<16>, class Resource = pool_resource>
class shared_cache {  // types that do not fit come here, and are told why
  static_assert(((void)require_cache_element<E>(), (void)require_cache_layout<Layout>(), true));
  static_assert(!CacheLayout<Layout> || layout::StridedLayout<Layout>,
                "kvsharer E214: the device reads rows at equal distances; the index layout that `index` of this cache "
                "layout returns needs `rows_contiguous`, `token_stride()` and `run(token, tokens)`");
  static_assert(MemoryResource<Resource>,
                "kvsharer E211: a memory resource needs `void* allocate(stream_ref, std::size_t bytes)` and "
                "`deallocate(stream_ref, void*, std::size_t bytes)`, and must be copyable");

 public:
  /// Never runs: the type is refused, with the reason, when it is compiled.
  shared_cache(share_plan, cache_shape, shared_cache_options, stream_ref, Layout = {}, Resource = {}) {}
};

template <CacheElement E, layout::StridedLayout Layout, MemoryResource Resource>
class shared_cache<E, Layout, Resource> : private cache_book<> {
  using book = cache_book<>;

 public:
  using element_type = E;                ///< what is stored
  using layout_type = Layout;            ///< the order inside a page
  using options = shared_cache_options;  ///< those of the host's cache
  using view_type = pool_view<const E>;  ///< one layer of one sequence

  static constexpr memory_space space = memory_space::device;

  /// Throws what kvsharer::shared_cache does, errc::bad_shape when head_dim is not a multiple of 16 bytes or block
  /// tables pass 2^31 entries, and what the resource throws when there is no memory.
  shared_cache(share_plan sharing, cache_shape sizes, options chosen, stream_ref on, Layout layout = {},
               Resource resource = {})
      : book(checked(std::move(sharing), sizes, layout.page_tokens(sizes), chosen), sizes, layout.page_tokens(sizes),
             sizeof(E), chosen),
        layout_(std::move(layout)),
        strides_(layout::strides_of(layout_, sizes)),
        stream_(on),
        keys_(on, static_cast<std::size_t>(geometry().key_elements), resource),
        values_(on, static_cast<std::size_t>(geometry().value_elements), resource),
        words_(on, static_cast<std::size_t>(first_table() + geometry().table_elements), resource) {}

  shared_cache(shared_cache&&) = default;  ///< what was moved from knows no sequence and makes none
  shared_cache& operator=(shared_cache&&) = delete;

  /// The order inside a page.
  const Layout& cache_layout() const noexcept { return layout_; }
  /// The stream in whose order the device's memory follows.
  stream_ref stream() const noexcept { return stream_; }

  // What the book knows; see cache_book. Members that take a sequence throw errc::unknown_sequence for one that does
  // not live.
  using book::alive, book::length, book::max_sequences, book::next_position, book::place, book::position;
  using book::block_table, book::check_store, book::counters, book::free_pages, book::page_tokens, book::pages;
  using book::owns, book::owns_keys, book::owns_values, book::plan, book::shape, book::tag;
  // For save and restore.
  using book::read_header, book::read_positions, book::write_header;

  // What changes sequences: as on the host, with device memory following in stream order.

  /// An empty sequence. Throws errc::sequences_exhausted.
  sequence_id create() {
    const sequence_id id = book::create();
    set_length(id);
    words_.flush();
    return id;
  }

  /// Makes room for `tokens` more and returns the first of them; `store` then fills it, layer by layer.
  index_t append(sequence_id id, index_t tokens) {
    const index_t first = length(id);
    const sequence_growth growth{id, tokens};
    append({&growth, 1});
    return first;
  }

  /// The same for a ragged batch, all or nothing. At most one launch per 480 words that change: one for a decode step.
  void append(std::span<const sequence_growth> batch) {
    book::append(batch, copy_pages(), [this](sequence_id id, index_t first) { follow(id, first); });
    words_.flush();
  }

  /// Takes the newest tokens away, down to `length`. Throws errc::unknown_sequence, errc::out_of_range.
  void truncate(sequence_id id, index_t length) {
    book::truncate(id, length);
    set_length(id);
    words_.flush();
  }

  /// Keeps the tokens in these slots alone, as the host's cache does, in stream order: a launch for every 900 of them
  /// that move. Throws what the host's does.
  void keep(sequence_id id, std::span<const index_t> slots) {
    book::keep(id, slots, copy_pages(), [&](std::span<const index_t> from, index_t first) {
      follow(id, first);
      words_.flush();
      move_tokens(id, from, first);
    });
    set_length(id);
    words_.flush();
  }

  /// A sequence with the same tokens, for the price of a block table.
  sequence_id fork(sequence_id id) {
    const sequence_id made = book::fork(id);
    words_.copy(table_at(place(id)), table_at(place(made)), blocks_in_use(length(id)));
    set_length(made);
    words_.flush();
    return made;
  }

  /// Ends a sequence; pages that no other holds are free again. Throws errc::unknown_sequence.
  void drop(sequence_id id) {
    const index_t at = place(id);
    book::drop(id);
    clear_length(at);
    words_.flush();
  }

  /// Drops all sequences; addresses stay.
  void clear() {
    book::clear();
    for (index_t at = 0; at < max_sequences(); ++at) clear_length(at);
    words_.flush();
  }

  /// [max_sequences()]: tokens of the sequence in each place, in device memory.
  const std::int32_t* device_lengths() const noexcept { return words_.data(); }
  /// [max_sequences()]: where the next token of the sequence in each place stands in the text, in device memory. The
  /// lengths themselves where no positions are kept.
  const std::int32_t* device_positions() const noexcept { return words_.data() + first_position(); }

  /// What all sequences' rows of the keys that layer l reads look like to kernels. Throws errc::out_of_range.
  pool_batch<const E> keys(layer_id l) const { return batch_of<const E>(keys_.data(), book::key_slot(l)); }
  pool_batch<const E> values(layer_id l) const { return batch_of<const E>(values_.data(), book::value_slot(l)); }

  /// Fills the newest tokens of a batch in an owner layer; see cuda::store. `on.stream` is the cache's stream. Throws
  /// errc::not_an_owner for a reader and for rows of what the layer reads from another, and what cuda::store does.
  /// Lengths are the device's to know here, so nothing checks that no fork holds these pages too: store before forking.
  template <CacheElement In>
  void store(const backend& on, layer_id owner, const ragged_batch& batch, const new_rows<In>& rows,
             const rope_angles& rope = {}) {
    book::check_owner(owner, rows.keys != nullptr, rows.values != nullptr);
    cuda::store(on, batch_of<E>(keys_.data(), book::key_slot(owner)),
                batch_of<E>(values_.data(), book::value_slot(owner)), batch, rows, rope, owner);
  }

  /// One sequence as a KVCache in device memory. Borrows the cache, and follows the sequence as it grows.
  class sequence_view {
   public:
    static constexpr memory_space space = shared_cache::space;
    /// Borrows `cache`; `id` has to live whenever a member is called.
    sequence_view(const shared_cache& cache, sequence_id id) noexcept : cache_(&cache), id_(id) {}
    cache_shape shape() const noexcept { return cache_->shape(); }
    index_t length() const { return cache_->length(id_); }
    view_type keys(layer_id l) const { return cache_->keys(l).sequence(cache_->place(id_)); }
    view_type values(layer_id l) const { return cache_->values(l).sequence(cache_->place(id_)); }

   private:
    const shared_cache* cache_;
    sequence_id id_;
  };
  /// Throws errc::unknown_sequence.
  sequence_view sequence(sequence_id id) const {
    place(id);
    return {*this, id};
  }

  /// Numbers that `copy_out` writes for a sequence of `tokens` tokens.
  std::size_t row_numbers(index_t tokens) const noexcept { return kv_bytes(plan(), shape(), 1, tokens); }

  /// A sequence's numbers to memory that both host and device reach (cudaMallocHost, or the device's own), in stream
  /// order: keys [owner][token][kv_head][channel], then values, as saved streams have them. At a multiple of 16 bytes.
  void copy_out(sequence_id id, E* rows) const { move_rows<false>(id, rows); }

  /// Fills a sequence of as many tokens as were copied out, in stream order. Throws errc::out_of_range when some of
  /// them are shared with a fork.
  void copy_in(sequence_id id, const E* rows) {
    check_store(id, 0, length(id));
    move_rows<true>(id, const_cast<E*>(rows));
  }

  /// Bytes by purpose: keys, values and block tables of the device (the last with lengths and positions), bookkeeping
  /// of the host.
  cache_footprint footprint() const noexcept {
    cache_footprint all = book::footprint();
    all.keys = keys_.bytes();
    all.values = values_.bytes();
    all.bookkeeping += std::exchange(all.block_tables, words_.bytes());
    return all;
  }

 private:
  /// The plan, if a device can hold such a cache: said before any memory is asked for.
  static share_plan checked(share_plan sharing, cache_shape sizes, index_t tokens_of_page, const options& chosen) {
    const cache_geometry g =
        make_geometry(sharing, sizes, tokens_of_page, chosen.max_sequences, chosen.pages, sizeof(E));
    if (sizes.head_dim * static_cast<index_t>(sizeof(E)) % 16 != 0)
      throw error(errc::bad_shape,
                  "heads of " + std::to_string(sizes.head_dim) +
                      " channels do not begin at multiples of 16 bytes, which the device's loads need");
    if (g.table_elements > std::numeric_limits<std::int32_t>::max() - 2 * chosen.max_sequences)
      throw error(errc::bad_shape, "block tables of " + std::to_string(g.table_elements) +
                                       " entries; the device counts them with 31 bits: take larger pages");
    return sharing;
  }

  index_t blocks_in_use(index_t tokens) const noexcept { return (tokens + page_tokens() - 1) / page_tokens(); }
  // The words: lengths, then positions where they are kept, then block tables.
  index_t first_position() const noexcept { return keeps_positions() ? max_sequences() : 0; }
  index_t first_table() const noexcept { return first_position() + max_sequences(); }
  index_t table_at(index_t place) const noexcept { return first_table() + place * geometry().blocks; }

  void set_length(sequence_id id) {
    words_.set(place(id), length(id));
    if (keeps_positions()) words_.set(first_position() + place(id), next_position(id));
  }
  void clear_length(index_t place) {
    words_.set(place, 0);
    if (keeps_positions()) words_.set(first_position() + place, 0);
  }

  /// Has the device's words follow the book, from the block of token `first` on.
  void follow(sequence_id id, index_t first) {
    const std::span<const std::int32_t> pages = block_table(id);
    for (index_t block = first / page_tokens(); block < blocks_in_use(length(id)); ++block)
      words_.set(table_at(place(id)) + block, pages[static_cast<std::size_t>(block)]);
    set_length(id);
  }

  /// Copies the first tokens of one page to another, in all planes.
  auto copy_pages() {
    return [this](std::int32_t from, std::int32_t to, index_t tokens) {
      detail::launch("the copy of a shared page", stream_,
                     {dim3(static_cast<unsigned>(tokens), static_cast<unsigned>(plan().planes())), 128},
                     detail::copy_page_kernel<E>, pools(), shape(), index_at(nullptr), from, to);
    };
  }

  void move_tokens(sequence_id id, std::span<const index_t> slots, index_t first) {
    while (first < static_cast<index_t>(slots.size())) {
      detail::slot_list list;
      list.first = static_cast<std::int32_t>(first);
      for (; list.count < detail::slot_list::capacity && first < static_cast<index_t>(slots.size()); ++first)
        list.from[list.count++] = static_cast<std::int32_t>(slots[static_cast<std::size_t>(first)]);
      detail::launch("the move of a sequence's tokens", stream_,
                     {dim3(static_cast<unsigned>(shape().kv_heads), static_cast<unsigned>(plan().planes())), 256},
                     detail::move_tokens_kernel<E>, pools(), shape(), index_of(id), list);
    }
  }

  template <bool ToPools>
  void move_rows(sequence_id id, E* rows) const {
    const index_t tokens = length(id);
    if (tokens == 0) return;
    detail::launch("the copy of a sequence", stream_,
                   {dim3(static_cast<unsigned>(tokens), static_cast<unsigned>(plan().planes())), 128},
                   detail::move_rows_kernel<ToPools, E>, pools(), shape(), index_of(id), rows);
  }

  detail::pool_pair<E> pools() const noexcept {
    return {const_cast<E*>(keys_.data()), const_cast<E*>(values_.data()), plan().keys().owner_count(),
            geometry().plane_elements};
  }

  template <class T>
  pool_batch<T> batch_of(T* pool, index_t slot) const {
    return pool_of(pool + slot * geometry().plane_elements, geometry().plane_elements, words_.data() + first_table(),
                   geometry().blocks, shape(), strides_);
  }

  /// The rows of one sequence in any plane. Only kernels follow the table.
  layout::page_index index_of(sequence_id id) const { return index_at(words_.data() + table_at(place(id))); }
  layout::page_index index_at(const std::int32_t* table) const noexcept {
    return {.pages = table,
            .page_tokens = divisor(strides_.page_tokens),
            .page = strides_.page,
            .head = strides_.head,
            .token = strides_.token};
  }

  Layout layout_;
  layout::page_strides strides_;  // what kernels know of it
  stream_ref stream_;
  device_buffer<E, Resource> keys_;     // [owner of keys][page][page_elements]
  device_buffer<E, Resource> values_;   // [owner of values][page][page_elements]
  detail::word_table<Resource> words_;  // lengths [place], positions [place] if kept, block tables [place][blocks]
};

}  // namespace kvsharer::inline v0::cuda
