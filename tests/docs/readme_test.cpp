// SPDX-License-Identifier: Apache-2.0
// The embedding example of README.md, run on a small engine and checked against another engine.
#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <vector>

#include "../../examples/adapters/find_sharing.hpp"
#include "../../examples/adapters/flat_engine.hpp"
#include "../../examples/adapters/flat_engine_cache.hpp"
#include "kvsharer/cpu.hpp"

namespace {

using example::flat_engine;
using example::numbers;
using example::toy_model;
using prompts = std::vector<std::vector<int>>;

/// What README takes for granted: an engine that can run prompts under a map, and one layer at a time.
class engine {
 public:
  static constexpr int layers = toy_model::layers;
  static constexpr kvsharer::attention_shape heads{toy_model::heads, toy_model::kv_heads, toy_model::head_dim};

  kvsharer::cache_shape shape() const { return {layers, toy_model::kv_heads, toy_model::head_dim, 64}; }

  /// The engine's own cache of a prompt, as its adapter shows it.
  auto cache_after(const std::vector<int>& prompt) {
    own_.emplace_back(model_, kvsharer::share_map::identity(layers), 64).run(prompt);
    return cache_of(own_.back());
  }

  double similarity(const prompts& all, const kvsharer::share_map& map) const {
    const auto states = [&](const kvsharer::share_map& m) {
      return example::run_samples<flat_engine>(model_, m, all, [](const flat_engine&) {});
    };
    return kvsharer::hidden_similarity(states(kvsharer::share_map::identity(layers)), states(map),
                                       static_cast<std::ptrdiff_t>(all.size()));
  }

  void begin(const std::vector<int>& tokens) {
    streams_.clear();
    for (int token : tokens) streams_.push_back(model_.embed(token));
  }
  const float* queries(kvsharer::layer_id l) {
    return rows(queries_, [&](const auto& x, auto p) { return model_.queries(l.value, x, p); });
  }
  const float* keys(kvsharer::layer_id l) {
    return rows(keys_, [&](const auto& x, auto p) { return model_.keys(l.value, x, p); });
  }
  const float* values(kvsharer::layer_id l) {
    return rows(values_, [&](const auto& x, auto) { return model_.values(l.value, x); });
  }
  float* out() {
    attended_.resize(streams_.size() * toy_model::width);
    return attended_.data();
  }
  void finish(kvsharer::layer_id l) {
    for (std::size_t r = 0; r < streams_.size(); ++r) {
      const auto row = attended_.begin() + static_cast<std::ptrdiff_t>(r) * toy_model::width;
      streams_[r] = model_.finish_layer(l.value, streams_[r], {row, row + toy_model::width});
    }
  }
  numbers hidden() const { return toy_model::normalised(streams_.back()); }
  const toy_model& model() const { return model_; }

 private:
  template <class F>
  const float* rows(numbers& to, F&& project) {
    to.clear();
    for (std::size_t r = 0; r < streams_.size(); ++r) {
      const numbers row = project(toy_model::normalised(streams_[r]), static_cast<std::ptrdiff_t>(r));
      to.insert(to.end(), row.begin(), row.end());
    }
    return to.data();
  }

  toy_model model_;
  std::vector<flat_engine> own_;
  std::vector<numbers> streams_;
  numbers queries_, keys_, values_, attended_;
};

// [embed]
kvsharer::shared_cache<> share_and_run(engine& engine, const prompts& calibration, const std::vector<int>& text) {
  using namespace kvsharer;
  calibration_average average;  // once per model: measure the layers' caches, try maps, keep the one found
  for (const auto& prompt : calibration) average.add(engine.cache_after(prompt));
  const auto distances = cpu::layer_distances(cpu::backend{}, average, metric::mean_row_norm{});
  const auto probe = [&](const share_map& map) { return engine.similarity(calibration, map); };
  const auto found = find_share_map(distances, policy::dissimilar_first{}, probe, {.share = engine.layers / 4});

  shared_cache<> cache(found.plan, engine.shape());  // every request: memory for owner layers only
  const sequence_id id = cache.create();
  const auto tokens = static_cast<index_t>(text.size()), first = cache.append(id, tokens);
  engine.begin(text);
  for (layer_id l{0}; l.value < engine.layers; ++l.value) {
    if (cache.owns(l)) cache.store(l, id, first, tokens, engine.keys(l), engine.values(l));
    cpu::attend(engine.heads, cache.keys(l, id), cache.values(l, id), first, tokens, engine.queries(l), engine.out());
    engine.finish(l);
  }
  return cache;
}
// [/embed]

}  // namespace

TEST_CASE("the example computes what an engine with its own shared cache computes") {
  engine e;
  const prompts calibration = example::make_samples(4, 10);
  const std::vector<int> text{3, 14, 15, 9, 26, 5};
  const kvsharer::shared_cache<> cache = share_and_run(e, calibration, text);
  CHECK(cache.sharing().keys().reader_count() == 2);
  CHECK(cache.footprint().keys * 8 ==
        kvsharer::shared_cache<>(kvsharer::share_map::identity(8), e.shape()).footprint().keys * 6);

  flat_engine other(e.model(), cache.sharing().keys(), 64);
  const numbers states = other.run(text), hidden = e.hidden();
  for (std::size_t i = 0; i < hidden.size(); ++i)
    CHECK(hidden[i] == doctest::Approx(states[states.size() - hidden.size() + i]).epsilon(1e-4));
}
