// SPDX-License-Identifier: Apache-2.0
// Every family against what transformers answers for a tiny random checkpoint of it: tests/golden/families.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <fstream>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/families/own_map.hpp"
#include "kvsharer/cpu.hpp"
#include "kvsharer/io/plan_json.hpp"
#include "mini_llama/scratch_directory.hpp"
#include "network/forward.hpp"
#include "run/evaluation.hpp"
#include "run/generation.hpp"
#include "run/session.hpp"
#include "search/find_sharing.hpp"

namespace {

using namespace mini_llama;
using kvsharer::index_t;
using kvsharer::share_map;

const std::string root = std::string(KVSHARER_SOURCE_DIR) + "/tests/golden/families/";

struct expected_run {
  std::vector<int> ids, positions, greedy;
  std::vector<std::vector<double>> logits;
};

expected_run expected(const std::string& family) {
  std::ifstream in(root + family + "/expected.json");
  REQUIRE(in);
  const nlohmann::json j = nlohmann::json::parse(in);
  return {j.at("ids"), j.at("positions"), j.at("greedy"), j.at("logits")};
}

/// [ids][vocab], prefilled `at_once` tokens at a time.
std::vector<float> all_logits(const model& m, const share_map& map, const std::vector<int>& ids, std::size_t at_once) {
  const model_config& c = m.config();
  kvsharer::shared_cache<> cache(map, {c.layers, c.kv_heads, c.head_dim, static_cast<index_t>(ids.size())});
  const kvsharer::sequence_id id = cache.create();
  workspace w;
  std::vector<float> rows;
  for (std::size_t i = 0; i < ids.size(); i += at_once) {
    const std::size_t n = std::min(at_once, ids.size() - i);
    const sequence_slice slice{id, cache.append(id, static_cast<index_t>(n)), static_cast<index_t>(n)};
    const auto logits = forward(m, cache, {&slice, 1}, std::span(ids).subspan(i, n), {.want = outputs::all_logits}, w);
    rows.insert(rows.end(), logits.begin(), logits.end());
  }
  return rows;
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(double{a[i]} - double{b[i]}));
  return largest;
}

}  // namespace

TEST_CASE("each family answers as transformers does, prefilled and decoded, and shares") {
  for (const std::string family :
       {"llama2", "tinyllama", "llama3", "llama_linear", "mistral", "qwen2", "qwen3", "internlm2", "own_map"}) {
    CAPTURE(family);
    const session s(root + family);
    const model_config& c = s.llama.config();
    const expected_run golden = expected(family);
    const share_map own = own_map(c);

    const std::vector<float> prefilled = all_logits(s.llama, own, golden.ids, golden.ids.size());
    double worst = 0;
    for (std::size_t i = 0; i < golden.positions.size(); ++i)
      for (std::size_t v = 0; v < golden.logits[i].size(); ++v) {
        const auto at = static_cast<std::size_t>(golden.positions[i] * c.vocab) + v;
        worst = std::max(worst, std::abs(double{prefilled[at]} - golden.logits[i][v]));
      }
    CHECK(worst < 1e-4);
    for (const std::size_t at_once : {std::size_t{1}, std::size_t{5}})
      CHECK(largest_difference(all_logits(s.llama, own, golden.ids, at_once), prefilled) < 1e-4);

    generation_request request{
        .prompts = {golden.ids}, .max_new_tokens = static_cast<index_t>(golden.greedy.size()), .stop_at_eos = false};
    CHECK(generate(s, own, request).token_ids.at(0) == golden.greedy);
    request.cache.layout = "paged";  // in pages that no window begins or ends with
    request.cache.page_tokens = 4;
    CHECK(generate(s, own, request).token_ids.at(0) == golden.greedy);

    // A search finds one more reader, of its owner's kind, and its map runs alike in prefill and decode.
    token_batch samples = {golden.ids, golden.greedy};
    samples[1].resize(golden.ids.size());
    const int share = own.reader_count() + 1;
    for (const char* order : {"dissimilar", "best"}) {
      const search_outcome found =
          find_sharing(s, samples, {.share = share, .threshold = -2, .how = recipe::parse(order)});
      const share_map& map = found.evidence.report.map();
      REQUIRE(map.reader_count() == share);
      for (kvsharer::layer_id l{0}; l.value < c.layers; ++l.value) {
        CHECK(same_kind(c, l, map.owner(l)));
        if (!own.owns(l)) CHECK(!map.owns(l));
      }
      const std::vector<float> shared = all_logits(s.llama, map, golden.ids, golden.ids.size());
      CHECK(largest_difference(all_logits(s.llama, map, golden.ids, 1), shared) < 1e-4);
      CHECK(largest_difference(shared, prefilled) > 1e-3);

      const scratch_directory d;
      const auto file = d.write("plan.json", kvsharer::write_plan(found.file()));
      session again(root + family);
      CHECK(again.follow(file) == map);
    }
  }
}

