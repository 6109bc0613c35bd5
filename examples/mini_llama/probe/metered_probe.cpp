// SPDX-License-Identifier: Apache-2.0
#include "probe/metered_probe.hpp"

#include "support/stopwatch.hpp"

namespace mini_llama {

using kvsharer::cache_plan;
using kvsharer::layer_id;
using kvsharer::share_plan;

double count_operations(const model_config& c, const sample_sizes& of, const share_plan& plan, layer_id first) {
  const double hidden = c.hidden, heads = static_cast<double>(c.heads) * c.head_dim,
               kv_heads = static_cast<double>(c.kv_heads) * c.head_dim;
  const auto samples = static_cast<double>(of.samples), tokens = static_cast<double>(of.tokens),
             rows = samples * tokens;
  const double every_layer = 2 * heads * hidden + 3.0 * c.intermediate * hidden, plane = kv_heads * hidden;
  // Of every pair of positions a product of queries with keys, and one of weights with values.
  const double attention = samples * tokens * (tokens + 1) / 2 * 4 * heads;
  double sum = of.predicts ? 2 * rows * hidden * c.vocab : 0;
  for (layer_id l = first; l.value < c.layers; ++l.value)
    sum += 2 * rows * (every_layer + (plan.owns_keys(l) ? plane : 0) + (plan.owns_values(l) ? plane : 0)) + attention;
  return sum;
}

double metered_probe::score(const cache_plan& plan, layer_id first) {
  const stopwatch running;
  const double score = runs_.resume(plan, first);
  costs_.push_back({first, running.seconds(), count_operations(config_, sizes_, plan.sharing(), first)});
  return score;
}

candidate_cost total_cost(const std::vector<candidate_cost>& costs) {
  candidate_cost sum{};
  for (const candidate_cost& c : costs) {
    sum.seconds += c.seconds;
    sum.operations += c.operations;
  }
  return sum;
}

}  // namespace mini_llama
