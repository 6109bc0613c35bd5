// SPDX-License-Identifier: Apache-2.0
#include "run/generation.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "golden/golden.hpp"
#include "mini_llama/scratch_directory.hpp"
#include "support/files.hpp"
#include "support/usage_error.hpp"

namespace {

using namespace mini_llama;
using kvsharer::share_map;

const session& shipped() {
  static const session s(golden::model_directory());
  return s;
}

token_batch golden_prompts() {
  token_batch prompts;
  for (const auto& p : golden::read_mini_llama().prompts) prompts.push_back(p.token_ids);
  return prompts;
}

TEST_CASE("bytes of keys and values are those of the owners, in every type") {
  const share_map map = share_map::from_owners(golden::read_mini_llama().strategies.at(1).layer_map).value();
  REQUIRE(map.reader_count() == 6);
  for (const auto& [type, bytes] : {std::pair<const char*, std::size_t>{"f32", 4}, {"f16", 2}, {"bf16", 2}}) {
    generation_request request{.prompts = {{1, 333, 1457}}, .max_new_tokens = 5};
    request.cache.type = type;
    const generation g = generate(shipped(), map, request);
    const std::size_t per_layer = 2 * 4 * 8 * 64 * bytes;  // K and V, KV heads, tokens, head_dim
    CHECK(g.footprint.keys + g.footprint.values == 18 * per_layer);
    CHECK(g.kv_bytes_unshared == 24 * per_layer);
    CHECK(g.token_ids.at(0).size() == 5);
    CHECK(g.decoded == 4);
  }
}

TEST_CASE("page size and layout do not show in what is generated") {
  generation_request request{.prompts = golden_prompts(), .max_new_tokens = 10, .stop_at_eos = false};
  const token_batch expected = generate(shipped(), share_map::identity(24), request).token_ids;
  request.cache.layout = "paged";
  for (const kvsharer::index_t page : {1, 7, 64}) {
    request.cache.page_tokens = page;
    CHECK(generate(shipped(), share_map::identity(24), request).token_ids == expected);
  }
}

TEST_CASE("a token that ends the text ends its sequence alone") {
  // The shipped model with another end-of-sequence token: the third that the first prompt continues with.
  const auto g = golden::read_mini_llama();
  const int eos = g.prompts[0].greedy_ids[2];
  const scratch_directory folder;
  nlohmann::json config = nlohmann::json::parse(read_text_file(golden::model_directory() + "/config.json"));
  config["eos_token_id"] = eos;
  folder.write("config.json", config.dump());
  for (const auto& file : std::filesystem::directory_iterator(golden::model_directory()))
    if (file.path().filename().string().starts_with("model"))
      std::filesystem::create_symlink(file.path(), folder.path() / file.path().filename());
  const session s(folder.path());
  generation_request request{.prompts = golden_prompts(), .max_new_tokens = 12};
  std::vector<std::size_t> told(request.prompts.size());
  request.on_token = [&](std::size_t sequence, int) { ++told[sequence]; };
  const generation ended = generate(s, share_map::identity(24), request);
  bool one_goes_on = false;
  for (std::size_t p = 0; p < told.size(); ++p) {
    std::vector<int> expected(g.prompts[p].greedy_ids.begin(), g.prompts[p].greedy_ids.begin() + 12);
    const auto end = std::find(expected.begin(), expected.end(), eos);
    if (end != expected.end()) expected.erase(end + 1, expected.end());
    one_goes_on |= expected.size() == 12;
    CHECK(ended.token_ids[p] == expected);
    CHECK(told[p] == expected.size());
  }
  CHECK(ended.token_ids[0].size() == 3);
  CHECK(one_goes_on);
}

TEST_CASE("cancelling keeps what was generated") {
  generation_request request{.prompts = {{1, 333}}, .max_new_tokens = 50, .stop_at_eos = false};
  int tokens = 0;
  request.on_token = [&](std::size_t, int) { ++tokens; };
  request.cancelled = [&] { return tokens >= 3; };
  const generation g = generate(shipped(), share_map::identity(24), request);
  CHECK(g.token_ids.at(0).size() == 4);
}

TEST_CASE("requests that cannot be served are refused") {
  const auto refused = [](generation_request request) {
    CHECK_THROWS_AS(generate(shipped(), share_map::identity(24), request), usage_error);
  };
  refused({});
  refused({.prompts = {{1}, {}}});
  refused({.prompts = {{1}}, .max_new_tokens = 0});
  refused({.prompts = {std::vector<int>(1024, 1)}, .max_new_tokens = 1});
  refused({.prompts = {{1}}, .max_new_tokens = 1024});
  generation_request fits{.prompts = {std::vector<int>(1022, 1)}, .max_new_tokens = 2};
  CHECK(generate(shipped(), share_map::identity(24), fits).token_ids.at(0).size() == 2);
  fits.prompts = {{1, 9000}};
  CHECK_THROWS_AS(generate(shipped(), share_map::identity(24), fits), kvsharer::error);
}

}  // namespace
