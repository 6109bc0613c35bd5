// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/adapt/ring.hpp"

#include <list>

#include "adapt/cache_checks.hpp"

using namespace adapt_test;

namespace {

/// An engine with sinks, told as a list: the slots in the order of their tokens' age.
struct engine {
  index_t sinks, slots;
  std::vector<index_t> position = {};  // [slot]
  std::list<index_t> wrapping = {};    // slots that are not sinks, the oldest first
  index_t seen = 0;

  void write() {
    index_t slot = static_cast<index_t>(position.size());
    if (slot < slots) {
      position.push_back(seen);
    } else {
      slot = wrapping.front();
      wrapping.pop_front();
      position[static_cast<std::size_t>(slot)] = seen;
    }
    if (slot >= sinks) wrapping.push_back(slot);
    ++seen;
  }
  std::vector<index_t> by_age() const {
    std::vector<index_t> order;
    for (index_t slot = 0; slot < sinks && slot < static_cast<index_t>(position.size()); ++slot) order.push_back(slot);
    order.insert(order.end(), wrapping.begin(), wrapping.end());
    return order;
  }
};

template <class E>
layer_list<E> memory_of(const engine& e, part which) {
  return layer_list<E>([&](std::vector<E>& memory, index_t l) {
    for (index_t slot = 0; slot < e.slots; ++slot)
      for (index_t h = 0; h < shape.kv_heads; ++h)
        for (index_t d = 0; d < shape.head_dim; ++d)
          memory.push_back(slot < static_cast<index_t>(e.position.size())
                               ? E(number(which, l, h, e.position[static_cast<std::size_t>(slot)], d))
                               : nothing<E>());
  });
}

}  // namespace

TEST_CASE("the order of a ring follows an engine that writes it, token by token") {
  for (const index_t sinks : {0, 1, 4})
    for (const index_t slots : {sinks + 1, sinks + 2, sinks + 7}) {
      engine e{sinks, slots};
      for (index_t token = 0; token < 4 * slots + 3; ++token) {
        const layout::sink_ring ring{.sinks = sinks, .slots = slots, .seen = e.seen};
        const std::vector<index_t> order = e.by_age();
        REQUIRE(ring.length() == static_cast<index_t>(order.size()));
        REQUIRE(ring.length() + ring.lost() == e.seen);
        for (index_t t = 0; t < ring.length(); ++t) {
          const index_t slot = order[static_cast<std::size_t>(t)];
          REQUIRE(ring.slot(t) == slot);
          REQUIRE(ring.position(t) == e.position[static_cast<std::size_t>(slot)]);
          const index_t left = ring.length() - t, run = ring.run(t, left);
          REQUIRE((run >= 1 && run <= left));
          for (index_t i = 0; i < run; ++i) REQUIRE(order[static_cast<std::size_t>(t + i)] == slot + i);
        }
        e.write();
      }
    }
}

TEST_CASE_TEMPLATE("a ring buffer with sinks shows its tokens by age", E, float, float16, bfloat16) {
  const index_t sinks = 3;
  for (const index_t seen : {2, 9, 11, 12, 19, 30}) {
    engine e{sinks, shape.capacity};
    while (e.seen < seen) e.write();
    const layer_list<E> key_slots = memory_of<E>(e, part::keys), value_slots = memory_of<E>(e, part::values);
    const std::vector<const E*>&k = key_slots.list, &v = value_slots.list;
    // [ring]
    const layout::sink_ring ring{.sinks = sinks, .slots = shape.capacity, .seen = seen};
    const auto cache = adapt::cache(shape, ring.length(), adapt::ring_rows(adapt::separate{k.data()}, shape, ring),
                                    adapt::ring_rows(adapt::separate{v.data()}, shape, ring));
    // [/ring]
    const std::vector<index_t> order = e.by_age();
    CHECK(cache.length() == static_cast<index_t>(order.size()));
    check_cache(cache, [&](part which, index_t l, index_t h, index_t t, index_t d) {
      const index_t slot = order[static_cast<std::size_t>(t)];
      return number(which, l, h, e.position[static_cast<std::size_t>(slot)], d);
    });
  }
}

TEST_CASE("a ring that cannot be is refused") {
  const float none = 0;
  const auto made = [&](layout::sink_ring ring) { adapt::ring_rows(adapt::stacked{&none, 0}, shape, ring); };
  CHECK_NOTHROW(made({.sinks = 3, .slots = 4}));
  CHECK_THROWS_WITH_AS(made({.sinks = 4, .slots = 4}), doctest::Contains("ring of 4 slots with 4 sinks"), error);
  CHECK_THROWS_AS(made({.sinks = -1, .slots = 4}), error);
  CHECK_THROWS_AS(made({.sinks = 0, .slots = 0}), error);
  CHECK_THROWS_AS(made({.sinks = 0, .slots = 1, .seen = -1}), error);
}
