// SPDX-License-Identifier: Apache-2.0
// The running batch of tests/runtime on the device's cache: what kernels store, copy and bring back, while sequences
// come, fork, shrink and go.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "backend/cuda/hosted_cache.hpp"
#include "runtime/cache_fixtures.hpp"
#include "runtime/fake_engine.hpp"

namespace {

using namespace cache_fixtures;

/// Attention of one row over any view, number by number on the host.
struct plain_attention {
  template <class View>
  void operator()(const View& keys, const View& values, index_t position, const float* queries, float* out) const {
    const index_t dim = fake_model::shape.head_dim, group = fake_model::heads / fake_model::shape.kv_heads;
    std::vector<float> weights(static_cast<std::size_t>(position + 1));
    for (index_t head = 0; head < fake_model::heads; ++head) {
      float sum = 0;
      for (index_t t = 0; t <= position; ++t) {
        float score = 0;
        for (index_t c = 0; c < dim; ++c) score += queries[head * dim + c] * keys.at(head / group, t, c);
        sum += weights[static_cast<std::size_t>(t)] = std::exp(score / 4);
      }
      for (index_t c = 0; c < dim; ++c) {
        out[head * dim + c] = 0;
        for (index_t t = 0; t <= position; ++t)
          out[head * dim + c] += weights[static_cast<std::size_t>(t)] / sum * values.at(head / group, t, c);
      }
    }
  }
};

}  // namespace

TEST_CASE("on the device's cache, requests of a running batch produce what each produces alone on the host") {
  const share_map map = map_of({0, 1, 1, 3});
  device_test::hosted_cache<float, layout::paged<4>> cache(map, fake_model::shape, {.max_sequences = 10, .pages = 20});
  fake_engine::engine<decltype(cache), plain_attention> engine(cache, map, {}, 24, 6, 2, 3);
  engine.run(10);
  CHECK(cache.free_pages() == cache.pages());
  CHECK(engine.index().pages() == 0);

  shared_cache<float, layout::head_major> alone(share_map::identity(4), fake_model::shape);
  std::size_t wrong = 0, finished = 0;
  for (const fake_engine::request& r : engine.requests()) {
    const auto& tokens = r.text.tokens;
    const std::vector<std::int32_t> prompt(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(r.prompt));
    const auto added = static_cast<index_t>(tokens.size() - r.prompt);
    const auto expected = fake_model::run_alone(alone, prompt, added, map, plain_attention{});
    wrong += expected.tokens != tokens || expected.outputs != r.text.outputs || (!r.done() && !r.cancelled);
    finished += r.done();
  }
  CHECK(wrong == 0);
  CHECK(finished > 18);
  const fake_engine::events e = engine.happened();
  CHECK(e.forks > 0);
  CHECK(e.drafts > 0);
  CHECK(e.preemptions > 0);
  CHECK(e.evictions > 2);
  CHECK(engine.index().counters().hits > 4);
}
