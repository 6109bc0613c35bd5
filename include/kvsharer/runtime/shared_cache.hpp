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
#include "kvsharer/runtime/cache_counters.hpp"
#include "kvsharer/runtime/cache_geometry.hpp"
#include "kvsharer/runtime/cache_stream.hpp"
#include "kvsharer/runtime/check_owner.hpp"
#include "kvsharer/runtime/detail/row_copy.hpp"
#include "kvsharer/runtime/footprint.hpp"
#include "kvsharer/runtime/sequence_id.hpp"
#include "kvsharer/runtime/sequence_table.hpp"

namespace kvsharer::inline v0 {

/// What a cache is told besides its shape.
struct shared_cache_options {
  index_t max_sequences = 1;  ///< that may live at once
  index_t pages = 0;          ///< in the pool; 0: enough for every sequence at capacity
  std::string tag = {};       ///< model fingerprint and RoPE identity; streams saved under another tag are refused
};

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
class shared_cache {  // types that do not fit come here, and are told why
  static_assert(((void)require_cache_element<E>(), (void)require_cache_layout<Layout>(), true));

 public:
  /// Never runs: the type is refused, with the reason, when it is compiled.
  shared_cache(share_plan, cache_shape, shared_cache_options = {}, Layout = {}, Allocator = {}) {}
};

/// The cache itself, for types that fit. What it does is told at the primary template, which refuses all others.
template <CacheElement E, CacheLayout Layout, class Allocator>
class shared_cache<E, Layout, Allocator> {
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
  shared_cache(share_plan plan, cache_shape shape, options chosen = {}, Layout layout = {}, Allocator allocator = {})
      : plan_(std::move(plan)),
        shape_(shape),
        layout_(std::move(layout)),
        geometry_(
            make_geometry(plan_, shape, layout_.page_tokens(shape), chosen.max_sequences, chosen.pages, sizeof(E))),
        sequences_(chosen.max_sequences, shape.capacity, geometry_.page_tokens, geometry_.blocks, geometry_.pages,
                   allocator),
        tag_(chosen.tag.begin(), chosen.tag.end(), allocator),
        keys_(static_cast<std::size_t>(geometry_.key_elements), allocator),
        values_(static_cast<std::size_t>(geometry_.value_elements), allocator) {}

  shared_cache(shared_cache&&) = default;  ///< what was moved from knows no sequence and makes none
  shared_cache& operator=(shared_cache&&) = delete;

  /// Whose keys and whose values each layer reads.
  const share_plan& plan() const noexcept { return plan_; }
  cache_shape shape() const noexcept { return shape_; }
  /// The order inside a page.
  const Layout& cache_layout() const noexcept { return layout_; }
  /// What streams and strategies of this cache have to agree with.
  std::string_view tag() const noexcept { return {tag_.data(), tag_.size()}; }

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

  // Members that take a sequence throw errc::unknown_sequence for one that does not live.

  /// Tokens stored now.
  index_t length(sequence_id id) const { return sequences_.length(id); }

  /// Where the next token stands in the text. Equal to `length` as long as nothing takes tokens out of the middle.
  index_t next_position(sequence_id id) const { return sequences_.next_position(id); }

  /// An empty sequence. Throws errc::sequences_exhausted. O(1).
  sequence_id create() { return sequences_.create(); }

  /// Makes room for `tokens` more and returns the first of them; `store` then fills it, layer by layer. Throws
  /// errc::bad_argument (negative), errc::capacity_exceeded or errc::pages_exhausted, having changed nothing. O(new
  /// pages), and a copy of at most one page in every plane. Views of the sequence taken before are stale.
  index_t append(sequence_id id, index_t tokens) {
    const sequence_growth growth{id, tokens};
    sequences_.check({&growth, 1});
    return grow(growth);
  }

  /// The same for a ragged batch, all or nothing. A sequence may occur more than once.
  void append(std::span<const sequence_growth> batch) {
    sequences_.check(batch);
    for (const sequence_growth& growth : batch) grow(growth);
  }

