// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/alignment.hpp"
#include "commands/align_readers.hpp"
#include "commands/commands.hpp"
#include "commands/draw.hpp"
#include "commands/number_options.hpp"
#include "commands/search_subject.hpp"
#include "device/gpu.hpp"
#include "kvsharer/io/plan_json.hpp"
#include "kvsharer/io/python_map.hpp"
#include "probe/choices.hpp"
#include "probe/metered_probe.hpp"
#include "search/find_sharing.hpp"
#include "search/layers_shared.hpp"
#include "search/recipe.hpp"
#include "support/files.hpp"
#include "support/interrupt.hpp"
#include "support/progress.hpp"
#include "support/standard_output.hpp"

namespace mini_llama {

namespace {

struct search_arguments {
  subject_arguments subject;
  std::string share, backend = "auto", type = "auto", order = order_names[0], objective = objective_names[0];
  std::optional<std::string> out, python_out;
  std::vector<int> map;
  std::optional<double> threshold;
  bool apart = false, json = false, no_resume = false, strict = false;
  search_request request;
  alignment_arguments alignment;
};

/// A search's outcome, where it ran, and what its candidates cost.
struct found_sharing {
  search_outcome outcome;
  std::string device;
  double weights_seconds = 0;
  std::vector<candidate_cost> costs;
  std::optional<alignment_outcome> alignment = {};
};

constexpr double tera = 1e12;

nlohmann::json cost_json(const candidate_cost& c) {
  return {{"first_layer", c.first.value}, {"seconds", c.seconds}, {"teraflop", c.operations / tera}};
}

void print_json(const found_sharing& found) {
  const search_outcome& o = found.outcome;
  const kvsharer::search_report& r = o.evidence.report;
  nlohmann::json j{{"score", r.score},
                   {"status", kvsharer::detail::name_of(kvsharer::detail::status_names, r.status)},
                   {"accepted", layers_shared(r.plan)},
                   {"candidates_tried", r.candidates.size()},
                   {"distance_matrix", kvsharer::distance_matrix_json(o.evidence.distances)},
                   {"device", found.device},
                   {"seconds", o.seconds},
                   {"weights_seconds", found.weights_seconds},
                   {"calibration_seconds", o.calibration_seconds},
                   {"distance_seconds", o.distance_seconds},
                   {"layer_evaluations", o.layer_evaluations},
                   {"layer_evaluations_without_resume", r.plan.layers() + r.layer_evaluations_without_resume}};
  if (r.plan.is_one_map()) {
    j["layer_map"] = kvsharer::detail::map_json(r.plan.keys());
  } else {
    j["key_map"] = kvsharer::detail::map_json(r.plan.keys());
    j["value_map"] = kvsharer::detail::map_json(r.plan.values());
  }
  const candidate_cost total = total_cost(found.costs);
  const bool ran = total.seconds > 0;
  j["candidate_seconds"] = ran ? nlohmann::json(total.seconds / static_cast<double>(found.costs.size())) : nullptr;
  j["teraflop"] = total.operations / tera;
  j["teraflop_per_second"] = ran ? nlohmann::json(total.operations / tera / total.seconds) : nullptr;
  j["candidate_costs"] = nlohmann::json::array();
  for (const candidate_cost& c : found.costs) j["candidate_costs"].push_back(cost_json(c));
  if (found.alignment) j["alignment"] = to_json(*found.alignment);
  print_out("%s\n", j.dump().c_str());
}

const char* score_name(const search_request& r) { return r.how.has_threshold() ? "similarity" : "minus KL"; }

void print_text(const found_sharing& found, const search_arguments& a) {
  const search_outcome& o = found.outcome;
  const kvsharer::search_report& r = o.evidence.report;
  print_out("%s\n%s\n", draw_distances(o.evidence.distances, r.plan).c_str(), draw_map(r.plan).c_str());
  print_out(
      "%g of %d wanted layers share; %s %.4f; %zu candidates tried in %.2f s, %td layer runs (%td without "
      "resuming)\n",
      r.plan.shared_planes() / 2.0, a.request.share, score_name(a.request), r.score, r.candidates.size(), o.seconds,
      o.layer_evaluations, r.plan.layers() + r.layer_evaluations_without_resume);
  const candidate_cost total = total_cost(found.costs);
  if (total.seconds > 0)
    print_out("on %s: %.4f s a candidate, %.4g TFLOP in all at %.4g TFLOP/s\n", found.device.c_str(),
              total.seconds / static_cast<double>(found.costs.size()), total.operations / tera,
              total.operations / tera / total.seconds);
}

/// Progress by layers that share; of best-first searches, whose first step is most of the work, by the candidates left
/// at most.
class search_display {
 public:
  explicit search_display(const search_request& r) : name_(score_name(r)), best_first_(r.how.is_best_first()) {}

