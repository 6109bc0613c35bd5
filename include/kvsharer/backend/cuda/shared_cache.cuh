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
#include "kvsharer/core/element.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/share_plan.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/layout/paged.hpp"
#include "kvsharer/runtime/cache_counters.hpp"
#include "kvsharer/runtime/cache_geometry.hpp"
#include "kvsharer/runtime/check_owner.hpp"
#include "kvsharer/runtime/footprint.hpp"
#include "kvsharer/runtime/sequence_id.hpp"
#include "kvsharer/runtime/sequence_table.hpp"
#include "kvsharer/runtime/shared_cache.hpp"

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
  static_assert(MemoryResource<Resource>,
                "kvsharer E211: a memory resource needs `void* allocate(stream_ref, std::size_t bytes)` and "
                "`deallocate(stream_ref, void*, std::size_t bytes)`, and must be copyable");

 public:
  /// Never runs: the type is refused, with the reason, when it is compiled.
  shared_cache(share_plan, cache_shape, shared_cache_options, stream_ref, Layout = {}, Resource = {}) {}
};

template <CacheElement E, CacheLayout Layout, MemoryResource Resource>
class shared_cache<E, Layout, Resource> {
 public:
  using element_type = E;                                                 ///< what is stored
  using layout_type = Layout;                                             ///< the order inside a page
  using options = shared_cache_options;                                   ///< those of the host's cache
  using view_type = decltype(pool_batch<const E, Layout>{}.sequence(0));  ///< one layer of one sequence

  static constexpr memory_space space = memory_space::device;

  /// Throws what kvsharer::shared_cache does, errc::bad_shape when head_dim is not a multiple of 16 bytes or block
  /// tables pass 2^31 entries, and what the resource throws when there is no memory.
  shared_cache(share_plan plan, cache_shape shape, options chosen, stream_ref stream, Layout layout = {},
               Resource resource = {})
      : plan_(std::move(plan)),
        shape_(shape),
        layout_(std::move(layout)),
        geometry_(checked(
            make_geometry(plan_, shape, layout_.page_tokens(shape), chosen.max_sequences, chosen.pages, sizeof(E)),
            shape, chosen)),
        stream_(stream),
        sequences_(chosen.max_sequences, shape.capacity, geometry_.page_tokens, geometry_.blocks, geometry_.pages, {}),
        tag_(chosen.tag),
        keys_(stream, static_cast<std::size_t>(geometry_.key_elements), resource),
        values_(stream, static_cast<std::size_t>(geometry_.value_elements), resource),
        words_(stream, static_cast<std::size_t>(chosen.max_sequences + geometry_.table_elements), resource) {}

  shared_cache(shared_cache&&) = default;  ///< what was moved from knows no sequence and makes none
  shared_cache& operator=(shared_cache&&) = delete;

  /// Whose keys and whose values each layer reads.
  const share_plan& plan() const noexcept { return plan_; }
  cache_shape shape() const noexcept { return shape_; }
  /// The order inside a page.
  const Layout& cache_layout() const noexcept { return layout_; }
  /// What streams and strategies of this cache have to agree with.
  std::string_view tag() const noexcept { return tag_; }
  /// The stream in whose order the device's memory follows.
  stream_ref stream() const noexcept { return stream_; }

  /// Does layer l store anything? Throws errc::out_of_range.
  bool owns(layer_id l) const { return plan_.owns(checked(l)); }
  /// Does layer l store keys? Throws errc::out_of_range.
  bool owns_keys(layer_id l) const { return plan_.owns_keys(checked(l)); }
  /// Does layer l store values? Throws errc::out_of_range.
  bool owns_values(layer_id l) const { return plan_.owns_values(checked(l)); }

  /// How many sequences may live at once.
  index_t max_sequences() const noexcept { return sequences_.max_sequences(); }
  /// Does this id name a sequence that was made and not dropped?
  bool alive(sequence_id id) const noexcept { return sequences_.alive(id); }
  /// Tokens stored now. Throws errc::unknown_sequence.
  index_t length(sequence_id id) const { return sequences_.length(id); }
  /// Where the next token stands in the text. Throws errc::unknown_sequence.
  index_t next_position(sequence_id id) const { return sequences_.next_position(id); }

  // What changes sequences: as on the host, with device memory following in stream order.

  /// An empty sequence. Throws errc::sequences_exhausted.
  sequence_id create() {
    const sequence_id id = sequences_.create();
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
    sequences_.check(batch);
    for (const sequence_growth& growth : batch) grow(growth);
    words_.flush();
  }

  /// Keeps the first `length` tokens. Throws errc::unknown_sequence, errc::out_of_range.
  void truncate(sequence_id id, index_t length) {
    sequences_.truncate(id, length);
    set_length(id);
    words_.flush();
  }

  /// A sequence with the same tokens, for the price of a block table.
  sequence_id fork(sequence_id id) {
    const sequence_id made = sequences_.fork(id);
    words_.copy(table_at(place(id)), table_at(place(made)), blocks_in_use(length(id)));
    set_length(made);
    words_.flush();
    return made;
  }

