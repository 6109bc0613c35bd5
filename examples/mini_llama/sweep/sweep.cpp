// SPDX-License-Identifier: Apache-2.0
#include "sweep/sweep.hpp"

#include <algorithm>
#include <chrono>
#include <memory>
#include <vector>

#include "kvsharer/io/plan_json.hpp"
#include "probe/choices.hpp"
#include "run/finite_logits.hpp"
#include "support/files.hpp"
#include "support/strict_json.hpp"
#include "support/usage_error.hpp"
#include "sweep/calibrated.hpp"
#include "sweep/lines.hpp"
#include "sweep/origin.hpp"
#include "sweep/results_file.hpp"

namespace mini_llama {
namespace {

using clock = std::chrono::steady_clock;

double since(clock::time_point start) { return std::chrono::duration<double>(clock::now() - start).count(); }

/// Thrown to leave a combination that Ctrl-C came into.
struct stopped {};

/// A line that is to be made, and how lines name it.
struct planned_line {
  std::string kind;
  combination what = {};  ///< of single moves, the first one that needs the same samples and objective
};

std::vector<planned_line> plan_lines(const std::vector<combination>& all, bool moves) {
  std::vector<planned_line> lines{{"full"}};
  const combination* before = nullptr;
  for (const combination& c : all) {
    const bool same_run = before && before->samples == c.samples && before->how.objective() == c.how.objective();
    if (moves && !same_run) lines.push_back({"moves", c});
    lines.push_back({"shared", c});
    before = &c;
  }
  return lines;
}

bool is_line(const planned_line& wanted, const nlohmann::json& there) {
  if (there.value("kind", "") != wanted.kind) return false;
  if (wanted.kind == "moves")
    return there.value("samples", 0) == wanted.what.samples &&
           there.value("objective", "") == wanted.what.how.objective();
  return wanted.kind == "full" ||
         there.value("combination", nlohmann::json()) == nlohmann::json::parse(to_json(wanted.what).dump());
}

class running_sweep {
 public:
  running_sweep(session& s, const sweep_request& request, gpu* card, const gpu_choice& choice)
      : session_(s),
        where_(s, card, choice),
        request_(request),
        combinations_(combinations_of(request.axes, s.identity.layers)),
        lines_(plan_lines(combinations_, request.moves)),
        results_(open()) {}

  sweep_summary run() {
    const std::size_t there = check_lines();
    summary_ = {.planned = lines_.size(), .restored = there, .made = 0};
    try {
      for (std::size_t i = there; i < summary_.planned; ++i) {
        results_->append(make(lines_[i]));
        ++summary_.made;
        tell("");
        if (request_.on_line) request_.on_line(results_->lines().back());
      }
    } catch (const stopped&) {
    }
    return summary_;
  }

 private:
  std::unique_ptr<results_file> open() {
    text_ = {request_.text, read_text_file(request_.text)};
    calibration_ = {request_.calibration, read_text_file(request_.calibration)};
    ids_ = session_.words().encode(text_.content, false, text_.file.string());
    if (request_.tokens && ids_.size() > request_.tokens) ids_.resize(request_.tokens);
    check_request();
    // Before the folder is made for nothing: enough samples for the largest set?
    samples(*std::max_element(request_.axes.samples.begin(), request_.axes.samples.end()));

    make_folder(request_.out);
    auto results = std::make_unique<results_file>(request_.out / "results.jsonl");
    const std::filesystem::path origin = request_.out / "model.json";
    const nlohmann::ordered_json here = describe_origin(
        session_,
        {text_, calibration_, where_.backend(), where_.device(), where_.type(), request_.similarity,
         request_.sample_tokens, request_.window, ids_.size(), prompt_tokens(), request_.new_tokens, request_.moves},
        combinations_);
    if (std::filesystem::exists(origin)) {
      try {
        check_same_origin(parse_strict_json(read_text_file(origin)), here, origin);
      } catch (const invalid_json& e) {
        throw load_error(origin, e.what());
      }
    } else if (!results->lines().empty()) {
      throw load_error(origin,
                       "is missing; it says which model and text the results beside it belong to. Take another folder");
    } else {
      write_file_atomically(origin, here.dump(2) + "\n");
    }
    return results;
  }

  void check_request() const {
    if (request_.prompt_tokens < 1 || request_.new_tokens < 1)
      throw usage_error("--prompt-tokens and --new-tokens must be at least 1");
    if (static_cast<kvsharer::index_t>(ids_.size()) < 2) throw usage_error("there is no text to evaluate");
    const int context = session_.llama.config().max_position;
    if (request_.new_tokens > context - prompt_tokens())  // a sum may pass 2^63
      throw usage_error("a prompt of " + std::to_string(prompt_tokens()) + " tokens (--prompt-tokens) and " +
                        std::to_string(request_.new_tokens) +
                        " new ones (--new-tokens) do not fit this model's context of " + std::to_string(context));
    if (request_.window < 2 || request_.window > context)
      throw usage_error("--window " + std::to_string(request_.window) + " does not fit this model; choose 2 to " +
                        std::to_string(context));
  }

  /// BOS included.
  kvsharer::index_t prompt_tokens() const {
    return std::min(request_.prompt_tokens, static_cast<kvsharer::index_t>(ids_.size()));
  }

  token_batch samples(int count) {
    return read_calibration(request_.calibration, session_.words(), count, request_.sample_tokens);
  }

  /// The lines that are there must be the sweep's first ones.
  std::size_t check_lines() const {
    const auto& lines = results_->lines();
    for (std::size_t i = 0; i < lines.size(); ++i)
      if (i >= lines_.size() || !is_line(lines_[i], lines[i]))
        throw load_error(request_.out / "results.jsonl",
                         "line " + std::to_string(i + 1) + " is not what this sweep has there; take another folder");
    return lines.size();
  }

