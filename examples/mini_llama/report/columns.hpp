// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "report/chart.hpp"
#include "report/naming.hpp"
#include "report/table.hpp"

namespace mini_llama::report {

/// A column of a table with a row for each map; a name that begins with '#' is of numbers.
struct column {
  std::string name;
  std::string (*cell)(const result&);
};

/// The figures that lines of results have.
namespace columns {

inline const column kv_bytes{"#KV bytes", [](const result& r) { return data(r.kv_bytes, bytes(r.kv_bytes)); }};
inline const column perplexity{"#perplexity",
                               [](const result& r) { return data(r.perplexity, fixed_or_short(r.perplexity, 2)); }};
inline const column kl{"#KL, nats", [](const result& r) { return data(r.kl, fixed(r.kl, 4)); }};
inline const column top1{"#same top token",
                         [](const result& r) { return data(r.top1_agreement, percent(r.top1_agreement)); }};
inline const column score{"#similarity", [](const result& r) { return data(r.score, fixed(r.score, 4)); }};
inline const column tried{"#tried", [](const result& r) {
                            const auto n = static_cast<double>(r.candidates.size());
                            return data(n, count(n));
                          }};
inline const column accepted{"#accepted", [](const result& r) {
                               const auto n = static_cast<double>(r.accepted());
                               return data(n, count(n));
                             }};
inline const column layer_runs{"#layer runs",
                               [](const result& r) { return data(r.layer_evaluations, count(r.layer_evaluations)); }};
inline const column layer_runs_whole{"#without resuming", [](const result& r) {
                                       return data(r.layer_evaluations_without_resume,
                                                   count(r.layer_evaluations_without_resume));
                                     }};
inline const column prefill{"#prefill, tokens/s", [](const result& r) {
                              return data(r.prefill_tokens_per_second, rounded(r.prefill_tokens_per_second));
                            }};
/// Seconds a token of a prompt takes.
inline double prefill_time(const result& r) { return 1 / r.prefill_tokens_per_second; }

inline const column prefill_microseconds{"#prefill, µs a token", [](const result& r) {
                                           const double us = 1e6 * prefill_time(r);
                                           return data(us, fixed_or_short(us, 2));
                                         }};
inline const column decode{"#decode, tokens/s", [](const result& r) {
                             return data(r.decode_tokens_per_second, rounded(r.decode_tokens_per_second));
                           }};
inline const column search_seconds{"#search, s",
                                   [](const result& r) { return data(r.search_seconds, fixed(r.search_seconds, 2)); }};

}  // namespace columns

/// Rule and size, and these columns, of each map. `ids` gives rows the names that links within the page use.
std::string results_table(const sweep_results& all, const std::string& caption, const std::vector<const result*>& rows,
                          const std::vector<column>& wanted, bool ids = false);

}  // namespace mini_llama::report
