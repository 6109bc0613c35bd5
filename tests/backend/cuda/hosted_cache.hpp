// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backend/cuda/device.hpp"
#include "kvsharer/backend/cuda/saved_sequence.cuh"
#include "kvsharer/backend/cuda/shared_cache.cuh"

namespace device_test {

/// A cuda::shared_cache with the face of the host's: takes rows of the host, and shows copies that were brought back.
/// So the suites written for the host's cache run on the device's.
template <class E, class Layout>
class hosted_cache {
 public:
  using element_type = E;
  using layout_type = Layout;

  hosted_cache(share_plan plan, cache_shape shape, shared_cache_options options = {}, Layout layout = {})
      : cache_(std::move(plan), shape, std::move(options), on_->stream, layout) {}

  /// One layer's keys or values as they were when asked for.
  struct view {
    std::shared_ptr<std::vector<E>> rows;  // keys [owner][token][kv_head][channel], then values
    cache_shape shape;
    index_t begin;
    float at(index_t head, index_t token, index_t channel) const {
      return static_cast<float>(
          (*rows)[static_cast<std::size_t>(begin + (token * shape.kv_heads + head) * shape.head_dim + channel)]);
    }
  };
  struct sequence_view {
    const hosted_cache* cache;
    sequence_id id;
    index_t length() const { return cache->length(id); }
    view keys(layer_id l) const { return cache->keys(l, id); }
    view values(layer_id l) const { return cache->values(l, id); }
  };

  bool owns(layer_id l) const { return cache_.owns(l); }
  bool owns_keys(layer_id l) const { return cache_.owns_keys(l); }
  bool owns_values(layer_id l) const { return cache_.owns_values(l); }
  bool alive(sequence_id id) const { return cache_.alive(id); }
  index_t length(sequence_id id) const { return cache_.length(id); }
  index_t next_position(sequence_id id) const { return cache_.next_position(id); }
  sequence_id create() { return cache_.create(); }
  index_t append(sequence_id id, index_t tokens) { return cache_.append(id, tokens); }
  void append(std::span<const sequence_growth> batch) { cache_.append(batch); }
  index_t position(sequence_id id, index_t slot) const { return cache_.position(id, slot); }
  void keep(sequence_id id, std::span<const index_t> slots) { cache_.keep(id, slots); }
  void truncate(sequence_id id, index_t n) { cache_.truncate(id, n); }
  sequence_id fork(sequence_id id) { return cache_.fork(id); }
  void drop(sequence_id id) { cache_.drop(id); }
  void clear() { cache_.clear(); }
  cache_footprint footprint() const { return cache_.footprint(); }
  cache_counters counters() const { return cache_.counters(); }
  index_t page_tokens() const { return cache_.page_tokens(); }
  index_t pages() const { return cache_.pages(); }
  index_t free_pages() const { return cache_.free_pages(); }
  std::span<const std::int32_t> block_table(sequence_id id) const { return cache_.block_table(id); }
  void save(sequence_id id, std::ostream& out) const { cuda::save(cache_, id, out); }
  sequence_id restore(std::istream& in) { return cuda::restore(cache_, in); }

  void store(layer_id owner, sequence_id id, index_t first, index_t tokens, const float* keys, const float* values) {
    cache_.check_store(id, first, tokens);
    const auto numbers = static_cast<std::size_t>(tokens * cache_.shape().kv_heads * cache_.shape().head_dim);
    const auto stream = on_->stream;
    const auto copy = [&](const float* from) {
      return on_device(stream, from ? std::vector<float>(from, from + numbers) : std::vector<float>());
    };
    const auto k = copy(keys), v = copy(values);
    // As though the sequence ended with these tokens.
    std::vector<std::int32_t> ends(static_cast<std::size_t>(cache_.max_sequences()));
    ends[static_cast<std::size_t>(cache_.place(id))] = static_cast<std::int32_t>(first + tokens);
    const auto lengths = on_device(stream, ends);
    const auto place = on_device(stream, std::vector<std::int32_t>{static_cast<std::int32_t>(cache_.place(id))});
    const auto rows = on_device(stream, std::vector<std::int32_t>{0, static_cast<std::int32_t>(tokens)});
    const cuda::ragged_batch batch{.sequences = 1,
                                   .rows = tokens,
                                   .max_rows = tokens,
                                   .lengths = lengths.data(),
                                   .places = place.data(),
                                   .row_begin = rows.data()};
    cache_.store(on_->backend, owner, batch,
                 cuda::new_rows<float>{keys ? k.data() : nullptr, values ? v.data() : nullptr});
    on_->backend.check_status();
  }

  view keys(layer_id l, sequence_id id) const { return shown(id, cache_.sharing().keys().slot(l)); }
  view values(layer_id l, sequence_id id) const {
    return shown(id, cache_.sharing().keys().owner_count() + cache_.sharing().values().slot(l));
  }
  sequence_view sequence(sequence_id id) const { return {this, id}; }

 private:
  view shown(sequence_id id, index_t plane) const {
    const index_t tokens = cache_.length(id), numbers = tokens * cache_.shape().kv_heads * cache_.shape().head_dim;
    auto rows = poisoned<E>(on_->stream, cache_.row_numbers(tokens));
    cache_.copy_out(id, rows.data());
    return {std::make_shared<std::vector<E>>(on_host(rows)), cache_.shape(), plane * numbers};
  }

  std::unique_ptr<device> on_ = std::make_unique<device>();
  cuda::shared_cache<E, Layout> cache_;
};

/// The list entry of suites for the host's caches (cache_fixtures::combination), for the device's.
template <class E, class Layout>
struct on_the_device {
  using element = E;
  using layout_type = Layout;
  using cache = hosted_cache<E, Layout>;
  template <class L>
  using cache_of = hosted_cache<E, L>;
};

}  // namespace device_test
