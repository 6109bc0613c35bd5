// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/search/model_fingerprint.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <random>
#include <string>
#include <vector>

#include "kvsharer/search/model_identity.hpp"

using namespace kvsharer;

namespace {

constexpr model_extents small{.layers = 1, .hidden = 6, .intermediate = 9, .heads = 2, .kv_heads = 1, .head_dim = 4};

std::string with_weights(const std::vector<float>& weights) {
  std::size_t next = 0;
  return model_fingerprint(small, [&](weight_place) { return weights.at(next++); });
}

bool same(const std::string& a, const std::string& b) { return fingerprint_difference(a, b).empty(); }

}  // namespace

TEST_CASE("the places of a small model, by hand: thirds of each tensor") {
  using enum weight_kind;
  const std::vector<weight_place> expected{{embedding, 0, 1, 2},
                                           {embedding, 0, 2, 4},  // tokens 1 and 2
                                           {attention_norm, 0, 0, 2},
                                           {attention_norm, 0, 0, 4},
                                           {query, 0, 2, 2},
                                           {query, 0, 5, 4},  // of [8][6]
                                           {key, 0, 1, 2},
                                           {key, 0, 2, 4},  // of [4][6]
                                           {value, 0, 1, 2},
                                           {value, 0, 2, 4},  // of [4][6]
                                           {output, 0, 2, 2},
                                           {output, 0, 4, 5},  // of [6][8]
                                           {mlp_norm, 0, 0, 2},
                                           {mlp_norm, 0, 0, 4},
                                           {gate, 0, 3, 2},
                                           {gate, 0, 6, 4},  // of [9][6]
                                           {up, 0, 3, 2},
                                           {up, 0, 6, 4},
                                           {down, 0, 2, 3},
                                           {down, 0, 4, 6},  // of [6][9]
                                           {final_norm, 0, 0, 2},
                                           {final_norm, 0, 0, 4}};
  CHECK(fingerprint_places(small) == expected);

  const auto layers_of = [](int layers) {
    std::vector<int> found;
    for (const weight_place& p : fingerprint_places({layers, 6, 9, 2, 1, 4}))
      if (p.kind == down && (found.empty() || found.back() != p.layer)) found.push_back(p.layer);
    return found;
  };
  CHECK(layers_of(2) == std::vector{0, 1});
  CHECK(layers_of(3) == std::vector{0, 1, 2});
  CHECK(layers_of(24) == std::vector{0, 12, 23});
  CHECK(fingerprint_places({32, 4096, 11008, 32, 8, 128}).size() == 58);
}

TEST_CASE("a worked fingerprint: bfloat16 digits of 1, 0.5, -2, 0.1, and zeros") {
  std::vector<float> weights(22);
  weights[0] = 1, weights[1] = 0.5f, weights[2] = -2, weights[21] = 0.1f;
  CHECK(with_weights(weights) == "kv1:6:9:2:3f803f00c000" + std::string(18 * 4, '0') + "3dcd");
  CHECK_THROWS_AS(model_fingerprint({0, 6, 9, 2, 1, 4}, [](weight_place) { return 0.0f; }), error);
}

TEST_CASE("rows of queries and keys in interleaved storage, by hand: heads of four channels hold 0 2 1 3") {
  const auto row = [](weight_kind kind, index_t r) {
    return stored_row({kind, 0, r, 0}, rope_pairing::interleaved, 4);
  };
  for (const weight_kind kind : {weight_kind::query, weight_kind::key}) {
    CHECK(row(kind, 0) == 0);
    CHECK(row(kind, 1) == 2);
    CHECK(row(kind, 2) == 1);
    CHECK(row(kind, 3) == 3);
    CHECK(row(kind, 5) == 6);
    CHECK(stored_row({kind, 0, 5, 0}, rope_pairing::half_split, 4) == 5);
  }
  CHECK(row(weight_kind::value, 5) == 5);
}

TEST_CASE("the same weights as float32, bfloat16 and float16 are the same model; weights that moved by 1 % are not") {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (int round = 0; round < 200; ++round) {
    std::vector<float> exact(22), rounded(22), halves(22), twice(22), trained(22);
    for (std::size_t i = 0; i < 22; ++i) {
      // From those of norms to those that float16 holds as subnormal numbers, or not at all.
      exact[i] = normal(random) * std::ldexp(1.0f, static_cast<int>(i) - 20);
      rounded[i] = bfloat16(exact[i]);
      halves[i] = float16(exact[i]);
      twice[i] = float16(rounded[i]);
      trained[i] = exact[i] * (1 + 0.01f * normal(random));
    }
    const std::string all[] = {with_weights(exact), with_weights(rounded), with_weights(halves), with_weights(twice)};
    for (const std::string& a : all)
      for (const std::string& b : all) REQUIRE(same(a, b));
    CHECK(all[0] == all[1]);  // rounding to bfloat16 twice is rounding once
    CHECK_FALSE(same(all[0], with_weights(trained)));
  }
}

TEST_CASE("what differs is said in words") {
  std::vector<float> weights(22, 0.25f);
  const std::string one = with_weights(weights);
  weights[7] = -0.25f, weights[9] = 0.26f;
  CHECK(fingerprint_difference(one, with_weights(weights)) == "weights (2 of the fingerprint's 22)");
  const std::string wider = model_fingerprint({1, 9, 9, 2, 1, 4}, [](weight_place) { return 0.25f; });
  CHECK(fingerprint_difference(one, wider) == "fingerprint of kv1:6:9:2 (this model: kv1:9:9:2)");
  CHECK(fingerprint_difference("0123", "4567") == "fingerprint \"0123\" (this model: \"4567\")");
  CHECK(fingerprint_difference("0123", "0123").empty());
  for (const char* text : {"kv1:6:9:2:", "kv1:6:9:2:3f8", "kv1:6:9:2:3F80", "kv1:6:9:3f80", "kv2:6:9:2:3f80", ""})
    CHECK_FALSE(parts_of_fingerprint(text).has_value());
}

TEST_CASE("a plan of the driver is one for an engine that keeps the same model otherwise") {
  std::vector<float> weights(22, 0.3f), halves(22, float16(0.3f));
  const model_identity driver{1, 1, 4, "half-split theta=10000 scaling=none", with_weights(weights)},
      engine{1, 1, 4, "interleaved theta=1e4", with_weights(halves)};
  CHECK_NOTHROW(check_same_model(driver, engine));
  model_identity other = engine;
  other.rope = "interleaved theta=5e5";
  other.layers = 2;
  halves[0] = 0.31f;
  other.fingerprint = with_weights(halves);
  CHECK_THROWS_WITH_AS(
      check_same_model(driver, other),
      "kvsharer E603: the plan was made for another model: layers 1 (this model: 2), rope \"half-split "
      "theta=10000 scaling=none\" (this model: \"interleaved theta=5e5\"), weights (1 of the "
      "fingerprint's 22); search again on this one",
      error);
}
