// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstddef>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "commands/commands.hpp"
#include "commands/device_options.hpp"
#include "network/forward.hpp"
#include "run/finite_logits.hpp"
#include "run/session.hpp"
#include "support/files.hpp"
#include "support/standard_output.hpp"
#include "support/usage_error.hpp"

namespace mini_llama {

namespace {

struct logits_arguments {
  std::string model;
  std::filesystem::path token_ids;
  std::optional<std::filesystem::path> plan;
  bool no_align = false;
  device_options device;
};

std::vector<std::vector<float>> logits_on_host(const session& s, const kvsharer::cache_plan& plan,
                                               const token_batch& batch) {
  std::vector<std::vector<float>> rows;
  workspace scratch;
  for (const std::vector<int>& ids : batch) {
    const auto tokens = static_cast<kvsharer::index_t>(ids.size());
    kvsharer::shared_cache<> cache(plan, {s.identity.layers, s.identity.kv_heads, s.identity.head_dim, tokens});
    const sequence_slice slice{cache.create(), 0, tokens};
    cache.append(slice.id, tokens);
    const std::span<const float> logits = forward(s.model_for(plan), cache, {&slice, 1}, ids, {}, scratch);
    rows.emplace_back(logits.begin(), logits.end());
  }
  return rows;
}

void run(const logits_arguments& a, const gpu_opener& open) {
  std::unique_ptr<gpu> card = a.device.choose(open);
  session s(a.model);
  a.device.keep_for(card, s.llama.config());
  const model_config& config = s.llama.config();
  const kvsharer::cache_plan plan = s.follow(a.plan, !a.no_align);
  const token_batch batch = read_token_ids(a.token_ids, config.vocab);
  for (const std::vector<int>& ids : batch)
    if (ids.empty() || static_cast<kvsharer::index_t>(ids.size()) > config.max_position)
      throw usage_error(a.token_ids.string() + ": a sequence of " + std::to_string(ids.size()) +
                        " tokens does not fit this model; 1 to " + std::to_string(config.max_position) + " do");
  const auto rows = card ? card->logits(s, plan, batch, a.device.choice) : logits_on_host(s, plan, batch);
  nlohmann::json best = nlohmann::json::array();
  for (const std::vector<float>& row : rows) {
    check_logits(row);
    best.push_back(std::max_element(row.begin(), row.end()) - row.begin());
  }
  print_out("%s\n", nlohmann::json{{"logits", rows}, {"argmax", best}}.dump().c_str());
}

}  // namespace

void add_logits(CLI::App& app, const gpu_opener& open) {
  auto a = std::make_shared<logits_arguments>();
  CLI::App* c = app.add_subcommand("logits", "Logits of the last position of each sequence, as JSON");
  c->add_option("--model", a->model, "Model directory (HuggingFace format)")->required();
  c->add_option("--token-ids", a->token_ids, "JSON array of arrays of token ids")->required();
  c->add_option("--plan", a->plan, "Plan file; without it, the full model");
  c->add_flag("--no-align", a->no_align, "Leave out the alignment that the plan names");
  c->add_flag_callback(
      "--json", [] {}, "Accepted for uniformity: the output is JSON in any case");
  a->device.add_to(*c);
  c->callback([a, open] { run(*a, open); });
}

}  // namespace mini_llama
