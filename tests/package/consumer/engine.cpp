// SPDX-License-Identifier: Apache-2.0
// Uses the components cpu and json; answers 0 when they work.
#include <kvsharer/cpu.hpp>
#include <kvsharer/io/plan_json.hpp>

#include <vector>

int main() {
  kvsharer::shared_cache<> cache(kvsharer::share_map::identity(2), {2, 1, 4, 8});
  const kvsharer::sequence_id id = cache.create();
  cache.append(id, 2);
  const std::vector<float> ones(8, 1.0f), threes(8, 3.0f);
  cache.store({0}, id, 0, 2, ones.data(), ones.data());
  cache.store({1}, id, 0, 2, threes.data(), ones.data());
  const auto distances =
      layer_distances(kvsharer::cpu::backend{}, cache.sequence(id), kvsharer::metric::mean_row_norm{});
  std::vector<float> out(4);
  kvsharer::cpu::attend({1, 1, 4}, cache.keys({1}, id), cache.values({1}, id), 1, 1, ones.data(), out.data());
  bool refuses = false;
  try {
    (void)kvsharer::read_plan("{}");
  } catch (const kvsharer::error& e) {
    refuses = e.code() == kvsharer::errc::plan_syntax;
  }
  return distances({{1}, {0}}) == 2 && out[0] == 1 && refuses ? 0 : 1;  // rows 4 apart in keys and 0 in values
}
