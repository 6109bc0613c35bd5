// SPDX-License-Identifier: Apache-2.0
// An engine that keeps its own memory, and moves its rows as a cache_book says.
#include "kvsharer/runtime/cache_book.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <vector>

#include "kvsharer/codec/native.hpp"

using namespace kvsharer;

namespace {

constexpr cache_shape shape{2, 2, 1, 32};
constexpr index_t page_tokens = 4;

/// Rows of one number in the engine's own order: [page][slot]. A page is of one head of one plane, as the book has it.
struct engine {
  cache_book<> book{share_map::from_owners(std::vector<int>{0, 0}).value(),
                    shape,
                    page_tokens,
                    codec::native<float>(),
                    codec::native<float>(),
                    {.max_sequences = 2, .pages = 40, .positions = true, .lists = list_scope::head}};
  std::vector<float> rows = std::vector<float>(static_cast<std::size_t>(40 * page_tokens), -1.0f);
  sequence_id id = book.create();

  float& row(sequence_id of, index_t table, index_t slot) {
    const auto page = book.block_table(of, table)[static_cast<std::size_t>(slot / page_tokens)];
    return rows[static_cast<std::size_t>(page * page_tokens + slot % page_tokens)];
  }
  auto copy() {
    return [this](index_t, std::int32_t from, std::int32_t to, index_t tokens) {
      for (index_t t = 0; t < tokens; ++t)
        rows[static_cast<std::size_t>(to * page_tokens + t)] = rows[static_cast<std::size_t>(from * page_tokens + t)];
    };
  }
  /// What it writes of the token at a position: its table, and the position.
  static float number(index_t table, index_t position) { return static_cast<float>(100 * table + position); }

  void append(sequence_id of, index_t tokens) {
    const sequence_growth growth{of, tokens};
    book.append({&growth, 1}, copy(), [&](sequence_id grown, index_t) {
      for (index_t l = 0; l < book.lists().lists(); ++l)
        for (const auto table : book.lists().tables_of(l))
          for (index_t t = book.length(grown, l) - tokens; t < book.length(grown, l); ++t)
            row(grown, table, t) = number(table, book.position(grown, t, l));
    });
  }
  void keep(sequence_id of, index_t list, const std::vector<index_t>& slots) {
    book.keep(of, list, slots, copy(), [&](index_t moved, std::span<const index_t> from, index_t first) {
      for (const auto table : book.lists().tables_of(moved))
        for (auto to = first; to < static_cast<index_t>(from.size()); ++to)
          row(of, table, to) = row(of, table, from[static_cast<std::size_t>(to)]);
    });
  }
  /// Has every list the rows of the tokens that the book says it has?
  bool right(sequence_id of) {
    for (index_t l = 0; l < book.lists().lists(); ++l)
      for (const auto table : book.lists().tables_of(l))
        for (index_t t = 0; t < book.length(of, l); ++t)
          if (row(of, table, t) != number(table, book.position(of, t, l))) return false;
    return true;
  }
};

}  // namespace

TEST_CASE("an engine moves its own rows as the book says") {
  engine e;
  CHECK(e.book.lists().tables() == 4);
  e.append(e.id, 14);
  CHECK(e.right(e.id));
  e.keep(e.id, 0, {0, 1, 9, 13});
  CHECK(e.right(e.id));
  CHECK(e.book.length(e.id, 0) == 4);
  CHECK(e.book.free_pages() == 40 - 2 * 1 - 2 * 4);
  const sequence_id fork = e.book.fork(e.id);
  e.append(e.id, 3);
  e.keep(fork, 1, {2, 5, 8, 9, 10});
  e.append(fork, 1);
  CHECK(e.right(e.id));
  CHECK(e.right(fork));
  CHECK(e.book.position(fork, 4, 0) == 14);
  e.book.truncate(e.id, 2);
  CHECK(e.right(e.id));
  e.book.drop(fork);
  e.book.drop(e.id);
  CHECK(e.book.free_pages() == 40);
}

TEST_CASE("a book of one list needs one table, and says whose rows a layer reads") {
  cache_book<> book(share_map::from_owners(std::vector<int>{0, 0}).value(), shape, page_tokens,
                    codec::native<float16>(), codec::native<float16>(), {.max_sequences = 1});
  const auto id = book.create();
  const sequence_growth growth{id, 5};
  book.append(
      {&growth, 1}, [](auto&&...) { FAIL("nothing is shared"); },
      [](sequence_id, index_t first) { CHECK(first == 0); });
  CHECK(book.block_table(id).size() == 8);
  CHECK(book.geometry().page_bytes == 2 * 2 * 4 * 2);
  CHECK(book.key_slot({1}) == 0);
  CHECK_FALSE(book.owns({1}));
  CHECK_THROWS_AS(book.check_owner({1}, true, true), error);
}
