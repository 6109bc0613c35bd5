// SPDX-License-Identifier: Apache-2.0
// The search on the device against the search on the host, of a small Llama with random weights.
#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "backend/cuda/driver_numbers.hpp"
#include "device/gpu.hpp"
#include "mini_llama/tiny_llama.hpp"
#include "search/find_sharing.hpp"
#include "support/usage_error.hpp"

namespace {

using namespace mini_llama;
using kvsharer::index_t;
using kvsharer::layer_id;
using kvsharer::share_map;

constexpr int layers = 5;

model_config small() {
  model_config c = tiny_llama::config(layers);
  c.intermediate = 48;
  c.head_dim = 64;
  return c;
}

const model& llama() {
  static const model made = tiny_llama::make(small(), std::make_shared<tiny_llama::tensors>());
  return made;
}

token_batch samples(std::size_t count, std::size_t tokens) {
  std::mt19937 bits(5);
  token_batch batch(count, std::vector<int>(tokens));
  for (auto& ids : batch)
    for (int& id : ids) id = static_cast<int>(bits() % 61);
  return batch;
}

const weight_source source{llama().config(), &llama()};
const kvsharer::model_identity identity{layers, 2, 64, rope_identity(llama().config().rope), "tiny"};

/// One probe of either kind.
struct both {
  token_batch batch = samples(2, 6);
  std::unique_ptr<gpu> card = open_gpu();
  made_probe here, there;

