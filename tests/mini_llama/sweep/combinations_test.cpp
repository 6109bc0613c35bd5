// SPDX-License-Identifier: Apache-2.0
#include "sweep/combinations.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "support/usage_error.hpp"

namespace {

using namespace mini_llama;

std::string refused(const sweep_axes& axes) {
  try {
    combinations_of(axes, 24);
  } catch (const usage_error& e) {
    return e.what();
  }
  return "(nothing was refused)";
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST_CASE("a plan is every combination once, sizes ascending, what shares a calibration together") {
  const auto plan = combinations_of({.share = {"25%", "2"},
                                     .order = {"similar", "random:2"},
                                     .metric = {"flat", "cosine"},
                                     .samples = {30, 10},
                                     .threshold = {0.5, 0.9}},
                                    24);
  REQUIRE(plan.size() == 2 * 3 * 2 * 2 * 2);
  CHECK(plan[0] == combination{2, recipe::parse("similar"), 0, "flat", 30, 0.5});
  CHECK(plan[1] == combination{6, recipe::parse("similar"), 0, "flat", 30, 0.5});
  CHECK(plan[2] == combination{2, recipe::parse("random"), 0, "flat", 30, 0.5});
  CHECK(plan[4] == combination{2, recipe::parse("random"), 1, "flat", 30, 0.5});
  CHECK(plan[6] == combination{2, recipe::parse("similar"), 0, "flat", 30, 0.9});
  CHECK(plan[12] == combination{2, recipe::parse("similar"), 0, "cosine", 30, 0.5});
  CHECK(plan[24] == combination{2, recipe::parse("similar"), 0, "flat", 10, 0.5});
  for (std::size_t i = 0; i < plan.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) CHECK(!(plan[i] == plan[j]));
}

TEST_CASE("what is asked for twice is planned once") {
  CHECK(combinations_of({.share = {"25%", "6", "6"}, .order = {"random", "random:1"}}, 24).size() == 1);
  CHECK(combinations_of({}, 24).size() == 4 * 8);
}

TEST_CASE("orders that rank nothing stand with one metric, and those by divergence with one threshold") {
  const auto plan = combinations_of({.share = {"2"},
                                     .order = {"best:kl", "best", "similar", "best-suffix:kl"},
                                     .metric = {"flat", "cosine"},
                                     .samples = {30, 10},
                                     .threshold = {0.5, 0.9}},
                                    24);
  std::vector<combination> expected;
  for (const int samples : {30, 10}) {
    for (const double threshold : {0.5, 0.9}) {
      expected.push_back({2, recipe::parse("best"), 0, "flat", samples, threshold});
      expected.push_back({2, recipe::parse("similar"), 0, "flat", samples, threshold});
    }
    for (const double threshold : {0.5, 0.9})
      expected.push_back({2, recipe::parse("similar"), 0, "cosine", samples, threshold});
    expected.push_back({2, recipe::parse("best:kl"), 0, "flat", samples, 0.5});
    expected.push_back({2, recipe::parse("best-suffix:kl"), 0, "flat", samples, 0.5});
  }
  CHECK(plan == expected);
  for (const std::string parts : {"apart", "keys", "values"}) {
    CHECK(combinations_of({.share = {"2"}, .order = {"best:" + parts}}, 24).size() == 1);
    CHECK(has(refused({.order = {"similar:" + parts}}), "similar shares whole layers"));
  }
}

TEST_CASE("impossible plans are refused, saying what is possible") {
  CHECK(has(refused({.share = {"0"}}), "full model"));
  CHECK(has(refused({.share = {"24"}}), "0 to 23"));
  CHECK(has(refused({.order = {"backwards"}}), "choose from dissimilar, similar, suffix, random, best, best-suffix"));
  CHECK(has(refused({.order = {"explicit"}}), "needs a search rule"));
  for (const std::string order : {"random:", "random:0", "random:x", "random:2x", "random:-1", "random:1001"})
    CHECK(has(refused({.order = {order}}), "as in random:5"));
  for (const std::string order : {"similar:2", "best:2", "best:"})
    CHECK(has(refused({.order = {order}}), "is not a search rule"));
  CHECK(has(refused({.order = {"similar:kl"}}), "scored by the divergence"));
  CHECK(has(refused({.metric = {"manhattan"}}), "manhattan"));
  CHECK(has(refused({.samples = {0}}), "--samples"));
  CHECK(has(refused({.threshold = {std::stod("nan")}}), "--threshold"));
  CHECK(has(refused({.metric = {}}), "at least one"));
}

}  // namespace
