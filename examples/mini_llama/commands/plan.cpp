// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/families/own_map.hpp"
#include "commands/commands.hpp"
#include "commands/draw.hpp"
#include "kvsharer/io/plan_json.hpp"
#include "kvsharer/io/plan_text.hpp"
#include "run/session.hpp"
#include "search/layers_shared.hpp"
#include "support/files.hpp"
#include "support/standard_output.hpp"
#include "support/usage_error.hpp"

namespace mini_llama {

namespace {

struct plan_arguments {
  std::filesystem::path model, out;
  std::vector<int> map;
  std::optional<std::filesystem::path> from, line;
  bool no_align = false, json = false;
};

/// The map of the command line, which must be one that this model runs.
kvsharer::share_map given_map(const plan_arguments& a, const model_config& c) {
  if (static_cast<int>(a.map.size()) != c.layers)
    throw usage_error("--map has " + std::to_string(a.map.size()) + " entries; this model has " +
                      std::to_string(c.layers) + " layers");
  kvsharer::share_map map = kvsharer::share_map::from_owners(a.map).value();
  require_own_readers(c, map);
  require_same_kinds(c, map);
  return map;
}

std::filesystem::path folder_of(const std::filesystem::path& file) {
  return std::filesystem::absolute(file).parent_path();
}

/// Another file's plan. What its search found out stays with that file; an alignment lies beside it, and is named only
/// where the new file lies there, too.
void take_over(const plan_arguments& a, const session& s, kvsharer::plan_file& made) {
  kvsharer::plan_file from = s.read(*a.from);
  made.plan = std::move(from.plan);
  if (!from.alignment || a.no_align) return;
  if (!std::filesystem::equivalent(folder_of(*a.from), folder_of(a.out)))
    throw usage_error(a.from->string() + " has an alignment, in the file " + from.alignment->file +
                      " beside it; write --out into the same folder, or leave it out with --no-align");
  made.alignment = from.alignment;
}

void print(const plan_arguments& a, const kvsharer::share_plan& sharing) {
  if (!a.json) return print_out("%s", draw_map(sharing).c_str());
  print_out("%s\n", nlohmann::json{{"key_map", kvsharer::detail::map_json(sharing.keys())},
                                   {"value_map", kvsharer::detail::map_json(sharing.values())},
                                   {"layers_shared", layers_shared(sharing)}}
                        .dump()
                        .c_str());
}

void run(const plan_arguments& a) {
  require_writable(a.out);
  if (a.line) require_writable(*a.line);
  const session s(a.model);
  kvsharer::plan_file made{.model = s.identity, .plan = own_map(s.llama.config())};
  if (!a.map.empty()) made.plan = given_map(a, s.llama.config());
  if (a.from) take_over(a, s, made);
  write_file_atomically(a.out, kvsharer::write_plan(made));
  if (a.line) write_file_atomically(*a.line, kvsharer::plan_text(made.plan));
  print(a, made.plan.sharing());
}

}  // namespace

void add_plan(CLI::App& app) {
  auto a = std::make_shared<plan_arguments>();
  CLI::App* c = app.add_subcommand("plan", "Write a plan file without a search");
  c->add_option("--model", a->model, "Model directory (HuggingFace format)")->required();
  c->add_option("--out", a->out, "Plan file to write")->required();
  CLI::Option* map =
      c->add_option("--map", a->map, "The owner of each layer, separated by commas; without it, no layer shares")
          ->delimiter(',');
  c->add_option("--from", a->from, "Instead of --map: a plan file of this model to begin with")->excludes(map);
  c->add_flag("--no-align", a->no_align, "With --from: leave out the alignment that the plan names");
  c->add_option("--line", a->line, "Also write the maps as one line of integers, for engines without JSON");
  c->add_flag("--json", a->json, "Print one JSON object on standard output");
  c->callback([a] { run(*a); });
}

}  // namespace mini_llama