  explicit both(const std::string& objective = "cosine",
                kvsharer::similarity mode = kvsharer::similarity::mean_of_cosines) {
    const probe_request wanted{batch, objective, mode};
    here = card->make_probe(source, wanted);
    there = host_probe(source, wanted);
  }
};

/// The same steps in the same order with the same verdicts, and scores that agree but for float arithmetic.
void compare(const kvsharer::search_report& here, const kvsharer::search_report& there) {
  CHECK(here.plan == there.plan);
  CHECK(here.status == there.status);
  CHECK(here.score == doctest::Approx(there.score).epsilon(1e-5));
  REQUIRE(here.candidates.size() == there.candidates.size());
  for (std::size_t i = 0; i < here.candidates.size(); ++i) {
    CHECK(here.candidates[i].part == there.candidates[i].part);
    CHECK(here.candidates[i].pair == there.candidates[i].pair);
    CHECK(here.candidates[i].outcome == there.candidates[i].outcome);
    CHECK(here.candidates[i].resumed_at == there.candidates[i].resumed_at);
    CHECK(here.candidates[i].score == doctest::Approx(there.candidates[i].score).epsilon(1e-5));
    CHECK(here.candidates[i].distance == doctest::Approx(there.candidates[i].distance).epsilon(1e-5));
  }
}

TEST_CASE("the full model scores what it must, and another map less") {
  both cosine, kl("kl");
  const share_map full = share_map::identity(layers),
                  other = share_map::from_owners(std::vector{0, 1, 1, 3, 0}).value();
  CHECK((*cosine.here.runs)(full) == doctest::Approx(1).epsilon(1e-12));
  CHECK((*kl.here.runs)(full) == 0);
  CHECK((*cosine.here.runs)(other) < 0.999);
  CHECK((*kl.here.runs)(other) < -1e-4);
}

TEST_CASE("after any history of candidates, resuming scores the bits of a whole run, and the host's score") {
  const std::string objectives[] = {"cosine", "kl"};
  for (const std::string& objective : objectives) {
    both probes(objective, kvsharer::similarity::cosine_of_mean);
    probe &resuming = *probes.here.runs, &host = *probes.there.runs;
    const made_probe second =
        probes.card->make_probe(source, {probes.batch, objective, kvsharer::similarity::cosine_of_mean});
    probe& whole = *second.runs;
    std::mt19937 bits(9);
    index_t run = layers;
    share_map accepted = share_map::identity(layers);
    int changes = 0;
    for (int i = 0; i < 9; ++i) {
      const int reader = 1 + static_cast<int>(bits() % (layers - 1)), owner = static_cast<int>(bits() >> 1) % reader;
      if (!accepted.owns({reader})) continue;
      const share_map proposed = accepted.with({{reader}, {owner}}).value();
      const layer_id first = kvsharer::first_difference(accepted, proposed);
      const double score = resuming.resume(proposed, first);
      run += layers - first.value;
      CHECK(score == whole(proposed));
      CHECK(score == doctest::Approx(host.resume(proposed, first)).epsilon(1e-5));
      if (changes < 2 && bits() % 3 == 0) {
        resuming.accept();
        host.accept();
        accepted = proposed;
        ++changes;
      }
    }
    CHECK(changes == 2);
    CHECK(resuming.layer_evaluations() == run);
    CHECK(host.layer_evaluations() == run);
  }
}

TEST_CASE("distances are the host's by every metric, of keys as they are stored and before rotation") {
  both probes;
  const std::string metrics[] = {"mean-row-norm", "flat", "cosine", "scaled-euclidean", "cka"};
  const std::string keys[] = {"post-rope", "pre-rope"};
  for (const std::string& metric : metrics)
    for (const std::string& of : keys) {
      const auto here = probes.here.runs->distances(metric, of), there = probes.there.runs->distances(metric, of);
      double largest = 0;
      for (const auto pair : kvsharer::all_pairs(layers)) {
        CAPTURE(metric);
        CAPTURE(of);
        CHECK(here(pair) == doctest::Approx(there(pair)).epsilon(2e-5));
        largest = std::max(largest, here(pair));
      }
      CHECK(largest > 1e-3);
    }
  CHECK_THROWS_AS(probes.here.runs->distances("manhattan", "post-rope"), usage_error);
  CHECK_THROWS_AS(probes.here.runs->distances("flat", "mid-rope"), usage_error);
}

TEST_CASE("searches by rank and best first find on the device what they find on the host") {
  const search_request requests[] = {
      {.share = 2},
      {.share = 2, .threshold = 0.9, .how = recipe::parse("similar"), .resume = false},
      {.share = 2, .threshold = -1e300, .how = recipe::parse("best:kl")},
      {.share = 2, .how = recipe::parse("best-suffix"), .beam = 2},
      {.share = 1, .threshold = -1, .how = recipe::parse("best:apart")},
      {.share = 1, .threshold = -1, .how = recipe::parse("best:values")},
  };
  int rejected = 0;
  for (const search_request& request : requests) {
    CAPTURE(request.how.text());
    both probes(request.how.objective());
    const search_outcome here = find_sharing(identity, probes.batch, request, *probes.here.runs),
                         there = find_sharing(identity, probes.batch, request, *probes.there.runs);
    compare(here.evidence.report, there.evidence.report);
    CHECK(here.layer_evaluations == there.layer_evaluations);
    for (const auto& c : here.evidence.report.candidates) rejected += c.outcome != kvsharer::verdict::accepted;
  }
  CHECK(rejected > 0);
}

TEST_CASE("16-bit weights and activations score about the same" * device_test::in_16_bits) {
  const token_batch batch = samples(2, 5);
  const auto card = open_gpu();
  const share_map shared = share_map::from_owners(std::vector{0, 1, 0, 3, 3}).value();
  const made_probe exact = card->make_probe(source, {batch});
  const double expected = (*exact.runs)(shared);
  for (const dtype type : {dtype::f16, dtype::bf16}) {
    const made_probe rounded = card->make_probe(source, {.samples = batch, .type = type});
    const double score = (*rounded.runs)(shared);
    CHECK(std::abs(score - expected) < (type == dtype::f16 ? 2e-3 : 2e-2));
    CHECK(score != expected);
  }
}

TEST_CASE("random weights made on the device search as the host's of the same seed") {
  const token_batch batch = samples(2, 6);
  const auto card = open_gpu();
  const weight_source random{llama().config(), nullptr, 7};
  const probe_request wanted{.samples = batch, .type = dtype::f32};
  const made_probe here = card->make_probe(random, wanted), there = host_probe(random, wanted);
  const search_request request{.share = 2};
  compare(find_sharing(identity, batch, request, *here.runs).evidence.report,
          find_sharing(identity, batch, request, *there.runs).evidence.report);
}

TEST_CASE("a full model that is not finite is nothing to compare with, whoever runs it") {
  for (const std::string tensor : {"model.layers.4.mlp.down_proj.weight", "lm_head.weight"})
    for (const std::string objective : {"cosine", "kl"}) {
      CAPTURE(tensor);
      CAPTURE(objective);
      const auto weights = std::make_shared<tiny_llama::tensors>();
      const model spoilt = tiny_llama::make(small(), weights);
      weights->at(tensor)[40] = std::numeric_limits<float>::quiet_NaN();
      const weight_source from{spoilt.config(), &spoilt};
      const probe_request wanted{samples(2, 6), objective, kvsharer::similarity::mean_of_cosines};
      CHECK_THROWS_WITH_AS((void)open_gpu()->make_probe(from, wanted), doctest::Contains("E406"), kvsharer::error);
      CHECK_THROWS_WITH_AS((void)host_probe(from, wanted), doctest::Contains("E406"), kvsharer::error);
    }
}

TEST_CASE("what cannot be is refused by name") {
  const auto card = open_gpu();
  token_batch batch = samples(2, 5);
  CHECK_THROWS_AS(card->make_probe(source, {batch, "mse"}), usage_error);
  batch[1][3] = 61;
  CHECK(device_test::refusal([&] { card->make_probe(source, {batch}); }).find("outside the vocabulary") !=
        std::string::npos);
}

}  // namespace
