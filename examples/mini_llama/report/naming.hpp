// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "report/results.hpp"

/// How rules, settings and sizes are called in the report.
namespace mini_llama::report {

/// The colour and mark of a recipe: the same in every picture, and in every report for an order alone.
int style_of(const sweep_results& all, const recipe& how);

/// "dissimilar (paper)".
std::string recipe_name(const recipe& how);

/// The recipe, with its seed where there are several.
std::string rule_name(const sweep_results& all, const result& r);

/// "6 of 24", with what was wanted where that was not reached.
std::string size_name(const result& r);

/// What distinguishes this setting from the sweep's others; all of it where there is only one.
std::string setting_name(const sweep_results& all, const setting& s);

/// The same, and nothing where there is only one: for captions.
std::string setting_note(const sweep_results& all, const setting& s);

/// Tokens that kv_bytes are of: prompt and continuation.
double cached_tokens(const sweep_results& all);

}  // namespace mini_llama::report
