// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "../choices.hpp"
#include "../draw.hpp"
#include "../files.hpp"
#include "../find_sharing.hpp"
#include "../fit_alignment.hpp"
#include "../interrupt.hpp"
#include "../progress.hpp"
#include "commands.hpp"
#include "kvsharer/io/python_map.hpp"

namespace mini_llama {

namespace {

struct search_arguments {
  std::string model, share;
  std::optional<std::string> calibration, token_ids, out, python_out;
  std::vector<int> map;
  int samples = 30, sample_tokens = 64;
  std::optional<double> threshold;
  bool json = false, no_resume = false, strict = false, skip_mismatched = false, align = false;
  search_request request;
  alignment_request alignment;
};

token_batch samples_of(const search_arguments& a, session& s) {
  if (a.token_ids) {
    const token_batch all = read_token_ids(*a.token_ids, s.llama.config().vocab);
    token_batch used = trim_calibration(all, a.samples, a.sample_tokens, a.skip_mismatched);
    if (a.skip_mismatched)
      std::fprintf(stderr, "mini_llama: calibrating on %zu of %zu samples\n", used.size(), all.size());
    return used;
  }
  return read_calibration(*a.calibration, s.words(), a.samples, a.sample_tokens);
}

/// Fits what brings the map's readers nearer, writes it beside the strategy and names it there.
std::optional<alignment_outcome> align(search_arguments& a, const session& s, const token_batch& samples,
                                       search_outcome& o) {
  if (!a.align || o.strategy.report.map.reader_count() == 0) return std::nullopt;
  a.alignment.cancelled = interrupted;
  alignment_outcome fitted = fit_alignment(s.llama, samples, o.strategy.report.map, a.alignment);
  if (static_cast<int>(fitted.readers.size()) < o.strategy.report.map.reader_count()) {
    std::fprintf(stderr, "mini_llama: stopped by Ctrl-C before the readers were aligned\n");
    return std::nullopt;
  }
  const std::filesystem::path file = alignment_beside(*a.out);
  const std::string bytes = alignment_bytes(fitted.readers);
  write_file_atomically(file, bytes);
  o.strategy.alignment = {file.filename().string(), alignment_hash(bytes), a.alignment.activations,
                          a.alignment.ridge,        a.alignment.offset,    a.alignment.keys};
  return fitted;
}

nlohmann::json to_json(const alignment_outcome& fitted) {
  nlohmann::json readers = nlohmann::json::array();
  for (const auto& [l, e] : fitted.explained)
    readers.push_back({{"layer", l}, {"keys_explained", e.keys}, {"values_explained", e.values}});
  return {{"seconds", fitted.seconds}, {"readers", readers}};
}

void print_text(const alignment_outcome& fitted) {
  for (const auto& [l, e] : fitted.explained)
    std::printf("layer %d aligned: %.1f %% of its keys and %.1f %% of its values follow from its owner's\n", l,
                100 * e.keys, 100 * e.values);
}

void print_json(const search_outcome& o, const std::optional<alignment_outcome>& fitted) {
  const kvsharer::search_report& r = o.strategy.report;
  nlohmann::json j{{"layer_map", std::vector<int>(r.map.owners().begin(), r.map.owners().end())},
                   {"score", r.score},
                   {"status", kvsharer::detail::name_of(kvsharer::detail::status_names, r.status)},
                   {"accepted", r.accepted()},
                   {"candidates_tried", r.candidates.size()},
                   {"distance_matrix", kvsharer::distance_matrix_json(o.strategy.distances)},
                   {"seconds", o.seconds},
                   {"calibration_seconds", o.calibration_seconds},
                   {"distance_seconds", o.distance_seconds},
                   {"layer_evaluations", o.layer_evaluations},
                   {"layer_evaluations_without_resume", r.map.layers() + r.layer_evaluations_without_resume}};
  if (fitted) j["alignment"] = to_json(*fitted);
  std::printf("%s\n", j.dump().c_str());
}

const char* score_name(const search_request& r) { return r.objective == "kl" ? "minus KL" : "similarity"; }

void print_text(const search_outcome& o, const search_arguments& a) {
  const kvsharer::search_report& r = o.strategy.report;
  std::printf("%s\n%s\n", draw_distances(o.strategy.distances, r.map).c_str(), draw_map(r.map).c_str());
  std::printf(
      "%d of %d wanted layers share; %s %.4f; %zu candidates tried in %.2f s, %td layer runs (%td without "
      "resuming)\n",
      r.accepted(), a.request.share, score_name(a.request), r.score, r.candidates.size(), o.seconds,
      o.layer_evaluations, r.map.layers() + r.layer_evaluations_without_resume);
}

/// Progress by layers that share; of best-first searches, whose first step is most of the work, by the candidates left
/// at most.
class search_display {
 public:
  explicit search_display(const search_request& r) : name_(score_name(r)), best_first_(is_best_first(r.order)) {}

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

void run(search_arguments& a) {
  if (a.calibration.has_value() == a.token_ids.has_value())
    throw usage_error("search needs its samples from either --calibration FILE or --token-ids FILE");
  if (a.request.order == "explicit" && a.map.empty()) throw usage_error("--order explicit needs --map");
  if (!is_best_first(a.request.order) && (a.request.beam != 1 || a.request.exact))
    throw usage_error("--beam and --exact are of --order best and best-suffix; " + a.request.order + " ranks");
  if (a.align && !a.out) throw usage_error("--align writes its file beside the strategy's; name that with --out");
  session s(a.model);
  a.request.threshold = a.threshold.value_or(default_threshold(a.request.objective));
  a.request.share = parse_share(a.share, s.llama.config().layers);
  if (a.request.order == "explicit") {
    a.request.explicit_map = kvsharer::share_map::from_owners(a.map).value();
    if (a.request.explicit_map.layers() != s.llama.config().layers)
      throw usage_error("--map has " + std::to_string(a.map.size()) + " entries; this model has " +
                        std::to_string(s.llama.config().layers) + " layers");
  }
  const token_batch samples = samples_of(a, s);

  search_display shown(a.request);
  a.request.resume = !a.no_resume;
  a.request.cancelled = interrupted;
  a.request.progress = [&](const kvsharer::search_progress& p) { shown.update(p); };
  search_outcome o = find_sharing(s, samples, a.request);
  const std::optional<alignment_outcome> fitted = align(a, s, samples, o);
  const kvsharer::search_report& r = o.strategy.report;
  if (a.out) write_file_atomically(*a.out, kvsharer::write_strategy(o.strategy));
  if (a.python_out) write_file_atomically(*a.python_out, kvsharer::python_map(r.map) + "\n");
  a.json ? print_json(o, fitted) : print_text(o, a);
  if (fitted && !a.json) print_text(*fitted);
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

void add_search(CLI::App& app) {
  auto a = std::make_shared<search_arguments>();
  CLI::App* c = app.add_subcommand("search", "Find layers that can share a KV cache, and write a strategy file");
  c->add_option("--model", a->model, "Model directory (HuggingFace format)")->required();
  c->add_option("--calibration", a->calibration, "Text to calibrate on, one passage a line");
  c->add_option("--token-ids", a->token_ids, "JSON array of arrays of token ids to calibrate on");
  c->add_option("--samples", a->samples, "Calibration samples to use")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  c->add_option("--sample-tokens", a->sample_tokens, "Tokens a sample is cut to")
      ->capture_default_str()
      ->check(CLI::Range(2, 1 << 20));
  c->add_option("--share", a->share, "Layers that are to share: a count (6) or a percentage (25%)")->required();
  c->add_option("--threshold", a->threshold,
                "Keep a step if its score is greater; 0.5, or nothing with --objective kl, where scores are below 0");
  c->add_option("--metric", a->request.metric, "Distance of two layers' caches")
      ->capture_default_str()
      ->check(CLI::IsMember(std::vector<std::string>(metric_names.begin(), metric_names.end())));
  c->add_option("--order", a->request.order,
                "Which pairs are tried first; dissimilar is the paper's rule, best scores them all")
      ->capture_default_str()
      ->check(CLI::IsMember(std::vector<std::string>(order_names.begin(), order_names.end())));
  c->add_option("--beam", a->request.beam, "With --order best: maps that are kept and continued at each step")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  c->add_flag("--exact", a->request.exact, "With --order best: score every move at every step (more work)");
  c->add_option("--objective", a->request.objective,
                "What is scored: the cosine of final hidden states, or minus the KL divergence of predictions")
      ->capture_default_str()
      ->check(CLI::IsMember(std::vector<std::string>(objective_names.begin(), objective_names.end())));
  c->add_option("--map", a->map, "With --order explicit: the owner of each layer, separated by commas")->delimiter(',');
  c->add_option("--similarity", a->request.similarity, "How samples' hidden states become one score")
      ->capture_default_str()
      ->check(CLI::IsMember(std::vector<std::string>(similarity_names.begin(), similarity_names.end())));
  c->add_option("--keys", a->request.keys, "Keys that are compared: as the cache stores them, or before rotation")
      ->capture_default_str()
      ->check(CLI::IsMember(std::vector<std::string>(key_names.begin(), key_names.end())));
  c->add_option("--seed", a->request.seed, "Seed of --order random")->capture_default_str();
  c->add_flag("--no-resume", a->no_resume, "Run every candidate from the first layer (same result, more work)");
  c->add_flag("--skip-mismatched", a->skip_mismatched,
              "With --token-ids: leave out samples of another length than the first instead of refusing them");
  c->add_flag("--align", a->align,
              "Fit what brings readers nearer to their own keys and values, and write it beside the strategy");
  c->add_option("--align-on", a->alignment.activations,
                "Whose activations that is fitted on: the full model's, or layer by layer the sharing model's own")
      ->capture_default_str()
      ->check(CLI::IsMember({"full", "shared"}));
  c->add_option("--align-ridge", a->alignment.ridge, "Ridge of that fit, as a share of the mean variance")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  c->add_option("--align-keys", a->alignment.keys, "How long the gains of keys are made")
      ->capture_default_str()
      ->check(CLI::IsMember({"least-squares", "one"}));
  c->add_flag(
      "--align-no-offset", [a](std::int64_t) { a->alignment.offset = false; },
      "Fit without an offset of values, which becomes an output bias");
  c->add_flag("--strict", a->strict, "Fail when fewer layers than asked for can share");
  c->add_option("--out", a->out, "Strategy file to write");
  c->add_option("--python-map", a->python_out, "Also write the map as a Python dictionary {layer: source}");
  c->add_flag("--json", a->json, "Print one JSON object on standard output");
  c->callback([a] { run(*a); });
}

}  // namespace mini_llama
