// SPDX-License-Identifier: Apache-2.0
#include "commands/draw.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace kvsharer;

TEST_CASE("a map is drawn as owners and readers") {
  const std::string text = mini_llama::draw_map(share_map::from_owners(std::vector{0, 1, 0, 1, 4, 1}).value());
  CHECK(text.find("##..#.") != std::string::npos);
  CHECK(text.find("layer 0 is read by 2\n") != std::string::npos);
  CHECK(text.find("layer 1 is read by 3, 5\n") != std::string::npos);
  CHECK(text.find("layer 4 is read") == std::string::npos);
}

TEST_CASE("distances are shaded from the smallest to the largest, shared pairs marked") {
  distance_matrix d(4);
  for (layer_pair p : all_pairs(4)) d.set(p, 2);
  d.set({{1}, {0}}, 1);
  d.set({{3}, {0}}, 9);
  const std::string text = mini_llama::draw_distances(d, share_map::from_owners(std::vector{0, 1, 2, 2}).value());
  CHECK(text.find("   1   \n") == 0);
  CHECK(text.find("   3 \u2588\u2588  ()\n") != std::string::npos);
  CHECK(text.find("blank 1 to full 9") != std::string::npos);
}