  /// Ends a sequence; pages that no other holds are free again. Throws errc::unknown_sequence.
  void drop(sequence_id id) {
    const index_t at = place(id);
    sequences_.drop(id);
    words_.set(at, 0);
    words_.flush();
  }

  /// Drops all sequences; addresses stay.
  void clear() {
    sequences_.clear();
    for (index_t at = 0; at < max_sequences(); ++at) words_.set(at, 0);
    words_.flush();
  }

  /// Where a living sequence stands in device memory's lengths and block tables. Throws errc::unknown_sequence.
  index_t place(sequence_id id) const { return static_cast<index_t>(sequences_.place(id)); }

  /// [max_sequences()]: tokens of the sequence in each place, in device memory.
  const std::int32_t* device_lengths() const noexcept { return words_.data(); }

  /// What all sequences' rows of the keys that layer l reads look like to kernels. Throws errc::out_of_range.
  pool_batch<const E, Layout> keys(layer_id l) const {
    return batch_of<const E>(keys_.data(), slot_in(plan_.keys(), l));
  }
  pool_batch<const E, Layout> values(layer_id l) const {
    return batch_of<const E>(values_.data(), slot_in(plan_.values(), l));
  }

  /// Fills the newest tokens of a batch in an owner layer; see cuda::store. `on.stream` is the cache's stream. Throws
  /// errc::not_an_owner for a reader and for rows of what the layer reads from another, and what cuda::store does.
  /// Lengths are the device's to know here, so nothing checks that no fork holds these pages too: store before forking.
  template <CacheElement In>
  void store(const backend& on, layer_id owner, const ragged_batch& batch, const new_rows<In>& rows,
             const rope_angles& rope = {}) {
    kvsharer::check_owner(plan_, checked(owner), rows.keys != nullptr, rows.values != nullptr);
    cuda::store(on, batch_of<E>(keys_.data(), slot_in(plan_.keys(), owner)),
                batch_of<E>(values_.data(), slot_in(plan_.values(), owner)), batch, rows, rope, owner);
  }

  /// May these tokens of a sequence be written? Throws errc::out_of_range for tokens that it does not have or that lie
  /// in pages which a fork holds too. For those who write other tokens than the newest.
  void check_store(sequence_id id, index_t first, index_t tokens) const { sequences_.check_store(id, first, tokens); }

  /// One sequence as a KVCache in device memory. Borrows the cache, and follows the sequence as it grows.
  class sequence_view {
   public:
    static constexpr memory_space space = shared_cache::space;
    /// Borrows `cache`; `id` has to live whenever a member is called.
    sequence_view(const shared_cache& cache, sequence_id id) noexcept : cache_(&cache), id_(id) {}
    cache_shape shape() const noexcept { return cache_->shape(); }
    index_t length() const { return cache_->length(id_); }
    view_type keys(layer_id l) const { return cache_->bound(cache_->keys(l), id_); }
    view_type values(layer_id l) const { return cache_->bound(cache_->values(l), id_); }

   private:
    const shared_cache* cache_;
    sequence_id id_;
  };
  /// Throws errc::unknown_sequence.
  sequence_view sequence(sequence_id id) const {
    sequences_.place(id);
    return {*this, id};
  }

  /// Numbers that `copy_out` writes for a sequence of `tokens` tokens.
  std::size_t row_numbers(index_t tokens) const noexcept { return kv_bytes(plan_, shape_, 1, tokens); }

  /// A sequence's numbers to memory that both host and device reach (cudaMallocHost, or the device's own), in stream
  /// order: keys [owner][token][kv_head][channel], then values, as saved streams have them. At a multiple of 16 bytes.
  void copy_out(sequence_id id, E* rows) const { move_rows<false>(id, rows); }

  /// Fills a sequence of as many tokens as were copied out, in stream order. Throws errc::out_of_range when some of
  /// them are shared with a fork.
  void copy_in(sequence_id id, const E* rows) {
    check_store(id, 0, length(id));
    move_rows<true>(id, const_cast<E*>(rows));
  }

  /// The logical position of a sequence's next token, where it is not its length.
  void set_next_position(sequence_id id, index_t position) { sequences_.set_next_position(id, position); }

  /// Bytes by purpose: keys, values and block tables of the device (the last with the lengths), bookkeeping of the
  /// host.
  cache_footprint footprint() const noexcept {
    const auto& pool = sequences_.pool();
    const auto page_bytes = static_cast<std::size_t>(plan_.planes() * geometry_.page_elements) * sizeof(E);
    return {.keys = keys_.bytes(),
            .values = values_.bytes(),
            .block_tables = words_.bytes(),
            .bookkeeping = sequences_.table_bytes() + sequences_.record_bytes() + tag_.capacity(),
            .held = static_cast<std::size_t>(pool.pages() - pool.free_pages()) * page_bytes,
            .logical = kv_bytes(plan_, shape_, sizeof(E), sequences_.tokens())};
  }

