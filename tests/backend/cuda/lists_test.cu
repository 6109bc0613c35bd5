// SPDX-License-Identifier: Apache-2.0
// Token sets and KV heads that lose tokens each on its own, on the device: attention equals that in which the lost
// tokens are masked for that set and head alone, in ragged batches and in replays of one captured graph.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <deque>
#include <random>
#include <sstream>
#include <vector>

#include "backend/cuda/device.hpp"
#include "backend/holes.hpp"
#include "kvsharer/backend/cuda/saved_sequence.cuh"
#include "kvsharer/backend/cuda/sequence_batch.cuh"
#include "kvsharer/backend/cuda/shared_cache.cuh"
#include "kvsharer/layout/contiguous.hpp"

using namespace kvsharer;
using device_test::on_device;

namespace {

constexpr index_t head_dim = 64, capacity = 160, positions = 400;
constexpr attention_shape shape{.heads = 4, .kv_heads = 2, .head_dim = head_dim};
constexpr int owners[] = {0, 2};
constexpr std::size_t sequences = 3;

/// Three sequences in a cache of two owners, each with a reader; the device turns keys by the batch's positions.
template <class E, class Layout>
struct engine {
  list_scope scope;
  device_test::device on{};
  cuda::shared_cache<E, Layout> cache{share_map::from_owners(std::vector<int>{0, 0, 2, 2}).value(),
                                      {4, shape.kv_heads, head_dim, capacity},
                                      {.max_sequences = 5, .positions = true, .lists = scope},
                                      on.stream};
  cuda::device_buffer<float> angles = on_device(on.stream, holes::angle_table(positions, head_dim));
  cuda::sequence_batch<> batch{on.stream, static_cast<index_t>(sequences)};
  std::vector<holes::text> texts[2] = {};  // [owner][sequence]
  std::vector<sequence_id> ids = {};
  bool settled = false;  // in every other run, attention takes older tokens for settled, as they are

  explicit engine(list_scope s) : scope(s) {
    for (unsigned i = 0; i < sequences; ++i) {
      for (unsigned o = 0; o < 2; ++o) texts[o].emplace_back(shape, 10 * o + i);
      ids.push_back(cache.create());
    }
  }

