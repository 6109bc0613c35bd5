// SPDX-License-Identifier: Apache-2.0
// The code of docs/tutorial.md: from an engine's own cache to a shared one.
#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include "../../examples/adapters/find_sharing.hpp"
#include "../../examples/adapters/flat_engine.hpp"
#include "../../examples/adapters/flat_engine_cache.hpp"
#include "kvsharer/cpu.hpp"

namespace {

using example::flat_engine;
using example::numbers;
using example::toy_model;
using kvsharer::index_t;
using kvsharer::layer_id;

const toy_model model;
const std::vector<std::vector<int>> samples = example::make_samples(6, 12);
constexpr std::ptrdiff_t capacity = 32;

// [cached-engine]
/// The same model, with the library's cache instead of the engine's own.
struct cached_engine {
  const toy_model& weights;
  kvsharer::shared_cache<> cache;

  numbers run_layer(layer_id l, numbers stream, kvsharer::sequence_id id, index_t position) {
    const numbers in = toy_model::normalised(stream);
    if (cache.owns(l)) {  // readers have nothing to store, so they project nothing
      const numbers keys = weights.keys(l.value, in, position), values = weights.values(l.value, in);
      cache.store(l, id, position, 1, keys.data(), values.data());
    }
    const numbers queries = weights.queries(l.value, in, position);
    numbers attended(queries.size());
    const kvsharer::attention_shape shape{toy_model::heads, toy_model::kv_heads, toy_model::head_dim};
    kvsharer::cpu::attend(shape, cache.keys(l, id), cache.values(l, id), position, 1, queries.data(), attended.data());
    return weights.finish_layer(l.value, std::move(stream), attended);
  }

  numbers run_token(int token, kvsharer::sequence_id id) {
    const index_t position = cache.append(id, 1);  // room in every owner layer
    numbers stream = weights.embed(token);
    for (layer_id l{0}; l.value < cache.plan().layers(); ++l.value)
      stream = run_layer(l, std::move(stream), id, position);
    return toy_model::normalised(stream);
  }
};
// [/cached-engine]

double largest_difference(const numbers& a, const numbers& b) {
  REQUIRE(a.size() == b.size());
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) most = std::fmax(most, std::fabs(static_cast<double>(a[i]) - b[i]));
  return most;
}

}  // namespace

TEST_CASE("the tutorial, from calibration to a shared cache") {
  // [calibrate]
  // The unshared model, once: its caches are averaged, its final hidden states are kept as the reference.
  const auto everyone_owns = kvsharer::share_map::identity(toy_model::layers);
  kvsharer::calibration_average average;
  numbers full;  // [sample][token][width]
  for (const std::vector<int>& tokens : samples) {
    flat_engine engine(model, everyone_owns, capacity);
    const numbers states = engine.run(tokens);
    full.insert(full.end(), states.begin(), states.end());
    average.add(cache_of(engine));
  }
  // [/calibrate]
  CHECK(average.samples() == 6);
  CHECK(average.length() == 12);

  // [measure]
  const kvsharer::distance_matrix distances =
      kvsharer::cpu::layer_distances(kvsharer::cpu::backend{}, average, kvsharer::metric::mean_row_norm{});
  // [/measure]
  CHECK(distances.layers() == 8);
  CHECK(distances({3}, {1}) > 0);

  // [probe]
  // What is left of the final hidden states when the samples run under another map? 1: everything.
  const auto probe = [&](const kvsharer::share_map& map) {
    numbers shared;
    for (const std::vector<int>& tokens : samples) {
      flat_engine engine(model, map, capacity);
      const numbers states = engine.run(tokens);
      shared.insert(shared.end(), states.begin(), states.end());
    }
    return kvsharer::hidden_similarity(full, shared, static_cast<index_t>(samples.size()));
  };
  // [/probe]
  CHECK(probe(everyone_owns) == doctest::Approx(1).epsilon(1e-9));

  // [search]
  const kvsharer::search_report found =
      kvsharer::find_share_map(distances, kvsharer::policy::dissimilar_first{}, probe, {.share = 2, .threshold = 0.5});
  if (found.status != kvsharer::search_status::complete) MESSAGE("only ", found.accepted(), " layers can share");
  const kvsharer::share_map map = found.map();
  // [/search]
  CHECK(map.reader_count() == 2);
  CHECK(found.score > 0.5);
  CHECK(found.score == doctest::Approx(probe(map)).epsilon(1e-9));

  // [apply]
  flat_engine engine(model, map, capacity);  // allocates six layers instead of eight
  const numbers states = engine.run(samples[0]);
  // [/apply]
  CHECK(engine.cache_bytes() * 8 == flat_engine(model, everyone_owns, capacity).cache_bytes() * 6);
  CHECK(engine.rows_projected() == 12 * 6);

  // [shared-cache]
  const kvsharer::cache_shape shape{toy_model::layers, toy_model::kv_heads, toy_model::head_dim, capacity};
  cached_engine cached{model, kvsharer::shared_cache<>(map, shape)};
  const kvsharer::sequence_id id = cached.cache.create();
  numbers last;
  for (int token : samples[0]) last = cached.run_token(token, id);
  // [/shared-cache]
  const numbers of_flat_engine(states.end() - toy_model::width, states.end());
  CHECK(largest_difference(last, of_flat_engine) < 1e-5);

  // [footprint]
  const kvsharer::cache_footprint bytes = cached.cache.footprint();
  CHECK(bytes.keys + bytes.values == kvsharer::kv_bytes(map, shape, sizeof(float), capacity));
  CHECK(bytes.logical == kvsharer::kv_bytes(map, shape, sizeof(float), 12));
  // [/footprint]
}
