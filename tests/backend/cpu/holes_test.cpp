// SPDX-License-Identifier: Apache-2.0
// Attention over a cache with holes equals attention in which the tokens that were taken out are masked.
#include "backend/holes.hpp"

#include <doctest/doctest.h>

#include "kvsharer/backend/cpu/attention.hpp"
#include "kvsharer/layout/paged.hpp"
#include "kvsharer/runtime/shared_cache.hpp"

using namespace kvsharer;

namespace {

constexpr attention_shape shape{.heads = 4, .kv_heads = 2, .head_dim = 16};

/// An engine of one layer of its own and one that reads it.
template <class Layout>
struct engine {
  shared_cache<float, Layout> cache{share_map::from_owners(std::vector<int>{0, 0}).value(),
                                    {2, shape.kv_heads, shape.head_dim, 80},
                                    {.max_sequences = 2, .positions = true}};
  sequence_id id = cache.create();
  holes::text text{shape, 7};

  /// Runs `count` more tokens through the reader, and returns how far off they are.
  double run(index_t count) {
    text.add(count);
    CHECK(cache.next_position(id) == static_cast<index_t>(text.tokens.size()) - count);
    const index_t first = cache.append(id, count);
    const auto keys = text.newest(count, true, [](const auto& t) { return t.key; });
    const auto values = text.newest(count, false, [](const auto& t) { return t.value; });
    cache.store({0}, id, first, count, keys.data(), values.data());
    const auto queries = text.newest(count, true, [](const auto& t) { return t.query; });
    std::vector<float> out(queries.size());
    cpu::attend(shape, cache.keys({1}, id), cache.values({1}, id), first, count, queries.data(), out.data());
    return text.error_of(out, count);
  }
  template <class Gone>
  void take_out(Gone&& gone) {
    cache.keep(id, text.take_out(gone));
  }
};

}  // namespace

TEST_CASE_TEMPLATE("holes are tokens masked, in prefill, chunks and decode", Layout, layout::paged<4>,
                   layout::head_major) {
  engine<Layout> e;
  CHECK(e.run(23) < 1e-5);
  e.take_out([](index_t slot) { return slot % 3 == 1; });
  CHECK(e.cache.length(e.id) == 15);
  CHECK(e.run(1) < 1e-5);  // decode
  CHECK(e.run(5) < 1e-5);  // a chunk
  const auto fork = e.cache.fork(e.id);
  e.take_out([](index_t slot) { return slot > 2 && slot < 11; });  // holes in what had holes, beside a fork
  CHECK(e.run(1) < 1e-5);
  CHECK(e.run(30) < 1e-5);
  CHECK(e.cache.length(fork) == 21);
}

TEST_CASE("the oracle tells a slot from a position, and a hole from a token") {
  engine<layout::paged<4>> e;
  e.run(23);
  e.take_out([](index_t slot) { return slot % 3 == 1; });
  e.text.tokens[4].kept = {true, true};
  CHECK(e.run(1) > 1e-3);
  e.text.tokens[4].kept = {false, false};
  CHECK(e.run(1) < 1e-5);
  e.text.tokens.erase(e.text.tokens.begin() + 4);  // as though all that follows had moved up in the text
  const auto t = static_cast<index_t>(e.text.tokens.size()) - 1;
  const auto queries = holes::turned(e.text.tokens.back().query, t, shape.head_dim);
  std::vector<float> out(queries.size());
  cpu::attend(shape, e.cache.keys({1}, e.id), e.cache.values({1}, e.id), e.cache.length(e.id) - 1, 1, queries.data(),
              out.data());
  CHECK(e.text.error_of(out, 1) > 1e-3);
}