  /// Fills the tokens [first, first + tokens) of an owner layer with rows [token][kv_heads * head_dim], rounded to E;
  /// where there are none (null), what is stored stays. Throws errc::not_an_owner for a reader and for rows of what the
  /// layer reads from another, and errc::out_of_range for tokens outside [0, length) or in pages that a
  /// fork holds too: store what was appended before forking. O(tokens * kv_heads * head_dim).
  void store(layer_id owner, sequence_id id, index_t first, index_t tokens, const float* keys, const float* values) {
    check_owner(plan_, checked(owner), keys != nullptr, values != nullptr);
    sequences_.check_store(id, first, tokens);
    if (tokens == 0) return;
    const index_type index = layout_.index(shape_, sequences_.table(id).data());
    if (keys != nullptr) detail::store_rows(keys, shape_, index, first, tokens, keys_.data() + key_plane_at(owner));
    if (values != nullptr)
      detail::store_rows(values, shape_, index, first, tokens, values_.data() + value_plane_at(owner));
  }

  /// Keeps the first `length` tokens, 0 <= length <= length(id), else errc::out_of_range. Pages that no sequence holds
  /// any more are free again.
  void truncate(sequence_id id, index_t length) { sequences_.truncate(id, length); }

  /// A sequence with the same tokens, for the price of a block table. Throws errc::sequences_exhausted.
  sequence_id fork(sequence_id id) { return sequences_.fork(id); }

  /// Ends a sequence; pages that no other holds are free again. Throws errc::unknown_sequence.
  void drop(sequence_id id) { sequences_.drop(id); }

  /// Drops all sequences; addresses stay.
  void clear() noexcept { sequences_.clear(); }

  /// The rows that layer l reads: its owner's. Throws errc::out_of_range for a layer outside the map. O(1).
  view_type keys(layer_id l, sequence_id id) const { return view(keys_.data() + key_plane_at(checked(l)), id); }
  /// The same for values.
  view_type values(layer_id l, sequence_id id) const { return view(values_.data() + value_plane_at(checked(l)), id); }

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
    sequences_.place(id);
    return {*this, id};
  }

  /// Writes a sequence in the form of cache_stream.hpp. Throws errc::file_access when the stream refuses.
  void save(sequence_id id, std::ostream& out) const {
    cache_stream_header header = stream_header();
    header.length = length(id);
    header.next_position = next_position(id);
    detail::cache_stream_writer writer(out);
    detail::write_header(writer, header, tag());
    const index_type index = layout_.index(shape_, sequences_.table(id).data());
    for_each_row(header.length, [&](const E* plane, index_t head, index_t token) {
      writer.row(shape_.head_dim, [&](index_t channel) { return plane[index.offset(head, token, channel)]; });
    });
    writer.checksum();
  }

