// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/search/calibration_samples.hpp"

#include <doctest/doctest.h>

using namespace kvsharer;

namespace {

errc refusal(calibration_samples& s, cache_shape shape, index_t tokens) {
  try {
    s.admit(shape, tokens);
  } catch (const error& e) {
    return e.code();
  }
  return errc{};
}

constexpr cache_shape model{.layers = 2, .kv_heads = 3, .head_dim = 4, .capacity = 100};

}  // namespace

TEST_CASE("the first sample taken fixes shape and length") {
  calibration_samples s;
  CHECK(refusal(s, model, 7) == errc{});
  CHECK(s.used() == 0);  // admitted, and not taken: another may still come first
  CHECK(refusal(s, {5, 1, 1, 0}, 9) == errc{});
  s.take(model, 7);
  CHECK(s.used() == 1);
  CHECK(s.shape() == cache_shape{2, 3, 4, 7});
  CHECK(refusal(s, {2, 3, 4, 7}, 7) == errc{});  // whatever its capacity
  CHECK(refusal(s, {3, 3, 4, 7}, 7) == errc::bad_shape);
  CHECK(refusal(s, {2, 2, 4, 7}, 7) == errc::bad_shape);
  CHECK(refusal(s, {2, 3, 5, 7}, 7) == errc::bad_shape);
  CHECK(refusal(s, model, 6) == errc::mismatched_samples);
  CHECK(s.used() == 1);
  CHECK(s.skipped() == 0);
}

TEST_CASE("samples that say nothing are refused before all else") {
  calibration_samples s;
  CHECK(refusal(s, model, 1) == errc::short_samples);
  CHECK(refusal(s, {2, 3, 4, 7, 5}, 7) == errc::bad_shape);  // values of another width
  CHECK(refusal(s, {2, 3, 4, 7, 4}, 7) == errc{});
  for (const cache_shape none : {cache_shape{0, 1, 1, 2}, cache_shape{1, 0, 1, 2}, cache_shape{1, 1, 0, 2}})
    CHECK(refusal(s, none, 2) == errc::bad_shape);
}

TEST_CASE("samples of another length are left out and counted where that was asked for") {
  calibration_samples s(length_mismatch::skip);
  REQUIRE(s.admit(model, 7));
  s.take(model, 7);
  CHECK_FALSE(s.admit(model, 8));
  CHECK(s.admit(model, 7));
  CHECK(s.used() == 1);
  CHECK(s.skipped() == 1);
  CHECK(refusal(s, {3, 3, 4, 7}, 8) == errc::bad_shape);  // another model's is no matter of length
}
