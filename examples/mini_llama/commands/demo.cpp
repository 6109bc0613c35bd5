// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "checkpoint/families/own_map.hpp"
#include "commands/commands.hpp"
#include "commands/draw.hpp"
#include "commands/number_options.hpp"
#include "device/gpu.hpp"
#include "kvsharer/io/plan_json.hpp"
#include "probe/choices.hpp"
#include "run/evaluation.hpp"
#include "run/finite_logits.hpp"
#include "run/generation.hpp"
#include "search/find_sharing.hpp"
#include "search/recipe.hpp"
#include "support/files.hpp"
#include "support/interrupt.hpp"
#include "support/progress.hpp"
#include "support/standard_output.hpp"

namespace mini_llama {

namespace {

struct demo_arguments {
  std::filesystem::path model = MINI_LLAMA_SHIPPED_MODEL, text = MINI_LLAMA_SHIPPED_TEXT, out = "mini_llama_demo";
  std::string prompt = "The history of the city begins in";
  int samples = 30, sample_tokens = 64;
  kvsharer::index_t max_new_tokens = 64;
  std::string backend = "auto";
  bool json = false;
};

/// One line of the demo's table: a map, how it was found, and what it costs and buys.
struct demo_row {
  std::string name;
  std::optional<recipe> how;  ///< nothing for the full model
  std::string share;

  std::string order() const { return how ? how->text() : "none"; }
  search_outcome found;
  evaluation quality;
  generation run;
};

/// Everything of a text behind its first `lines` usable lines: what the search has not seen.
std::vector<int> unseen_tokens(const demo_arguments& a, session& s) {
  std::vector<int> unseen;
  int used = 0;
  for_each_passage(read_text_file(a.text), [&](std::string_view line, int number) {
    const std::vector<int> ids = s.words().encode(line, false, line_of(a.text, number));
    if (used < a.samples && static_cast<int>(ids.size()) + 1 >= a.sample_tokens)
      ++used;
    else
      unseen.insert(unseen.end(), ids.begin(), ids.end());
    return true;
  });
  if (unseen.empty()) throw usage_error(a.text.string() + " has no passage left to measure on; use fewer --samples");
  return unseen;
}

kvsharer::share_map map_of(const demo_row& row, const session& s) {
  return row.found.evidence.report.map().layers() ? row.found.evidence.report.map() : own_map(s.llama.config());
}

/// In which text is measured: 512 tokens, where the model has as many.
kvsharer::index_t window_of(const session& s) { return std::min(512, s.llama.config().max_position); }

std::string file_name(const demo_row& row) { return "plan-" + row.order() + "-" + row.share + ".json"; }

void measure(demo_row& row, session& s, const std::vector<int>& unseen, const demo_arguments& a, gpu* card) {
  const kvsharer::share_map map = map_of(row, s);
  const kvsharer::index_t window = window_of(s);
  row.quality = card ? card->evaluate(s, map, unseen, window, {}) : evaluate(s, map, unseen, window);
  const generation_request wanted{.prompts = {s.words().encode(a.prompt)}, .max_new_tokens = a.max_new_tokens};
  row.run = card ? card->generate(s, map, wanted) : generate(s, map, wanted);
}

std::string table(const std::vector<demo_row>& rows, const session& s) {
  std::string text =
      "map                        layers stored   KV bytes  similarity  perplexity      KL  same top-1  tokens/s\n";
  for (const demo_row& row : rows) {
    char line[200];
    const kvsharer::share_map map = map_of(row, s);
    std::snprintf(line, sizeof line, "%-26s %6d of %2d  %10zu      %6.3f  %10.2f  %6.3f      %5.1f %%  %8.1f\n",
                  row.name.c_str(), map.owner_count(), map.layers(), row.run.footprint.keys + row.run.footprint.values,
                  row.found.evidence.report.score, row.quality.perplexity, row.quality.kl,
                  100 * row.quality.top1_agreement, row.run.decode_tokens_per_second());
    text += line;
  }
  return text;
}

nlohmann::json row_json(const demo_row& row, session& s) {
  const kvsharer::share_map map = map_of(row, s);
  const kvsharer::search_report& r = row.found.evidence.report;
  return {{"map", row.name},
          {"order", row.order()},
          {"share", row.share},
          {"layer_map", std::vector<int>(map.owners().begin(), map.owners().end())},
          {"score", r.score},
          {"candidates_tried", r.candidates.size()},
          {"search_seconds", row.found.seconds},
          {"layer_evaluations", row.found.layer_evaluations},
          {"perplexity", row.quality.perplexity},
          {"kl", row.quality.kl},
          {"top1_agreement", row.quality.top1_agreement},
          {"tokens", row.quality.tokens},
          {"kv_bytes", row.run.footprint.keys + row.run.footprint.values},
          {"kv_bytes_unshared", row.run.kv_bytes_unshared},
          {"prefill_seconds", row.run.prefill_seconds},
          {"decode_tokens_per_second", row.run.decode_tokens_per_second()},
          {"text", s.words().decode(row.run.token_ids.at(0))}};
}

void run(const demo_arguments& a, const gpu_opener& open) {
  std::unique_ptr<gpu> card = choose_backend(a.backend, open);
  std::fprintf(stderr, "opening %s\n", a.model.string().c_str());
  session s(a.model);
  keep_for(card, a.backend, s.llama.config());
  const std::string device = card ? card->name() : "the CPU";
  const token_batch samples = read_calibration(a.text, s.words(), a.samples, a.sample_tokens);
  const std::vector<int> unseen = unseen_tokens(a, s);

  make_folder(a.out);
  require_writable(a.out / "demo.json");  // before the searches, whose results would have no place

  std::vector<demo_row> rows;
  rows.push_back({.name = "full model", .how = {}, .share = "0", .found = {}, .quality = {}, .run = {}});
  for (const char* share : {"12.5%", "25%", "37.5%"})
    rows.push_back({.name = "KVSharer, " + std::string(share),
                    .how = recipe(),
                    .share = share,
                    .found = {},
                    .quality = {},
                    .run = {}});
  for (const search_order order : {search_order::suffix, search_order::random, search_order::similar})
    rows.push_back({.name = "control: " + recipe(order).text() + ", 25%",
                    .how = recipe(order),
                    .share = "25%",
                    .found = {},
                    .quality = {},
                    .run = {}});

  progress shown("demo: maps", rows.size(), true);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    demo_row& row = rows[i];
    shown.update(i, row.name);
    if (row.how)
      row.found = find_sharing(
          s, samples, {.share = parse_share(row.share, s.identity.layers), .how = *row.how, .cancelled = interrupted},
          card.get());
    measure(row, s, unseen, a, card.get());
    if (!row.how) check_figures(row.quality);
    if (interrupted()) throw std::runtime_error("stopped by Ctrl-C; nothing was written");
  }
  shown.update(rows.size());