  /// A new sequence with what `save` wrote, of a cache of any layout and capacity but of the same element type, layers,
  /// KV heads, head_dim, plan and tag. Throws errc::bad_stream when the bytes are cut short, damaged or of another
  /// cache, and what `create` and `append` throw; the cache then is as it was, the stream somewhere inside the bytes.
  sequence_id restore(std::istream& in) {
    detail::cache_stream_reader reader(in);
    const cache_stream_header header = detail::read_header(reader, stream_header(), tag());
    const sequence_id id = create();
    try {
      append(id, header.length);
      sequences_.set_next_position(id, header.next_position);
      const index_type index = layout_.index(shape_, sequences_.table(id).data());
      for_each_row(header.length, [&](E* plane, index_t head, index_t token) {
        reader.row<E>(shape_.head_dim, [&](index_t channel, E x) { plane[index.offset(head, token, channel)] = x; });
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
    const auto& pool = sequences_.pool();
    const auto page_bytes = static_cast<std::size_t>(plan_.planes() * geometry_.page_elements) * sizeof(E);
    return {.keys = keys_.capacity() * sizeof(E),
            .values = values_.capacity() * sizeof(E),
            .block_tables = sequences_.table_bytes(),
            .bookkeeping = sequences_.record_bytes() + tag_.capacity(),
            .held = static_cast<std::size_t>(pool.pages() - pool.free_pages()) * page_bytes,
            .logical = kv_bytes(plan_, shape_, sizeof(E), sequences_.tokens())};
  }

  /// How the pages are used now, and were at their fullest. Allocates nothing. O(max_sequences) unless many sequences
  /// are forks whose last page is in common.
  cache_counters counters() const noexcept { return sequences_.counters(kv_bytes(plan_, shape_, sizeof(E))); }

  // What kernels and engines that walk the pages themselves need.

  /// Tokens of a page.
  index_t page_tokens() const noexcept { return geometry_.page_tokens; }
  /// In the pool, used and free.
  index_t pages() const noexcept { return sequences_.pool().pages(); }
  /// Those that no sequence holds.
  index_t free_pages() const noexcept { return sequences_.pool().free_pages(); }
  /// Elements of a page in one plane: kv_heads * page_tokens * head_dim.
  index_t page_elements() const noexcept { return geometry_.page_elements; }

  /// The pages of a sequence, ceil(capacity / page_tokens) entries; those past its length are 0.
  std::span<const std::int32_t> block_table(sequence_id id) const { return sequences_.table(id); }

  /// All pages of the rows that layer l reads: pages() * page_elements() elements. Throws errc::out_of_range.
  std::span<const E> key_plane(layer_id l) const { return plane_of(keys_, key_plane_at(checked(l))); }
  /// The same for values.
  std::span<const E> value_plane(layer_id l) const { return plane_of(values_, value_plane_at(checked(l))); }

 private:
  template <class T>
  using array = std::vector<T, typename std::allocator_traits<Allocator>::template rebind_alloc<T>>;

  layer_id checked(layer_id l) const {
    if (l.value < 0 || l.value >= plan_.layers())
      throw error(errc::out_of_range,
                  "there is no layer " + std::to_string(l.value) + " in a cache of " + std::to_string(plan_.layers()));
    return l;
  }

  /// Where in the pools the planes start that layer l reads. Precondition: l is checked.
  index_t key_plane_at(layer_id l) const noexcept { return plan_.keys().slot(l) * geometry_.plane_elements; }
  index_t value_plane_at(layer_id l) const noexcept { return plan_.values().slot(l) * geometry_.plane_elements; }

  std::span<const E> plane_of(const array<E>& pool, index_t at) const {
    return std::span(pool).subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(geometry_.plane_elements));
  }

  view_type view(const E* plane, sequence_id id) const {
    return {plane, layout_.index(shape_, sequences_.table(id).data())};
  }

  /// f(plane) for every plane of both pools: all owners' keys, then all owners' values.
  template <class Pointer, class F>
  void for_each_plane(Pointer keys, Pointer values, F&& f) const {
    for (index_t at = 0; at < geometry_.key_elements; at += geometry_.plane_elements) f(keys + at);
    for (index_t at = 0; at < geometry_.value_elements; at += geometry_.plane_elements) f(values + at);
  }

  index_t grow(sequence_growth growth) {
    return sequences_.grow(growth, [this](std::int32_t from, std::int32_t to, index_t tokens) {
      const index_type source = layout_.index(shape_, &from), target = layout_.index(shape_, &to);
      for_each_plane(keys_.data(), values_.data(),
                     [&](E* plane) { detail::copy_tokens(shape_, source, target, tokens, plane); });
    });
  }

  cache_stream_header stream_header() const noexcept {
    return {.element = cache_stream_code<E>, .shape = shape_, .plan_hash = plan_.hash()};
  }

  /// row(plane, head, token) in the order of saved streams.
  template <class Row>
  void for_each_row(index_t length, Row&& row) const {
    visit_rows(length, keys_.data(), values_.data(), row);
  }
  template <class Row>
  void for_each_row(index_t length, Row&& row) {
    visit_rows(length, keys_.data(), values_.data(), row);
  }
  template <class Pointer, class Row>
  void visit_rows(index_t length, Pointer keys, Pointer values, Row&& row) const {
    for_each_plane(keys, values, [&](Pointer plane) {
      for (index_t token = 0; token < length; ++token)
        for (index_t head = 0; head < shape_.kv_heads; ++head) row(plane, head, token);
    });
  }

  share_plan plan_;
  cache_shape shape_;
  Layout layout_;
  cache_geometry geometry_;
  sequence_table<Allocator> sequences_;
  array<char> tag_;
  array<E> keys_;    // [owner of keys][page][page_elements]
  array<E> values_;  // [owner of values][page][page_elements]
};
static_assert(KVCache<shared_cache<>::sequence_view>);

}  // namespace kvsharer::inline v0
