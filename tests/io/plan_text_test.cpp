// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <array>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "kvsharer/io/plan_text.hpp"

using namespace kvsharer;

namespace {

share_map map_of(const std::vector<int>& owners) { return share_map::from_owners(owners).value(); }

/// FNV-1a over the owners as 32-bit numbers, lowest byte first, as a program in C would compute it.
std::uint64_t hash_of(const std::vector<int>& owners) {
  std::uint64_t h = 14695981039346656037u;
  for (const int owner : owners)
    for (int byte = 0; byte < 4; ++byte)
      h = (h ^ ((static_cast<std::uint32_t>(owner) >> (8 * byte)) & 0xff)) * 1099511628211u;
  return h;
}

std::string hash_text(const std::vector<int>& owners) { return std::to_string(hash_of(owners)); }

errc refusal(const std::string& text) {
  const result<share_plan> plan = plan_from_text(text);
  REQUIRE_FALSE(plan);
  return plan.failure().code();
}

}  // namespace

TEST_CASE("a plan is one line of integers") {
  CHECK(plan_text(map_of({0, 1, 0, 1})) == "kvsharer-plan 3 4 0 1 0 1 0 1 0 1 " + hash_text({0, 1, 0, 1}) + "\n");
  const share_plan apart(map_of({0, 0, 2}), map_of({0, 1, 1}));
  const std::uint64_t both = (hash_of({0, 0, 2}) * 1099511628211u) ^ hash_of({0, 1, 1});
  CHECK(plan_text(apart) == "kvsharer-plan 3 3 0 0 2 0 1 1 " + std::to_string(both) + "\n");
  CHECK(plan_text(share_plan()) == "kvsharer-plan 3 0 14695981039346656037\n");
}

TEST_CASE("scanf reads the line") {
  const std::string text = plan_text(share_plan(map_of({0, 0, 2}), map_of({0, 1, 1})));
  int layers = 0, keys[3] = {}, values[3] = {}, taken = 0;
  std::uint64_t hash = 0;
  CHECK(std::sscanf(text.c_str(), "kvsharer-plan 3 %d %d %d %d %d %d %d %" SCNu64 " %n", &layers, &keys[0], &keys[1],
                    &keys[2], &values[0], &values[1], &values[2], &hash, &taken) == 8);
  CHECK(taken == static_cast<int>(text.size()));
  CHECK(layers == 3);
  CHECK(std::vector(keys, keys + 3) == std::vector{0, 0, 2});
  CHECK(std::vector(values, values + 3) == std::vector{0, 1, 1});
}

TEST_CASE("what is written is read") {
  for (const share_plan& plan :
       {share_plan(), share_plan(map_of({0})), share_plan(map_of({0, 1, 0, 1})),
        share_plan(map_of({0, 0, 2, 2}), map_of({0, 1, 1, 3})), share_plan(share_map::identity(200))})
    CHECK(plan_from_text(plan_text(plan)).value() == plan);
}

TEST_CASE("a plan that does more than share has no line, and the refusal says what it does") {
  static constexpr std::array codecs{known_method{"native"}, known_method{"packed", "bits"}};
  const share_plan sharing = map_of({0, 1, 0});
  const cache_plan packed =
      cache_plan::make(sharing, {.value_codecs = parse_layer_ranges("0:native,1:packed:bits=2").value()}, {codecs})
          .value();
  try {
    (void)plan_text(packed);
    FAIL("a line without its rules");
  } catch (const error& e) {
    CHECK(e.code() == errc::bad_rule);
    CHECK(std::string(e.what()).find("the value codecs 0:native,1:packed:bits=2") != std::string::npos);
  }
  const cache_plan spelled =
      cache_plan::make(sharing, {.value_codecs = parse_layer_ranges("0-1:native").value()}).value();
  CHECK(plan_text(spelled) == plan_text(sharing));
}

TEST_CASE("white space may be any") {
  const std::string hash = hash_text({0, 0});
  for (const std::string& text :
       {"kvsharer-plan 3 2 0 0 0 0 " + hash, "\r\nkvsharer-plan\t3\n2\n0 0\n0 0\n" + hash + " \r\n\n"})
    CHECK(plan_from_text(text).value() == share_plan(map_of({0, 0})));
}

TEST_CASE("what is no plan is refused") {
  const std::string hash = hash_text({0, 0}), good = "kvsharer-plan 3 2 0 0 0 0 " + hash;
  REQUIRE(plan_from_text(good));
  CHECK(refusal("") == errc::plan_syntax);
  CHECK(refusal(" \n") == errc::plan_syntax);
  CHECK(refusal("{\"kvsharer_plan\": 3}") == errc::plan_syntax);
  CHECK(refusal("kvsharer-plan") == errc::plan_syntax);
  CHECK(refusal("kvsharer-plan 3") == errc::plan_syntax);
  CHECK(refusal("kvsharer-plan three 2 0 0 0 0 " + hash) == errc::plan_syntax);
  CHECK(refusal("kvsharer-plan 3 -2 0 0 0 0 " + hash) == errc::plan_syntax);
  CHECK(refusal("kvsharer-plan 3 2.5 0 0 0 0 " + hash) == errc::plan_syntax);
  CHECK(refusal("kvsharer-plan 3 99999999999 0 0 0 0 " + hash) == errc::plan_syntax);
  CHECK(refusal("kvsharer-plan 3 2147483647 0 0 0 0 " + hash) == errc::plan_syntax);
  CHECK(refusal("kvsharer-plan 3 2 0 -0 0 0 " + hash) == errc::plan_syntax);
  CHECK(refusal("kvsharer-plan 3 2 0 0x0 0 0 " + hash) == errc::plan_syntax);
  CHECK(refusal(good + " 0") == errc::plan_syntax);
  CHECK(refusal(good + "0") == errc::plan_syntax);
  for (std::size_t length = 0; length < good.size() - hash.size(); ++length)
    CHECK(refusal(good.substr(0, length)) == errc::plan_syntax);
}

TEST_CASE("other versions are refused") {
  CHECK(refusal("kvsharer-plan 2 2 0 0 0 0 " + hash_text({0, 0})) == errc::plan_version);
  CHECK(refusal("kvsharer-plan 4 anything") == errc::plan_version);
}

TEST_CASE("maps that cannot be are refused") {
  CHECK(refusal("kvsharer-plan 3 2 1 1 0 0 " + hash_text({0, 0})) == errc::bad_map);  // a later layer
  CHECK(refusal("kvsharer-plan 3 2 0 0 0 2 " + hash_text({0, 0})) == errc::bad_map);  // a layer that is not there
  CHECK(refusal("kvsharer-plan 3 3 0 0 1 0 0 1 " + hash_text({0, 0, 0})) == errc::bad_map);  // a chain
}

TEST_CASE("the hash tells a changed number") {
  const std::string hash = hash_text({0, 1, 1});
  CHECK(plan_from_text("kvsharer-plan 3 3 0 1 1 0 1 1 " + hash));
  CHECK(refusal("kvsharer-plan 3 3 0 1 0 0 1 0 " + hash) == errc::plan_syntax);
  CHECK(refusal("kvsharer-plan 3 3 0 1 1 0 1 0 " + hash) == errc::plan_syntax);
}
