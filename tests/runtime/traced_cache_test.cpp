// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/runtime/traced_cache.hpp"

#include <sstream>

#include "runtime/cache_fixtures.hpp"

using namespace cache_fixtures;

namespace {

std::vector<std::string> seen;  // "+name" where a range begins, "-" where it ends

struct recorded {
  explicit recorded(const char* name) { seen.push_back(std::string("+") + name); }
  recorded(const recorded&) = delete;
  ~recorded() { seen.push_back("-"); }
};

}  // namespace

TEST_CASE("every change of a traced cache stands in a range of its own, refusals too, and does what it does") {
  const cache_shape shape{3, 1, 2, 8};
  traced_cache<shared_cache<float, layout::paged<4>>, recorded> cache(map_of({0, 1, 1}), shape,
                                                                      shared_cache_options{.max_sequences = 3});
  const auto k = rows(shape, 5, 1), v = rows(shape, 5, 2);
  seen.clear();
  const auto a = cache.create();
  CHECK(cache.append(a, 5) == 0);
  cache.store(layer_id{1}, a, index_t{0}, index_t{5}, k.data(), v.data());
  const auto b = cache.fork(a);
  const std::vector<sequence_growth> one_each{{a, 1}, {b, 2}};
  cache.append(one_each);
  cache.truncate(b, 3);
  CHECK_REFUSED(capacity_exceeded, cache.append(b, 6));
  std::stringstream bytes;
  cache.save(a, bytes);
  cache.drop(a);
  const auto c = cache.restore(bytes);
  CHECK(cache.length(c) == 6);
  CHECK(cache.length(b) == 3);
  CHECK(cache.keys({2}, c).at(0, 4, 1) == k[9]);
  CHECK(cache.counters().sequences == 2);
  cache.clear();
  std::vector<std::string> expected;
  for (const char* name :
       {"create", "append", "store", "fork", "append", "truncate", "append", "save", "drop", "restore", "clear"}) {
    expected.push_back(std::string("+kvsharer ") + name);
    expected.push_back("-");
  }
  CHECK(seen == expected);
}