  /// How the pages are used now, and were at their fullest. Allocates nothing. O(max_sequences) unless many sequences
  /// are forks whose last page is in common.
  cache_counters counters() const noexcept { return sequences_.counters(kv_bytes(plan_, shape_, sizeof(E))); }

  /// Tokens of a page.
  index_t page_tokens() const noexcept { return geometry_.page_tokens; }
  /// In the pool, used and free.
  index_t pages() const noexcept { return sequences_.pool().pages(); }
  /// Those that no sequence holds.
  index_t free_pages() const noexcept { return sequences_.pool().free_pages(); }

  /// The pages of a sequence, as the host knows them.
  std::span<const std::int32_t> block_table(sequence_id id) const { return sequences_.table(id); }

 private:
  static cache_geometry checked(const cache_geometry& g, cache_shape shape, const options& options) {
    if (shape.head_dim * static_cast<index_t>(sizeof(E)) % 16 != 0)
      throw error(errc::bad_shape,
                  "heads of " + std::to_string(shape.head_dim) +
                      " channels do not begin at multiples of 16 bytes, which the device's loads need");
    if (g.table_elements > std::numeric_limits<std::int32_t>::max() - options.max_sequences)
      throw error(errc::bad_shape, "block tables of " + std::to_string(g.table_elements) +
                                       " entries; the device counts them with 31 bits: take larger pages");
    return g;
  }
  layer_id checked(layer_id l) const {
    if (l.value < 0 || l.value >= plan_.layers())
      throw error(errc::out_of_range,
                  "there is no layer " + std::to_string(l.value) + " in a cache of " + std::to_string(plan_.layers()));
    return l;
  }

  index_t blocks_in_use(index_t tokens) const noexcept {
    return (tokens + geometry_.page_tokens - 1) / geometry_.page_tokens;
  }
  /// Where in the words a place's block table begins.
  index_t table_at(index_t place) const noexcept { return max_sequences() + place * geometry_.blocks; }

  void set_length(sequence_id id) { words_.set(place(id), length(id)); }

  void grow(sequence_growth growth) {
    const index_t first = length(growth.id), at = place(growth.id);
    sequences_.grow(growth,
                    [this](std::int32_t from, std::int32_t to, index_t tokens) { copy_page(from, to, tokens); });
    // The page of the first new token may have been replaced by a copy.
    const std::span<const std::int32_t> pages = block_table(growth.id);
    for (index_t block = first / geometry_.page_tokens; block < blocks_in_use(length(growth.id)); ++block)
      words_.set(table_at(at) + block, pages[static_cast<std::size_t>(block)]);
    set_length(growth.id);
  }

  void copy_page(std::int32_t from, std::int32_t to, index_t tokens) {
    detail::launch("the copy of a shared page", stream_,
                   {dim3(static_cast<unsigned>(tokens), static_cast<unsigned>(plan_.planes())), 128},
                   detail::copy_page_kernel<E, Layout>, pools(), shape_, layout_, from, to);
  }

  template <bool ToPools>
  void move_rows(sequence_id id, E* rows) const {
    const index_t tokens = length(id);
    if (tokens == 0) return;
    detail::launch("the copy of a sequence", stream_,
                   {dim3(static_cast<unsigned>(tokens), static_cast<unsigned>(plan_.planes())), 128},
                   detail::move_rows_kernel<ToPools, E, Layout>, pools(), shape_, layout_,
                   words_.data() + table_at(place(id)), rows);
  }

  detail::pool_pair<E> pools() const noexcept {
    return {const_cast<E*>(keys_.data()), const_cast<E*>(values_.data()), plan_.keys().owner_count(),
            geometry_.plane_elements};
  }

  index_t slot_in(const share_map& map, layer_id l) const { return map.slot(checked(l)); }

  template <class T>
  pool_batch<T, Layout> batch_of(T* pool, index_t slot) const {
    return {pool + slot * geometry_.plane_elements,
            geometry_.plane_elements,
            words_.data() + max_sequences(),
            geometry_.blocks,
            shape_,
            layout_};
  }

  /// One sequence's view, its block table in device memory. Built on the host from pointers that only kernels follow,
  /// except that a contiguous layout reads the sequence's page when it is built: from the host's table, then.
  view_type bound(const pool_batch<const E, Layout>& all, sequence_id id) const {
    view_type view{all.plane, all.elements - shape_.head_dim, layout_.index(shape_, block_table(id).data())};
    if constexpr (requires { view.layout.pages; }) view.layout.pages = all.tables + place(id) * all.blocks;
    return view;
  }

  share_plan plan_;
  cache_shape shape_;
  Layout layout_;
  cache_geometry geometry_;
  stream_ref stream_;
  sequence_table<std::allocator<std::byte>> sequences_;
  std::string tag_;
  device_buffer<E, Resource> keys_;     // [owner of keys][page][page_elements]
  device_buffer<E, Resource> values_;   // [owner of values][page][page_elements]
  detail::word_table<Resource> words_;  // lengths [place], then block tables [place][blocks]
};

}  // namespace kvsharer::inline v0::cuda