  /// Runs more tokens of each sequence through both readers, and returns how far off they are.
  double run(const std::vector<index_t>& counts) {
    std::vector<sequence_growth> growth;
    for (std::size_t i = 0; i < sequences; ++i) {
      growth.push_back({ids[i], counts[i]});
      for (auto& of_owner : texts) of_owner[i].add(counts[i]);
    }
    cache.append(growth);
    batch.assign(cache, growth);
    cuda::ragged_batch asked = batch.batch();
    asked.settled = (settled = !settled);
    double worst = 0;
    for (std::size_t o = 0; o < 2; ++o) {
      std::vector<float> queries, keys, values;
      for (std::size_t i = 0; i < sequences; ++i) {
        const auto put = [&](std::vector<float>& all, bool turn, auto&& row) {
          const auto rows = texts[o][i].newest(counts[i], turn, row);
          all.insert(all.end(), rows.begin(), rows.end());
        };
        put(queries, true, [](const auto& t) { return t.query; });
        put(keys, false, [](const auto& t) { return t.key; });
        put(values, false, [](const auto& t) { return t.value; });
      }
      const auto k = on_device(on.stream, holes::rounded<E>(keys)), v = on_device(on.stream, holes::rounded<E>(values));
      const auto q = on_device(on.stream, holes::rounded<E>(queries));
      auto out = device_test::poisoned<E>(on.stream, queries.size());
      const layer_id reader{owners[o] + 1};
      cache.store(on.backend, {owners[o]}, batch.batch(), cuda::new_rows<E>{k.data(), v.data()},
                  cuda::rope_angles{angles.data(), positions});
      cuda::attend<head_dim>(on.backend, shape, cache.keys(reader), cache.values(reader), asked, q.data(), out.data());
      const auto all = device_test::on_host(out);
      on.backend.check_status();
      auto at = all.begin();
      for (std::size_t i = 0; i < sequences; ++i) {
        const auto end = at + counts[i] * shape.heads * head_dim;
        const double own = texts[o][i].error_of(std::vector<E>(at, end), counts[i]);
        worst = own <= worst ? worst : own;
        at = end;
      }
    }
    return worst;
  }
  template <class Gone>
  void take_out(std::size_t owner, std::size_t i, index_t head, Gone&& gone) {
    holes::text& text = texts[owner][i];
    cache.keep(ids[i], cache.list_of({owners[owner]}, head),
               scope == list_scope::head ? text.take_out(head, gone) : text.take_out(gone));
  }
  index_t pages_asked() const {
    index_t pages = 0;
    for (const sequence_id id : ids)
      for (index_t l = 0; l < cache.lists().lists(); ++l)
        pages += 2 * ((cache.length(id, l) + cache.page_tokens() - 1) / cache.page_tokens());
    return pages;
  }
  index_t pages_in_use() const { return cache.pages() - cache.free_pages(); }
};

template <class E, class Layout>
void lists_lose_tokens(list_scope scope, double tolerance) {
  CAPTURE(static_cast<int>(scope));
  engine<E, Layout> e(scope);
  CHECK(e.run({45, 61, 38}) < tolerance);  // prefill
  CHECK(e.pages_in_use() == e.pages_asked());
  e.take_out(0, 0, 0, [](index_t slot) { return slot % 3 == 1; });
  e.take_out(1, 1, 1, [](index_t slot) { return slot > 4 && slot < 60; });
  e.take_out(0, 2, 1, [](index_t) { return true; });
  CHECK(e.cache.length(e.ids[2], e.cache.list_of({0}, 1)) == 0);
  CHECK(e.pages_in_use() == e.pages_asked());
  CHECK(e.run({1, 1, 1}) < tolerance);  // decode
  CHECK(e.run({5, 3, 7}) < tolerance);  // chunks
  CHECK(e.pages_in_use() == e.pages_asked());
  const auto fork = e.cache.fork(e.ids[0]);
  std::ostringstream before, after;
  cuda::save(e.cache, fork, before);
  e.take_out(1, 0, 0, [](index_t slot) { return slot > 2 && slot < 20; });
  CHECK(e.run({1, 40, 20}) < tolerance);
  CHECK(e.run({1, 1, 1}) < tolerance);
  cuda::save(e.cache, fork, after);
  CHECK(before.str() == after.str());
  e.cache.drop(fork);
  CHECK(e.pages_in_use() == e.pages_asked());
  // Saved and restored in another place.
  std::ostringstream out;
  cuda::save(e.cache, e.ids[1], out);
  std::istringstream in(out.str());
  const auto back = cuda::restore(e.cache, in);
  e.cache.drop(e.ids[1]);
  e.ids[1] = back;
  CHECK(e.run({1, 2, 1}) < tolerance);
  // Rolled back and on.
  for (std::size_t i = 0; i < sequences; ++i) {
    e.cache.truncate(e.ids[i], e.cache.length(e.ids[i]) - 1);
    for (auto& of_owner : e.texts) of_owner[i].truncate(static_cast<index_t>(of_owner[i].tokens.size()) - 1);
  }
  CHECK(e.run({1, 1, 1}) < tolerance);
  for (std::size_t t = 0; t < e.texts[1][1].tokens.size(); t += 2)
    e.texts[1][1].tokens[t].kept[1] = false;  // the oracle can tell holes of one head
  CHECK(e.run({1, 1, 1}) > 2 * tolerance);
  e.cache.clear();
  CHECK(e.pages_in_use() == 0);
}

}  // namespace

TEST_CASE("lists lose tokens each on its own, in float") {
  lists_lose_tokens<float, layout::paged<16>>(list_scope::set, 1e-4);
  lists_lose_tokens<float, layout::paged<>>(list_scope::head, 1e-4);
}
TEST_CASE("lists lose tokens each on its own, in float16") {
  lists_lose_tokens<float16, layout::paged<16>>(list_scope::head, 6e-3);
}
TEST_CASE("lists lose tokens each on its own, in bfloat16, contiguous") {
  lists_lose_tokens<bfloat16, layout::token_major>(list_scope::set, 4e-2);
  lists_lose_tokens<bfloat16, layout::head_major>(list_scope::head, 4e-2);
}

