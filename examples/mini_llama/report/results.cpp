// SPDX-License-Identifier: Apache-2.0
#include "report/results.hpp"

#include <algorithm>
#include <concepts>
#include <limits>
#include <utility>

#include "kvsharer/core/share_map.hpp"
#include "support/files.hpp"
#include "support/strict_json.hpp"
#include "support/usage_error.hpp"
#include "sweep/results_file.hpp"

namespace mini_llama::report {
namespace {

using nlohmann::json;

double number(const json& line, const char* key) {
  const json& value = line.at(key);
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

/// A whole number that an Int can hold: one with a fraction, or from outside, would be cut to another.
template <std::integral Int>
Int whole(const json& value) {
  const bool holds = value.is_number_unsigned()  ? std::in_range<Int>(value.get<std::uint64_t>())
                     : value.is_number_integer() ? std::in_range<Int>(value.get<std::int64_t>())
                                                 : false;
  if (!holds)
    throw invalid_json("has " + (value.is_structured() ? std::string("a list or an object") : value.dump()) +
                       " where a whole number from " + std::to_string(std::numeric_limits<Int>::lowest()) + " to " +
                       std::to_string(std::numeric_limits<Int>::max()) + " is expected");
  return value.get<Int>();
}

std::vector<int> wholes(const json& list) {
  std::vector<int> all;
  for (const json& value : list) all.push_back(whole<int>(value));
  return all;
}

int layer_from(const json& value, int layers) {
  const int layer = whole<int>(value);
  if (layer < 0 || layer >= layers)
    throw invalid_json("names layer " + std::to_string(layer) + " of " + std::to_string(layers));
  return layer;
}

/// A metric, by whose name the file of its distances is found.
std::string metric_from(const json& value) {
  const auto name = value.get<std::string>();
  if (name.find('/') != std::string::npos || name.find('\0') != std::string::npos)
    throw invalid_json("has a metric name that cannot be part of a file name");
  return name;
}

recipe recipe_from(const json& value) {
  try {
    return recipe::parse(value.get<std::string>());
  } catch (const usage_error& e) {
    throw invalid_json(std::string("has a rule that this version does not know: ") + e.what());
  }
}

/// Throws unless the origin has what a page says of it.
void check_origin(const json& o) {
  for (const char* path : {"/program", "/similarity", "/model/name", "/model/architecture", "/model/fingerprint",
                           "/text/name", "/text/hash", "/calibration/name", "/calibration/hash"})
    o.at(json::json_pointer(path)).get_ref<const std::string&>();
  for (const char* path : {"/model/layers", "/model/heads", "/model/kv_heads", "/model/head_dim", "/sample_tokens",
                           "/tokens", "/window", "/prompt_tokens", "/new_tokens"})
    if (whole<std::int32_t>(o.at(json::json_pointer(path))) < 0)
      throw invalid_json(std::string("has a negative number at ") + path);
}

/// Owners that a map of this many layers can have.
std::vector<int> owners_from(const json& line, const std::string& key, int layers) {
  const auto owners = wholes(line.at(key));
  const kvsharer::result<kvsharer::share_map> checked = kvsharer::share_map::from_owners(owners);
  if (!checked || checked.value().layers() != layers)
    throw invalid_json("has a \"" + key + "\" that is not a map of " + std::to_string(layers) + " layers");
  return owners;
}

/// What every line has.
result measured(const json& line, int layers) {
  result r;
  const bool one = line.contains("layer_map");
  r.owners = owners_from(line, one ? "layer_map" : "key_map", layers);
  r.value_owners = one ? r.owners : owners_from(line, "value_map", layers);
  r.perplexity = number(line, "perplexity");
  r.kl = number(line, "kl");
  r.top1_agreement = number(line, "top1_agreement");
  r.kv_bytes = number(line, "kv_bytes");
  r.prefill_tokens_per_second = number(line, "prefill_tokens_per_second");
  r.decode_tokens_per_second = number(line, "decode_tokens_per_second");
  r.search_seconds = number(line.at("seconds"), "search");
  r.token_ids = wholes(line.at("continuation").at("token_ids"));
  r.text = line.at("continuation").at("text").get<std::string>();
  return r;
}

result shared_from(const json& line, int layers) {
  result r = measured(line, layers);
  const json& c = line.at("combination");
  r.rule = {whole<int>(c.at("share")),   recipe_from(c.at("order")),  whole<std::uint64_t>(c.at("seed")),
            metric_from(c.at("metric")), whole<int>(c.at("samples")), c.at("threshold").get<double>()};
  r.status = line.at("status").get<std::string>();
  r.score = number(line, "score");
  r.pairs_ranked = whole<std::size_t>(line.at("pairs_ranked"));
  r.pairs_skipped = whole<std::size_t>(line.at("pairs_skipped"));
  r.layer_evaluations = number(line, "layer_evaluations");
  r.layer_evaluations_without_resume = number(line, "layer_evaluations_without_resume");
  for (const json& t : line.at("candidates"))
    r.candidates.push_back({whole<std::size_t>(t.at("rank")), layer_from(t.at("reader"), layers),
                            layer_from(t.at("owner"), layers), number(t, "distance"), number(t, "score"),
                            t.at("verdict") == "accepted"});
  return r;
}

distances distances_from(const json& file, int layers) {
  distances d{file.at("metric").get<std::string>(), whole<int>(file.at("samples")), {}};
  for (const json& row : file.at("distance_matrix")) d.rows.push_back(row.get<std::vector<double>>());
  const auto n = static_cast<std::size_t>(layers);
  if (d.rows.size() != n || std::any_of(d.rows.begin(), d.rows.end(), [n](const auto& row) { return row.size() != n; }))
    throw invalid_json("is not a matrix of " + std::to_string(layers) + " layers");
  return d;
}

/// Throws invalid_json where a list is not as long as the others.
scored_moves moves_from(const json& line, int layers) {
  const auto layers_of = [layers](const json& list) {
    std::vector<int> all;
    for (const json& value : list) all.push_back(layer_from(value, layers));
    return all;
  };
  const auto numbers = [](const json& list) {
    std::vector<double> all;
    for (const json& value : list)
      all.push_back(value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>());
    return all;
  };
  scored_moves m{whole<int>(line.at("samples")), line.at("objective").get<std::string>(),
                 layers_of(line.at("reader")),   layers_of(line.at("owner")),
                 numbers(line.at("score")),      {}};
  for (const auto& [metric, list] : line.at("distances").items()) m.distances.emplace_back(metric, numbers(list));
  const auto whole = [&](const auto& list) { return list.size() == m.scores.size(); };
  if (!whole(m.readers) || !whole(m.owners) ||
      !std::all_of(m.distances.begin(), m.distances.end(), [&](const auto& d) { return whole(d.second); }))
    throw invalid_json("has lists of different lengths");
  return m;
}

/// Without what was there before.
template <class T>
void add(std::vector<T>& list, const T& item) {
  if (std::find(list.begin(), list.end(), item) == list.end()) list.push_back(item);
}

/// f(), with errors that name the file.
template <class F>
auto reading(const std::filesystem::path& file, const std::string& where, F&& f) {
  try {
    return f();
  } catch (const invalid_json& e) {
    throw load_error(file, where + e.what());
  } catch (const json::exception& e) {
    throw load_error(file, where + "is not what a sweep writes (" + e.what() + ")");
  }
}

}  // namespace

double result::shared() const noexcept {
  double readers = 0;
  for (int l = 0; l < layers(); ++l)
    readers +=
        (owners[static_cast<std::size_t>(l)] != l) * 0.5 + (value_owners[static_cast<std::size_t>(l)] != l) * 0.5;
  return readers;
}

std::size_t result::accepted() const noexcept {
  return static_cast<std::size_t>(
      std::count_if(candidates.begin(), candidates.end(), [](const tried& t) { return t.accepted; }));
}

std::vector<setting> sweep_results::settings() const {
  std::vector<setting> all;
  for (const result& r : maps) add(all, {r.rule.metric, r.rule.samples, r.rule.threshold});
  return all;
}

std::vector<recipe> sweep_results::recipes() const {
  std::vector<recipe> all;
  for (const result& r : maps) add(all, r.rule.how);
  return all;
}

std::vector<int> sweep_results::shares() const {
  std::vector<int> all;
  for (const result& r : maps) add(all, r.rule.share);
  std::sort(all.begin(), all.end());
  return all;
}

std::vector<const result*> sweep_results::select(const setting& where, const recipe& how) const {
  std::vector<const result*> found;
  for (const result& r : maps)
    if (r.rule.how == how && setting{r.rule.metric, r.rule.samples, r.rule.threshold} == where) found.push_back(&r);
  return found;
}

sweep_results read_sweep(const std::filesystem::path& folder) {
  sweep_results all;
  const std::filesystem::path origin = folder / "model.json", file = folder / "results.jsonl";
  if (!std::filesystem::exists(origin) || !std::filesystem::exists(file))
    throw load_error(folder, "holds no sweep; `mini_llama sweep --out` makes such a folder");
  const int layers = reading(origin, "", [&] {
    all.origin = parse_strict_json(read_text_file(origin));
    all.planned = all.origin.at("plan").size() + 1;
    check_origin(all.origin);
    return whole<int>(all.origin.at("model").at("layers"));
  });

  std::size_t kept = 0;
  const std::vector<json> lines = whole_lines(read_text_file(file), file, kept);
  if (lines.empty()) throw load_error(file, "has no line yet; let the sweep run a while");
  for (std::size_t i = 0; i < lines.size(); ++i)
    reading(file, "line " + std::to_string(i + 1) + " ", [&] {
      const auto kind = lines[i].at("kind").get<std::string>();
      if (i == 0 ? kind != "full" : kind != "shared" && kind != "moves") throw invalid_json("is of the wrong kind");
      if (kind == "moves") {
        all.moves.push_back(moves_from(lines[i], layers));
        return;
      }
      if (i > 0) {
        all.maps.push_back(shared_from(lines[i], layers));
        return;
      }
      all.full = measured(lines[i], layers);
      all.prompt = lines[i].at("prompt").get<std::string>();
      all.text_goes_on = lines[i].at("text_goes_on").get<std::string>();
    });

  for (const setting& s : all.settings()) {
    const auto known = [&](const distances& d) { return d.metric == s.metric && d.samples == s.samples; };
    if (std::any_of(all.matrices.begin(), all.matrices.end(), known)) continue;
    const std::filesystem::path one = folder / ("distances-" + s.metric + "-" + std::to_string(s.samples) + ".json");
    all.matrices.push_back(
        reading(one, "", [&] { return distances_from(parse_strict_json(read_text_file(one)), layers); }));
  }
  return all;
}

}  // namespace mini_llama::report
