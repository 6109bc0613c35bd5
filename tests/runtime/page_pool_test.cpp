// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/runtime/page_pool.hpp"

#include "runtime/cache_fixtures.hpp"

using namespace cache_fixtures;

TEST_CASE("pages are handed out lowest first, counted, and come back when nobody holds them") {
  page_pool<> pool(3);
  CHECK(pool.pages() == 3);
  CHECK(pool.acquire() == 0);
  CHECK(pool.acquire() == 1);
  pool.share(1);
  CHECK(pool.references(1) == 2);
  CHECK(pool.shared(1));
  CHECK(pool.shared_pages() == 1);
  pool.share(1);
  CHECK(pool.shared_pages() == 1);
  pool.release(1);
  CHECK(pool.shared_pages() == 1);
  CHECK(pool.free_pages() == 1);
  pool.release(1);
  CHECK_FALSE(pool.shared(1));
  CHECK(pool.shared_pages() == 0);
  CHECK(pool.free_pages() == 1);
  pool.release(1);
  CHECK(pool.free_pages() == 2);
  CHECK(pool.peak_pages() == 2);
  CHECK(pool.acquire() == 1);  // the page given back last is still in the processor's cache
  CHECK(pool.acquire() == 2);
  CHECK_REFUSED(pages_exhausted, pool.acquire());
  CHECK(pool.free_pages() == 0);
  CHECK(pool.peak_pages() == 3);
  pool.reset();
  CHECK(pool.peak_pages() == 0);
  CHECK(pool.free_pages() == 3);
  CHECK(pool.acquire() == 0);
}

TEST_CASE("a pool of no pages refuses") {
  page_pool<> pool(0);
  CHECK_REFUSED(pages_exhausted, pool.acquire());
}

TEST_CASE("a pool that was moved from counts nothing and refuses") {
  const auto counts_nothing = [](page_pool<>& pool) {
    CHECK(pool.pages() == 0);
    CHECK(pool.free_pages() == 0);
    CHECK(pool.shared_pages() == 0);
    CHECK(pool.peak_pages() == 0);
    CHECK_REFUSED(pages_exhausted, pool.acquire());
  };
  const auto counts_three = [](const page_pool<>& pool) {
    CHECK(pool.pages() == 3);
    CHECK(pool.free_pages() == 1);
    CHECK(pool.shared_pages() == 1);
    CHECK(pool.peak_pages() == 2);
    CHECK(pool.references(0) == 2);
  };
  page_pool<> first(3);
  first.share(first.acquire());
  CHECK(first.acquire() == 1);
  page_pool<> second(std::move(first));
  counts_nothing(first);
  counts_three(second);
  page_pool<> third(5);
  third = std::move(second);
  counts_nothing(second);
  counts_three(third);
}
