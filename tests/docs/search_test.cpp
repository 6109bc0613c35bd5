// SPDX-License-Identifier: Apache-2.0
// The code of docs/how-to/resume-the-search.md and docs/reference/search.md, on a model of one number per layer.
#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <functional>
#include <vector>

#include "kvsharer/kvsharer.hpp"

namespace {

using kvsharer::layer_id;
using kvsharer::share_map;

constexpr int layers = 8;

/// Stands for a model: a layer adds to its input what its owner stored, which depends on the owner's input.
struct model {
  int layers_run = 0;
  static double stored(int l, double input) { return std::sin(input + l); }
  double run_layer(int, double input, double read) { return ++layers_run, input + read; }
};

// [resumable]
/// A probe that keeps, of the accepted map's run, what entered every layer and what the owners stored.
class resumable_probe {
 public:
  explicit resumable_probe(model& m) : model_(m), inputs_(layers), stored_(layers) {
    inputs_.own({0}) = 1;  // what enters the first layer is the same in all runs
    inputs_.accept();
    full_ = run(share_map::identity(layers), {0});  // the reference, and the first accepted run
    accept();
  }

  double operator()(const share_map& map) { return resume(map, {0}); }
  double resume(const share_map& map, layer_id first) { return 1 - std::fabs(run(map, first) - full_) / 10; }

  void accept() {
    inputs_.accept();
    stored_.accept();
  }

 private:
  double run(const share_map& map, layer_id first) {
    stored_.begin(first);
    inputs_.begin({first.value + 1});  // the input of `first` is the accepted run's
    double x = inputs_[first];
    for (layer_id l = first; l.value < layers; ++l.value) {
      if (l > first) inputs_.own(l) = x;
      if (map.owns(l)) stored_.own(l) = model::stored(l.value, x);
      x = model_.run_layer(l.value, x, stored_[map.owner(l)]);
    }
    return x;
  }

  model& model_;
  kvsharer::resumable_layers<double> inputs_, stored_;  // of an engine: rows, keys and values
  double full_ = 0;
};
static_assert(kvsharer::ResumableProbe<resumable_probe>);
// [/resumable]

kvsharer::distance_matrix distances() {
  kvsharer::distance_matrix d(layers);
  for (kvsharer::layer_pair p : kvsharer::all_pairs(layers))
    d.set(p, 1 + std::sin(7.0 * p.reader.value + p.owner.value));
  return d;
}

}  // namespace

TEST_CASE("a resumed search finds the same map and the same scores for less work") {
  model with, without;
  resumable_probe probe(with), same_probe(without);
  // [compare]
  kvsharer::search_options options{.share = 3, .threshold = 0.9};
  const auto resumed = kvsharer::find_share_map(distances(), kvsharer::policy::dissimilar_first{}, probe, options);
  options.resume = false;
  const auto whole = kvsharer::find_share_map(distances(), kvsharer::policy::dissimilar_first{}, same_probe, options);
  // [/compare]
  CHECK(resumed.map() == whole.map());
  CHECK(resumed.map().reader_count() == 3);
  REQUIRE(resumed.candidates.size() == whole.candidates.size());
  for (std::size_t i = 0; i < whole.candidates.size(); ++i)
    CHECK(resumed.candidates[i].score == whole.candidates[i].score);
  CHECK(with.layers_run == layers + resumed.layer_evaluations);
  CHECK(without.layers_run == layers + whole.layer_evaluations);
  CHECK(with.layers_run < without.layers_run);
}

TEST_CASE("a search tells how far it is, can be stopped, and keeps to pairs that fit") {
  model m;
  resumable_probe probe(m);
  int shown = 0, last_tried = 0;
  // [options]
  kvsharer::search_options options;
  options.share = 4;
  options.threshold = 0.5;
  options.progress = [&](const kvsharer::search_progress& p) {
    ++shown;  // print p.accepted of p.wanted, p.tried of p.pairs_ranked, p.last.score
    last_tried = static_cast<int>(p.tried);
  };
  options.cancelled = [&] { return shown == 2; };  // such as a flag that Ctrl-C sets
  options.shareable = [](layer_id reader, layer_id owner) { return reader.value % 2 == owner.value % 2; };
  // [/options]
  // [read-report]
  const auto found = kvsharer::find_share_map(distances(), kvsharer::policy::suffix_first{}, probe, options);
  if (found.status == kvsharer::search_status::cancelled) CHECK(found.map().layers() == layers);  // valid, but partial
  for (const kvsharer::candidate& tried : found.candidates)
    if (tried.outcome == kvsharer::verdict::accepted) CHECK(tried.score > options.threshold);
  // [/read-report]
  CHECK(found.status == kvsharer::search_status::cancelled);
  CHECK(last_tried == 2);
  CHECK(found.candidates.size() == 2);
  for (layer_id l{0}; l.value < layers; ++l.value) CHECK(found.map().owner(l).value % 2 == l.value % 2);
}

TEST_CASE("best first needs no distances, and finds no worse a first step than any ranking") {
  model m, other;
  resumable_probe probe(m), same_probe(other);
  // [best-first]
  const auto best = kvsharer::find_best_share_map(layers, probe, {.share = 3});
  const auto for_prefill = kvsharer::find_best_share_map(layers, same_probe, {.share = 3, .suffix_only = true});
  // [/best-first]
  CHECK(best.map().reader_count() == 3);
  CHECK(for_prefill.map().last_owner() == layer_id{layers - 4});
  for (const kvsharer::candidate& tried : best.candidates) {
    if (tried.outcome != kvsharer::verdict::accepted) continue;
    for (layer_id owner{0}; owner.value < layers; ++owner.value)
      for (layer_id reader{owner.value + 1}; reader.value < layers; ++reader.value) {
        model again;
        resumable_probe fresh(again);
        CHECK(fresh(share_map::identity(layers).with({reader, owner}).value()) <= tried.score);
      }
    break;
  }
}