TEST_CASE("files of both generations say the same") {
  for (const std::string family :
       {"llama2", "tinyllama", "llama3", "llama_linear", "mistral", "qwen2", "qwen3", "internlm2", "own_map"}) {
    CAPTURE(family);
    const model_config now = read_config_file(root + family + "/config.json");
    const model_config then = read_config_file(root + family + "/old.json");
    CHECK(rope_identity(now.rope) == rope_identity(then.rope));
    CHECK(now.windows == then.windows);
    CHECK(now.kv_owners == then.kv_owners);
    CHECK(now.head_dim == then.head_dim);
    CHECK(now.qkv_bias == then.qkv_bias);
    CHECK(now.tied_embeddings == then.tied_embeddings);
  }
  CHECK(read_config_file(root + "mistral/config.json").windows == std::vector{5, 5, 5});
  CHECK(read_config_file(root + "qwen2/config.json").windows == std::vector{0, 0, 6, 6});
  CHECK(read_config_file(root + "own_map/config.json").kv_owners == std::vector{0, 1, 2, 2, 2});
}

TEST_CASE("layers that were trained to read others never come to store") {
  session s(root + "own_map");
  const scratch_directory d;
  const kvsharer::share_plan wrong = share_map::from_owners(std::vector{0, 1, 1, 3, 3}).value();
  CHECK_THROWS_WITH_AS(require_own_readers(s.llama.config(), wrong),
                       doctest::Contains("layer 3 is to store keys and values"), kvsharer::error);
  // Nor does a debugging run that projects readers' keys touch weights that are not there.
  const expected_run golden = expected("own_map");
  const generation_request request{
      .prompts = {golden.ids}, .max_new_tokens = 4, .stop_at_eos = false, .project_readers = true};
  const generation g = generate(s, own_map(s.llama.config()), request);
  CHECK(g.token_ids.at(0) == std::vector<int>(golden.greedy.begin(), golden.greedy.begin() + 4));
}

TEST_CASE("a plan that pairs layers of different windows is refused by name") {
  session s(root + "qwen2");  // windows 0, 0, 6, 6
  const auto follow = [&](const kvsharer::share_plan& plan) {
    const scratch_directory d;
    return s.follow(d.write("plan.json", kvsharer::write_plan({s.identity, plan})));
  };
  const auto map_of = [](std::vector<int> owners) { return share_map::from_owners(owners).value(); };
  CHECK(follow(map_of({0, 0, 2, 2})) == map_of({0, 0, 2, 2}));
  CHECK_THROWS_WITH_AS(follow(map_of({0, 1, 1, 3})),
                       doctest::Contains("layer 2 attends to 6 tokens and is to read layer 1, which attends to all"),
                       kvsharer::error);
  // Halves of layers count, too.
  CHECK_THROWS_WITH_AS(follow({map_of({0, 1, 2, 3}), map_of({0, 1, 2, 0})}),
                       doctest::Contains("layer 3 attends to 6 tokens and is to read layer 0"), kvsharer::error);
}

TEST_CASE("a model with a map of its own and no plan is not compared with itself") {
  const session s(root + "own_map");
  std::vector<int> ids = expected("own_map").ids;
  const share_map own = own_map(s.llama.config());
  const evaluation alone = evaluate(s, own, ids, 8);
  CHECK(alone.kl == 0);
  CHECK(alone.perplexity == alone.full_perplexity);
  full_reference full(s, ids, 8);
  int passes = 0;
  const evaluation held = full.compare(own, [&](std::size_t, std::size_t) { ++passes; });
  CHECK(passes == 0);
  CHECK(held.perplexity == full.full().perplexity);
  CHECK(held.kl == 0);
  // What it is compared with is the model as it was trained.
  const share_map more = own.with({{1}, {0}}).value();
  const evaluation other = full.compare(more, [&](std::size_t, std::size_t) { ++passes; });
  CHECK(passes > 0);
  CHECK(other.kl > 0);
  CHECK(other.full_perplexity == doctest::Approx(alone.perplexity).epsilon(1e-9));
}
