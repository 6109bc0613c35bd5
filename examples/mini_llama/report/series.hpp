// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "report/chart.hpp"
#include "report/results.hpp"

namespace mini_llama::report {

/// One figure of a map.
using figure_of = std::function<double(const result&)>;

/// The results of one rule in one setting as points, with their mean at each size as a line that begins at the full
/// model, and their extremes as a band where there are several.
chart_series rule_series(const sweep_results& all, const setting& where, const recipe& how, const figure_of& x,
                         const figure_of& y, const std::function<std::string(const result&)>& title);

/// All rules of a setting, and the full model's point.
std::vector<chart_series> all_rules(const sweep_results& all, const setting& where, const figure_of& x,
                                    const figure_of& y, const std::function<std::string(const result&)>& title);

/// KV bytes, falling, with a tick and what is saved at each size.
chart_axis bytes_axis(const sweep_results& all);

/// The smallest and the largest of a figure, so that pictures side by side have one scale.
std::vector<double> extent(const sweep_results& all, const figure_of& y);

}  // namespace mini_llama::report
