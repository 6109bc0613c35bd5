// SPDX-License-Identifier: Apache-2.0
// The code of docs/reference/result.md.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/share_map.hpp"

namespace {

using kvsharer::errc;
using kvsharer::share_map;

// [ask]
/// The map that a user wrote, or the one that shares nothing and a line for the log.
share_map map_or_identity(const std::vector<int>& owners, std::string& log) {
  const kvsharer::result<share_map> read = share_map::from_owners(owners);
  if (read) return read.value();
  log = read.failure().what();
  return share_map::identity(static_cast<int>(owners.size()));
}
// [/ask]

}  // namespace

TEST_CASE("a result is asked, or trusted") {
  std::string log;
  CHECK(map_or_identity({0, 0}, log).reader_count() == 1);
  CHECK(log.empty());
  CHECK(map_or_identity({0, 2, 1}, log) == share_map::identity(3));
  CHECK(log == "kvsharer E301: layer 1 cannot read layer 2; a layer reads itself or an earlier one");

  // [trust]
  // Where a failure would be a mistake of the program: value() throws the error itself.
  const share_map map = share_map::identity(4).with({{3}, {1}}).value();
  // [/trust]
  CHECK(map.owner({3}) == kvsharer::layer_id{1});

  // [number]
  const auto refused = share_map::identity(4).with({{1}, {3}});
  CHECK(refused.failure().code() == errc::bad_map);
  CHECK_THROWS_AS(refused.value(), kvsharer::error);
  // [/number]
}
