// SPDX-License-Identifier: Apache-2.0
#include "search/recipe.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <limits>
#include <string>

#include "support/usage_error.hpp"

using namespace mini_llama;

TEST_CASE("a recipe is an order, what is scored, and what is shared") {
  const recipe paper;
  CHECK(paper == recipe::parse("dissimilar"));
  CHECK(paper.order() == search_order::dissimilar);
  CHECK(paper.score() == search_score::cosine);
  CHECK(paper.parts() == shared_parts::together);
  CHECK(paper.default_threshold() == 0.5);

  const recipe suffix = recipe::parse("best-suffix:kl:keys");
  CHECK(suffix == recipe(search_order::best_suffix, search_score::kl, shared_parts::keys));
  CHECK(suffix.order_name() == "best-suffix");
  CHECK(suffix.objective() == "kl");
  CHECK(suffix.halves() == kvsharer::kv_part::keys);
  CHECK(suffix.default_threshold() == -std::numeric_limits<double>::infinity());
}

TEST_CASE("what a recipe says of itself") {
  for (const std::string text : {"best", "best-suffix", "best:kl", "best:apart"}) {
    CAPTURE(text);
    CHECK(recipe::parse(text).is_best_first());
  }
  for (const std::string text : {"dissimilar", "similar", "suffix", "random", "explicit", "random:kl"}) {
    CAPTURE(text);
    CHECK_FALSE(recipe::parse(text).is_best_first());
    CHECK_FALSE(recipe::parse(text).is_apart());
  }
  CHECK(recipe::parse("random").has_seeds());
  CHECK_FALSE(recipe::parse("similar").has_seeds());
  CHECK(recipe::parse("similar").has_threshold());
  CHECK_FALSE(recipe::parse("similar:kl").has_threshold());
  for (const std::string text : {"best:apart", "best:keys", "best:values"}) CHECK(recipe::parse(text).is_apart());
  CHECK(recipe::parse("best:apart").halves() == kvsharer::kv_part::both);
  CHECK(recipe::parse("best:values").halves() == kvsharer::kv_part::values);
}

TEST_CASE("every recipe comes back from its text") {
  for (std::size_t order = 0; order < order_names.size(); ++order)
    for (std::size_t score = 0; score < objective_names.size(); ++score)
      for (std::size_t parts = 0; parts < parts_names.size(); ++parts) {
        const auto o = static_cast<search_order>(order);
        if (parts > 0 && !recipe(o).is_best_first()) continue;
        const recipe how(o, static_cast<search_score>(score), static_cast<shared_parts>(parts));
        CAPTURE(how.text());
        CHECK(recipe::parse(how.text()) == how);
      }
  CHECK(recipe(search_order::best, search_score::kl, shared_parts::apart).text() == "best:kl:apart");
}

TEST_CASE("other texts are refused, and the refusal says what can be chosen") {
  for (const std::string text :
       {"", ":", "backwards", "Best", "best:", "best:kl:", ":kl", "best:together", "best:cosine", "best:keys:kl",
        "best:keys:values", "best::keys", "best:kl:kl", "best ", "random:5"}) {
    CAPTURE(text);
    CHECK_THROWS_WITH_AS((void)recipe::parse(text), doctest::Contains("is not a search rule"), usage_error);
  }
  CHECK_THROWS_WITH_AS((void)recipe::parse("best:x"),
                       doctest::Contains("choose from dissimilar, similar, suffix, random, best, best-suffix or "
                                         "explicit, then :kl"),
                       usage_error);
  for (const std::string text : {"similar:apart", "random:keys", "explicit:kl:values"})
    CHECK_THROWS_WITH_AS((void)recipe::parse(text), doctest::Contains("shares whole layers"), usage_error);
  CHECK_THROWS_AS((void)order_named("best:kl"), usage_error);
  CHECK_THROWS_AS((void)score_named("dot"), usage_error);
}
