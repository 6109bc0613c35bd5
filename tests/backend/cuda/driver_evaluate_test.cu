// SPDX-License-Identifier: Apache-2.0
// Evaluation and last logits on the device against a textbook Llama in float64, without a cache.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "backend/cuda/device.hpp"
#include "backend/cuda/driver_numbers.hpp"
#include "cuda/score.cuh"
#include "device/gpu.hpp"
#include "kvsharer/align/layer_alignment.hpp"
#include "mini_llama/tiny_llama.hpp"
#include "run/evaluation.hpp"
#include "run/session.hpp"
#include "support/usage_error.hpp"

namespace {

using namespace device_test;
using kvsharer::prediction_score;
using mini_llama::evaluation;
using mini_llama::gpu_choice;
using mini_llama::model_config;
using mini_llama::session;

model_config small(int bos = 1) {
  model_config c = tiny_llama::config(5);
  c.head_dim = 64;  // the least for which there is attention
  c.intermediate = 48;
  c.bos = bos;
  return c;
}

/// A model and what it was made of.
struct tiny {
  explicit tiny(int bos = 1) : config(small(bos)), s(tiny_llama::make(config, weights)) {}

  model_config config;
  std::shared_ptr<tiny_llama::tensors> weights = std::make_shared<tiny_llama::tensors>();
  session s;
};

const std::vector<int> shared_owners{0, 1, 1, 0, 4};
const std::vector<int> own_owners{0, 1, 2, 3, 4};
share_map map_of(const std::vector<int>& owners) { return share_map::from_owners(owners).value(); }

std::vector<int> text(std::size_t tokens, unsigned seed) {
  std::mt19937 bits(seed);
  std::vector<int> ids(tokens);
  for (int& id : ids) id = static_cast<int>(bits() % 61);
  return ids;
}

std::vector<double> log_probabilities(std::vector<double> row) {
  double top = row[0], sum = 0;
  for (const double x : row) top = std::max(top, x);
  for (const double x : row) sum += std::exp(x - top);
  for (double& x : row) x -= top + std::log(sum);
  return row;
}
std::size_t best(const std::vector<double>& row) {
  return static_cast<std::size_t>(std::max_element(row.begin(), row.end()) - row.begin());
}
double divergence(const std::vector<double>& log_p, const std::vector<double>& log_q) {
  double kl = 0;
  for (std::size_t v = 0; v < log_p.size(); ++v) kl += std::exp(log_p[v]) * (log_p[v] - log_q[v]);
  return kl;
}

/// The definitions, over pieces of window - 1 tokens behind a BOS, or behind the token before them.
evaluation by_the_book(const tiny& t, const std::vector<int>& owners, const std::vector<int>& ids, std::size_t window) {
  double loss = 0, full_loss = 0, kl = 0, same = 0;
  std::size_t tokens = 0;
  for (std::size_t begin = t.config.bos < 0 ? 1 : 0; begin < ids.size(); begin += window - 1) {
    const std::size_t end = std::min(begin + window - 1, ids.size());
    std::vector<int> input{t.config.bos < 0 ? ids[begin - 1] : t.config.bos};
    for (std::size_t i = begin; i + 1 < end; ++i) input.push_back(ids[i]);
    const tiny_llama::rows full = tiny_llama::logits(t.config, *t.weights, own_owners, input),
                           shared = tiny_llama::logits(t.config, *t.weights, owners, input);
    for (std::size_t i = begin; i < end; ++i, ++tokens) {
      const auto p = log_probabilities(full[i - begin]), q = log_probabilities(shared[i - begin]);
      const auto target = static_cast<std::size_t>(ids[i]);
      full_loss -= p[target];
      loss -= q[target];
      kl += divergence(p, q);
      same += best(p) == best(q) ? 1 : 0;
    }
  }
  const auto n = static_cast<double>(tokens);
  return {std::exp(loss / n), std::exp(full_loss / n), kl / n, same / n, tokens};
}

/// `error`: what rounding to the type may cost, relative, and how often it may turn the most likely token.
void compare(const tiny& t, const std::vector<int>& owners, const gpu_choice& choice, double error, double turned,
             std::size_t tokens = 47, std::size_t window = 12) {
  const std::vector<int> ids = text(tokens, 3);
  const evaluation expected = by_the_book(t, owners, ids, window);
  const evaluation e = mini_llama::open_gpu()->evaluate(t.s, map_of(owners), ids, static_cast<index_t>(window), choice);
  INFO(choice.type << ", " << choice.rows_at_once << " rows at once");
  CHECK(e.tokens == expected.tokens);
  CHECK(e.perplexity == doctest::Approx(expected.perplexity).epsilon(error));
  CHECK(e.full_perplexity == doctest::Approx(expected.full_perplexity).epsilon(error));
  CHECK(e.kl == doctest::Approx(expected.kl).epsilon(4 * error));
  CHECK(std::abs(e.top1_agreement - expected.top1_agreement) <= turned);
}

TEST_CASE("scores follow their definitions, whatever the vocabulary") {
  device d;
  const std::vector<index_t> sizes{1, 61, 256, 1000};
  for (const index_t vocab : sizes) {
    const index_t rows = 7;
    auto full = random_numbers<float>(rows * vocab, 11), shared = random_numbers<float>(rows * vocab, 12);
    for (index_t i = 0; i < rows * vocab; ++i) {
      const auto at = static_cast<std::size_t>(i);
      full[at] = 9 * full[at] + (i / vocab == 3 ? 5000.0f : 0.0f);  // a row's height does not matter
      shared[at] = i / vocab == 2 ? full[at] : 0.5f * full[at] + 9 * shared[at];
    }
    std::vector<std::int32_t> targets;
    for (index_t r = 0; r < rows; ++r) targets.push_back(static_cast<std::int32_t>((r * 37 + vocab - 1) % vocab));
    const auto on_full = on_device(d.stream, full), on_shared = on_device(d.stream, shared);
    const auto on_targets = on_device(d.stream, targets);
    auto scores = poisoned<prediction_score>(d.stream, static_cast<std::size_t>(rows));
    mini_llama::cuda::score(d.backend, {on_full.data(), on_shared.data(), on_targets.data(), rows, vocab},
                            scores.data());
    const std::vector<prediction_score> got = on_host(scores);
    mini_llama::cuda::score(d.backend, {on_full.data(), nullptr, on_targets.data(), rows, vocab}, scores.data());
    const std::vector<prediction_score> alone = on_host(scores);
    for (std::size_t r = 0; r < got.size(); ++r) {
      const auto begin = static_cast<std::ptrdiff_t>(r) * vocab;
      const std::vector<double> p(full.begin() + begin, full.begin() + begin + vocab),
          q(shared.begin() + begin, shared.begin() + begin + vocab);
      const auto log_p = log_probabilities(p), log_q = log_probabilities(q);
      const auto target = static_cast<std::size_t>(targets[r]);
      CHECK(std::abs(got[r].full_loss + log_p[target]) < 1e-6);
      CHECK(std::abs(got[r].loss + log_q[target]) < 1e-6);
      CHECK(std::abs(got[r].kl - divergence(log_p, log_q)) < 1e-5);
      CHECK(got[r].agrees == static_cast<int>(best(p) == best(q)));
      CHECK(alone[r].full_loss == got[r].full_loss);
      CHECK(alone[r].loss == got[r].full_loss);
      CHECK(alone[r].kl == 0);
      CHECK(alone[r].agrees == 1);
    }
    CHECK(got[2].kl == 0);
    CHECK(got[2].agrees == 1);
  }
}

TEST_CASE("NaN is not passed over, and a target outside the vocabulary is reported") {
  device d;
  std::vector<float> logits(2 * 61, 0.25f);
  logits[70] = std::numeric_limits<float>::quiet_NaN();
  const auto on_logits = on_device(d.stream, logits);
  const auto targets = on_device(d.stream, std::vector<std::int32_t>{5, 5});
  auto scores = poisoned<prediction_score>(d.stream, 2);
  mini_llama::cuda::score(d.backend, {on_logits.data(), nullptr, targets.data(), 2, 61}, scores.data());
  const std::vector<prediction_score> got = on_host(scores);
  CHECK(got[0].loss == doctest::Approx(std::log(61.0)));
  CHECK(std::isnan(got[1].loss));
  d.backend.check_status();

  const auto wrong = on_device(d.stream, std::vector<std::int32_t>{5, 61});
  mini_llama::cuda::score(d.backend, {on_logits.data(), nullptr, wrong.data(), 2, 61}, scores.data());
  CHECK(refusal([&] { d.backend.check_status(); }).find("vocabulary") != std::string::npos);
}

TEST_CASE("figures of a text are the textbook's, in every type and however many windows run at once" *
          long_in_16_bits) {
  const tiny t;
  const gpu_choice f32, single{.type = "f32", .rows_at_once = 1}, two{.type = "f32", .rows_at_once = 25};
  compare(t, shared_owners, f32, 1e-4, 0);
  compare(t, shared_owners, single, 1e-4, 0);
  compare(t, shared_owners, two, 1e-4, 0);
  compare(t, own_owners, f32, 1e-4, 0);
  compare(t, shared_owners, {.type = "f16"}, 2e-3, 0.05);
  compare(t, shared_owners, {.type = "bf16"}, 1e-2, 0.1);
}

TEST_CASE("biases and norms of heads count as they do on the host" * in_16_bits) {
  model_config plain = small(), all = small();
  all.qkv_bias = all.output_bias = all.head_norms = true;
  const session s(tiny_llama::make(all, std::make_shared<tiny_llama::tensors>())),
      without(tiny_llama::make(plain, std::make_shared<tiny_llama::tensors>()));
  const std::vector<int> ids = text(47, 3);
  const evaluation there = mini_llama::evaluate(s, map_of(shared_owners), ids, 12);
  REQUIRE(std::abs(mini_llama::evaluate(without, map_of(shared_owners), ids, 12).perplexity / there.perplexity - 1) >
          0.01);
  const auto card = mini_llama::open_gpu();
  for (const index_t rows : {index_t{8192}, index_t{1}}) {
    const evaluation here = card->evaluate(s, map_of(shared_owners), ids, 12, {.type = "f32", .rows_at_once = rows});
    CHECK(here.perplexity == doctest::Approx(there.perplexity).epsilon(1e-4));
    CHECK(here.full_perplexity == doctest::Approx(there.full_perplexity).epsilon(1e-4));
    CHECK(here.kl == doctest::Approx(there.kl).epsilon(4e-4));
  }
  const evaluation rounded = card->evaluate(s, map_of(shared_owners), ids, 12, {.type = "bf16"});
  CHECK(rounded.perplexity == doctest::Approx(there.perplexity).epsilon(0.02));

  mini_llama::generation_request request{
      .prompts = {{1, 5, 9, 13, 2}, {1, 7}}, .max_new_tokens = 9, .stop_at_eos = false};
  const mini_llama::generation said = card->generate(s, map_of(shared_owners), request);
  CHECK(said.token_ids == mini_llama::generate(s, map_of(shared_owners), request).token_ids);
}

TEST_CASE("sequences that end while others go on, and sampled ones, say what they say on the host") {
  // The tokens that the host says become ends of texts, so that sequences leave the batch one after the other, and in
  // between several steps go on with the tokens that lie on the device.
  model_config c = small();
  c.eos = {};
  const auto made = [&] { return session(tiny_llama::make(c, std::make_shared<tiny_llama::tensors>())); };
  mini_llama::generation_request request{
      .prompts = {{1, 5, 9, 13, 2}, {1, 7}, {1, 30, 31}, {1, 44, 3, 8}}, .max_new_tokens = 12, .stop_at_eos = false};
  const session endless = made();
  const auto card = mini_llama::open_gpu();
  const mini_llama::generation whole = mini_llama::generate(endless, map_of(shared_owners), request);
  CHECK(card->generate(endless, map_of(shared_owners), request).token_ids == whole.token_ids);
  c.eos = {whole.token_ids[0][3], whole.token_ids[2][6]};
  const session ends = made();
  request.stop_at_eos = true;
  const mini_llama::generation there = mini_llama::generate(ends, map_of(shared_owners), request);
  std::size_t shortest = 12;
  for (const auto& ids : there.token_ids) shortest = std::min(shortest, ids.size());
  REQUIRE(shortest <= 4);
  CHECK(card->generate(ends, map_of(shared_owners), request).token_ids == there.token_ids);
  request.temperature = 0.8f;
  request.top_p = 0.9f;
  request.seed = 5;
  const mini_llama::generation sampled = mini_llama::generate(ends, map_of(shared_owners), request);
  CHECK(sampled.token_ids != there.token_ids);
  CHECK(card->generate(ends, map_of(shared_owners), request).token_ids == sampled.token_ids);
}

TEST_CASE("more rows than logits are made of at once" * doctest::test_suite("long")) {
  const tiny t;
  compare(t, shared_owners, {}, 1e-4, 0, 530, 45);
}

TEST_CASE("without a BOS the first token is given and not scored") {
  const tiny t(-1);
  compare(t, shared_owners, {}, 1e-4, 0);
}

TEST_CASE("the same text gives the same bits, and the full model agrees with itself") {
  const tiny t;
  const auto card = mini_llama::open_gpu();
  const std::vector<int> ids = text(30, 4);
  const evaluation a = card->evaluate(t.s, map_of(shared_owners), ids, 9, {}),
                   b = card->evaluate(t.s, map_of(shared_owners), ids, 9, {});
  CHECK(a.perplexity == b.perplexity);
  CHECK(a.kl == b.kl);
  CHECK(a.kl > 0.01);
  const evaluation own = card->evaluate(t.s, map_of(own_owners), ids, 9, {});
  CHECK(own.kl == 0);
  CHECK(own.top1_agreement == 1);
  CHECK(own.perplexity == own.full_perplexity);
  CHECK(own.full_perplexity == a.full_perplexity);
}

TEST_CASE("progress is told batch by batch, and a cancelled evaluation keeps what it has") {
  const tiny t;
  const auto card = mini_llama::open_gpu();
  const std::vector<int> ids = text(35, 5);
  std::vector<std::size_t> done;
  const auto note = [&](std::size_t tokens, std::size_t all) {
    CHECK(all == 35);
    done.push_back(tokens);
  };
  const gpu_choice two_windows{.type = "f32", .rows_at_once = 20};
  CHECK(card->evaluate(t.s, map_of(shared_owners), ids, 11, two_windows, note).tokens == 35);
  CHECK(done == std::vector<std::size_t>{20, 35});
  done.clear();
  const evaluation some =
      card->evaluate(t.s, map_of(shared_owners), ids, 11, two_windows, note, [&] { return !done.empty(); });
  CHECK(some.tokens == 20);
  CHECK(some.full_perplexity ==
        doctest::Approx(by_the_book(t, own_owners, {ids.begin(), ids.begin() + 20}, 11).full_perplexity).epsilon(1e-4));
}

TEST_CASE("a reference has every map's textbook figures, however many windows run at once") {
  const tiny t;
  const auto card = mini_llama::open_gpu();
  const std::vector<int> ids = text(47, 3), other_owners{0, 0, 2, 2, 2};
  for (const index_t rows : {index_t{8192}, index_t{25}, index_t{1}}) {
    INFO(rows << " rows at once");
    const gpu_choice choice{.type = "f32", .rows_at_once = rows};
    const auto reference = card->reference(t.s, ids, 12, choice);
    const evaluation full = by_the_book(t, own_owners, ids, 12);
    CHECK(reference->full().tokens == ids.size());
    CHECK(reference->full().perplexity == doctest::Approx(full.perplexity).epsilon(1e-4));
    for (const std::vector<int>& owners : {shared_owners, other_owners, shared_owners}) {
      const evaluation expected = by_the_book(t, owners, ids, 12), got = reference->compare(map_of(owners));
      CHECK(got.tokens == ids.size());
      CHECK(got.perplexity == doctest::Approx(expected.perplexity).epsilon(1e-4));
      CHECK(got.kl == doctest::Approx(expected.kl).epsilon(4e-4));
      CHECK(got.top1_agreement == expected.top1_agreement);
      CHECK(got.full_perplexity == reference->full().perplexity);
    }
    const evaluation own = reference->compare(map_of(own_owners));
    CHECK(own.kl == 0);
    CHECK(own.perplexity == reference->full().perplexity);
  }
}

TEST_CASE("a reference of rounded states, of a text without BOS and of many blocks of logits" * long_in_16_bits) {
  const auto card = mini_llama::open_gpu();
  const tiny without(-1);
  const std::vector<int> ids = text(47, 3);
  CHECK(card->reference(without.s, ids, 12, {})->compare(map_of(shared_owners)).perplexity ==
        doctest::Approx(by_the_book(without, shared_owners, ids, 12).perplexity).epsilon(1e-4));
  const tiny t;
  const evaluation rounded = card->reference(t.s, ids, 12, {.type = "f16"})->compare(map_of(shared_owners)),
                   alone = card->evaluate(t.s, map_of(shared_owners), ids, 12, {.type = "f16"});
  CHECK(rounded.perplexity == alone.perplexity);
  CHECK(rounded.kl == alone.kl);
  const std::vector<int> longer = text(530, 3);
  const evaluation many = card->reference(t.s, longer, 45, {})->compare(map_of(shared_owners)),
                   expected = card->evaluate(t.s, map_of(shared_owners), longer, 45, {});
  CHECK(many.perplexity == doctest::Approx(expected.perplexity).epsilon(1e-6));
  CHECK(many.kl == doctest::Approx(expected.kl).epsilon(1e-5));
}

TEST_CASE(
    "a reference that is stopped says how far it came, and one comparison that is, the next one does not notice") {
  const tiny t;
  const auto card = mini_llama::open_gpu();
  const std::vector<int> ids = text(35, 5);
  const gpu_choice two_windows{.type = "f32", .rows_at_once = 20};
  std::vector<std::size_t> done;
  const auto note = [&](std::size_t tokens, std::size_t all) {
    CHECK(all == 35);
    done.push_back(tokens);
  };
  CHECK(card->reference(t.s, ids, 11, two_windows, note, [&] { return !done.empty(); })->full().tokens == 20);
  const auto reference = card->reference(t.s, ids, 11, two_windows);
  done.clear();
  int asked = 0;
  CHECK(reference->compare(map_of(shared_owners), note, [&] { return ++asked > 1; }).tokens < 35);
  done.clear();
  const evaluation whole = reference->compare(map_of(shared_owners), note);
  CHECK(done == std::vector<std::size_t>{20, 35});
  CHECK(whole.perplexity == doctest::Approx(by_the_book(t, shared_owners, ids, 11).perplexity).epsilon(1e-4));
}

TEST_CASE("what cannot be evaluated is refused") {
  const tiny t;
  const auto card = mini_llama::open_gpu();
  const share_map own = map_of(own_owners);
  CHECK_THROWS_AS(card->evaluate(t.s, own, {}, 16, {}), mini_llama::usage_error);
  CHECK_THROWS_AS(card->evaluate(t.s, own, text(4, 6), 1, {}), mini_llama::usage_error);
  CHECK_THROWS_AS(card->evaluate(t.s, own, text(4, 6), 129, {}), mini_llama::usage_error);
  CHECK_THROWS_AS(card->evaluate(t.s, own, text(4, 6), 8, {.type = "f64"}), mini_llama::usage_error);
  CHECK_THROWS_AS(card->reference(t.s, {}, 16, {}), mini_llama::usage_error);
  CHECK_THROWS_AS(card->reference(t.s, text(4, 6), 8, {.type = "f64"}), mini_llama::usage_error);
  CHECK_THROWS_AS(card->logits(t.s, own, {{1}}, {.type = "f64"}), mini_llama::usage_error);
  CHECK_THROWS_AS(card->logits(t.s, own, {{1, 61}}, {}), kvsharer::error);
}

TEST_CASE("an alignment is in last logits, in figures of a text and in those of a reference") {
  tiny t;
  const auto card = mini_llama::open_gpu();
  kvsharer::layer_alignment a = kvsharer::layer_alignment::identity(2, 64);
  const auto numbers = random_numbers<float>(static_cast<index_t>(a.values.size()), 71);
  for (std::size_t i = 0; i < a.values.size(); ++i) a.values[i] += 0.2f * numbers[i];
  for (std::size_t i = 0; i < a.key_gain.size(); ++i) a.key_gain[i] += 0.5f * numbers[i];
  t.s.use(map_of(shared_owners), {{2, a}});
  const std::vector<int> ids = text(20, 13);
  const auto logits = card->logits(t.s, map_of(shared_owners), {ids}, {}).at(0);
  const auto expected = tiny_llama::textbook_run(t.config, *t.weights, shared_owners, ids, {{2, a}}).logits.back();
  const auto unaligned = tiny_llama::logits(t.config, *t.weights, shared_owners, ids).back();
  double difference = 0, without = 0, size = 0;
  for (std::size_t v = 0; v < expected.size(); ++v) {
    difference += std::pow(number(logits[v]) - expected[v], 2);
    without += std::pow(unaligned[v] - expected[v], 2);
    size += std::pow(expected[v], 2);
  }
  CHECK(std::sqrt(difference / size) < 1e-4);
  CHECK(std::sqrt(without / size) > 1e-2);

  const auto check_figures = [&] {
    const evaluation there = mini_llama::evaluate(t.s, map_of(shared_owners), ids, 8);
    const auto reference = card->reference(t.s, ids, 8, {});
    for (const evaluation& here :
         {card->evaluate(t.s, map_of(shared_owners), ids, 8, {}), reference->compare(map_of(shared_owners))}) {
      CHECK(here.tokens == 20);
      CHECK(here.perplexity == doctest::Approx(there.perplexity).epsilon(1e-4));
      CHECK(here.full_perplexity == doctest::Approx(there.full_perplexity).epsilon(1e-4));
      CHECK(here.kl == doctest::Approx(there.kl).epsilon(4e-4));
    }
    return there.perplexity;
  };
  const double without_offset = check_figures();
  for (float& x : a.offset) x = 1;
  t.s.use(map_of(shared_owners), {{2, a}});
  CHECK(std::abs(check_figures() / without_offset - 1) > 1e-3);
}

TEST_CASE("keys of one owner and values of another: the textbook's logits, and the host's figures of a text") {
  tiny t;
  const auto card = mini_llama::open_gpu();
  const std::vector<int> key_owners{0, 1, 1, 0, 4}, value_owners{0, 0, 2, 2, 0}, ids = text(20, 13);
  const kvsharer::share_plan plan(map_of(key_owners), map_of(value_owners));
  const auto logits = card->logits(t.s, plan, {ids}, {}).at(0);
  const auto expected = tiny_llama::textbook_run(t.config, *t.weights, key_owners, ids, {}, value_owners).logits.back();
  const auto one_map = tiny_llama::logits(t.config, *t.weights, key_owners, ids).back();
  double difference = 0, other = 0, size = 0;
  for (std::size_t v = 0; v < expected.size(); ++v) {
    difference += std::pow(number(logits[v]) - expected[v], 2);
    other += std::pow(one_map[v] - expected[v], 2);
    size += std::pow(expected[v], 2);
  }
  CHECK(std::sqrt(difference / size) < 1e-4);
  CHECK(std::sqrt(other / size) > 1e-3);

  const evaluation host = mini_llama::evaluate(t.s, plan, ids, 8), there = card->evaluate(t.s, plan, ids, 8, {}),
                   kept = card->reference(t.s, ids, 8, {})->compare(plan);
  const std::vector<evaluation> made{there, kept};
  for (const evaluation& e : made) {
    CHECK(e.perplexity == doctest::Approx(host.perplexity).epsilon(1e-5));
    CHECK(e.kl == doctest::Approx(host.kl).epsilon(1e-3));
    CHECK(e.tokens == host.tokens);
  }
}

TEST_CASE("last logits of ragged sequences are the textbook's, however many run at once" * long_in_16_bits) {
  const tiny t;
  const auto card = mini_llama::open_gpu();
  const mini_llama::token_batch batch{text(9, 7), text(1, 8), text(20, 9), text(17, 10), text(2, 11)};
  const auto check = [&](const std::vector<int>& owners, const gpu_choice& choice, double allowed) {
    const auto logits = card->logits(t.s, map_of(owners), batch, choice);
    REQUIRE(logits.size() == batch.size());
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const std::vector<double> expected = tiny_llama::logits(t.config, *t.weights, owners, batch[i]).back();
      REQUIRE(logits[i].size() == expected.size());
      double difference = 0, size = 0;
      for (std::size_t v = 0; v < expected.size(); ++v) {
        difference += std::pow(number(logits[i][v]) - expected[v], 2);
        size += std::pow(expected[v], 2);
      }
      INFO("sequence " << i << " in " << choice.type << ", " << choice.rows_at_once << " rows at once");
      CHECK(std::sqrt(difference / size) < allowed);
    }
  };
  check(own_owners, {}, 1e-4);
  check(shared_owners, {}, 1e-4);
  check(shared_owners, {.type = "f32", .rows_at_once = 1}, 1e-4);
  check(shared_owners, {.type = "f32", .rows_at_once = 45}, 1e-4);
  check(shared_owners, {.type = "f16"}, 5e-3);
  check(shared_owners, {.type = "bf16"}, 5e-2);
  CHECK(card->logits(t.s, map_of(own_owners), {}, {}).empty());
}

}  // namespace
