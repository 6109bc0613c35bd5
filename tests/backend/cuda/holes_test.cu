// SPDX-License-Identifier: Apache-2.0
// On the device too, attention over a cache with holes equals attention in which the tokens that were taken out are
// masked: in ragged batches, of which one sequence has none.
#include "backend/holes.hpp"

#include <doctest/doctest.h>

#include <algorithm>

#include "backend/cuda/device.hpp"
#include "kvsharer/backend/cuda/sequence_batch.cuh"
#include "kvsharer/backend/cuda/shared_cache.cuh"
#include "kvsharer/layout/contiguous.hpp"

using namespace kvsharer;
using device_test::on_device;

namespace {

constexpr index_t head_dim = 64, capacity = 160, positions = 400;
constexpr attention_shape shape{.heads = 4, .kv_heads = 2, .head_dim = head_dim};

/// Three texts in a cache of one owner and a reader; the device turns the keys by the batch's positions.
template <class E, class Layout>
struct engine {
  device_test::device on;
  cuda::shared_cache<E, Layout> cache{share_map::from_owners(std::vector<int>{0, 0}).value(),
                                      {2, shape.kv_heads, head_dim, capacity},
                                      {.max_sequences = 5, .positions = true},
                                      on.stream};
  cuda::device_buffer<float> angles = on_device(on.stream, holes::angle_table(positions, head_dim));
  cuda::sequence_batch<> batch{on.stream, 3};
  std::vector<holes::text> texts;
  std::vector<sequence_id> ids;
  bool settled = false;  // in every other run, attention takes older tokens for settled, as they are

  engine() {
    for (unsigned i = 0; i < 3; ++i) {
      texts.emplace_back(shape, i);
      ids.push_back(cache.create());
    }
  }

  /// Runs more tokens of each text through the reader, and returns how far off they are.
  double run(const std::vector<index_t>& counts) {
    std::vector<sequence_growth> growth;
    std::vector<float> queries, keys, values;
    for (std::size_t i = 0; i < 3; ++i) {
      growth.push_back({ids[i], counts[i]});
      texts[i].add(counts[i]);
      const auto put = [&](std::vector<float>& all, bool turn, auto&& row) {
        const auto rows = texts[i].newest(counts[i], turn, row);
        all.insert(all.end(), rows.begin(), rows.end());
      };
      put(queries, true, [](const auto& t) { return t.query; });
      put(keys, false, [](const auto& t) { return t.key; });
      put(values, false, [](const auto& t) { return t.value; });
    }
    cache.append(growth);
    batch.assign(cache, growth);
    cuda::ragged_batch asked = batch.batch();
    asked.settled = (settled = !settled);
    const auto k = on_device(on.stream, holes::rounded<E>(keys)), v = on_device(on.stream, holes::rounded<E>(values));
    const auto q = on_device(on.stream, holes::rounded<E>(queries));
    auto out = device_test::poisoned<E>(on.stream, queries.size());
    cache.store(on.backend, {0}, batch.batch(), cuda::new_rows<E>{k.data(), v.data()},
                cuda::rope_angles{angles.data(), positions});
    cuda::attend<head_dim>(on.backend, shape, cache.keys({1}), cache.values({1}), asked, q.data(), out.data());
    const auto all = device_test::on_host(out);
    on.backend.check_status();
    double worst = 0;
    std::size_t at = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      const auto numbers = static_cast<std::size_t>(counts[i] * shape.heads * head_dim);
      const std::vector<E> rows(all.begin() + static_cast<std::ptrdiff_t>(at),
                                all.begin() + static_cast<std::ptrdiff_t>(at + numbers));
      worst = std::max(worst, texts[i].error_of(rows, counts[i]));
      at += numbers;
    }
    return worst;
  }
  template <class Gone>
  void take_out(std::size_t i, Gone&& gone) {
    cache.keep(ids[i], texts[i].take_out(gone));
  }
};

template <class E, class Layout>
void holes_are_tokens_masked(double tolerance) {
  engine<E, Layout> e;
  CHECK(e.run({45, 61, 38}) < tolerance);  // prefill
  e.take_out(0, [](index_t slot) { return slot % 3 == 1; });
  e.take_out(1, [](index_t slot) { return slot > 4 && slot < 40; });
  CHECK(e.run({1, 1, 1}) < tolerance);  // decode
  CHECK(e.run({5, 3, 7}) < tolerance);  // chunks
  const auto fork = e.cache.fork(e.ids[0]);
  e.take_out(0, [](index_t slot) { return slot > 2 && slot < 20; });
  CHECK(e.run({1, 40, 20}) < tolerance);
  CHECK(e.run({1, 1, 1}) < tolerance);
  CHECK(e.cache.length(fork) == 36);
  e.texts[1].tokens[2].kept = {false, false};  // the oracle can tell a hole from a token
  CHECK(e.run({1, 1, 1}) > 2 * tolerance);
}

}  // namespace

TEST_CASE("holes are tokens masked, in float") { holes_are_tokens_masked<float, layout::paged<16>>(1e-4); }
TEST_CASE("holes are tokens masked, in float16") { holes_are_tokens_masked<float16, layout::paged<16>>(6e-3); }
TEST_CASE("holes are tokens masked, in bfloat16, contiguous") {
  holes_are_tokens_masked<bfloat16, layout::token_major>(4e-2);
}

TEST_CASE("more tokens move than one launch can name") {
  device_test::device on;
  cuda::shared_cache<float, layout::paged<16>> cache(share_map::identity(1), {1, 1, 4, 3000},
                                                     {.max_sequences = 1, .positions = true}, on.stream);
  const auto id = cache.create();
  cache.append(id, 3000);
  std::vector<float> rows;  // keys, then values, [token][channel]
  for (int i = 0; i < 2 * 3000 * 4; ++i) rows.push_back(static_cast<float>(i));
  const auto in = on_device(on.stream, rows);
  cache.copy_in(id, in.data());
  std::vector<index_t> slots;
  for (index_t slot = 0; slot < 3000; ++slot)
    if (slot % 7 != 3) slots.push_back(slot);
  cache.keep(id, slots);
  auto out = device_test::poisoned<float>(on.stream, cache.row_numbers(cache.length(id)));
  cache.copy_out(id, out.data());
  const auto got = device_test::on_host(out);
  REQUIRE(got.size() == 2 * 4 * slots.size());
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < slots.size(); ++i)
    for (std::size_t c = 0; c < 4; ++c) {
      wrong += got[4 * i + c] != static_cast<float>(4 * slots[i]) + static_cast<float>(c);
      wrong += got[4 * (slots.size() + i) + c] != static_cast<float>(4 * (3000 + slots[i])) + static_cast<float>(c);
    }
  CHECK(wrong == 0);
}