TEST_CASE("what attention writes besides is of each head's own list") {
  engine<float, layout::paged<16>> e(list_scope::head);
  e.run({20, 33, 4});
  e.take_out(0, 0, 0, [](index_t slot) { return slot < 15; });
  e.take_out(0, 1, 1, [](index_t slot) { return slot % 2 == 0; });
  std::vector<sequence_growth> growth;
  for (const auto id : e.ids) growth.push_back({id, 1});
  e.cache.append(growth);
  e.batch.assign(e.cache, growth);
  // Equal keys: every token of a list has the same mass.
  const auto zeros = on_device(e.on.stream, std::vector<float>(sequences * shape.kv_heads * head_dim));
  e.cache.store(e.on.backend, {0}, e.batch.batch(), cuda::new_rows<float>{zeros.data(), zeros.data()});
  const auto queries = on_device(e.on.stream, std::vector<float>(sequences * shape.heads * head_dim));
  auto out = device_test::poisoned<float>(e.on.stream, queries.size());
  auto lse = device_test::poisoned<float>(e.on.stream, sequences * shape.heads);
  auto mass = device_test::poisoned<float>(e.on.stream, sequences * shape.heads * capacity);
  const auto rows = on_device(e.on.stream, std::vector<std::int32_t>{0, 1, 2});
  cuda::attend<head_dim>(e.on.backend, shape, e.cache.keys({1}), e.cache.values({1}), e.batch.batch(), queries.data(),
                         out.data(), {lse.data(), mass.data(), rows.data(), capacity});
  e.on.backend.check_status();
  const auto got_lse = device_test::on_host(lse), got_mass = device_test::on_host(mass);
  for (std::size_t i = 0; i < sequences; ++i)
    for (index_t h = 0; h < shape.heads; ++h) {
      const index_t tokens = e.cache.length(e.ids[i], e.cache.list_of({1}, h / shape.group()));
      const std::size_t row = i * shape.heads + static_cast<std::size_t>(h);
      CHECK(got_lse[row] == doctest::Approx(std::log(static_cast<double>(tokens))).epsilon(1e-5));
      std::size_t wrong = 0;
      for (index_t t = 0; t < capacity; ++t) {
        const double want = t < tokens ? 1.0 / static_cast<double>(tokens) : 0.0;
        wrong += !(std::abs(got_mass[row * capacity + static_cast<std::size_t>(t)] - want) < 1e-5);
      }
      CHECK(wrong == 0);
    }
}

TEST_CASE("keys of one set are not attended to with values of another") {
  engine<float, layout::paged<16>> e(list_scope::set);
  e.run({3, 3, 3});
  const auto queries = on_device(e.on.stream, std::vector<float>(9 * shape.heads * head_dim));
  auto out = device_test::poisoned<float>(e.on.stream, queries.size());
  CHECK_THROWS_WITH_AS(cuda::attend<head_dim>(e.on.backend, shape, e.cache.keys({0}), e.cache.values({2}),
                                              e.batch.batch(), queries.data(), out.data()),
                       doctest::Contains("same lists of tokens"), error);
}

namespace {

/// What a KV head's list should hold: rows of head_dim.
struct kept_rows {
  std::deque<std::vector<float>> keys, values;
};

/// Attention of one query over what a list holds, in double.
std::vector<double> attend_slowly(const kept_rows& list, const float* query) {
  std::vector<double> out(head_dim);
  double total = 0;
  for (std::size_t t = 0; t < list.keys.size(); ++t) {
    double score = 0;
    for (std::size_t c = 0; c < head_dim; ++c) score += static_cast<double>(query[c]) * list.keys[t][c];
    const double weight = std::exp(score / std::sqrt(static_cast<double>(head_dim)));
    total += weight;
    for (std::size_t c = 0; c < head_dim; ++c) out[c] += weight * list.values[t][c];
  }
  for (double& x : out) x /= total;
  return out;
}

/// Numbers of the next step, at addresses that a graph keeps.
class step_rows {
 public:
  step_rows(cuda::stream_ref stream, std::size_t numbers) : rows_(numbers), there_(stream, numbers) {}
  void draw(std::mt19937& bits) {
    for (float& x : rows_) x = static_cast<float>(static_cast<int>(bits() % 2001) - 1000) / 500.0f;
    cuda::check(
        cudaMemcpyAsync(there_.data(), rows_.data(), there_.bytes(), cudaMemcpyHostToDevice, there_.stream().get()),
        "copy");
    there_.stream().synchronize();
  }
  const float* here() const { return rows_.data(); }
  const float* there() const { return there_.data(); }