  nlohmann::ordered_json make(const planned_line& wanted) {
    if (wanted.kind == "full") return full_model();
    return wanted.kind == "moves" ? single_moves(wanted.what) : combined(wanted.what);
  }

  nlohmann::ordered_json single_moves(const combination& c) {
    calibrated& base = calibration(c);
    const auto start = clock::now();
    const std::vector<single_move> moves = base.single_moves(
        [&](std::size_t done, std::size_t all) {
          tell("single moves: " + std::to_string(done) + " of " + std::to_string(all) + " scored");
        },
        request_.cancelled);
    stop_if_asked();
    return moves_line(where_, base, moves, since(start));
  }

  nlohmann::ordered_json full_model() {
    measured_map m{
        .plan = kvsharer::share_map::identity(session_.identity.layers), .quality = {}, .run = {}, .seconds = {}};
    measure(m, "full model");
    const std::vector<int> ids = prompt();
    const std::size_t used = ids.size() - (session_.opening() >= 0 ? 1 : 0);
    const std::span<const int> after = std::span<const int>(ids_).subspan(used).first(
        std::min(ids_.size() - used, static_cast<std::size_t>(request_.new_tokens)));
    return full_model_line(where_, session_.words(), m, session_.words().decode(ids), session_.words().decode(after));
  }

  nlohmann::ordered_json combined(const combination& c) {
    const std::string name = describe(c, session_.identity.layers);
    calibrated& base = calibration(c);
    measured_map m{.plan = {}, .quality = {}, .run = {}, .seconds = {}};
    m.seconds.calibration = base.seconds();
    const auto start = clock::now();
    const search_outcome found = base.search(
        {.share = c.share,
         .threshold = c.how.has_threshold() ? c.threshold : c.how.default_threshold(),
         .how = c.how,
         .metric = c.metric,
         .similarity = request_.similarity,
         .seed = c.seed,
         .progress =
             [&](const kvsharer::search_progress& p) { tell(name + ": " + std::to_string(p.tried) + " tried"); },
         .cancelled = request_.cancelled});
    m.seconds.search = since(start);
    stop_if_asked();
    m.plan = found.evidence.report.plan;
    measure(m, name);
    return combination_line(where_, session_.words(), c, found, m);
  }

  void measure(measured_map& m, const std::string& name) {
    const auto evaluating = [&](std::size_t done, std::size_t all) {
      tell(name + ": evaluated " + std::to_string(done) + " of " + std::to_string(all) + " tokens");
    };
    auto start = clock::now();
    if (!reference_) reference_ = where_.reference(ids_, request_.window, evaluating, request_.cancelled);
    stop_if_asked();
    check_figures(reference_->full());
    m.quality = reference_->compare(m.plan, evaluating, request_.cancelled);
    stop_if_asked();
    m.seconds.evaluation = since(start);
    start = clock::now();
    m.run = time_continuation(where_, m.plan, prompt(), request_.new_tokens, request_.cancelled);
    stop_if_asked();
    m.seconds.speed = since(start);
  }

  std::vector<int> prompt() const {
    const int bos = session_.opening();
    std::vector<int> ids;
    if (bos >= 0) ids.push_back(bos);
    const auto rest = prompt_tokens() - static_cast<kvsharer::index_t>(ids.size());
    ids.insert(ids.end(), ids_.begin(), ids_.begin() + rest);
    return ids;
  }

  /// The samples' run that this combination needs, and the distances on the disk before any result that came of them.
  calibrated& calibration(const combination& c) {
    const std::string objective = c.how.objective();
    if (!calibrated_ || calibrated_->samples() != static_cast<std::size_t>(c.samples) ||
        calibrated_->objective() != objective) {
      tell("calibrating on " + std::to_string(c.samples) + " samples");
      calibrated_.reset();  // before the next one is made, which may be large
      calibrated_ = std::make_unique<calibrated>(where_, samples(c.samples), objective, request_.similarity);
    }
    const std::filesystem::path file =
        request_.out / ("distances-" + c.metric + "-" + std::to_string(c.samples) + ".json");
    if (!std::filesystem::exists(file)) {
      const nlohmann::ordered_json j{
          {"metric", c.metric},
          {"samples", c.samples},
          {"distance_matrix", kvsharer::distance_matrix_json(calibrated_->distances(c.metric))}};
      write_file_atomically(file, j.dump() + "\n");
    }
    return *calibrated_;
  }

  void tell(const std::string& doing) const {
    if (request_.progress) request_.progress({summary_.made, summary_.planned - summary_.restored, doing});
  }

  void stop_if_asked() const {
    if (request_.cancelled && request_.cancelled()) throw stopped{};
  }

  session& session_;
  workplace where_;
  const sweep_request& request_;
  std::vector<combination> combinations_;
  std::vector<planned_line> lines_;
  source_text text_, calibration_;
  std::vector<int> ids_;
  std::unique_ptr<results_file> results_;
  sweep_summary summary_;
  std::unique_ptr<text_reference> reference_;
  std::unique_ptr<calibrated> calibrated_;
};

}  // namespace

sweep_summary run_sweep(session& s, const sweep_request& request, gpu* card, const gpu_choice& choice) {
  const model_config& c = s.llama.config();
  if (!c.windows.empty() || !c.kv_owners.empty())
    throw usage_error("sweep only supports models in which any layer may read any earlier one; layers of this one " +
                      std::string(c.windows.empty() ? "share a cache already" : "have sliding windows") +
                      ". Use search instead");
  return running_sweep(s, request, card, choice).run();
}

}  // namespace mini_llama
