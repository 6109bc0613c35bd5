// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <limits>
#include <random>
#include <string>
#include <vector>

#include "kvsharer/kvsharer.hpp"

using namespace kvsharer;

namespace {

/// One sequence's cache, [keys|values][layer][kv_head][token][channel].
struct sample {
  static constexpr memory_space space = memory_space::host;
  cache_shape s;
  std::vector<float> data;

  sample(index_t layers, index_t heads, index_t tokens, index_t dim, float fill)
      : s{layers, heads, dim, tokens}, data(static_cast<std::size_t>(2 * layers * heads * tokens * dim), fill) {}
  auto plane(index_t i) const {
    return layer_view{data.data() + i * s.kv_heads * s.capacity * s.head_dim,
                      layout::strided_index{.head = s.capacity * s.head_dim, .token = s.head_dim}};
  }
  cache_shape shape() const { return s; }
  index_t length() const { return s.capacity; }
  auto keys(layer_id l) const { return plane(l.value); }
  auto values(layer_id l) const { return plane(s.layers + l.value); }
};

errc refusal(calibration_average& a, const sample& s) {
  try {
    a.add(s);
  } catch (const error& e) {
    return e.code();
  }
  return errc{0};
}

}  // namespace

TEST_CASE("a sample of another length is refused by default, and the average stays as it was") {
  calibration_average a;
  a.add(sample(1, 1, 2, 1, 2));
  CHECK(refusal(a, sample(1, 1, 3, 1, 9)) == errc::mismatched_samples);
  a.add(sample(1, 1, 2, 1, 4));
  CHECK(a.samples() == 2);
  CHECK(a.keys({0}).at(0, 1, 0) == 3);
}

TEST_CASE("skipped samples do not weigh on the mean: the specification's example 10.2") {
  calibration_average a(length_mismatch::skip);
  a.add(sample(1, 1, 2, 1, 2));
  a.add(sample(1, 1, 5, 1, 100));
  a.add(sample(1, 1, 2, 1, 4));
  CHECK(a.samples() == 2);
  CHECK(a.skipped() == 1);
  CHECK(a.values({0}).at(0, 0, 0) == 3);
}

TEST_CASE("one-token samples, other models' samples and samples that are not finite are refused") {
  calibration_average a;
  CHECK(refusal(a, sample(1, 1, 1, 1, 0)) == errc::short_samples);
  sample nan(2, 1, 2, 3, 0);
  nan.data.back() = std::numeric_limits<float>::quiet_NaN();
  CHECK(refusal(a, nan) == errc::not_finite);
  CHECK(a.samples() == 0);
  CHECK(a.length() == 0);
  a.add(sample(2, 3, 4, 5, 1));
  CHECK(refusal(a, sample(1, 3, 4, 5, 1)) == errc::bad_shape);
  CHECK(refusal(a, sample(2, 3, 4, 6, 1)) == errc::bad_shape);
  sample infinite(2, 3, 4, 5, 1);
  infinite.data[7] = std::numeric_limits<float>::infinity();
  CHECK(refusal(a, infinite) == errc::not_finite);
  CHECK(a.samples() == 1);
  CHECK(a.keys({0}).at(0, 1, 2) == 1);
}

TEST_CASE("the running mean is the mean, at every index") {
  std::mt19937 random(5);
  std::normal_distribution<float> normal(3, 10);
  std::vector<sample> samples;
  calibration_average a;
  for (int n = 0; n < 30; ++n) {
    sample s(3, 2, 7, 5, 0);
    for (float& x : s.data) x = normal(random);
    a.add(s);
    samples.push_back(s);
  }
  for (int l = 0; l < 3; ++l)
    for (index_t h = 0; h < 2; ++h)
      for (index_t t = 0; t < 7; ++t)
        for (index_t d = 0; d < 5; ++d) {
          double keys = 0, values = 0;
          for (const sample& s : samples) {
            keys += s.keys({l}).at(h, t, d) / 30.0;
            values += s.values({l}).at(h, t, d) / 30.0;
          }
          // 30 updates, each rounding a number of magnitude 30 at most once or twice.
          CHECK(a.keys({l}).at(h, t, d) == doctest::Approx(keys).epsilon(1e-4));
          CHECK(a.values({l}).at(h, t, d) == doctest::Approx(values).epsilon(1e-4));
        }
}
