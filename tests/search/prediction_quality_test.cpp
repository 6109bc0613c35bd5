// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/search/prediction_quality.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <span>
#include <vector>

using namespace kvsharer;

TEST_CASE("figures of a text by hand") {
  const std::vector<prediction_score> scores{{std::log(2.0), std::log(4.0), 0.5, 1},
                                             {std::log(8.0), std::log(4.0), 0.25, 0},
                                             {std::log(4.0), std::log(4.0), 0.0, 1},
                                             {std::log(4.0), std::log(4.0), 0.25, 1}};
  prediction_sums sums;
  sums.add(std::span(scores).first(1));
  sums.add(std::span(scores).subspan(1));
  const prediction_quality all = sums.result();
  CHECK(sums.tokens() == 4);
  CHECK(all.tokens == 4);
  CHECK(all.perplexity == doctest::Approx(4));
  CHECK(all.full_perplexity == doctest::Approx(4));
  CHECK(all.kl == 0.25);
  CHECK(all.top1_agreement == 0.75);
}

TEST_CASE("how a text is cut changes no bit") {
  std::vector<prediction_score> scores;
  for (int i = 0; i < 100; ++i) scores.push_back({1.0 / (i + 3), 1.0 / (i + 7), 0.1 / (i + 1), i % 3 == 0});
  prediction_sums at_once, one_by_one;
  at_once.add(scores);
  for (const prediction_score& s : scores) one_by_one.add({&s, 1});
  CHECK(at_once.result().perplexity == one_by_one.result().perplexity);
  CHECK(at_once.result().kl == one_by_one.result().kl);
}

TEST_CASE("nothing scored") {
  const prediction_quality none = prediction_sums().result();
  CHECK(none.tokens == 0);
  CHECK(none.perplexity == 1);
  CHECK(none.kl == 0);
}
