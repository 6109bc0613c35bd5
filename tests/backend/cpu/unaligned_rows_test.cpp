// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cstddef>
#include <vector>

#include "kvsharer/backend/cpu/aligned_vector.hpp"
#include "kvsharer/backend/cpu/decode_attention.hpp"
#include "kvsharer/backend/cpu/row_panel.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/layout/layer_view.hpp"
#include "kvsharer/layout/strided_index.hpp"

using namespace kvsharer;
using namespace kvsharer::cpu::detail;

namespace {

constexpr index_t channels = 53;  // more than three of the widest registers

/// Small integers, whose sums and products are exact, from every address a float may have within a cache line.
struct numbers {
  aligned_vector<float> data = aligned_vector<float>(4096);
  explicit numbers(int seed) {
    for (std::size_t i = 0; i < data.size(); ++i)
      data[i] = static_cast<float>((static_cast<int>(i) * 7 + seed) % 11 - 5);
  }
  const float* from(index_t offset) const { return data.data() + offset; }
};

}  // namespace

TEST_CASE("products of rows at any address") {
  const numbers a(1), b(2);
  for (index_t i = 0; i < 16; ++i)
    for (index_t j = 0; j < 16; ++j) {
      float sum = 0;
      for (index_t d = 0; d < channels; ++d) sum += a.from(i)[d] * b.from(j)[d];
      CHECK(dot(a.from(i), b.from(j), channels) == sum);

      std::vector<float> y(static_cast<std::size_t>(channels + 16), 2.0f);
      add_scaled(3.0f, a.from(i), y.data() + j, channels);
      for (index_t d = 0; d < channels + 16; ++d)
        REQUIRE(y[static_cast<std::size_t>(d)] == (d < j || d >= j + channels ? 2.0f : 2.0f + 3.0f * a.from(i)[d - j]));
    }
}

TEST_CASE("rows at any address are turned into lanes") {
  const numbers a(3);
  for (index_t offset = 0; offset < 16; ++offset) {
    const layer_view view{a.from(offset), layout::strided_index{.head = 0, .token = channels + 2}};
    row_panel<layer_view<float, layout::strided_index>> panel(2);
    panel.load(1, view, {.row = 3, .rows = cpu::detail::lanes, .channel = 0, .channels = channels}, 40);
    for (index_t c = 0; c < channels; ++c)
      for (index_t lane = 0; lane < cpu::detail::lanes; ++lane)
        REQUIRE(panel.layer(1)[c * cpu::detail::lanes + lane] == view.at(0, 3 + lane, c));
  }
}
