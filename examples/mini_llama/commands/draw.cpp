// SPDX-License-Identifier: Apache-2.0
#include "commands/draw.hpp"

#include <algorithm>
#include <array>
#include <cstdio>

namespace mini_llama {

using kvsharer::layer_id;

namespace {

std::string number(int value, int width) {
  std::array<char, 16> text{};
  std::snprintf(text.data(), text.size(), "%*d", width, value);
  return text.data();
}

}  // namespace

std::string draw_distances(const kvsharer::distance_matrix& distances, const kvsharer::share_plan& plan) {
  static constexpr std::array<const char*, 5> shades{"  ", "\u2591\u2591", "\u2592\u2592", "\u2593\u2593",
                                                     "\u2588\u2588"};
  double low = 0, high = 0;
  for (kvsharer::layer_pair p : kvsharer::all_pairs(distances.layers())) {
    low = low == 0 ? distances(p) : std::min(low, distances(p));
    high = std::max(high, distances(p));
  }
  std::string text;
  for (int reader = 1; reader < distances.layers(); ++reader) {
    text += number(reader, 4) + " ";
    for (int owner = 0; owner < reader; ++owner) {
      const double d = distances({reader}, {owner});
      const auto shade = static_cast<std::size_t>(high > low ? (d - low) / (high - low) * 4.999 : 0);
      const bool keys = plan.key_owner({reader}) == layer_id{owner},
                 values = plan.value_owner({reader}) == layer_id{owner};
      text += keys && values ? "()" : keys ? "k)" : values ? "v)" : shades[shade];
    }
    text += "\n";
  }
  text += "     ";
  for (int owner = 0; owner + 1 < distances.layers(); owner += 4) text += number(owner, 2) + "      ";
  std::array<char, 200> legend{};
  std::snprintf(legend.data(), legend.size(),
                "\n     reader (row) from owner (column): blank %.3g to full %.3g; () is shared, k) and v) keys or "
                "values alone\n",
                low, high);
  return text + legend.data();
}

std::string draw_map(const kvsharer::share_plan& plan) {
  std::string bar = "  layers ", text;
  for (layer_id l{0}; l.value < plan.layers(); ++l.value)
    bar += plan.owns_keys(l) ? (plan.owns_values(l) ? '#' : 'k') : plan.owns_values(l) ? 'v' : '.';
  const auto readers_of = [&](const kvsharer::share_map& map, const char* what) {
    for (layer_id owner{0}; owner.value < map.layers(); ++owner.value) {
      std::string readers;
      for (layer_id l{owner.value + 1}; l.value < map.layers(); ++l.value)
        if (map.owner(l) == owner) readers += (readers.empty() ? "" : ", ") + std::to_string(l.value);
      if (!readers.empty()) text += "  " + (what + std::to_string(owner.value)) + " is read by " + readers + "\n";
    }
  };
  if (plan.is_one_map()) {
    readers_of(plan.keys(), "layer ");
  } else {
    readers_of(plan.keys(), "keys of ");
    readers_of(plan.values(), "values of ");
  }
  const char* halves = plan.is_one_map() ? "" : ", k keys alone, v values alone";
  return bar + "  (# stores keys and values" + halves + ", . reads another layer's)\n" + text;
}

}  // namespace mini_llama
