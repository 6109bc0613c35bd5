// SPDX-License-Identifier: Apache-2.0
// An engine that knows nothing of kvsharer, and the same engine adapted: what the change costs, and what it does.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "engines/changed_lines.hpp"
#include "engines/flat/engine.hpp"
#include "engines/flat_shared/engine.hpp"
#include "engines/flat_shared/find_sharing.hpp"
#include "engines/flat_weights.hpp"
#include "golden/golden.hpp"
#include "kvsharer/adapt/cache.hpp"
#include "kvsharer/adapt/read_through.hpp"
#include "kvsharer/adapt/rows.hpp"
#include "kvsharer/testing/engine_checks.hpp"
#include "run/session.hpp"
#include "search/find_sharing.hpp"

namespace {

using kvsharer::share_map;

constexpr int context = 64;

const mini_llama::session& shipped() {
  static const mini_llama::session s(golden::model_directory());
  return s;
}
const auto& original() {
  static const flat_weights<flat::hparams, flat::weights, flat::layer_weights> w(shipped().llama, context);
  return w;
}
const auto& adapted() {
  static const flat_weights<flat_shared::hparams, flat_shared::weights, flat_shared::layer_weights> w(shipped().llama,
                                                                                                      context);
  return w;
}

/// Of the golden calibration, so many tokens of each.
mini_llama::token_batch samples(std::size_t count, std::size_t tokens) {
  mini_llama::token_batch all = golden::read_mini_llama().calibration_ids;
  all.resize(count);
  for (std::vector<int>& sample : all) sample.resize(tokens);
  return all;
}

std::vector<float> run_original(const std::vector<int>& tokens) {
  flat::engine* e = flat::engine_new(original().hparams(), original().weights());
  std::vector<float> hidden(tokens.size() * static_cast<std::size_t>(e->hp.n_embd));
  flat::engine_eval(e, tokens.data(), static_cast<int>(tokens.size()), hidden.data());
  flat::engine_free(e);
  return hidden;
}

std::vector<float> run_adapted(const share_map& map, const std::vector<int>& tokens) {
  flat_shared::engine* e = flat_shared::engine_new(adapted().hparams(), adapted().weights(), map);
  std::vector<float> hidden(tokens.size() * static_cast<std::size_t>(e->hp.n_embd));
  flat_shared::engine_eval(e, tokens.data(), static_cast<int>(tokens.size()), hidden.data());
  flat_shared::engine_free(e);
  return hidden;
}

TEST_CASE("the adaptation is a few lines") {
  const std::string folder = std::string(KVSHARER_SOURCE_DIR) + "/tests/engines/";
  const std::size_t changed = changed_lines(folder + "flat/engine.hpp", folder + "flat_shared/engine.hpp") +
                              changed_lines(folder + "flat/engine.cpp", folder + "flat_shared/engine.cpp");
  const std::size_t of_namespaces = 4;
  CHECK(changed > of_namespaces);
  CHECK(changed - of_namespaces <= 20);
  MESSAGE("lines changed: ", changed - of_namespaces);
}

TEST_CASE("the engine is right: its continuation is the golden one") {
  const golden::prompt prompt = golden::read_mini_llama().prompts.at(0);
  flat::engine* e = flat::engine_new(original().hparams(), original().weights());
  std::vector<float> hidden(prompt.token_ids.size() * static_cast<std::size_t>(e->hp.n_embd));
  flat::engine_eval(e, prompt.token_ids.data(), static_cast<int>(prompt.token_ids.size()), hidden.data());
  const float* last = hidden.data() + hidden.size() - e->hp.n_embd;
  for (std::size_t i = 0; i < 8; ++i) {
    const int next = flat::engine_pick(e, last);
    CHECK(next == prompt.greedy_ids.at(i));
    flat::engine_eval(e, &next, 1, hidden.data());
    last = hidden.data();
  }
  flat::engine_free(e);
}

TEST_CASE("under the identity map it computes the same bits") {
  const std::vector<int> tokens = samples(1, 20).at(0);
  // [identity]
  CHECK(kvsharer::testing::same_numbers(run_original(tokens), run_adapted(share_map::identity(24), tokens)) == "");
  // [/identity]
}

// [show]
/// Shows the rows of an engine's cache, with a layer for each of the model's.
void show(const flat_shared::engine& e, auto&& look) {
  const kvsharer::cache_shape stored_shape{e.map.owner_count(), e.hp.n_head_kv, e.hp.d_head, e.hp.n_ctx};
  const auto stored = kvsharer::adapt::cache(stored_shape, e.n_past, kvsharer::adapt::flat(e.k, stored_shape),
                                             kvsharer::adapt::flat(e.v, stored_shape));
  look(kvsharer::adapt::read_through(e.map, stored));
}
// [/show]

TEST_CASE("readers leave the rows of their owners as they are") {
  const std::vector<int> tokens = samples(1, 10).at(0);
  const share_map some = share_map::identity(24).with({{5}, {2}}).value().with({{23}, {7}}).value();
  // [owner-rows]
  CHECK(kvsharer::testing::owner_rows_stay(some, [&](const share_map& map, auto&& look) {
          flat_shared::engine* e = flat_shared::engine_new(adapted().hparams(), adapted().weights(), map);
          std::vector<float> hidden(tokens.size() * static_cast<std::size_t>(e->hp.n_embd));
          flat_shared::engine_eval(e, tokens.data(), static_cast<int>(tokens.size()), hidden.data());
          show(*e, look);
          flat_shared::engine_free(e);
        }) == "");
  // [/owner-rows]
}

TEST_CASE("the engine moves the rows of owners alone, and the first tokens stay where a window moves on") {
  const std::vector<int> tokens = samples(1, 12).at(0);
  const share_map map = share_map::identity(24).with({{5}, {2}}).value().with({{23}, {7}}).value();
  flat_shared::engine* e = flat_shared::engine_new(adapted().hparams(), adapted().weights(), map);
  std::vector<float> hidden(tokens.size() * static_cast<std::size_t>(e->hp.n_embd));
  flat_shared::engine_eval(e, tokens.data(), static_cast<int>(tokens.size()), hidden.data());
  const auto rows_now = [&] {
    std::vector<kvsharer::testing::stored_rows> seen;
    show(*e, [&](const auto& cache) { seen.emplace_back(map, cache); });
    return seen.at(0);
  };
  // [compaction]
  const std::vector<kvsharer::index_t> kept{0, 1, 6, 7, 8, 9, 10, 11};  // two sinks, and the newest six
  const kvsharer::testing::stored_rows before = rows_now();
  for (int slot = 0; slot < map.owner_count(); slot++)  // once for each owner: its readers see the moved rows
    for (float* plane : {e->k, e->v}) {
      const std::ptrdiff_t row = e->hp.n_head_kv * e->hp.d_head;
      float* rows = plane + slot * e->hp.n_ctx * row;
      for (std::size_t i = 0; i < kept.size(); i++)
        std::copy_n(rows + kept[i] * row, row, rows + static_cast<std::ptrdiff_t>(i) * row);
    }
  e->n_past = static_cast<int>(kept.size());
  CHECK(kvsharer::testing::rows_after_compaction(before, rows_now(), kept) == "");
  // [/compaction]
  flat_shared::engine_free(e);
}

TEST_CASE("its search finds what the driver's finds, and another map computes other states" *
          doctest::test_suite("long")) {
  const mini_llama::token_batch batch = samples(2, 12);
  const kvsharer::search_report found = flat_shared::find_sharing(adapted().hparams(), adapted().weights(), batch, 3);
  const mini_llama::search_outcome driver = mini_llama::find_sharing(shipped(), batch, {.share = 3});
  CHECK(found.map() == driver.evidence.report.map());
  CHECK(found.map().reader_count() == 3);
  CHECK(found.score == doctest::Approx(driver.evidence.report.score).epsilon(1e-4));
  CHECK(run_adapted(found.map(), batch.at(0)) != run_original(batch.at(0)));
}

TEST_CASE("the cache is smaller by what readers do not store, as the engine's own allocator counts") {
  const share_map map = share_map::identity(24).with({{5}, {2}}).value().with({{23}, {7}}).value();
  const auto bytes_of = [](auto&& make, auto&& drop, auto&& count) {
    const std::size_t before = count();
    auto* e = make();
    const std::size_t bytes = count() - before;
    drop(e);
    CHECK(count() == before);
    return bytes;
  };
  const std::size_t before = bytes_of([] { return flat::engine_new(original().hparams(), original().weights()); },
                                      flat::engine_free, flat::allocated);
  const std::size_t after =
      bytes_of([&] { return flat_shared::engine_new(adapted().hparams(), adapted().weights(), map); },
               flat_shared::engine_free, flat_shared::allocated);
  CHECK(before - after == 2 * 2 * context * 4 * 64 * sizeof(float));  // layers, K and V, tokens, heads, channels
}

}  // namespace
