// SPDX-License-Identifier: Apache-2.0
#include "network/random_weights.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <set>
#include <vector>

#include "kvsharer/core/element.hpp"

using kvsharer::index_t;
using namespace mini_llama;

namespace {

model_config small() {
  model_config c;
  c.layers = 8;
  c.hidden = 64;
  c.intermediate = 96;
  c.heads = 4;
  c.kv_heads = 2;
  c.head_dim = 16;
  c.vocab = 100;
  c.max_position = 64;
  c.norm_eps = 1e-5f;
  return c;
}

struct moments {
  double mean = 0, deviation = 0, kurtosis = 0, neighbours = 0;  // correlation of neighbours
};

moments measure(const std::vector<double>& x) {
  moments m;
  const auto n = static_cast<double>(x.size());
  for (double v : x) m.mean += v / n;
  double second = 0, fourth = 0, products = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double d = x[i] - m.mean;
    second += d * d / n;
    fourth += d * d * d * d / n;
    if (i > 0) products += d * (x[i - 1] - m.mean) / n;
  }
  m.deviation = std::sqrt(second);
  m.kurtosis = fourth / (second * second);
  m.neighbours = products / second;
  return m;
}

}  // namespace

TEST_CASE("numbers have the deviation asked for, the shape of four uniform ones, and no neighbours in common") {
  constexpr index_t n = 200000;
  const std::uint64_t key = random_tensor_key(7, "model.layers.0.mlp.up_proj.weight");
  std::vector<double> x;
  for (index_t i = 0; i < n; ++i) x.push_back(static_cast<double>(random_weight(key, i, 0.02f)));
  const moments m = measure(x);
  const double bound = 4 / std::sqrt(static_cast<double>(n));  // four standard errors
  CHECK(std::abs(m.mean) < bound * 0.02);
  CHECK(m.deviation == doctest::Approx(0.02).epsilon(bound));
  CHECK(m.kurtosis == doctest::Approx(2.7).epsilon(0.01));
  CHECK(std::abs(m.neighbours) < bound);
  for (double v : x) REQUIRE(std::abs(v) < 3.47 * 0.02);
}

TEST_CASE("tensors, places and seeds differ, and calls repeat") {
  std::set<float> seen;
  std::size_t asked = 0;
  for (std::uint64_t seed = 0; seed < 3; ++seed)
    for (const char* name : {"model.layers.1.mlp.up_proj.weight", "model.layers.11.mlp.up_proj.weight",
                             "model.layers.1.mlp.gate_proj.weight", "lm_head.weight"})
      for (index_t i = 0; i < 20; ++i, ++asked) seen.insert(random_weight(random_tensor_key(seed, name), i, 1));
  CHECK(seen.size() + 2 >= asked);  // of 18 bits each, so that one pair among 240 may well be equal
  const std::uint64_t key = random_tensor_key(1, "lm_head.weight");
  CHECK(key == random_tensor_key(1, "lm_head.weight"));
  CHECK(random_weight(key, 5, 0.5f) == random_weight(key, 5, 0.5f));
  // Far apart in a tensor of more than 2^32 numbers.
  CHECK(random_weight(key, index_t{5} << 32, 1) != random_weight(key, 0, 1));
}

TEST_CASE("a random model on the host: ones in norms, and smaller numbers where layers write to the residual stream") {
  const model_config c = small();
  const model m = random_model(c, 3, dtype::bf16);
  CHECK(m.fingerprint() == "random-3");
  for (float g : m.layer(7).mlp_norm) CHECK(g == 1);
  const auto deviation = [](const weight& w) {
    std::vector<double> all;
    std::vector<float> row(static_cast<std::size_t>(w.in));
    for (index_t r = 0; r < w.out; ++r) {
      decode_row(w, r, row.data());
      all.insert(all.end(), row.begin(), row.end());
    }
    return measure(all).deviation;
  };
  CHECK(deviation(m.layer(2).gate) == doctest::Approx(0.02).epsilon(0.05));
  CHECK(deviation(m.embedding()) == doctest::Approx(0.02).epsilon(0.05));
  CHECK(deviation(m.layer(2).down) == doctest::Approx(0.005).epsilon(0.05));
  CHECK(deviation(m.layer(2).output) == doctest::Approx(0.005).epsilon(0.05));
  std::vector<float> row(64);
  decode_row(m.layer(1).key, 2, row.data());
  const std::uint64_t key = random_tensor_key(3, "model.layers.1.self_attn.k_proj.weight");
  CHECK(row[9] == static_cast<float>(kvsharer::bfloat16(random_weight(key, 2 * 64 + 9, 0.02f))));
}
