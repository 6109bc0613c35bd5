// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "report/results.hpp"

/// The report's sections, as markup without their headings.
namespace mini_llama::report {

std::string glance_section(const sweep_results& all);        ///< the best rule at each size, beside the paper's
std::string quality_section(const sweep_results& all);       ///< perplexity, KL and agreement against KV bytes
std::string distance_section(const sweep_results& all);      ///< heat maps
std::string map_section(const sweep_results& all);           ///< every map as arcs
std::string acceptance_section(const sweep_results& all);    ///< did the ranking or the test do the work?
std::string moves_section(const sweep_results& all);         ///< does a metric's ranking foretell damage?
std::string score_section(const sweep_results& all);         ///< does the score foretell perplexity?
std::string speed_section(const sweep_results& all);         ///< prefill and decode against KV bytes
std::string continuation_section(const sweep_results& all);  ///< the text continued, side by side
std::string results_section(const sweep_results& all);       ///< every line

}  // namespace mini_llama::report