  const demo_row &full = rows[0], &paper = rows[2];
  nlohmann::json all = nlohmann::json::array();
  for (const demo_row& row : rows) all.push_back(row_json(row, s));
  for (const demo_row& row : rows)
    if (row.how) write_file_atomically(a.out / file_name(row), kvsharer::write_plan(row.found.file()));
  const nlohmann::json report{
      {"model", a.model.string()}, {"device", card ? device : "CPU"}, {"prompt", a.prompt}, {"rows", all}};
  write_file_atomically(a.out / "demo.json",
                        report.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  if (a.json) {
    print_out("%s\n", report.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
    return;
  }

  const model_config& c = s.llama.config();
  const kvsharer::search_report& found = paper.found.evidence.report;
  print_out("%s, %d layers, %d query and %d KV heads of %d; %d calibration samples of %d tokens; on %s\n\n",
            c.architecture.c_str(), c.layers, c.heads, c.kv_heads, c.head_dim, a.samples, a.sample_tokens,
            device.c_str());
  print_out("How different the layers' caches are, and what KVSharer shares at 25%%:\n\n%s\n%s\n",
            draw_distances(paper.found.evidence.distances, found.map()).c_str(), draw_map(found.map()).c_str());
  print_out("%s\n", table(rows, s).c_str());
  print_out(
      "Perplexity, KL and top-1 agreement: %zu tokens of %s that the search did not see, in windows of %td;\n"
      "KV bytes and tokens/s: one sequence of %zu + %td tokens, float32. KVSharer is the paper's rule, most "
      "dissimilar\n"
      "pair first; the controls below it show what other orders do on this model.\n\n",
      paper.quality.tokens, a.text.filename().string().c_str(), window_of(s), s.words().encode(a.prompt).size(),
      a.max_new_tokens);
  print_out("The search at 25%% tried %zu candidates in %.2f s and ran %td layers (%td without resuming).\n\n",
            found.candidates.size(), paper.found.seconds, paper.found.layer_evaluations,
            c.layers + found.layer_evaluations_without_resume);
  print_out("\"%s\" continued\n\n  by the full cache:\n    %s\n\n  with %d of %d layers sharing:\n    %s\n\n",
            a.prompt.c_str(), s.words().decode(full.run.token_ids.at(0)).c_str(), found.map().reader_count(), c.layers,
            s.words().decode(paper.run.token_ids.at(0)).c_str());
  print_out("Plans and all figures are in %s (plan-*.json, demo.json).\n", a.out.string().c_str());
}

}  // namespace

void add_demo(CLI::App& app, const gpu_opener& open) {
  auto a = std::make_shared<demo_arguments>();
  CLI::App* c = app.add_subcommand("demo", "The whole story on the shipped model: search, compare, generate");
  c->add_option("--model", a->model, "Model directory (HuggingFace format)")->capture_default_str();
  c->add_option("--calibration", a->text, "Text, one passage a line; those not used to calibrate are measured on")
      ->capture_default_str();
  c->add_option("--prompt", a->prompt, "Text to continue")->capture_default_str();
  c->add_option("--samples", a->samples, "Calibration samples")->capture_default_str()->check(whole(1));
  c->add_option("--sample-tokens", a->sample_tokens, "Tokens a sample is cut to")
      ->capture_default_str()
      ->check(whole(2, 1 << 20));
  c->add_option("--max-new-tokens", a->max_new_tokens, "Tokens to generate")->capture_default_str()->check(whole(1));
  c->add_option("--out", a->out, "Folder for plans and figures")->capture_default_str();
  c->add_option("--backend", a->backend, "Where to search, measure and generate: auto takes a GPU where there is one")
      ->capture_default_str()
      ->check(CLI::IsMember(std::vector<std::string>(backend_names.begin(), backend_names.end())));
  c->add_flag("--json", a->json, "Print one JSON object on standard output");
  c->callback([a, open] { run(*a, open); });
}

}  // namespace mini_llama
