// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kvsharer/core/cache_plan.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/known_methods.hpp"
#include "kvsharer/core/layer_ranges.hpp"
#include "kvsharer/core/share_map.hpp"
#include "kvsharer/core/share_plan.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/io/detail/evidence_json.hpp"
#include "kvsharer/io/detail/json_fields.hpp"
#include "kvsharer/search/plan_file.hpp"

/// Plans as JSON. Needs nlohmann_json (the CMake target kvsharer::json); nothing else in the library includes this.
namespace kvsharer::inline v0 {

/// The schema version of plan files. Versions 1 and 2 were files of share maps alone, and are refused.
inline constexpr int plan_schema = 3;

namespace detail {

inline nlohmann::json map_json(const share_map& map) {
  return std::vector<int>(map.owners().begin(), map.owners().end());
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

inline nlohmann::json model_json(const model_identity& m) {
  return {{"layers", m.layers},
          {"kv_heads", m.kv_heads},
          {"head_dim", m.head_dim},
          {"rope", m.rope},
          {"fingerprint", m.fingerprint}};
}

inline model_identity model_from(const nlohmann::json& j, const std::string& file) {
  only_fields(j, {"layers", "kv_heads", "head_dim", "rope", "fingerprint"}, "\"model\"", file);
  model_identity m;
  m.layers = whole<int>(j.at("layers"), file);
  m.kv_heads = whole<index_t>(j.at("kv_heads"), file);
  m.head_dim = whole<index_t>(j.at("head_dim"), file);
  m.rope = j.at("rope").get<std::string>();
  m.fingerprint = j.at("fingerprint").get<std::string>();
  return m;
}

inline nlohmann::json alignment_json(const alignment_record& a) {
  return {{"file", a.file},   {"hash", a.hash},     {"activations", a.activations},
          {"ridge", a.ridge}, {"offset", a.offset}, {"keys", a.keys}};
}

inline alignment_record alignment_from(const nlohmann::json& j, const std::string& file) {
  only_fields(j, {"file", "hash", "activations", "ridge", "offset", "keys"}, "\"alignment\"", file);
  alignment_record a{
      j.at("file").get<std::string>(), j.at("hash").get<std::string>(), j.at("activations").get<std::string>(),
      j.at("ridge").get<double>(),     j.at("offset").get<bool>(),      j.at("keys").get<std::string>()};
  // A plan that somebody sent must not make a program read files elsewhere.
  if (a.file.empty() || a.file.find_first_of("/\\") != std::string::npos || a.file == "." || a.file == "..")
    throw error(errc::plan_syntax,
                file + " names \"" + a.file + "\" as its alignment, which is not the name of a file beside it");
  return a;
}

/// A result's value, or its error with the file's name before it.
template <class T>
T value_in(const std::string& file, const std::string& what, result<T> read) {
  if (!read) throw error(read.failure().code(), file + ": " + what + ": " + read.failure().what());
  return std::move(read).value();
}

/// The maps and rules. Throws what the parts throw.
inline cache_plan plan_from(const nlohmann::json& j, int layers, const known_methods& known, const std::string& file) {
  share_plan sharing(map_from(j.at("key_map"), layers, "the key map", file),
                     map_from(j.at("value_map"), layers, "the value map", file));
  const auto ranges = [&](const char* field) -> std::vector<layer_range> {
    const auto text = j.at(field).get<std::string>();
    if (text.empty()) return {};  // of a plan of no layers
    return value_in(file, field, parse_layer_ranges(text));
  };
  const cache_rules rules{ranges("key_codec"), ranges("value_codec"), ranges("selector"),
                          j.at("budget").get<std::string>()};
  return value_in(file, "its rules", cache_plan::make(std::move(sharing), rules, known));
}

/// Throws unless the file is a plan of this schema.
inline void require_schema(const nlohmann::json& j, const std::string& file) {
  if (j.is_object() && j.contains("kvsharer_strategy"))
    throw error(errc::plan_version, file + " is a strategy file of an early version, schema " +
                                        said(j.at("kvsharer_strategy")) +
                                        "; search again, or make a plan of its map with mini_llama plan --map");
  if (!j.is_object() || !j.contains("kvsharer_plan"))
    throw error(errc::plan_syntax, file + " is JSON but not a plan: it has no \"kvsharer_plan\"");
  if (j.at("kvsharer_plan") != nlohmann::json(plan_schema))
    throw error(errc::plan_version, file + " has schema version " + said(j.at("kvsharer_plan")) +
                                        "; this library reads version " + std::to_string(plan_schema));
}

}  // namespace detail

/// The file as readable JSON text with schema version `plan_schema`: the same text for the same plan on all platforms.
/// Throws errc::bad_map if the evidence is that of another plan. O(layers^2) with evidence, else O(layers).
inline std::string write_plan(const plan_file& f) {
  using nlohmann::json;
  const share_plan& sharing = f.plan.sharing();
  if (f.evidence && !(f.evidence->report.plan == sharing))
    throw error(errc::bad_map, "the evidence of this plan is a search that found another one");
  const cache_rules rules = f.plan.rules();
  const auto ranges = [](const std::vector<layer_range>& r) { return json(layer_ranges_text(r)).dump(); };
  return "{\n  \"kvsharer_plan\": " + std::to_string(plan_schema) +
         ",\n  \"model\": " + detail::model_json(f.model).dump() +
         ",\n  \"key_map\": " + detail::map_json(sharing.keys()).dump() +
         ",\n  \"value_map\": " + detail::map_json(sharing.values()).dump() +
         ",\n  \"key_codec\": " + ranges(rules.key_codecs) + ",\n  \"value_codec\": " + ranges(rules.value_codecs) +
         ",\n  \"selector\": " + ranges(rules.selectors) + ",\n  \"budget\": " + json(rules.budget).dump() +
         (f.alignment ? ",\n  \"alignment\": " + detail::alignment_json(*f.alignment).dump() : std::string()) +
         (f.evidence ? ",\n  \"evidence\": " + detail::evidence_text(*f.evidence) : std::string()) + "\n}\n";
}

/// Reads the plan in `text`; errors contain its `name` (the file's path). Throws errc::plan_syntax (also for fields
/// that this version does not know), errc::plan_version, errc::bad_map, and what cache_plan::make returns. Does not
/// check the model: see check_same_model. O(length of the text).
inline plan_file read_plan(std::string_view text, const std::string& name = "plan", const known_methods& known = {}) {
  using nlohmann::json;
  try {
    const json j = json::parse(text);
    detail::require_schema(j, name);
    detail::only_fields(j,
                        {"kvsharer_plan", "model", "key_map", "value_map", "key_codec", "value_codec", "selector",
                         "budget", "alignment", "evidence"},
                        "the plan", name);
    plan_file f;
    f.model = detail::model_from(j.at("model"), name);
    f.plan = detail::plan_from(j, f.model.layers, known, name);
    if (j.contains("alignment")) f.alignment = detail::alignment_from(j.at("alignment"), name);
    if (j.contains("evidence")) f.evidence = detail::evidence_from(j.at("evidence"), f.plan.sharing(), name);
    return f;
  } catch (const json::exception& e) {
    throw error(errc::plan_syntax, name + " is not a readable plan: " + e.what());
  }
}

}  // namespace kvsharer::inline v0
