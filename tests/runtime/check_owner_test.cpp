// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/runtime/check_owner.hpp"

#include <string>

#include "runtime/cache_fixtures.hpp"

using namespace cache_fixtures;

namespace {

/// What is said where something is refused, else nothing.
std::string refusal(const share_plan& plan, int layer, bool keys, bool values) {
  try {
    check_owner(plan, {layer}, keys, values);
  } catch (const error& e) {
    CHECK(e.code() == errc::not_an_owner);
    return e.what();
  }
  return {};
}

bool has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("layers may store what they own") {
  const share_plan plan(map_of({0, 1, 0, 0}), map_of({0, 1, 2, 1}));
  CHECK(refusal(plan, 0, true, true).empty());
  CHECK(refusal(plan, 2, false, true).empty());
  CHECK(has(refusal(plan, 2, true, true), "layer 2 reads the keys of layer 0 and stores values alone"));
  const share_plan keys_alone(map_of({0, 1, 2}), map_of({0, 1, 1}));
  CHECK(refusal(keys_alone, 2, true, false).empty());
  CHECK(has(refusal(keys_alone, 2, true, true), "layer 2 reads the values of layer 1 and stores keys alone"));
}

TEST_CASE("a layer that stores nothing hears whose keys and whose values it reads") {
  const share_plan plan(map_of({0, 1, 0, 0}), map_of({0, 1, 0, 1}));
  CHECK(has(refusal(plan, 2, true, true), "layer 2 reads layer 0 and stores nothing"));
  CHECK(has(refusal(plan, 3, true, true),
            "layer 3 reads the keys of layer 0 and the values of layer 1 and stores nothing"));
}
