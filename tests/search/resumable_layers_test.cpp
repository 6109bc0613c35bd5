// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/search/resumable_layers.hpp"

#include <doctest/doctest.h>

#include <random>
#include <utility>
#include <vector>

using namespace kvsharer;

namespace {

/// The candidate's run writes `mark` where it begins and above.
void run(resumable_layers<int>& kept, int layers, int first, int mark) {
  kept.begin({first});
  for (int l = first; l < layers; ++l) kept.own({l}) = mark;
}

std::vector<int> seen(const resumable_layers<int>& kept, int layers) {
  std::vector<int> values;
  for (int l = 0; l < layers; ++l) values.push_back(kept[{l}]);
  return values;
}

}  // namespace

TEST_CASE("a candidate reads the accepted run below where it begins, and a rejected one leaves no trace") {
  resumable_layers<int> kept(4);
  run(kept, 4, 0, 1);
  CHECK(seen(kept, 4) == std::vector{1, 1, 1, 1});
  kept.accept();
  CHECK(seen(kept, 4) == std::vector{1, 1, 1, 1});
  run(kept, 4, 2, 2);
  CHECK(seen(kept, 4) == std::vector{1, 1, 2, 2});
  run(kept, 4, 3, 3);  // that was rejected
  CHECK(seen(kept, 4) == std::vector{1, 1, 1, 3});
  kept.accept();
  run(kept, 4, 1, 4);
  CHECK(seen(kept, 4) == std::vector{1, 4, 4, 4});
  kept.begin({4});
  CHECK(seen(kept, 4) == std::vector{1, 1, 1, 3});
  kept.accept();
  CHECK(seen(kept, 4) == std::vector{1, 1, 1, 3});
}

TEST_CASE("any order of candidates, against whole copies") {
  constexpr int layers = 6;
  std::mt19937 random(1);
  resumable_layers<int> kept(layers);
  std::vector<int> accepted(layers, 0);
  for (int mark = 1; mark < 500; ++mark) {
    const int first = static_cast<int>(random() % (layers + 1));
    std::vector<int> candidate = accepted;
    for (int l = first; l < layers; ++l) candidate[static_cast<std::size_t>(l)] = mark;
    run(kept, layers, first, mark);
    CHECK(seen(kept, layers) == candidate);
    if (random() % 3 == 0) {
      kept.accept();
      accepted = candidate;
    }
  }
}

TEST_CASE("values are swapped and never copied") {
  std::vector<std::vector<float>> a(2, std::vector<float>(3)), b(2, std::vector<float>(3));
  const float* const of_a = a[1].data();
  const float* const of_b = b[1].data();
  resumable_layers<std::vector<float>> kept(std::move(a), std::move(b));
  kept.begin({1});
  CHECK(kept.own({1}).data() == of_b);
  kept.accept();
  CHECK(kept[{1}].data() == of_b);
  kept.begin({0});
  CHECK(kept.own({1}).data() == of_a);
}
