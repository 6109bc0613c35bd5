// SPDX-License-Identifier: Apache-2.0
#include "probe/choices.hpp"

#include <doctest/doctest.h>

#include "probe/metric_named.hpp"
#include "search/order_named.hpp"

using namespace mini_llama;

TEST_CASE("a share is a count or a percentage") {
  CHECK(parse_share("6", 24) == 6);
  CHECK(parse_share("0", 24) == 0);
  CHECK(parse_share("23", 24) == 23);
  CHECK(parse_share("25%", 24) == 6);
  CHECK(parse_share("12.5%", 24) == 3);
  CHECK(parse_share("37.5%", 32) == 12);
  CHECK(parse_share("12.5%", 40) == 5);
}

TEST_CASE("a share at and beyond its limits is refused as the user's mistake") {
  for (const char* bad :
       {"24", "-1", "100%", "-5%", "1000000000000", "6.5", "", "%", "six", "6 ", "25%%", "nan", "inf%"})
    CHECK_THROWS_WITH_AS((void)parse_share(bad, 24), doctest::Contains("--share"), usage_error);
  CHECK(parse_share("95%", 24) == 23);
}

TEST_CASE("every name that the command line offers is known, and no other") {
  for (const char* name : metric_names) CHECK(with_metric(name, [](auto) { return true; }));
  for (const char* name : order_names) {
    const recipe how(order_named(name));
    CHECK((how.is_best_first() || with_order(how.order(), 0, {}, [](const auto&) { return true; })));
  }
  for (const char* name : objective_names) CHECK(objective_named(name, "cosine-of-mean"));
  for (const char* name : similarity_names) (void)similarity_named(name);
  CHECK_THROWS_AS(with_metric("euclid", [](auto) { return true; }), usage_error);
  CHECK_THROWS_AS(with_order(search_order::best, 0, {}, [](const auto&) { return true; }), usage_error);
  CHECK_THROWS_AS((void)similarity_named("dot"), usage_error);
  CHECK_THROWS_AS((void)objective_named("mse", "cosine-of-mean"), usage_error);
  CHECK_THROWS_AS((void)objective_named("cosine", "dot"), usage_error);
}
