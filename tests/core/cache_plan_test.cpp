// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/core/cache_plan.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

using namespace kvsharer;

namespace {

share_map map_of(const std::vector<int>& owners) { return share_map::from_owners(owners).value(); }

/// Layer 1 stores keys alone, 2 values alone, 3 neither.
const share_plan apart(map_of({0, 1, 0, 1, 4}), map_of({0, 0, 2, 2, 4}));

// Methods that an engine might add: the library has only `native` and `none`.
constexpr std::array codecs{known_method{"native"}, known_method{"packed", "bits group"}};
constexpr std::array selectors{known_method{"none"}, known_method{"window", "recent"}};
constexpr std::array budgets{known_method{"none"}, known_method{"even", "share"}};
constexpr known_methods more{codecs, selectors, budgets};

std::vector<layer_range> ranges(const std::string& text) { return parse_layer_ranges(text).value(); }

cache_plan example() {
  return cache_plan::make(apart,
                          {ranges("0-1:native,4:packed:bits=2,group=32"), ranges("0-4:packed:bits=4"),
                           ranges("0-2:none,4:window:recent=64"), "even:share=25%"},
                          more)
      .value();
}

errc refusal(const cache_rules& rules, const share_plan& sharing = apart, const known_methods& known = {}) {
  const result<cache_plan> plan = cache_plan::make(sharing, rules, known);
  REQUIRE_FALSE(plan);
  return plan.failure().code();
}

}  // namespace

TEST_CASE("a share plan is a cache plan without rules") {
  const cache_plan plan = apart, one = map_of({0, 1, 0});
  CHECK(plan.sharing() == apart);
  CHECK(plan.layers() == 5);
  CHECK(plan.only_shares());
  CHECK_FALSE(plan.is_identity());
  CHECK(cache_plan(share_map::identity(3)).is_identity());
  CHECK_FALSE(cache_plan::make(share_map::identity(3), {.budget = "even"}, more).value().is_identity());
  CHECK(plan.key_codec({1}).text() == "native");
  CHECK(plan.value_codec({2}).text() == "native");
  CHECK(plan.selector({4}).text() == "none");
  CHECK(plan.budget().text() == "none");
  CHECK(one.sharing() == share_plan(map_of({0, 1, 0})));
  CHECK(cache_plan().layers() == 0);
  CHECK(cache_plan().rules().key_codecs.empty());
}

TEST_CASE("the hash of a plan without rules is that of its maps, so that streams and prefix keys stay") {
  for (const share_plan& sharing : {share_plan(), share_plan(map_of({0, 1, 0})), apart})
    CHECK(cache_plan(sharing).hash() == sharing.hash());
  const cache_plan spelled =
      cache_plan::make(apart, {ranges("0-4:native"), ranges("0:native,2-4:native"), ranges("0-4:none"), "none"})
          .value();
  CHECK(spelled == cache_plan(apart));
  CHECK(spelled.hash() == apart.hash());
  CHECK(spelled.only_shares());
}

TEST_CASE("rules are of the layers that own what they are for") {
  const cache_plan plan = example();
  CHECK_FALSE(plan.only_shares());
  CHECK(plan.key_codec({0}).text() == "native");
  CHECK(plan.key_codec({4}).text() == "packed:bits=2,group=32");
  CHECK(plan.value_codec({2}).text() == "packed:bits=4");
  CHECK(plan.selector({2}).text() == "none");
  CHECK(plan.selector({4}).text() == "window:recent=64");
  CHECK(plan.budget().text() == "even:share=25%");
}

TEST_CASE("rules come back in the fewest ranges, from the first owner to the last") {
  const cache_rules rules = example().rules();
  CHECK(layer_ranges_text(rules.key_codecs) == "0-1:native,4:packed:bits=2,group=32");
  CHECK(layer_ranges_text(rules.value_codecs) == "0-4:packed:bits=4");
  CHECK(layer_ranges_text(rules.selectors) == "0-2:none,4:window:recent=64");
  CHECK(rules.budget == "even:share=25%");
  CHECK(cache_plan::make(apart, rules, more).value() == example());
  CHECK(layer_ranges_text(cache_plan(map_of({0, 1, 0, 1})).rules().key_codecs) == "0-1:native");
}

TEST_CASE("every rule has its part in the hash") {
  std::set<std::uint64_t> hashes{apart.hash(), example().hash()};
  const auto add = [&](const cache_rules& rules) {
    hashes.insert(cache_plan::make(apart, rules, more).value().hash());
  };
  add({.key_codecs = ranges("0-4:packed:bits=2")});
  add({.value_codecs = ranges("0-4:packed:bits=2")});
  add({.key_codecs = ranges("0-4:packed:bits=4")});
  add({.key_codecs = ranges("0-4:packed:bits=2,group=8")});
  add({.key_codecs = ranges("0-4:packed:group=8,bits=2")});
  add({.key_codecs = ranges("0-1:packed:bits=2,4:native")});
  add({.selectors = ranges("0-4:window")});
  add({.budget = "even"});
  CHECK(hashes.size() == 10);
  CHECK(cache_plan::make(map_of({0, 1}), {.budget = "even"}, more).value().hash() !=
        cache_plan::make(map_of({0, 0}), {.budget = "even"}, more).value().hash());
  CHECK(example().hash() == example().hash());
}

TEST_CASE("a layer that owns nothing of a kind has no rule for it") {
  CHECK(refusal({.key_codecs = ranges("0-1:native,2-3:native,4:native")}) == errc::bad_rule);
  CHECK(refusal({.value_codecs = ranges("0:native,1:native,2-4:native")}) == errc::bad_rule);
  CHECK(refusal({.selectors = ranges("0-2:none,3:none,4:none")}) == errc::bad_rule);
  CHECK(cache_plan::make(apart, {.key_codecs = ranges("0:native,1-3:native,4:native")}));
}

TEST_CASE("ranges that do not fit the layers are refused") {
  CHECK(refusal({.key_codecs = ranges("0-5:native")}) == errc::bad_rule);
  CHECK(refusal({.key_codecs = ranges("0-3:native")}) == errc::bad_rule);
  CHECK(refusal({.value_codecs = ranges("2-4:native")}) == errc::bad_rule);
  CHECK(refusal({.selectors = ranges("0:none,4:none")}) == errc::bad_rule);
  CHECK(refusal({.key_codecs = ranges("0:native")}, share_plan()) == errc::bad_rule);
}

TEST_CASE("methods that this version does not have are refused by name") {
  CHECK(refusal({.key_codecs = ranges("0-4:kivi:bits=2")}) == errc::unknown_method);
  CHECK(refusal({.value_codecs = ranges("0-2:native,4:native:bits=2")}) == errc::unknown_method);
  CHECK(refusal({.selectors = ranges("0-4:h2o")}) == errc::unknown_method);
  CHECK(refusal({.selectors = ranges("0-4:native")}) == errc::unknown_method);
  CHECK(refusal({.budget = "pyramid"}) == errc::unknown_method);
  CHECK(refusal({.budget = "none:share=1"}) == errc::unknown_method);
  CHECK(refusal({.budget = ""}) == errc::bad_rule);
  CHECK(refusal({.key_codecs = ranges("0-4:native:bits")}) == errc::bad_rule);
  CHECK(refusal({.budget = "even:shares=1"}, apart, more) == errc::unknown_method);
  CHECK(cache_plan::make(apart, {.budget = "pyramid"}).failure().what() ==
        std::string("kvsharer E306: there is no budget \"pyramid\"; this version has: none"));
}
