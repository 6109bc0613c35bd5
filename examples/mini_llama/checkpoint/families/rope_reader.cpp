// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/families/rope_reader.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace mini_llama {
namespace {

constexpr const char* keys[] = {"rope_parameters", "rope_scaling"};

[[noreturn]] void refuse_contradiction(const config_reader& config, const std::string& one, const std::string& other) {
  config.refuse(one + " and " + other + " contradict each other; keep the one that the model is to run with");
}

/// The first of the places that states `key`, or null. All that do must agree.
const config_reader* agreed(const std::vector<config_reader>& places, const char* key) {
  const config_reader* first = nullptr;
  for (const config_reader& place : places) {
    if (!place.find(key)) continue;
    if (!first) first = &place;
    if (*place.find(key) != *first->find(key)) refuse_contradiction(place, first->said(key), place.said(key));
  }
  return first;
}

double read_theta(const std::vector<config_reader>& places) {
  const config_reader* const place = agreed(places, "rope_theta");
  if (!place) return kvsharer::rope_rule{}.theta;
  const double theta = place->number("rope_theta");
  if (theta <= 1) place->refuse(place->said("rope_theta") + " is not above 1; values such as 10000 are meant");
  return theta;
}

std::string read_type(const config_reader& scaling) {
  const std::string older = scaling.text("type", "default"), type = scaling.text("rope_type", older.c_str());
  if (scaling.find("type") && type != older)
    refuse_contradiction(scaling, scaling.said("rope_type"), scaling.said("type"));
  return type;
}

/// The rotation of one object, whose name is `key`.
kvsharer::rope_rule read_scaling(const config_reader& config, const char* key, double theta) {
  kvsharer::rope_rule rope;
  rope.theta = theta;
  const config_reader scaling = config.within(key);
  for (const auto& [name, value] : config.find(key)->items())
    if (value.is_object()) config.refuse(config.said(key) + ": rotations that differ by layer are not supported");
  if (scaling.number("partial_rotary_factor", 1) != 1)
    config.refuse(scaling.said("partial_rotary_factor") + " is not supported; only 1 is");

  const std::string type = read_type(scaling);
  // A dynamic one changes only positions beyond the context, which the driver does not run.
  if (type == "default" || type == "dynamic") return rope;
  if (type != "linear" && type != "llama3")
    config.refuse("the rotation type \"" + type + "\" in " + key +
                  " is not supported; default, dynamic, linear and llama3 are");
  rope.factor = scaling.number("factor");
  if (rope.factor < 1) config.refuse(scaling.said("factor") + " is less than 1");
  if (type == "linear") {
    rope.scaling = kvsharer::rope_scaling::linear;
    return rope;
  }
  rope.scaling = kvsharer::rope_scaling::llama3;
  rope.low_freq_factor = scaling.number("low_freq_factor");
  rope.high_freq_factor = scaling.number("high_freq_factor");
  agreed({config, scaling}, "original_max_position_embeddings");
  rope.original_max_position = scaling.size("original_max_position_embeddings");
  if (rope.high_freq_factor <= rope.low_freq_factor)
    config.refuse(scaling.said("high_freq_factor") + " is not above " + scaling.said("low_freq_factor"));
  return rope;
}

}  // namespace

kvsharer::rope_rule read_rope(const config_reader& config) {
  std::vector<config_reader> places{config};
  std::vector<const char*> stated;
  for (const char* key : keys) {
    if (!config.find(key) || config.find(key)->empty()) continue;
    stated.push_back(key);
    places.push_back(config.within(key));
  }
  kvsharer::rope_rule rope;
  rope.theta = read_theta(places);
  for (std::size_t i = 0; i < stated.size(); ++i) {
    const kvsharer::rope_rule one = read_scaling(config, stated[i], rope.theta);
    if (i > 0 && one != rope) refuse_contradiction(config, config.said(stated[0]), config.said(stated[i]));
    rope = one;
  }
  return rope;
}

int stretched_context(const kvsharer::rope_rule& rope, int max_position) {
  if (rope.scaling != kvsharer::rope_scaling::linear) return max_position;
  constexpr double most = 1 << 30;
  return static_cast<int>(std::min(max_position * rope.factor, most));
}

}  // namespace mini_llama
