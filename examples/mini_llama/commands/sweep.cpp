// SPDX-License-Identifier: Apache-2.0
#include "sweep/sweep.hpp"
#include "support/standard_output.hpp"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "commands/commands.hpp"
#include "commands/device_options.hpp"
#include "commands/number_options.hpp"
#include "probe/choices.hpp"
#include "support/interrupt.hpp"
#include "support/progress.hpp"

namespace mini_llama {

namespace {

struct sweep_arguments {
  std::string model;
  device_options device;
  bool no_moves = false;
  sweep_request request{.text = {}, .calibration = MINI_LLAMA_SHIPPED_TEXT, .out = {}, .axes = {}};
};

/// How each metric's ranking of single moves agrees with their scores.
void print_moves(const nlohmann::json& line) {
  print_out("%zu single moves scored on %d samples (%s); rank correlation of distance and score:",
            line.at("score").size(), line.at("samples").get<int>(), line.at("objective").get<std::string>().c_str());
  for (const auto& [metric, rho] : line.at("spearman").items())
    print_out(" %s %s", metric.c_str(), rho.is_null() ? "-" : std::to_string(rho.get<double>()).substr(0, 5).c_str());
  print_out("\n");
}

/// One row of the table that grows while the sweep runs.
void print_line(const nlohmann::json& line) {
  if (line.at("kind") == "moves") return print_moves(line);
  const bool full = line.at("kind") == "full";
  const nlohmann::json rule = full ? nlohmann::json::object() : line.at("combination");
  const std::string order = full ? "full model" : rule.at("order").get<std::string>();
  const std::size_t layers = line.at(line.contains("layer_map") ? "layer_map" : "key_map").size();
  const auto figure = [&](const char* key) {
    return line.contains(key) && line.at(key).is_number() ? line.at(key).get<double>() : 0.0;
  };
  print_out("%-14s %4d  %-13s %7d %9.2f %6g of %2zu  %7.4f %10.3f %7.4f %7.1f %% %10.0f %8.0f\n", order.c_str(),
            rule.value("seed", 0), rule.value("metric", "").c_str(), rule.value("samples", 0),
            rule.value("threshold", 0.0), line.at("layers_shared").get<double>(), layers, full ? 1.0 : figure("score"),
            figure("perplexity"), figure("kl"), 100 * figure("top1_agreement"), figure("kv_bytes") / 1024,
            figure("decode_tokens_per_second"));
}

void run(sweep_arguments& a, const gpu_opener& open) {
  std::unique_ptr<gpu> card = a.device.choose(open);
  session s(a.model);
  a.device.keep_for(card, s.llama.config());
  std::unique_ptr<progress> shown;  // of what is left, once it is known how much that is
  a.request.moves = !a.no_moves;
  a.request.cancelled = interrupted;
  a.request.progress = [&](const sweep_progress& p) {
    if (!shown) shown = std::make_unique<progress>("sweep: lines", p.wanted, true);
    shown->update(p.done, p.doing);
  };
  bool headed = false;
  a.request.on_line = [&](const nlohmann::json& line) {
    if (!headed)
      print_out(
          "order          seed  metric        samples threshold  shared     score  perplexity     KL   same top  KV "
          "KiB "
          "decode/s\n");
    headed = true;
    print_line(line);
  };
  const sweep_summary done = run_sweep(s, a.request, card.get(), a.device.choice);
  shown.reset();
  const std::string out = a.request.out.string();
  if (done.restored + done.made < done.planned)
    throw std::runtime_error("stopped by Ctrl-C with " + std::to_string(done.restored + done.made) + " of " +
                             std::to_string(done.planned) + " lines in " + out +
                             "; the same command goes on from there");
  std::fprintf(stderr, "mini_llama: %zu lines in %s (%zu were there already); now: mini_llama report %s\n",
               done.planned, out.c_str(), done.restored, out.c_str());
}

}  // namespace

void add_sweep(CLI::App& app, const gpu_opener& open) {
  auto a = std::make_shared<sweep_arguments>();
  sweep_request& r = a->request;
  CLI::App* c = app.add_subcommand("sweep", "Search by many rules and sizes, and measure each map on a text");
  c->add_option("--model", a->model, "Model directory (HuggingFace format)")->required();
  c->add_option("--text", r.text, "Text to measure on")->required();
  c->add_option("--out", r.out, "Folder for results; one that holds a part of this sweep is gone on with")->required();
  c->add_option("--calibration", r.calibration, "Text to calibrate on, one passage a line")->capture_default_str();
  c->add_option("--share", r.axes.share, "Sizes: layers to share, as counts or percentages")
      ->delimiter(',')
      ->capture_default_str();
  c->add_option("--order", r.axes.order,
                "Rules: which pairs are tried first; random:5 is five seeds, best:kl scores divergence, "
                "best:apart, best:keys and best:values share halves of layers")
      ->delimiter(',')
      ->capture_default_str();
  c->add_option("--metric", r.axes.metric, "Distances of two layers' caches")
      ->delimiter(',')
      ->capture_default_str()
      ->check(CLI::IsMember(std::vector<std::string>(metric_names.begin(), metric_names.end())));
  c->add_option("--samples", r.axes.samples, "Calibration samples")->delimiter(',')->capture_default_str();
  c->add_option("--threshold", r.axes.threshold, "Keep a step if the similarity is greater")
      ->delimiter(',')
      ->capture_default_str()
      ->check(number());
  c->add_option("--similarity", r.similarity, "How to combine the samples' hidden states into one score")
      ->capture_default_str()
      ->check(CLI::IsMember(std::vector<std::string>(similarity_names.begin(), similarity_names.end())));
  c->add_option("--sample-tokens", r.sample_tokens, "Tokens a sample is cut to")
      ->capture_default_str()
      ->check(whole(2, 1 << 20));
  c->add_option("--window", r.window, "Tokens per window of the text, BOS included")->capture_default_str();
  c->add_option("--tokens", r.tokens, "Use only the first tokens of the text (0: all)")->capture_default_str();
  c->add_option("--prompt-tokens", r.prompt_tokens, "Tokens at the beginning of the text, used as the prompt")
      ->capture_default_str()
      ->check(whole(1));
  c->add_option("--new-tokens", r.new_tokens, "Tokens to generate after the prompt")
      ->capture_default_str()
      ->check(whole(1));
  c->add_flag("--no-moves", a->no_moves, "Do not score the maps that share a single layer");
  a->device.add_to(*c);
  c->callback([a, open] { run(*a, open); });
}

}  // namespace mini_llama
