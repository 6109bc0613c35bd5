// SPDX-License-Identifier: Apache-2.0
// The code of docs/how-to/rings-that-turn-sinks.md: a ring that turns its sinks in place, with layers that share.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "kvsharer/core/rope.hpp"
#include "kvsharer/core/share_map.hpp"

namespace {

using kvsharer::index_t;
using kvsharer::layer_id;
using kvsharer::share_map;

constexpr index_t head_dim = 4, sinks = 1, slots = 4;

/// Keys as they are before rotation: of layer and token.
std::vector<float> plain_key(layer_id l, index_t token) {
  std::vector<float> key;
  for (index_t c = 0; c < head_dim; ++c) key.push_back(static_cast<float>((l.value * 5 + token * 3 + c * 7) % 11) - 5);
  return key;
}

struct engine {
  const share_map map;
  const kvsharer::rope_table table{{}, head_dim, 64};
  // Keys of each owner, [slot][channel], rotated to where each token stands in the text. Readers have none.
  std::vector<std::vector<float>> keys{static_cast<std::size_t>(map.owner_count()),
                                       std::vector<float>(static_cast<std::size_t>(slots* head_dim))};
  index_t seen = 0;

  float* key(layer_id l, index_t slot) { return keys[static_cast<std::size_t>(map.slot(l))].data() + slot * head_dim; }

  // [step]
  /// Once a step, before the layers run: when the oldest token behind the sinks is about to be overwritten, sinks move
  /// up by one position, so that they stay next to the oldest token that is left.
  void turn_sinks() {
    if (seen < slots) return;
    for (layer_id l{0}; l.value < map.layers(); ++l.value) {
      if (!map.owns(l)) continue;  // a reader's sinks are its owner's, and were turned with them
      for (index_t s = 0; s < sinks; ++s) table.rotate(key(l, s), 1, 1);
    }
  }
  // [/step]

  void step() {
    turn_sinks();
    const index_t slot = seen < slots ? seen : sinks + (seen - sinks) % (slots - sinks);
    for (layer_id l{0}; l.value < map.layers(); ++l.value) {
      if (!map.owns(l)) continue;
      const std::vector<float> plain = plain_key(l, seen);
      std::copy(plain.begin(), plain.end(), key(l, slot));
      table.rotate(key(l, slot), 1, seen);
    }
    ++seen;
  }
};

/// How far a layer's first sink is from where it should stand after so many tokens.
double error_of(engine& e, layer_id l) {
  std::vector<float> expected = plain_key(e.map.owner(l), 0);
  e.table.rotate(expected.data(), 1, e.seen <= slots ? 0 : e.seen - slots);
  double worst = 0;
  for (index_t c = 0; c < head_dim; ++c)
    worst = std::fmax(worst, std::abs(static_cast<double>(expected[static_cast<std::size_t>(c)]) -
                                      static_cast<double>(e.key(l, 0)[c])));
  return worst;
}

}  // namespace

TEST_CASE("sinks turn once a step, in owners, and stand where the text ends minus the ring") {
  engine e{share_map::from_owners(std::vector{0, 0, 2, 0}).value()};
  for (int t = 0; t < 20; ++t) {
    e.step();
    for (int l = 0; l < 4; ++l) CHECK(error_of(e, {l}) < 1e-4);
  }
}

TEST_CASE("sinks that each layer turns are right until the ring wraps, and wrong from then on") {
  engine e{share_map::from_owners(std::vector{0, 0, 2, 0}).value()};
  for (int t = 0; t < 20; ++t) {
    if (e.seen >= slots)
      for (layer_id l{0}; l.value < 4; ++l.value)
        if (!e.map.owns(l)) e.table.rotate(e.key(l, 0), 1, 1);  // what an engine does that forgets the map
    e.step();
    CHECK((error_of(e, {0}) < 1e-4) == (t < slots));
    CHECK(error_of(e, {2}) < 1e-4);  // whom nobody reads
  }
}
