// SPDX-License-Identifier: Apache-2.0
// A paged engine with a captured step that knows nothing of kvsharer, and the same engine adapted: what the change
// costs, and what it does. The flat engine of tests/engines is what both are held against.
#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "backend/cuda/device.hpp"
#include "engines/changed_lines.hpp"
#include "engines/flat_shared/engine.hpp"
#include "engines/flat_shared/find_sharing.hpp"
#include "engines/paged/engine.cuh"
#include "engines/paged_shared/find_sharing.cuh"
#include "kvsharer/adapt/read_through.hpp"
#include "kvsharer/testing/engine_checks.hpp"

namespace {

using kvsharer::share_map;

constexpr int layers = 6, embd = 32, heads = 4, kv_heads = 2, head = 8, inner = 44, vocab = 53, sequences = 3;
constexpr int pages = 12, pages_each = 4;

/// A random model in host and in device memory.
class random_model {
 public:
  random_model() {
    host_.tok_embd = make(vocab * embd, 1.0f);
    host_.out_norm = norm();
    host_.output = host_.tok_embd;
    for (int l = 0; l < layers; l++)
      host_layers_.push_back({norm(), matrix(heads * head, embd), matrix(kv_heads * head, embd),
                              matrix(kv_heads * head, embd), matrix(embd, heads * head), norm(), matrix(inner, embd),
                              matrix(inner, embd), matrix(embd, inner)});
    host_.layers = host_layers_.data();
    for (const std::vector<float>& x : numbers_) device_.push_back(device_test::on_device(stream.ref(), x));
  }

  flat_shared::hparams flat() const {
    return {layers, embd, heads, kv_heads, head, inner, vocab, pages_each * paged::page_tokens, 1e-5f, 10000.0f};
  }
  const flat_shared::weights& flat_weights() const { return host_; }

  template <class Hparams>
  Hparams paged() const {
    return {layers, embd, heads, kv_heads, head, inner, vocab, pages, sequences, pages_each, 1e-5f, 10000.0f};
  }
  template <class Weights, class Layer>
  Weights paged_weights() const {
    Weights w{on_device(host_.tok_embd), on_device(host_.out_norm), {}};
    for (const auto& l : host_layers_)
      w.layers.push_back(Layer{on_device(l.attn_norm), on_device(l.wq), on_device(l.wk), on_device(l.wv),
                               on_device(l.wo), on_device(l.ffn_norm), on_device(l.w_gate), on_device(l.w_up),
                               on_device(l.w_down)});
    return w;
  }

  device_test::owned_stream stream;

 private:
  const float* make(int n, float size, float middle = 0) {
    std::vector<float>& x = *numbers_.emplace(numbers_.end(), static_cast<std::size_t>(n));
    for (float& v : x) v = middle + size * (static_cast<float>(bits_() % 20001) / 10000.0f - 1);
    return x.data();
  }
  const float* norm() { return make(embd, 0.2f, 1); }
  const float* matrix(int out, int in) { return make(out * in, 1.7f / std::sqrt(static_cast<float>(in))); }
  const float* on_device(const float* host) const {
    for (std::size_t i = 0; i < numbers_.size(); i++)
      if (numbers_[i].data() == host) return device_[i].data();
    return nullptr;
  }

