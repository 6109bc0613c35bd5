// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/families/layer_kinds.hpp"

#include <algorithm>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>

namespace mini_llama {
namespace {

/// The number of layers is only a claim until their tensors are found; lists of them are made of sober ones only.
void require_sober(const config_reader& config, int layers) {
  if (layers > 1 << 16) config.refuse(config.said("num_hidden_layers") + " is more than any model has");
}

/// What "sliding_window" says; 0 where it is null: there is none. Absent, it is `otherwise`.
int said_window(const config_reader& config, int otherwise) {
  if (!config.has("sliding_window")) return otherwise;
  return config.find("sliding_window") ? config.size("sliding_window") : 0;
}

/// The window that a family's rule gives all layers from `first` on.
struct ruled_window {
  int tokens = 0, first = 0;
};

ruled_window by_rule(const config_reader& config, window_rule rule, int layers) {
  switch (rule) {
    case window_rule::none:
      break;
    case window_rule::all:
      return {said_window(config, 4096)};
    case window_rule::switched: {
      if (!config.flag("use_sliding_window")) break;
      const nlohmann::json* first = config.find("max_window_layers");
      const bool none_below = first && *first == 0;
      return {said_window(config, 4096), none_below ? 0 : config.size("max_window_layers", 28)};
    }
  }
  return {0, layers};
}

/// The window of the layers that "layer_types" calls sliding. Where a flag switches a family's windows, it goes before
/// the list, which newer files spell out in either case.
int listed_window(const config_reader& config, window_rule rule) {
  if (rule == window_rule::switched) return config.flag("use_sliding_window") ? said_window(config, 4096) : 0;
  if (config.find("use_sliding_window") && !config.flag("use_sliding_window"))
    config.refuse(config.said("use_sliding_window") +
                  " contradicts \"layer_types\", which has sliding_attention; this family knows no such switch");
  if (config.has("sliding_window") && !config.find("sliding_window"))
    config.refuse("\"sliding_window\": null contradicts \"layer_types\", which has sliding_attention");
  return config.size("sliding_window");
}

}  // namespace

std::vector<int> layer_windows(const config_reader& config, const family& kind, int layers, int max_position) {
  std::vector<int> windows;
  if (const nlohmann::json* kinds = config.find("layer_types")) {
    if (!kinds->is_array() || kinds->size() != static_cast<std::size_t>(layers))
      config.refuse(config.said("layer_types") + " is not a list of one kind for each of " + std::to_string(layers) +
                    " layers");
    for (const nlohmann::json& k : *kinds) {
      if (k != "full_attention" && k != "sliding_attention")
        config.refuse(config.said("layer_types") + ": only full_attention and sliding_attention are supported");
      windows.push_back(k == "full_attention" ? 0 : listed_window(config, kind.window));
    }
  } else {
    const ruled_window rule = by_rule(config, kind.window, layers);
    if (rule.tokens == 0 || rule.tokens >= max_position || rule.first >= layers) return {};
    require_sober(config, layers);
    windows.assign(static_cast<std::size_t>(std::min(rule.first, layers)), 0);
    windows.resize(static_cast<std::size_t>(layers), rule.tokens);
  }
  for (int& w : windows)
    if (w >= max_position) w = 0;
  if (std::all_of(windows.begin(), windows.end(), [](int w) { return w == 0; })) windows.clear();
  return windows;
}

std::vector<int> layer_owners(const config_reader& config, const std::vector<int>& windows, int layers) {
  const nlohmann::json* said = config.find("num_kv_shared_layers");
  if (!said || *said == 0) return {};
  const int first = layers - config.size("num_kv_shared_layers");
  if (first < 1) config.refuse(config.said("num_kv_shared_layers") + " leaves no layer that stores keys and values");
  require_sober(config, layers);
  std::vector<int> owners(static_cast<std::size_t>(layers));
  std::iota(owners.begin(), owners.end(), 0);
  const auto window = [&](int l) { return windows.empty() ? 0 : windows[static_cast<std::size_t>(l)]; };
  for (int l = first; l < layers; ++l) {
    int owner = first - 1;
    while (owner >= 0 && window(owner) != window(l)) --owner;
    if (owner < 0)
      config.refuse(config.said("num_kv_shared_layers") + ": below layer " + std::to_string(l) +
                    " no layer of its kind stores keys and values");
    owners[static_cast<std::size_t>(l)] = owner;
  }
  return owners;
}

}  // namespace mini_llama
