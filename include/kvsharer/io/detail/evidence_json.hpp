// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "kvsharer/core/distance_matrix.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/kv_part.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/io/detail/json_fields.hpp"
#include "kvsharer/search/plan_file.hpp"
#include "kvsharer/search/search_report.hpp"

/// The evidence of a plan file: the search's options, its candidates and the distances it ranked by.
namespace kvsharer::inline v0 {

namespace detail {

inline constexpr std::array<std::pair<verdict, const char*>, 4> verdict_names{
    {{verdict::accepted, "accepted"},
     {verdict::below_threshold, "below threshold"},
     {verdict::outscored, "outscored"},
     {verdict::not_finite, "not finite"}}};
inline constexpr std::array<std::pair<search_status, const char*>, 3> status_names{
    {{search_status::complete, "complete"},
     {search_status::ranking_exhausted, "ranking exhausted"},
     {search_status::cancelled, "cancelled"}}};
inline constexpr std::array<std::pair<kv_part, const char*>, 3> part_names{
    {{kv_part::both, "both"}, {kv_part::keys, "keys"}, {kv_part::values, "values"}}};

inline nlohmann::json candidate_json(const candidate& c) {
  nlohmann::json j{{"rank", c.rank},
                   {"reader", c.pair.reader.value},
                   {"owner", c.pair.owner.value},
                   {"distance", c.distance},
                   {"score", c.score},  // NaN is written as null
                   {"verdict", name_of(verdict_names, c.outcome)},
                   {"resumed_at", c.resumed_at.value}};
  if (c.part != kv_part::both) j["part"] = name_of(part_names, c.part);
  return j;
}

inline candidate candidate_from(const nlohmann::json& j, const std::string& file) {
  only_fields(j, {"rank", "reader", "owner", "distance", "score", "verdict", "resumed_at", "part"}, "a candidate",
              file);
  candidate c;
  c.rank = whole<std::size_t>(j.at("rank"), file);
  c.pair = {{whole<int>(j.at("reader"), file)}, {whole<int>(j.at("owner"), file)}};
  c.distance = j.at("distance").get<double>();
  if (!j.at("score").is_null()) c.score = j.at("score").get<double>();  // else NaN, as it is made
  c.outcome = named(verdict_names, j.at("verdict").get<std::string>(), file);
  c.resumed_at = {whole<int>(j.at("resumed_at"), file)};
  c.part = named(part_names, j.value("part", "both"), file);
  return c;
}

/// A threshold of minus infinity is written as null. Only best-first searches have beam, exact and apart.
inline nlohmann::json settings_json(const search_settings& s) {
  nlohmann::json j{
      {"share", s.share}, {"threshold", s.threshold},   {"metric", s.metric},   {"order", s.order},
      {"seed", s.seed},   {"similarity", s.similarity}, {"samples", s.samples}, {"sample_tokens", s.sample_tokens},
      {"keys", s.keys}};
  if (s.beam > 0) {
    j["beam"] = s.beam;
    j["exact"] = s.exact;
    if (s.apart) j["apart"] = true;
  }
  return j;
}

inline search_settings settings_from(const nlohmann::json& j, const std::string& file) {
  only_fields(j,
              {"share", "threshold", "metric", "order", "seed", "similarity", "samples", "sample_tokens", "keys",
               "beam", "exact", "apart"},
              "\"options\"", file);
  return {.share = whole<int>(j.at("share"), file),
          .threshold =
              j.at("threshold").is_null() ? -std::numeric_limits<double>::infinity() : j.at("threshold").get<double>(),
          .metric = j.at("metric").get<std::string>(),
          .order = j.at("order").get<std::string>(),
          .seed = whole<std::uint64_t>(j.at("seed"), file),
          .similarity = j.at("similarity").get<std::string>(),
          .samples = whole<int>(j.at("samples"), file),
          .sample_tokens = whole<int>(j.at("sample_tokens"), file),
          .keys = j.at("keys").get<std::string>(),
          .beam = j.contains("beam") ? whole<int>(j.at("beam"), file) : 0,
          .exact = j.value("exact", false),
          .apart = j.value("apart", false)};
}

inline distance_matrix distances_from(const nlohmann::json& rows, int layers, const std::string& file) {
  distance_matrix d(layers);
  const auto n = static_cast<std::size_t>(layers);
  if (!rows.is_array() || rows.size() != n)
    throw error(errc::plan_syntax, file + ": the distance matrix does not have " + std::to_string(layers) + " rows");
  for (std::size_t r = 0; r < n; ++r) {
    if (!rows[r].is_array() || rows[r].size() != n)
      throw error(errc::plan_syntax, file + ": row " + std::to_string(r) + " of the distance matrix does not have " +
                                         std::to_string(layers) + " numbers");
    for (std::size_t c = 0; c < r; ++c) d.set({{static_cast<int>(r)}, {static_cast<int>(c)}}, rows[r][c].get<double>());
  }
  return d;
}

}  // namespace detail

/// layers x layers numbers, the lower triangle filled, zeros elsewhere.
inline nlohmann::json distance_matrix_json(const distance_matrix& d) {
  nlohmann::json rows = nlohmann::json::array();
  for (int r = 0; r < d.layers(); ++r) {
    std::vector<double> row(static_cast<std::size_t>(d.layers()), 0.0);
    for (int c = 0; c < r; ++c) row[static_cast<std::size_t>(c)] = d({{r}, {c}});
    rows.push_back(std::move(row));
  }
  return rows;
}

namespace detail {

/// The object "evidence", as it stands in a file.
inline std::string evidence_text(const search_evidence& e) {
  const search_report& r = e.report;
  nlohmann::json candidates = nlohmann::json::array();
  for (const candidate& c : r.candidates) candidates.push_back(candidate_json(c));
  const nlohmann::json counts{{"pairs_ranked", r.pairs_ranked},
                              {"pairs_skipped", r.pairs_skipped},
                              {"layer_evaluations", r.layer_evaluations},
                              {"layer_evaluations_without_resume", r.layer_evaluations_without_resume}};
  return "{\n    \"score\": " + nlohmann::json(r.score).dump() +
         ",\n    \"status\": " + nlohmann::json(name_of(status_names, r.status)).dump() +
         ",\n    \"options\": " + settings_json(e.settings).dump() + ",\n    \"counts\": " + counts.dump() +
         ",\n    \"candidates\": " + lines(candidates, "    ") +
         ",\n    \"distance_matrix\": " + lines(distance_matrix_json(e.distances), "    ") + "\n  }";
}

/// Of a file whose plan is `plan`.
inline search_evidence evidence_from(const nlohmann::json& j, const share_plan& plan, const std::string& file) {
  only_fields(j, {"score", "status", "options", "counts", "candidates", "distance_matrix"}, "\"evidence\"", file);
  search_evidence e;
  e.settings = settings_from(j.at("options"), file);
  search_report& r = e.report;
  r.plan = plan;
  r.score = j.at("score").get<double>();
  r.status = named(status_names, j.at("status").get<std::string>(), file);
  const nlohmann::json& counts = j.at("counts");
  only_fields(counts, {"pairs_ranked", "pairs_skipped", "layer_evaluations", "layer_evaluations_without_resume"},
              "\"counts\"", file);
  r.pairs_ranked = whole<std::size_t>(counts.at("pairs_ranked"), file);
  r.pairs_skipped = whole<std::size_t>(counts.at("pairs_skipped"), file);
  r.layer_evaluations = whole<index_t>(counts.at("layer_evaluations"), file);
  r.layer_evaluations_without_resume = whole<index_t>(counts.at("layer_evaluations_without_resume"), file);
  for (const nlohmann::json& c : j.at("candidates")) r.candidates.push_back(candidate_from(c, file));
  e.distances = distances_from(j.at("distance_matrix"), plan.layers(), file);
  return e;
}

}  // namespace detail

}  // namespace kvsharer::inline v0
