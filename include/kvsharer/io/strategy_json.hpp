// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kvsharer/core/distance_matrix.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/kv_part.hpp"
#include "kvsharer/core/share_map.hpp"
#include "kvsharer/core/share_plan.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/search/search_report.hpp"
#include "kvsharer/search/strategy.hpp"

/// Strategies as JSON. Needs nlohmann_json (the CMake target kvsharer::json); nothing else in the library includes
/// this.
namespace kvsharer::inline v0 {

/// The schema version of a file with one map for keys and values.
inline constexpr int strategy_schema = 1;
/// The schema version of a file with separate maps, so that programs which support only one map refuse the file instead
/// of reading half of it.
inline constexpr int strategy_schema_apart = 2;

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

template <class Names, class Value>
const char* name_of(const Names& names, Value value) {
  for (const auto& [v, name] : names)
    if (v == value) return name;
  return "";
}
template <class Names>
auto named(const Names& names, const std::string& text, const std::string& file) {
  for (const auto& [v, name] : names)
    if (text == name) return v;
  throw error(errc::plan_syntax, file + " names an unknown outcome \"" + text + "\"");
}

/// One entry per line, so that a person can read the file and `diff` can show what changed.
inline std::string lines(const nlohmann::json& rows) {
  std::string text = "[";
  for (std::size_t i = 0; i < rows.size(); ++i) text += (i ? ",\n    " : "\n    ") + rows[i].dump();
  return text + (rows.empty() ? "]" : "\n  ]");
}

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

inline nlohmann::json map_json(const share_map& map) {
  return std::vector<int>(map.owners().begin(), map.owners().end());
}

/// A value as a message shows it: for arrays and objects, only the type.
inline std::string said(const nlohmann::json& j) { return j.is_structured() ? j.type_name() : j.dump(); }

/// An integer in the range of Int. Throws errc::plan_syntax for anything else.
template <std::integral Int>
Int whole(const nlohmann::json& j, const std::string& file) {
  const bool holds = j.is_number_unsigned()  ? std::in_range<Int>(j.get<std::uint64_t>())
                     : j.is_number_integer() ? std::in_range<Int>(j.get<std::int64_t>())
                                             : false;
  if (!holds)
    throw error(errc::plan_syntax, file + " has " + said(j) + " where an integer from " +
                                           std::to_string(std::numeric_limits<Int>::lowest()) + " to " +
                                           std::to_string(std::numeric_limits<Int>::max()) + " is expected");
  return j.get<Int>();
}

inline std::vector<int> owners_from(const nlohmann::json& j, const std::string& what, const std::string& file) {
  if (!j.is_array()) throw error(errc::plan_syntax, file + ": " + what + " is not a list");
  std::vector<int> owners;
  for (const nlohmann::json& owner : j) owners.push_back(whole<int>(owner, file));
  return owners;
}

/// A map of `layers` layers; errors call it `what`.
inline share_map map_from(const nlohmann::json& owners, int layers, const std::string& what, const std::string& file) {
  const std::vector<int> list = owners_from(owners, what, file);
  result<share_map> map = share_map::from_owners(list);
  if (!map) throw error(errc::bad_map, file + ": " + what + ": " + map.failure().what());
  if (map.value().layers() != layers)
    throw error(errc::bad_map, file + ": " + what + " has " + std::to_string(list.size()) + " entries for a model of " +
                                   std::to_string(layers) + " layers");
  return std::move(map).value();
}

inline candidate candidate_from(const nlohmann::json& j, const std::string& file) {
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

inline nlohmann::json alignment_json(const alignment_record& a) {
  return {{"file", a.file},   {"hash", a.hash},     {"activations", a.activations},
          {"ridge", a.ridge}, {"offset", a.offset}, {"keys", a.keys}};
}

inline alignment_record alignment_from(const nlohmann::json& j, const std::string& file) {
  alignment_record a{
      j.at("file").get<std::string>(), j.at("hash").get<std::string>(), j.at("activations").get<std::string>(),
      j.at("ridge").get<double>(),     j.at("offset").get<bool>(),      j.at("keys").get<std::string>()};
  // A strategy that somebody sent must not make a program read files elsewhere.
  if (a.file.empty() || a.file.find_first_of("/\\") != std::string::npos || a.file == "." || a.file == "..")
    throw error(errc::plan_syntax,
                file + " names \"" + a.file + "\" as its alignment, which is not the name of a file beside it");
  return a;
}

inline distance_matrix distances_from(const nlohmann::json& rows, int layers, const std::string& file) {
  distance_matrix d(layers);
  const auto n = static_cast<std::size_t>(layers);
  if (!rows.is_array() || rows.size() != n)
    throw error(errc::plan_syntax,
                file + ": the distance matrix does not have " + std::to_string(layers) + " rows");
  for (std::size_t r = 0; r < n; ++r) {
    if (!rows[r].is_array() || rows[r].size() != n)
      throw error(errc::plan_syntax, file + ": row " + std::to_string(r) +
                                             " of the distance matrix does not have " + std::to_string(layers) +
                                             " numbers");
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

/// The strategy as readable JSON text, with schema version `strategy_schema`, or `strategy_schema_apart` if its maps
/// differ. A threshold of minus infinity is written as null. Only best-first searches have beam, exact and apart, and
/// only strategies with an alignment have alignment. O(layers^2).
inline std::string write_strategy(const strategy& s) {
  using nlohmann::json;
  const search_report& r = s.report;
  json candidates = json::array();
  for (const candidate& c : r.candidates) candidates.push_back(detail::candidate_json(c));
  const json model{{"layers", s.model.layers},
                   {"kv_heads", s.model.kv_heads},
                   {"head_dim", s.model.head_dim},
                   {"rope", s.model.rope},
                   {"fingerprint", s.model.fingerprint}};
  json options{{"share", s.settings.share},     {"threshold", s.settings.threshold},
               {"metric", s.settings.metric},   {"order", s.settings.order},
               {"seed", s.settings.seed},       {"similarity", s.settings.similarity},
               {"samples", s.settings.samples}, {"sample_tokens", s.settings.sample_tokens},
               {"keys", s.settings.keys}};
  if (s.settings.beam > 0) {
    options["beam"] = s.settings.beam;
    options["exact"] = s.settings.exact;
    if (s.settings.apart) options["apart"] = true;
  }
  const json counts{{"pairs_ranked", r.pairs_ranked},
                    {"pairs_skipped", r.pairs_skipped},
                    {"layer_evaluations", r.layer_evaluations},
                    {"layer_evaluations_without_resume", r.layer_evaluations_without_resume}};
  const std::string alignment =
      s.alignment ? ",\n  \"alignment\": " + detail::alignment_json(*s.alignment).dump() : std::string();
  const std::string keys = detail::map_json(r.plan.keys()).dump(), values = detail::map_json(r.plan.values()).dump();
  const std::string head = r.plan.is_one_map() ? std::to_string(strategy_schema) + ",\n  \"layer_map\": " + keys
                                               : std::to_string(strategy_schema_apart) + ",\n  \"key_map\": " + keys +
                                                     ",\n  \"value_map\": " + values;
  return "{\n  \"kvsharer_strategy\": " + head + ",\n  \"score\": " + json(r.score).dump() +
         ",\n  \"status\": " + json(detail::name_of(detail::status_names, r.status)).dump() +
         ",\n  \"model\": " + model.dump() + ",\n  \"options\": " + options.dump() + alignment +
         ",\n  \"counts\": " + counts.dump() + ",\n  \"candidates\": " + detail::lines(candidates) +
         ",\n  \"distance_matrix\": " + detail::lines(distance_matrix_json(s.distances)) + "\n}\n";
}

/// Reads the strategy in `text`; errors contain its `name` (the file's path). Throws errc::plan_syntax,
/// errc::plan_version, errc::bad_map. Does not check the model: see check_same_model.
inline strategy read_strategy(std::string_view text, const std::string& name = "strategy") {
  using nlohmann::json;
  try {
    const json j = json::parse(text);
    if (!j.is_object() || !j.contains("kvsharer_strategy"))
      throw error(errc::plan_syntax, name + " is JSON but not a strategy: it has no \"kvsharer_strategy\"");
    const bool apart = j.at("kvsharer_strategy") == json(strategy_schema_apart);
    if (!apart && j.at("kvsharer_strategy") != json(strategy_schema))
      throw error(errc::plan_version, name + " has schema version " + detail::said(j.at("kvsharer_strategy")) +
                                              "; this library reads versions " + std::to_string(strategy_schema) +
                                              " and " + std::to_string(strategy_schema_apart));
    strategy s;
    const json& model = j.at("model");
    s.model = {detail::whole<int>(model.at("layers"), name), detail::whole<index_t>(model.at("kv_heads"), name),
               detail::whole<index_t>(model.at("head_dim"), name), model.at("rope").get<std::string>(),
               model.at("fingerprint").get<std::string>()};
    const json& o = j.at("options");
    s.settings = {.share = detail::whole<int>(o.at("share"), name),
                  .threshold = o.at("threshold").is_null() ? -std::numeric_limits<double>::infinity()
                                                           : o.at("threshold").get<double>(),
                  .metric = o.at("metric").get<std::string>(),
                  .order = o.at("order").get<std::string>(),
                  .seed = detail::whole<std::uint64_t>(o.at("seed"), name),
                  .similarity = o.at("similarity").get<std::string>(),
                  .samples = detail::whole<int>(o.at("samples"), name),
                  .sample_tokens = detail::whole<int>(o.at("sample_tokens"), name),
                  .keys = o.at("keys").get<std::string>(),
                  .beam = o.contains("beam") ? detail::whole<int>(o.at("beam"), name) : 0,
                  .exact = o.value("exact", false),
                  .apart = o.value("apart", false)};
    const auto map = [&](const char* member, const char* what) {
      return detail::map_from(j.at(member), s.model.layers, what, name);
    };
    s.report.plan = apart ? share_plan(map("key_map", "the key map"), map("value_map", "the value map"))
                          : share_plan(map("layer_map", "the layer map"));
    s.report.score = j.at("score").get<double>();
    s.report.status = detail::named(detail::status_names, j.at("status").get<std::string>(), name);
    const json& counts = j.at("counts");
    s.report.pairs_ranked = detail::whole<std::size_t>(counts.at("pairs_ranked"), name);
    s.report.pairs_skipped = detail::whole<std::size_t>(counts.at("pairs_skipped"), name);
    s.report.layer_evaluations = detail::whole<index_t>(counts.at("layer_evaluations"), name);
    s.report.layer_evaluations_without_resume =
        detail::whole<index_t>(counts.at("layer_evaluations_without_resume"), name);
    for (const json& c : j.at("candidates")) s.report.candidates.push_back(detail::candidate_from(c, name));
    if (j.contains("alignment")) s.alignment = detail::alignment_from(j.at("alignment"), name);
    s.distances = detail::distances_from(j.at("distance_matrix"), s.model.layers, name);
    return s;
  } catch (const json::exception& e) {
    throw error(errc::plan_syntax, name + " is not a readable strategy: " + e.what());
  }
}

}  // namespace kvsharer::inline v0
