// SPDX-License-Identifier: Apache-2.0
// What an engine makes of the library's templates, so that warnings which only their instances have are seen.
#include <span>
#include <string>
#include <vector>

#include "kvsharer/cpu.hpp"
#include "kvsharer/io/plan_json.hpp"
#include "kvsharer/io/plan_text.hpp"
#include "kvsharer/io/python_map.hpp"
#include "kvsharer/kvsharer.hpp"
#include "kvsharer/testing/engine_checks.hpp"

using namespace kvsharer;

namespace {

template <class E, class Layout>
void run(const share_plan& plan, Layout layout) {
  const attention_shape heads{8, 4, 16};
  shared_cache<E, Layout> cache(plan, {plan.layers(), 4, 16, 64}, {.max_sequences = 2}, layout);

  const sequence_id id = cache.create();
  const index_t first = cache.append(id, 3);
  const std::vector<float> rows(3 * 4 * 16, 0.5f);
  const std::vector<E> stored(rows.size());
  std::vector<float> queries(3 * 8 * 16, 0.25f), out(queries.size());
  for (layer_id l{0}; l.value < plan.layers(); ++l.value) {
    if (cache.owns(l)) cache.store(l, id, first, 3, rows.data(), rows.data());
    cpu::attend(heads, cache.keys(l, id), cache.values(l, id), first, 3, queries.data(), out.data());
    cpu::attend(heads, cache.keys(l, id), cache.values(l, id), 2, 1, queries.data(), out.data());
  }
  const sequence_id twin = cache.fork(id);
  cache.drop(twin);
  (void)cache.footprint();
  (void)cache.counters();
}

template <class Metric>
distance_matrix measure(const calibration_average& average, Metric metric) {
  return cpu::layer_distances(cpu::backend{}, average, metric);
}

template <class Policy>
search_report search(const distance_matrix& d, Policy policy) {
  return find_share_map(d, policy, [](const share_map&) { return 1.0; }, {.share = 1});
}

template <class View>
float first_of(const View& view) {
  return view.at(0, 0, 0);
}

struct cache_of_model {
  static constexpr memory_space space = memory_space::host;
  const shared_cache<>* cache;
  cache_shape shape() const { return cache->shape(); }
  index_t length() const { return 0; }
  auto keys(layer_id l) const { return cache->keys(l, sequence_id{}); }
  auto values(layer_id l) const { return cache->values(l, sequence_id{}); }
};

}  // namespace

int main() {
  const share_plan plan(share_map::from_owners(std::vector{0, 1, 0, 1}).value());
  run<float>(plan, layout::head_major{});
  run<float16>(plan, layout::paged<16>{});
  run<bfloat16>(plan, layout::paged<16>{});

  (void)model_fingerprint({2, 8, 8, 2, 1, 4}, [](const weight_place& at) { return static_cast<double>(at.row); });
  cpu::parallel_for(4, [](index_t) {});
  (void)testing::owner_rows_stay(plan, [](const share_plan& one, auto&& look) {
    const shared_cache<> cache(one, {one.layers(), 1, 2, 4});
    look(cache_of_model{&cache});
  });

  calibration_average average;
  const distance_matrix d = measure(average, metric::mean_row_norm{});
  measure(average, metric::flat_euclidean{});
  measure(average, metric::cosine{});
  measure(average, metric::scaled_euclidean{});
  measure(average, cpu::linear_cka{});
  search(d, policy::dissimilar_first{});
  search(d, policy::similar_first{});
  search(d, policy::suffix_first{});
  search(d, policy::random_order{1});
  search(d, policy::explicit_map{plan.keys()});
  find_best_share_map(4, [](const share_map&) { return 1.0; }, {.share = 1});
  find_best_share_plan(4, [](const share_plan&) { return 1.0; }, {.share = 1});
  cpu::fit_alignment(pair_moments(4, 16));
  (void)python_map(plan);
  return read_plan(write_plan(plan_file{})).plan.layers() + plan_from_text(plan_text(plan)).value().layers();
}
