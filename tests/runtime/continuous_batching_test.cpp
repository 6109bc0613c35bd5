// SPDX-License-Identifier: Apache-2.0
// Ten thousand requests in a running batch over a small pool, against each of them run alone.
#include "kvsharer/backend/cpu/attention.hpp"
#include "runtime/cache_fixtures.hpp"
#include "runtime/fake_engine.hpp"

using namespace cache_fixtures;

namespace {

template <class E, class Layout>
void serve(std::size_t requests, index_t pages, unsigned seed) {
  const share_map map = map_of({0, 1, 1, 3});
  cpu::attention_scratch scratch;
  const auto attend = [&](const auto& keys, const auto& values, index_t position, const float* queries, float* out) {
    const attention_shape heads{fake_model::heads, fake_model::shape.kv_heads, fake_model::shape.head_dim};
    cpu::attend(heads, keys, values, position, 1, queries, out, scratch, 0, heads.kv_heads);
  };
  shared_cache<E, Layout> cache(map, fake_model::shape, {.max_sequences = 20, .pages = pages});
  fake_engine::one_by_one<decltype(attend)> model{map, attend};
  fake_engine::engine engine(cache, map, model, requests, 10, 12, seed);
  engine.run(50);

  CHECK(engine.requests().size() == requests);
  CHECK(cache.free_pages() == cache.pages());
  CHECK(cache.counters().sequences == 0);
  CHECK(cache.counters().peak >
        static_cast<std::size_t>(pages * 9 / 10 * cache.page_tokens()) * 2 * 3 * 16 * sizeof(E));
  CHECK(engine.index().pages() == 0);
  CHECK(engine.index().sequences() == 0);

  shared_cache<E, layout::head_major> alone(share_map::identity(4), fake_model::shape);
  std::size_t wrong = 0, finished = 0;
  for (const fake_engine::request& r : engine.requests()) {
    const auto& tokens = r.text.tokens;
    const std::vector<std::int32_t> prompt(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(r.prompt));
    const auto added = static_cast<index_t>(tokens.size() - r.prompt);
    const auto expected = fake_model::run_alone(alone, prompt, added, map, attend);
    wrong += expected.tokens != tokens || expected.outputs != r.text.outputs || (!r.done() && !r.cancelled);
    finished += r.done();
  }
  CHECK(wrong == 0);
  CHECK(finished > requests * 9 / 10);

  const fake_engine::events e = engine.happened();
  INFO(e.forks << " forks, " << e.drafts << " drafts, " << e.cancellations << " cancellations, " << e.preemptions
               << " preemptions, " << e.evictions << " evictions, " << e.refusals << " refusals; "
               << engine.index().counters().tokens_hit << " of " << engine.index().counters().tokens_asked
               << " prompt tokens found");
  const auto often = static_cast<int>(requests / 100);
  CHECK(e.forks > often);
  CHECK(e.drafts > often);
  CHECK(e.cancellations > often / 2);
  CHECK(e.preemptions > often / 2);
  CHECK(e.evictions > often);
  CHECK(e.refusals > often);
  CHECK(engine.index().counters().tokens_hit > engine.index().counters().tokens_asked / 20);
}

}  // namespace

TEST_CASE("requests that share layers, prefixes and pages produce what each produces alone") {
  serve<float, layout::paged<4>>(8000, 48, 1);
  serve<bfloat16, layout::paged<16>>(2000, 12, 2);
}