  std::mt19937 bits_{7};
  std::vector<std::vector<float>> numbers_;
  std::vector<kvsharer::cuda::device_buffer<float>> device_;
  flat_shared::weights host_{};
  std::vector<flat_shared::layer_weights> host_layers_;
};

auto original(const random_model& m) {
  return std::make_unique<paged::engine>(m.paged<paged::hparams>(),
                                         m.paged_weights<paged::weights, paged::layer_weights>(), m.stream.ref().get());
}
auto adapted(const random_model& m, const share_map& map) {
  return std::make_unique<paged_shared::engine>(m.paged<paged_shared::hparams>(),
                                                m.paged_weights<paged_shared::weights, paged_shared::layer_weights>(),
                                                map, m.stream.ref().get());
}

/// What each sequence is given: they begin at different steps, end at different lengths, and cross borders of pages.
std::vector<std::vector<int>> ragged() {
  std::mt19937 bits(3);
  std::vector<std::vector<int>> tokens{std::vector<int>(37), std::vector<int>(5), std::vector<int>(33)};
  for (auto& sequence : tokens)
    for (int& t : sequence) t = static_cast<int>(bits() % vocab);
  return tokens;
}

/// Final states of each sequence, [token][embd].
template <class Engine>
std::vector<std::vector<float>> run(Engine& e, const std::vector<std::vector<int>>& tokens) {
  std::vector<std::vector<float>> states(tokens.size());
  std::vector<float> hidden;
  std::vector<std::size_t> fed(tokens.size());
  for (std::size_t step = 0; step < 48; step++) {
    std::vector<int> now(tokens.size(), -1);
    for (std::size_t s = 0; s < tokens.size(); s++)
      if (step >= 4 * s && fed[s] < tokens[s].size()) now[s] = tokens[s][fed[s]++];
    REQUIRE(e.decode(now, hidden));
    for (std::size_t s = 0; s < tokens.size(); s++)
      if (now[s] >= 0)
        states[s].insert(states[s].end(), hidden.begin() + static_cast<std::ptrdiff_t>(s * embd),
                         hidden.begin() + static_cast<std::ptrdiff_t>((s + 1) * embd));
  }
  return states;
}

/// The same by the flat engine, one sequence after the other.
std::vector<std::vector<float>> run_flat(const random_model& m, const share_map& map,
                                         const std::vector<std::vector<int>>& tokens) {
  std::vector<std::vector<float>> states;
  for (const std::vector<int>& sequence : tokens) {
    flat_shared::engine* e = flat_shared::engine_new(m.flat(), m.flat_weights(), map);
    states.emplace_back(sequence.size() * embd);
    flat_shared::engine_eval(e, sequence.data(), static_cast<int>(sequence.size()), states.back().data());
    flat_shared::engine_free(e);
  }
  return states;
}

double worst(const std::vector<std::vector<float>>& got, const std::vector<std::vector<float>>& expected) {
  double most = 0;
  for (std::size_t s = 0; s < expected.size(); s++) {
    REQUIRE(got.at(s).size() == expected[s].size());
    for (std::size_t i = 0; i < expected[s].size(); i++) {
      const double difference = std::abs(static_cast<double>(got[s][i]) - static_cast<double>(expected[s][i]));
      if (!(difference <= most)) most = difference;  // NaN too
    }
  }
  return most;
}

/// Layer 2 reads layer 0, 4 and 5 read 1.
share_map shared() { return share_map::from_owners(std::vector<int>{0, 1, 0, 3, 1, 1}).value(); }

TEST_CASE("the adaptation is a few lines") {
  const std::string folder = std::string(KVSHARER_SOURCE_DIR) + "/tests/engines/";
  const std::size_t changed = changed_lines(folder + "paged/engine.cuh", folder + "paged_shared/engine.cuh");
  const std::size_t of_namespaces = 2;
  CHECK(changed > of_namespaces);
  CHECK(changed - of_namespaces <= 20);
  MESSAGE("lines changed: ", changed - of_namespaces);
}

TEST_CASE("the engine is right: another engine computes the same") {
  const random_model m;
  const auto e = original(m);
  CHECK(worst(run(*e, ragged()), run_flat(m, share_map::identity(layers), ragged())) < 1e-4);
  CHECK(e->captures() == 1);
}

TEST_CASE("under the identity map it computes the same bits") {
  const random_model m;
  const auto expected = run(*original(m), ragged()), got = run(*adapted(m, share_map::identity(layers)), ragged());
  for (std::size_t s = 0; s < expected.size(); s++)
    CHECK(kvsharer::testing::same_numbers(expected.at(s), got.at(s)) == "");
}

TEST_CASE("readers leave the rows of their owners as they are, in every sequence") {
  using namespace kvsharer;
  const random_model m;
  for (int s = 0; s < sequences; s++)
    CHECK(kvsharer::testing::owner_rows_stay(shared(), [&](const share_map& map, auto&& look) {
            const auto e = adapted(m, map);
            run(*e, ragged());
            // The pools and the sequence's table as they are on the device, read by the same adapters.
            const auto stream = m.stream.ref();
            const std::size_t pool = e->pool_elements(), all = pool * static_cast<std::size_t>(map.owner_count());
            const auto k = device_test::on_host(stream, e->k_pool(), all),
                       v = device_test::on_host(stream, e->v_pool(), all);
            const auto table = device_test::on_host(stream, e->device_table(s), pages_each);
            const cache_shape shape{map.owner_count(), kv_heads, head, pages_each * paged::page_tokens};
            const layout::page_table of_sequence{.pages = table.data(), .page_tokens = paged::page_tokens};
            const auto plane = [&](const std::vector<float>& numbers) {
              return adapt::token_pages(adapt::stacked{numbers.data(), static_cast<index_t>(pool)}, shape, of_sequence);
            };
            const auto stored = adapt::cache(shape, e->tokens_of(s), plane(k), plane(v));
            look(adapt::read_through(map, stored));
          }) == "");
}

TEST_CASE("under a shared map one captured step serves all lengths, and smaller pools") {
  const random_model m;
  const auto e = adapted(m, shared());
  const auto got = run(*e, ragged());
  CHECK(worst(got, run_flat(m, shared(), ragged())) < 1e-4);
  CHECK(worst(got, run_flat(m, share_map::identity(layers), ragged())) > 1e-2);
  CHECK(e->captures() == 1);
  const std::size_t pool = pages * paged::page_tokens * kv_heads * head * sizeof(float);
  CHECK(original(m)->allocated() - e->allocated() == 3 * 2 * pool);  // readers, K and V
}

TEST_CASE("sequences come and go, and pages that run out are refused before anything happens") {
  const random_model m;
  const auto e = adapted(m, shared());
  std::vector<float> hidden;
  for (int i = 0; i < 64; i++) REQUIRE(e->decode({1 + i % 50, 2, 3}, hidden));
  CHECK(e->free_pages() == 0);
  e->drop(0);
  CHECK(e->free_pages() == 4);
  const auto again = ragged().at(1);
  std::vector<std::vector<float>> states(1);
  for (const int token : again) {
    REQUIRE(e->decode({token, -1, -1}, hidden));
    states[0].insert(states[0].end(), hidden.begin(), hidden.begin() + embd);
  }
  CHECK(worst(states, run_flat(m, shared(), {again})) < 1e-4);
  e->drop(1);
  e->drop(2);
  CHECK(e->free_pages() == 11);
}

TEST_CASE("a search over its pages finds what one over the flat engine finds") {
  const random_model m;
  const std::vector<std::vector<int>> samples(sequences, std::vector<int>(20));
  std::vector<std::vector<int>> tokens = samples;
  std::mt19937 bits(11);
  for (auto& sample : tokens)
    for (int& t : sample) t = static_cast<int>(bits() % vocab);
  device_test::device on;
  const auto found =
      paged_shared::find_sharing(on.backend, m.paged<paged_shared::hparams>(),
                                 m.paged_weights<paged_shared::weights, paged_shared::layer_weights>(), tokens, 3);
  const auto expected = flat_shared::find_sharing(m.flat(), m.flat_weights(), tokens, 3);
  CHECK(found.map() == expected.map());
  CHECK(found.map().reader_count() == 3);
  CHECK(found.score == doctest::Approx(expected.score).epsilon(1e-4));
}

}  // namespace
