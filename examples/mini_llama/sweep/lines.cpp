// SPDX-License-Identifier: Apache-2.0
#include "sweep/lines.hpp"

#include <algorithm>
#include <vector>

#include "kvsharer/core/finite.hpp"
#include "kvsharer/io/plan_json.hpp"
#include "probe/choices.hpp"
#include "search/layers_shared.hpp"

namespace mini_llama {
namespace {

using json = nlohmann::ordered_json;

/// The one map, or the two.
void add_plan(json& line, const kvsharer::share_plan& plan) {
  const auto owners = [](const kvsharer::share_map& map) { return json(kvsharer::detail::map_json(map)); };
  if (plan.is_one_map()) {
    line["layer_map"] = owners(plan.keys());
  } else {
    line["key_map"] = owners(plan.keys());
    line["value_map"] = owners(plan.values());
  }
}

/// What every line has.
void add_measured(json& line, const tokenizer& words, const measured_map& m) {
  line["perplexity"] = m.quality.perplexity;
  line["kl"] = m.quality.kl;
  line["top1_agreement"] = m.quality.top1_agreement;
  line["tokens"] = m.quality.tokens;
  line["kv_bytes"] = m.run.footprint.keys + m.run.footprint.values;
  line["cache_bytes"] = m.run.footprint.total();
  line["prefill_tokens_per_second"] = m.run.prefill_tokens_per_second;
  line["decode_tokens_per_second"] = m.run.decode_tokens_per_second;
  line["continuation"] = {{"token_ids", m.run.token_ids}, {"text", words.decode(m.run.token_ids)}};
  line["seconds"] = {{"calibration", m.seconds.calibration},
                     {"search", m.seconds.search},
                     {"evaluation", m.seconds.evaluation},
                     {"speed", m.seconds.speed}};
}

}  // namespace

json begin_line(const std::string& kind, const workplace& where) {
  return {{"kind", kind}, {"backend", where.backend()}, {"device", where.device()}, {"dtype", where.type()}};
}

json moves_line(const workplace& where, calibrated& base, const std::vector<single_move>& moves, double seconds) {
  json line = begin_line("moves", where);
  line["samples"] = base.samples();
  line["objective"] = base.objective();
  for (const char* key : {"reader", "owner", "score"}) line[key] = json::array();
  for (const single_move& m : moves) {
    line["reader"].push_back(m.pair.reader.value);
    line["owner"].push_back(m.pair.owner.value);
    line["score"].push_back(m.score);
  }
  line["distances"] = line["spearman"] = json::object();
  for (const std::string metric : metric_names) {
    const kvsharer::distance_matrix& d = base.distances(metric);
    line["distances"][metric] = json::array();
    std::vector<double> distances, scores;  // that are numbers
    for (const single_move& m : moves) {
      line["distances"][metric].push_back(d(m.pair));
      if (kvsharer::is_nan(m.score) || kvsharer::is_nan(d(m.pair))) continue;
      distances.push_back(d(m.pair));
      scores.push_back(m.score);
    }
    line["spearman"][metric] = kvsharer::spearman_rho(distances, scores);
  }
  line["seconds"] = {{"calibration", base.seconds()}, {"search", seconds}};
  return line;
}

json full_model_line(const workplace& where, const tokenizer& words, const measured_map& m, const std::string& prompt,
                     const std::string& text_goes_on) {
  json line = begin_line("full", where);
  add_plan(line, m.plan.sharing());
  line.update({{"layers_shared", 0}, {"prompt", prompt}, {"text_goes_on", text_goes_on}});
  add_measured(line, words, m);
  return line;
}

json combination_line(const workplace& where, const tokenizer& words, const combination& c, const search_outcome& found,
                      const measured_map& m) {
  const kvsharer::search_report& r = found.evidence.report;
  json candidates = json::array();
  for (const kvsharer::candidate& one : r.candidates) candidates.push_back(json(kvsharer::detail::candidate_json(one)));
  json line = begin_line("shared", where);
  line["combination"] = to_json(c);
  add_plan(line, m.plan.sharing());
  line.update({{"status", kvsharer::detail::name_of(kvsharer::detail::status_names, r.status)},
               {"layers_shared", layers_shared(r.plan)},
               {"score", r.score},
               {"candidates_tried", r.candidates.size()},
               {"candidates_accepted",
                std::count_if(r.candidates.begin(), r.candidates.end(),
                              [](const auto& one) { return one.outcome == kvsharer::verdict::accepted; })},
               {"pairs_ranked", r.pairs_ranked},
               {"pairs_skipped", r.pairs_skipped},
               {"layer_evaluations", found.layer_evaluations},
               {"layer_evaluations_without_resume", m.plan.layers() + r.layer_evaluations_without_resume}});
  add_measured(line, words, m);
  line["candidates"] = std::move(candidates);
  return line;
}

}  // namespace mini_llama
