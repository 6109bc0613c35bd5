// SPDX-License-Identifier: Apache-2.0
// How large a budget is, budgets from a file of numbers, and numbers of layers that become numbers of sets.
#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "kvsharer/budget/numbers.hpp"
#include "kvsharer/budget/over_readers.hpp"
#include "kvsharer/budget/size.hpp"
#include "thrown.hpp"

using namespace kvsharer;
using tokens = std::vector<index_t>;

TEST_CASE("a compression ratio is what is removed, and rounding costs no token") {
  CHECK(budget::tokens_left(.5, 100) == 50);
  CHECK(budget::tokens_left(.9, 10) == 1);    // 1 - 0.9 is below 0.1 in double
  CHECK(budget::tokens_left(.8, 100) == 20);  // and 1 - 0.8 below 0.2
  CHECK(budget::tokens_left(.25, 101) == 75);
  CHECK(budget::tokens_left(0, 77) == 77);
  CHECK(budget::tokens_left(.999, 5) == 1);
  CHECK(budget::tokens_left(.5, 0) == 0);
  for (const double wrong : {-.1, 1.0, 1.5, std::nan("")})
    CHECK(thrown([&] { budget::tokens_left(wrong, 10); }) == errc::bad_argument);
}

TEST_CASE("of the whole cache, sharing has removed something already") {
  // Half of 24 layers' cache in 18 sets: two thirds of the tokens of each.
  CHECK(budget::tokens_left_with_sharing(.5, 300, 18, 24) == 200);
  CHECK(budget::tokens_left_with_sharing(.25, 300, 18, 24) == 300);  // sharing does it alone
  CHECK(budget::tokens_left_with_sharing(.1, 300, 18, 24) == 300);
  CHECK(budget::tokens_left_with_sharing(.5, 300, 24, 24) == budget::tokens_left(.5, 300));
  CHECK(thrown([] { budget::tokens_left_with_sharing(.5, 300, 25, 24); }) == errc::bad_argument);
  CHECK(thrown([] { budget::tokens_left_with_sharing(1, 300, 18, 24); }) == errc::bad_argument);
}

TEST_CASE("bytes of the whole cache are tokens of each head") {
  // Two sets of 2 heads: 256 bytes for a token of a head, and 384 where the keys of another layer are in the set.
  const tokens sizes{256, 384};
  CHECK(budget::tokens_in_bytes(1280 * 40, sizes, 2) == 40);
  CHECK(budget::tokens_in_bytes(1280 * 41 - 1, sizes, 2) == 40);
  CHECK(budget::bytes_of(token_budget::even(tokens{40, 40}, 2), sizes) == 1280 * 40);
  CHECK(budget::bytes_of({.kv_heads = 2, .tokens = {1, 2, 3, 4}}, sizes) == 3 * 256 + 7 * 384);
  CHECK(thrown([&] { budget::tokens_in_bytes(1279, sizes, 2); }) == errc::bad_argument);
  CHECK(thrown([&] { budget::tokens_in_bytes(1000, tokens{}, 2); }) == errc::bad_shape);
  CHECK(thrown([&] { budget::tokens_in_bytes(1000, tokens{0}, 2); }) == errc::bad_shape);
  CHECK(thrown([&] { budget::bytes_of(token_budget::even(tokens{40}, 2), sizes); }) == errc::bad_shape);
}

TEST_CASE("a file of numbers: a line for each set, a number for each head or for all") {
  const std::string text = "# set 0 is uneven\n10 20, 30\n\n 5\t# all three\r\n0 0 7\n";
  const token_budget b = budget::read_numbers(text, 3).value();
  CHECK(b.tokens == tokens{10, 20, 30, 5, 5, 5, 0, 0, 7});
  CHECK(budget::numbers_text(b) == "10 20 30\n5\n0 0 7\n");
  CHECK(budget::read_numbers(budget::numbers_text(b), 3).value() == b);
  CHECK(budget::read_numbers("4", 1).value().tokens == tokens{4});
  const auto says = [](const std::string& wrong) {
    const auto r = budget::read_numbers(wrong, 3);
    CHECK_FALSE(r);
    CHECK(r.failure().code() == errc::bad_rule);
    return std::string(r.failure().what());
  };
  CHECK(says("1 2 3\n1 2\n").find("line 2 of the budget has 2 numbers for 3 KV heads") != std::string::npos);
  CHECK(says("1\n-2\n").find("line 2 of the budget has something that is no number of tokens") != std::string::npos);
  says("1.5");
  says("1 2x 3");
  says("99999999999999999999");
  says("");
  says("# nothing\n\n");
  says(std::string("1\0", 2));
  CHECK(budget::read_numbers("1", 0).failure().code() == errc::bad_shape);
}

TEST_CASE("numbers from a file are cut to the prompt, and must fit the sets") {
  const budget::numbers n{{.kv_heads = 2, .tokens = {10, 20, 30, 40}}};
  CHECK(n.spread({}, {.sets = 2, .kv_heads = 2, .tokens = 25}).value().tokens == tokens{10, 20, 25, 25});
  CHECK(n.spread({}, {.sets = 4, .kv_heads = 1, .tokens = 25}).failure().code() == errc::bad_shape);
  CHECK(n.spread({}, {.sets = 3, .kv_heads = 2, .tokens = 25}).failure().code() == errc::bad_shape);
}

TEST_CASE("numbers of layers become numbers of token sets") {
  using budget::over_readers;
  using budget::readers;
  const share_plan plan = share_map::from_owners(std::vector<int>{0, 1, 0, 1, 4, 0}).value();
  const std::vector<double> of_layers{1, 10, 2, 20, 9, 40, 3, 30, 5, 50, 6, 60};  // [layers][2 heads]
  CHECK(over_readers(plan, of_layers, 2, readers::ignored) == std::vector<double>{1, 10, 2, 20, 5, 50});
  CHECK(over_readers(plan, of_layers, 2, readers::largest) == std::vector<double>{9, 60, 3, 30, 5, 50});
  CHECK(over_readers(plan, of_layers, 2, readers::mean) ==
        std::vector<double>{(1 + 9 + 6) / 3.0, (10 + 40 + 60) / 3.0, 2.5, 25, 5, 50});
  CHECK(thrown([&] { over_readers(plan, of_layers, 3, readers::mean); }) == errc::bad_shape);
  CHECK(thrown([&] { over_readers(plan, of_layers, 0, readers::mean); }) == errc::bad_shape);
}
