// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "checkpoint/families/own_map.hpp"
#include "checkpoint/shapes.hpp"
#include "commands/commands.hpp"
#include "commands/number_options.hpp"
#include "device/gpu.hpp"
#include "probe/choices.hpp"
#include "run/throughput.hpp"
#include "support/interrupt.hpp"
#include "support/progress.hpp"
#include "support/standard_output.hpp"

namespace mini_llama {

namespace {

struct bench_arguments {
  std::string shape, backend = "auto", order = "suffix";
  std::vector<std::string> shares{"0"};
  std::vector<int> map;
  std::optional<double> budget_gb;
  bool json = false;
  throughput_request request;
};

/// Which layers read which, where random weights leave nothing to search: speed depends on where readers stand, not on
/// why. Layers that were trained to read others are readers in any case, and count.
kvsharer::share_map map_of(const std::string& order, const model_config& c, int share, std::uint64_t seed) {
  const kvsharer::share_map own = own_map(c);
  const auto last_of_kind = [&](kvsharer::layer_id l, const auto& may_own) {
    kvsharer::layer_id owner{l.value - 1};
    while (owner.value >= 0 && !(may_own(owner) && same_kind(c, l, owner))) --owner.value;
    return owner.value;
  };
  std::vector<int> free;  // layers that may become readers: all but the first of each kind, which have none to read
  for (kvsharer::layer_id l{1}; l.value < c.layers; ++l.value)
    if (own.owns(l) && last_of_kind(l, [](auto) { return true; }) >= 0) free.push_back(l.value);
  const int more = std::max(0, share - own.reader_count()), most = static_cast<int>(free.size());
  if (more > most)
    throw usage_error("--share " + std::to_string(share) + ": no more than " +
                      std::to_string(own.reader_count() + most) +
                      " layers of this shape can share, since a layer reads only others of its window");
  std::vector<int> readers = free;
  if (order == "random") {
    std::mt19937_64 random(seed);
    std::shuffle(readers.begin(), readers.end(), random);
  } else if (order == "suffix") {
    std::reverse(readers.begin(), readers.end());
  }
  std::vector<int> owners(own.owners().begin(), own.owners().end());
  const auto owns = [&](kvsharer::layer_id l) { return owners[static_cast<std::size_t>(l.value)] == l.value; };
  for (int i = 0; i < more; ++i) {
    const int evenly = free[static_cast<std::size_t>((2 * i + 1) * most / (2 * more))];
    owners[static_cast<std::size_t>(order == "spread" ? evenly : readers[static_cast<std::size_t>(i)])] = -1;
  }
  // Every reader reads the last owner of its kind below it, as those that were trained to do.
  for (kvsharer::layer_id l{1}; l.value < c.layers; ++l.value)
    if (!owns(l)) owners[static_cast<std::size_t>(l.value)] = last_of_kind(l, owns);
  return kvsharer::share_map::from_owners(owners).value();
}

nlohmann::json to_json(const throughput_report& report, const throughput& t) {
  return {{"layer_map", std::vector<int>(t.map.owners().begin(), t.map.owners().end())},
          {"layers_shared", t.map.reader_count()},
          {"batch", t.batch},
          {"weight_bytes", t.weight_bytes},
          {"kv_bytes", t.kv_bytes},
          {"prefill_seconds", t.prefill_seconds},
          {"prefill_operations", t.prefill_operations},
          {"prefill_floor_seconds",
           report.product_operations_per_second > 0 ? nlohmann::json(report.prefill_floor(t)) : nlohmann::json()},
          {"decode_step_seconds", t.step_seconds},
          {"decode_step_bytes", t.step_bytes},
          {"decode_step_floor_seconds", report.step_floor(t)},
          {"decode_of_floor", t.step_seconds > 0 ? report.step_floor(t) / t.step_seconds : 0},
          {"decode_tokens_per_second", t.tokens_per_second}};
}

void print_json(const bench_arguments& a, const throughput_report& report) {
  nlohmann::json runs = nlohmann::json::array();
  for (const throughput& t : report.runs) runs.push_back(to_json(report, t));
  const nlohmann::json j{{"shape", a.shape},
                         {"device", report.device},
                         {"type", a.request.type},
                         {"context", a.request.context},
                         {"new_tokens", a.request.new_tokens},
                         {"order", a.map.empty() ? a.order : "explicit"},
                         {"kv_budget_bytes", a.request.kv_budget ? nlohmann::json(*a.request.kv_budget) : nullptr},
                         {"copy_bytes_per_second", report.copy_bytes_per_second},
                         {"product_operations_per_second", report.product_operations_per_second},
                         {"runs", runs}};
  print_out("%s\n", j.dump().c_str());
}

void print_text(const bench_arguments& a, const throughput_report& report) {
  print_out("%s, %s in %s, prompts of %td tokens, %td new ones", report.device.c_str(), a.shape.c_str(),
            a.request.type.c_str(), a.request.context, a.request.new_tokens);
  if (a.budget_gb) print_out(", %g GB for keys and values", *a.budget_gb);
  print_out("\nA copy moves %.2f TB/s", report.copy_bytes_per_second * 1e-12);
  if (report.product_operations_per_second > 0)
    print_out(", a large product does %.0f TFLOP/s", report.product_operations_per_second * 1e-12);
  print_out(".\n\n sharing  batch  weights GB   KV GB  prefill s  of floor  step ms  floor ms  of floor   tokens/s\n");
  for (const throughput& t : report.runs) {
    const double floor = report.step_floor(t);
    print_out("%3d of %2d  %5td  %10.2f  %6.2f  %9.4f  ", t.map.reader_count(), t.map.layers(), t.batch,
              t.weight_bytes * 1e-9, static_cast<double>(t.kv_bytes) * 1e-9, t.prefill_seconds);
    if (report.product_operations_per_second > 0)
      print_out("%6.1f %%", 100 * report.prefill_floor(t) / t.prefill_seconds);
    else
      print_out("%8s", "-");
    print_out("  %7.3f  %8.3f  %6.1f %%  %9.1f\n", t.step_seconds * 1e3, floor * 1e3, 100 * floor / t.step_seconds,
              t.tokens_per_second);
  }
}

void run(bench_arguments& a, const gpu_opener& open) {
  throughput_request& r = a.request;
  r.config = shape_named(a.shape);
  if (r.context > r.config.max_position - r.new_tokens)  // a signed sum may pass 2^63
    throw usage_error("--context and --new-tokens make " +
                      std::to_string(static_cast<std::uint64_t>(r.context) + static_cast<std::uint64_t>(r.new_tokens)) +
                      " tokens; this shape knows " + std::to_string(r.config.max_position) + " positions");
  if (a.budget_gb) r.kv_budget = *a.budget_gb * 1e9;
  if (!a.map.empty())
    r.maps = {kvsharer::share_map::from_owners(a.map).value()};
  else
    for (const std::string& share : a.shares)
      r.maps.push_back(map_of(a.order, r.config, parse_share(share, r.config.layers), r.seed));
  if (r.maps[0].layers() != r.config.layers)
    throw usage_error("--map has " + std::to_string(a.map.size()) + " entries; this shape has " +
                      std::to_string(r.config.layers) + " layers");
  std::unique_ptr<gpu> card = choose_backend(a.backend, open);
  keep_for(card, a.backend, r.config);
  for (const kvsharer::share_map& map : r.maps) {
    require_own_readers(r.config, map);
    require_same_kinds(r.config, map);
  }

  std::optional<progress> shown;
  shown.emplace("bench", r.maps.size() + 1, true);
  r.cancelled = interrupted;
  r.progress = [&](std::size_t done, std::size_t, const std::string& what) { shown->update(done, what); };
  const throughput_report report = card ? card->measure(r) : measure_throughput(r);
  shown.reset();
  a.json ? print_json(a, report) : print_text(a, report);
  if (interrupted()) std::fprintf(stderr, "mini_llama: stopped by Ctrl-C; the last line is of fewer runs than asked\n");
}

}  // namespace

void add_bench(CLI::App& app, const gpu_opener& open) {
  auto a = std::make_shared<bench_arguments>();
  CLI::App* c = app.add_subcommand("bench", "Measure prefill and decode at a published model's sizes");
  c->add_option("--shape", a->shape, "llama2-7b, llama2-13b, llama3-8b, mistral-7b, or a config.json")->required();
  c->add_option("--batch", a->request.batch, "Sequences")->capture_default_str()->check(whole(1, most_sequences));
  c->add_option("--context", a->request.context, "Tokens of each prompt")->capture_default_str()->check(whole(1));
  c->add_option("--new-tokens", a->request.new_tokens, "Tokens to decode in each sequence")
      ->capture_default_str()
      ->check(whole(2, 1 << 20));
  c->add_option("--share", a->shares, "Layers that share, as counts or percentages; several, separated by commas")
      ->capture_default_str()
      ->delimiter(',');
  c->add_option("--order", a->order, "Which layers share: the last ones, evenly spread ones, or random ones")
      ->capture_default_str()
      ->check(CLI::IsMember({"suffix", "spread", "random"}));
  c->add_option("--map", a->map, "Instead of --share: the owner of each layer, separated by commas")->delimiter(',');
  c->add_option("--dtype", a->request.type, "Type of weights, activations and cache")
      ->capture_default_str()
      ->check(CLI::IsMember(std::vector<std::string>(kv_type_names.begin(), kv_type_names.end())));
  c->add_option("--kv-budget", a->budget_gb, "GB for keys and values; the batch is then what fits into them")
      ->check(number(0));
  c->add_option("--repeats", a->request.repeats, "Prefill runs; the median is reported")
      ->capture_default_str()
      ->check(whole(1));
  c->add_option("--seed", a->request.seed, "Seed of weights, prompts and --order random")->capture_default_str();
  c->add_option("--backend", a->backend, "Where to run: auto takes a GPU where there is one; cuda insists on it")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}));
  c->add_flag("--json", a->json, "Print one JSON object on standard output");
  c->callback([a, open] { run(*a, open); });
}

}  // namespace mini_llama