 private:
  std::vector<float> rows_;
  cuda::device_buffer<float> there_;
};

}  // namespace

TEST_CASE("one captured step is replayed while lengths of single heads change") {
  constexpr std::size_t batch = 3, kv_width = shape.kv_heads * head_dim, width = shape.heads * head_dim;
  device_test::device on;
  const int replays = on.properties.multiprocessors > 32 ? 10000 : 400;  // the stand-in is slow
  cuda::shared_cache<float, layout::paged<16>> cache(
      share_map::from_owners(std::vector<int>{0, 0}).value(), {2, shape.kv_heads, head_dim, 96},
      {.max_sequences = 4, .pages = 60, .positions = true, .lists = list_scope::head}, on.stream);
  cuda::sequence_batch<> steps(on.stream, batch);
  std::vector<sequence_growth> growth;
  for (std::size_t i = 0; i < batch; ++i) growth.push_back({cache.create(), 1});
  std::vector<kept_rows> lists(batch * shape.kv_heads);
  std::mt19937 bits(11);
  step_rows keys(on.stream, batch * kv_width), values(on.stream, batch * kv_width), queries(on.stream, batch * width);
  auto out = device_test::poisoned<float>(on.stream, batch * width);

  const auto step = [&] {
    cache.store(on.backend, {0}, steps.batch(), cuda::new_rows<float>{keys.there(), values.there()});
    cuda::attend<head_dim>(on.backend, shape, cache.keys({1}), cache.values({1}), steps.batch(), queries.there(),
                           out.data());
  };
  const auto feed = [&] {
    for (step_rows* rows : {&keys, &values, &queries}) rows->draw(bits);
    for (std::size_t l = 0; l < lists.size(); ++l) {
      const auto take = [&](const step_rows& rows) {
        const float* const from = rows.here() + l * head_dim;  // [sequence][kv_head]
        return std::vector<float>(from, from + head_dim);
      };
      lists[l].keys.push_back(take(keys));
      lists[l].values.push_back(take(values));
    }
    cache.append(growth);
    steps.assign(cache, growth);
  };
  const auto error_of_step = [&] {
    const auto got = device_test::on_host(out);
    double worst = 0;
    for (std::size_t i = 0; i < batch; ++i)
      for (std::size_t h = 0; h < shape.heads; ++h) {
        const std::size_t at = i * width + h * head_dim;
        const auto want = attend_slowly(lists[i * shape.kv_heads + h / shape.group()], queries.here() + at);
        for (std::size_t c = 0; c < head_dim; ++c) {
          const double apart = std::abs(got[at + c] - want[c]);
          worst = apart <= worst ? worst : apart;
        }
      }
    return worst;
  };

  feed();
  const device_test::captured graph(on.stream, step);
  double worst = 0;
  for (int i = 0; i < replays; ++i) {
    if (i > 0) feed();
    graph.replay();
    if (i % 23 == 0) {
      const double apart = error_of_step();
      worst = apart <= worst ? worst : apart;
    }
    // A list that is long gives some tokens back, from anywhere in it; all keep the newest.
    for (std::size_t l = 0; l < lists.size(); ++l) {
      kept_rows& list = lists[l];
      if (list.keys.size() < 8 || (list.keys.size() < 60 && bits() % 9 != 0)) continue;
      const auto share = static_cast<std::uint32_t>(2 + bits() % 6);
      std::vector<index_t> slots;
      kept_rows kept;
      for (std::size_t t = 0; t < list.keys.size(); ++t)
        if (bits() % share != 0 || t + 1 == list.keys.size()) {
          slots.push_back(static_cast<index_t>(t));
          kept.keys.push_back(list.keys[t]);
          kept.values.push_back(list.values[t]);
        }
      list = kept;
      cache.keep(growth[l / shape.kv_heads].id, static_cast<index_t>(l % shape.kv_heads), slots);
    }
    if (i % 97 == 96) cache.drop(cache.fork(growth[0].id));
  }
  CHECK(worst < 2e-5);
  CHECK_NOTHROW(on.backend.check_status());
  index_t asked = 0;
  for (const kept_rows& list : lists) asked += 2 * ((static_cast<index_t>(list.keys.size()) + 15) / 16);
  CHECK(cache.pages() - cache.free_pages() == asked);
  CHECK(cache.next_position(growth[0].id) == replays);
}
