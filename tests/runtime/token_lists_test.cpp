// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/runtime/token_lists.hpp"

#include <doctest/doctest.h>

#include <vector>

using namespace kvsharer;

namespace {

std::vector<int> tables(const token_lists& lists, index_t list) {
  const auto of = lists.tables_of(list);
  return {of.begin(), of.end()};
}
// Layer 1 reads layer 0; layer 3 has keys of its own and the values of layer 2.
const share_plan plan(share_map::from_owners(std::vector<int>{0, 0, 2, 3}).value(),
                      share_map::from_owners(std::vector<int>{0, 0, 2, 2}).value());

}  // namespace

TEST_CASE("one list and one table where a page number stands for all planes") {
  const token_lists lists(plan, 2, list_scope::cache);
  CHECK(lists.lists() == 1);
  CHECK(lists.tables() == 1);
  CHECK(lists.one_page_for_all());
  CHECK(lists.head_step() == 0);
  CHECK(tables(lists, 0) == std::vector<int>{0});
  CHECK(lists.first_list({3}) == 0);
  CHECK(lists.value_table({3}) == 0);
}

TEST_CASE("a list for each set, a table for each plane") {
  const token_lists lists(plan, 2, list_scope::set);  // planes: keys of 0, 2, 3, values of 0, 2
  CHECK(lists.lists() == 2);
  CHECK(lists.tables() == 5);
  CHECK_FALSE(lists.one_page_for_all());
  CHECK(tables(lists, 0) == std::vector<int>{0, 3});
  CHECK(tables(lists, 1) == std::vector<int>{1, 4, 2});
  CHECK(lists.first_list({1}) == 0);
  CHECK(lists.first_list({3}) == 1);
  CHECK(lists.key_table({1}) == 0);
  CHECK(lists.key_table({3}) == 2);
  CHECK(lists.value_table({3}) == 4);
}

TEST_CASE("a list for each head of a set, a table for each head of a plane") {
  const token_lists lists(plan, 2, list_scope::head);
  CHECK(lists.lists() == 4);
  CHECK(lists.tables() == 10);
  CHECK(lists.head_step() == 1);
  CHECK(tables(lists, 1) == std::vector<int>{1, 7});     // head 1 of set 0
  CHECK(tables(lists, 2) == std::vector<int>{2, 8, 4});  // head 0 of set 1
  CHECK(lists.first_list({2}) == 2);
  CHECK(lists.key_table({3}) == 4);
  CHECK(lists.value_table({2}) == 8);
}
