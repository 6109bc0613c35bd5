// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/runtime/check_owner.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace kvsharer;

namespace {

// Layer 1 stores values alone, 2 keys alone, 3 nothing: its keys are layer 2's, its values layer 1's. 4 reads layer 0.
const share_plan plan(share_map::from_owners(std::vector<int>{0, 0, 2, 2, 0}).value(),
                      share_map::from_owners(std::vector<int>{0, 1, 0, 1, 0}).value());

std::string refusal(int layer, bool keys, bool values) {
  try {
    check_owner(plan, {layer}, keys, values);
  } catch (const error& e) {
    CHECK(e.code() == errc::not_an_owner);
    return e.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("what a layer stores may be stored") {
  CHECK(refusal(0, true, true).empty());
  CHECK(refusal(1, false, true).empty());
  CHECK(refusal(2, true, false).empty());
  CHECK(refusal(1, false, false).empty());
}

TEST_CASE("what it reads may not, and whose that is stands in the refusal") {
  CHECK(contains(refusal(1, true, true), "layer 1 reads the keys of layer 0 and stores values alone"));
  CHECK(contains(refusal(2, true, true), "layer 2 reads the values of layer 0 and stores keys alone"));
  CHECK(contains(refusal(3, false, false),
                 "layer 3 reads the keys of layer 2 and the values of layer 1 and stores nothing"));
  CHECK(contains(refusal(4, true, false), "layer 4 reads layer 0 and stores nothing"));
}
