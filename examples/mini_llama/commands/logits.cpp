// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "../files.hpp"
#include "../forward.hpp"
#include "../session.hpp"
#include "../usage_error.hpp"
#include "commands.hpp"

namespace mini_llama {

namespace {

struct logits_arguments {
  std::string model;
  std::filesystem::path token_ids;
  std::optional<std::filesystem::path> strategy;
};

void run(const logits_arguments& a) {
  session s(a.model);
  const model_config& config = s.llama.config();
  const kvsharer::share_map map = s.map_from(a.strategy);
  const std::vector<std::vector<int>> batch = read_token_ids(a.token_ids, config.vocab);
  nlohmann::json rows = nlohmann::json::array(), best = nlohmann::json::array();
  workspace scratch;
  for (const std::vector<int>& ids : batch) {
    const auto tokens = static_cast<kvsharer::index_t>(ids.size());
    if (tokens < 1 || tokens > config.max_position)
      throw usage_error(a.token_ids.string() + ": a sequence of " + std::to_string(tokens) +
                        " tokens does not fit this model; 1 to " + std::to_string(config.max_position) + " do");
    kvsharer::shared_cache<> cache(map, {s.identity.layers, s.identity.kv_heads, s.identity.head_dim, tokens});
    const sequence_slice slice{cache.create(), 0, tokens};
    cache.append(slice.id, tokens);
    const std::span<const float> logits = forward(s.llama, cache, {&slice, 1}, ids, {}, scratch);
    rows.push_back(std::vector<float>(logits.begin(), logits.end()));
    best.push_back(std::max_element(logits.begin(), logits.end()) - logits.begin());
  }
  std::printf("%s\n", nlohmann::json{{"logits", rows}, {"argmax", best}}.dump().c_str());
}

}  // namespace

void add_logits(CLI::App& app) {
  auto a = std::make_shared<logits_arguments>();
  CLI::App* c = app.add_subcommand("logits", "Logits of the last position of each sequence, as JSON");
  c->add_option("--model", a->model, "Model directory (HuggingFace format)")->required();
  c->add_option("--token-ids", a->token_ids, "JSON array of arrays of token ids")->required();
  c->add_option("--strategy", a->strategy, "Strategy file; without it, the full model");
  c->add_flag_callback(
      "--json", [] {}, "Accepted for uniformity: the output is JSON in any case");
  c->callback([a] { run(*a); });
}

}  // namespace mini_llama