  void update(const kvsharer::search_progress& p) {
    const std::size_t left = p.pairs_ranked - p.tried;
    if (!shown_) {
      total_ = best_first_ ? left + 1 : static_cast<std::size_t>(p.wanted);
      shown_.emplace(best_first_ ? "search: candidates at most" : "search: layers sharing", total_, true);
    }
    const auto sharing = static_cast<std::size_t>(p.accepted);
    shown_->update(
        best_first_ ? total_ - left : sharing,
        (best_first_ ? std::to_string(sharing) + " of " + std::to_string(p.wanted) + " layers share, " : "") +
            std::to_string(p.tried) + " tried, last " + name_ + " " + std::to_string(p.last.score));
  }

 private:
  std::string name_;
  bool best_first_;
  std::size_t total_ = 0;
  std::optional<progress> shown_;
};

/// Makes the probe where it is to run, and searches.
found_sharing search(const search_arguments& a, search_subject& subject, gpu* card) {
  const token_batch samples = subject.samples();
  const probe_request wanted{samples, a.request.how.objective(), similarity_named(a.request.similarity),
                             type_named(a.type)};
  const made_probe made = card ? card->make_probe(subject.weights(), wanted) : host_probe(subject.weights(), wanted);
  metered_probe runs(*made.runs, subject.config(),
                     {static_cast<kvsharer::index_t>(samples.size()), static_cast<kvsharer::index_t>(samples[0].size()),
                      a.request.how.score() == search_score::kl});
  found_sharing found{find_sharing(subject.identity(), samples, a.request, runs), card ? card->name() : "CPU",
                      made.weights_seconds, runs.costs()};
  found.outcome.calibration_seconds = made.calibration_seconds;
  found.outcome.seconds += made.calibration_seconds;
  return found;
}

/// The plan and what stands beside it. Throws what fitting an alignment throws, and load_error.
void write_files(found_sharing& found, const search_arguments& a, search_subject& subject) {
  search_outcome& outcome = found.outcome;
  const kvsharer::search_report& report = outcome.evidence.report;
  if (a.alignment.wanted && report.plan.shared_planes() > 0)
    found.alignment = align_readers(*subject.weights().stored, subject.samples(), a.alignment.request, *a.out, outcome);
  if (a.out) write_file_atomically(*a.out, kvsharer::write_plan(outcome.file()));
  if (a.python_out) write_file_atomically(*a.python_out, kvsharer::python_map(report.map()) + "\n");
}

recipe recipe_of(const search_arguments& a) {
  const search_order order = order_named(a.order);
  if (a.apart && !recipe(order).is_best_first())
    throw usage_error("--apart is of --order best and best-suffix; " + a.order + " shares whole layers");
  return recipe(order, score_named(a.objective), a.apart ? shared_parts::apart : shared_parts::together);
}

void run(search_arguments& a, const gpu_opener& open) {
  const recipe how = a.request.how = recipe_of(a);
  const bool explicit_map = how.order() == search_order::explicit_map;
  if (explicit_map && a.map.empty()) throw usage_error("--order explicit needs --map");
  if (!how.is_best_first() && (a.request.beam != 1 || a.request.exact))
    throw usage_error("--beam and --exact are of --order best and best-suffix; " + how.order_name() + " ranks");
  if (how.is_apart() && a.python_out)
    throw usage_error("--python-map writes one map for keys and values; leave out --apart or --python-map");
  if (how.is_apart() && a.alignment.wanted)
    throw usage_error("--align fits layers that read one owner's keys and values; leave out --apart or --align");
  if (a.alignment.wanted && (!a.out || !a.subject.model))
    throw usage_error(
        "--align fits a checkpoint's layers and writes its file beside the plan's; name both with --model and "
        "--out");
  a.subject.seed = a.request.seed;
  search_subject subject(a.subject);
  const int layers = subject.config().layers;
  a.request.threshold = a.threshold.value_or(how.default_threshold());
  a.request.share = parse_share(a.share, layers);
  if (explicit_map) {
    a.request.explicit_map = kvsharer::share_map::from_owners(a.map).value();
    if (a.request.explicit_map.layers() != layers)
      throw usage_error("--map has " + std::to_string(a.map.size()) + " entries; this model has " +
                        std::to_string(layers) + " layers");
  }
  // Before work of hours, whose result would have no place.
  if (a.out) require_writable(*a.out);
  if (a.out && a.alignment.wanted) require_writable(alignment_beside(*a.out));
  if (a.python_out) require_writable(*a.python_out);
  std::unique_ptr<gpu> card = choose_backend(a.backend, open);
  keep_for(card, a.backend, subject.config());

  suit(a.request, subject.config());
  search_display shown(a.request);
  a.request.resume = !a.no_resume;
  a.request.cancelled = interrupted;
  a.request.progress = [&](const kvsharer::search_progress& p) { shown.update(p); };
  found_sharing found = search(a, subject, card.get());
  const kvsharer::search_report& r = found.outcome.evidence.report;
  // Files first: standard output may be closed by now. Where they cannot be written, it gets what was found.
  std::exception_ptr unwritten;
  try {
    write_files(found, a, subject);
  } catch (const std::exception&) {
    unwritten = std::current_exception();
  }
  a.json ? print_json(found) : print_text(found, a);
  if (found.alignment && !a.json) print_text(*found.alignment);
  if (unwritten && !a.json) write_out(kvsharer::write_plan(found.outcome.file()));
  if (unwritten) std::rethrow_exception(unwritten);
  if (r.status == kvsharer::search_status::cancelled)
    std::fprintf(stderr, "mini_llama: stopped by Ctrl-C; the map found so far is valid but shares fewer layers\n");
  if (r.status == kvsharer::search_status::ranking_exhausted) {
    const std::string missed = "only " + std::to_string(r.accepted()) + " of " + std::to_string(a.request.share) +
                               " layers could share above the threshold";
    if (a.strict) throw kvsharer::error(kvsharer::errc::share_count_missed, missed);
    std::fprintf(stderr, "mini_llama: %s; the map is partial\n", missed.c_str());
  }
}

}  // namespace

void add_search(CLI::App& app, const gpu_opener& open) {
  auto a = std::make_shared<search_arguments>();
  CLI::App* c = app.add_subcommand("search", "Find layers that can share a KV cache, and write a plan file");
  c->add_option("--model", a->subject.model, "Model directory (HuggingFace format)");
  c->add_option("--shape", a->subject.shape,
                "Instead of a model, to measure cost: random weights and samples of llama2-7b, llama2-13b, llama3-8b, "
                "mistral-7b or a config.json");
  c->add_option("--calibration", a->subject.calibration, "Text to calibrate on, one passage a line");
  c->add_option("--token-ids", a->subject.token_ids, "JSON array of arrays of token ids to calibrate on");
  c->add_option("--samples", a->subject.samples, "Calibration samples to use")->capture_default_str()->check(whole(1));
  c->add_option("--sample-tokens", a->subject.sample_tokens, "Tokens a sample is cut to")
      ->capture_default_str()
      ->check(whole(2, 1 << 20));
  c->add_option("--share", a->share, "Layers to share: a count (6) or a percentage (25%)")->required();
  c->add_option("--threshold", a->threshold,
                "Keep a step if its score is greater; 0.5, or nothing with --objective kl, where scores are below 0")
      ->check(number());
  c->add_option("--metric", a->request.metric, "Distance of two layers' caches")
      ->capture_default_str()
      ->check(CLI::IsMember(std::vector<std::string>(metric_names.begin(), metric_names.end())));
  c->add_option("--order", a->order,
                "Which pairs are tried first; dissimilar is the paper's rule, best scores them all")
      ->capture_default_str()
      ->check(CLI::IsMember(std::vector<std::string>(order_names.begin(), order_names.end())));
  c->add_option("--beam", a->request.beam, "With --order best: maps that are kept and continued at each step")
      ->capture_default_str()
      ->check(whole(1));
  c->add_flag("--exact", a->request.exact, "With --order best: score every move at every step (more work)");
  c->add_flag("--apart", a->apart,
              "With --order best: also share keys alone or values alone, at half the cost; --share stays in layers");
  c->add_option("--objective", a->objective,
                "The score: the cosine of final hidden states, or minus the KL divergence of predictions")
      ->capture_default_str()
      ->check(CLI::IsMember(std::vector<std::string>(objective_names.begin(), objective_names.end())));
  c->add_option("--map", a->map, "With --order explicit: the owner of each layer, separated by commas")->delimiter(',');
  c->add_option("--similarity", a->request.similarity, "How to combine the samples' hidden states into one score")
      ->capture_default_str()
      ->check(CLI::IsMember(std::vector<std::string>(similarity_names.begin(), similarity_names.end())));
  c->add_option("--keys", a->request.keys, "Keys that are compared: as the cache stores them, or before rotation")
      ->capture_default_str()
      ->check(CLI::IsMember(std::vector<std::string>(key_names.begin(), key_names.end())));
  c->add_option("--seed", a->request.seed, "Seed of --order random, and of the weights and samples of --shape")
      ->capture_default_str();
  c->add_flag("--no-resume", a->no_resume, "Run every candidate from the first layer (same result, more work)");
  c->add_flag("--skip-mismatched", a->subject.skip_mismatched,
              "With --token-ids: leave out samples of another length than the first instead of refusing them");
  c->add_option("--backend", a->backend, "Where to run: auto takes a GPU where there is one; cuda insists on it")
      ->capture_default_str()
      ->check(CLI::IsMember(std::vector<std::string>(backend_names.begin(), backend_names.end())));
  c->add_option("--dtype", a->type,
                "Type of weights on a GPU, and of those of --shape; auto is the checkpoint's own, and bf16 of a shape")
      ->capture_default_str()
      ->check(CLI::IsMember(std::vector<std::string>(type_names.begin(), type_names.end())));
  add_alignment_options(*c, a->alignment);
  c->add_flag("--strict", a->strict, "Fail if fewer layers can share than requested");
  c->add_option("--out", a->out, "Plan file to write");
  c->add_option("--python-map", a->python_out, "Also write the map as a Python dictionary {layer: source}");
  c->add_flag("--json", a->json, "Print one JSON object on standard output");
  c->callback([a, open] { run(*a, open); });
}

}  // namespace mini_llama
