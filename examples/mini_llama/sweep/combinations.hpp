// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "search/recipe.hpp"

namespace mini_llama {

/// What a sweep varies, as given on the command line; names are those of choices.hpp.
struct sweep_axes {
  std::vector<std::string> share{"12.5%", "25%", "37.5%", "50%"};  ///< counts or percentages
  std::vector<std::string> order{"dissimilar", "similar", "suffix",
                                 "random:5"};  ///< recipes; random:5 is five seeds, from 0
  std::vector<std::string> metric{"mean-row-norm"};
  std::vector<int> samples{30};
  std::vector<double> threshold{0.5};
};

/// One search of a sweep.
struct combination {
  int share = 0;  ///< layers that are to share
  recipe how;
  std::uint64_t seed = 0;  ///< of random; 0 elsewhere
  std::string metric;
  int samples = 0;
  double threshold = 0;
  friend bool operator==(const combination&, const combination&) = default;
};

/// Every combination of the axes once, in the order in which it is run: what needs the same calibration run stands
/// together, shares ascend last. Orders that rank nothing stand with the first metric alone, and those by `kl`, which
/// knows no threshold, with the first threshold. Throws usage_error for what no model of `layers` layers can do, for an
/// unknown name, and for `explicit`, which is one map and no rule.
std::vector<combination> combinations_of(const sweep_axes& axes, int layers);

/// As it stands in a line of results.
nlohmann::ordered_json to_json(const combination& c);

/// For people: "random (seed 3), 6 of 24".
std::string describe(const combination& c, int layers);

}  // namespace mini_llama
