// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cstddef>
#include <vector>

#include "kvsharer/backend/cpu/aligned_vector.hpp"
#include "kvsharer/backend/cpu/decode_tiles.hpp"
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

template <index_t Group>
void check_products(const numbers& a, const numbers& b, index_t i, index_t j) {
  token_rows<float> block;
  for (index_t r = 0; r < block_rows; ++r) block.rows[r] = b.from(j + r * (channels + 2));
  std::vector<float> scores(static_cast<std::size_t>(Group * block_rows));
  score_block<Group>(a.from(i), block, channels, scores.data(), block_rows);
  for (index_t g = 0; g < Group; ++g)
    for (index_t r = 0; r < block_rows; ++r) {
      float sum = 0;
      for (index_t d = 0; d < channels; ++d) sum += a.from(i)[g * channels + d] * block.rows[r][d];
      REQUIRE(scores[static_cast<std::size_t>(g * block_rows + r)] == sum);
    }

  constexpr index_t rows = 7;
  std::vector<float> out(static_cast<std::size_t>(Group * channels + 16), 2.0f);
  add_block<Group>(a.from(i), block_rows, block, rows, channels, out.data() + j);
  for (index_t d = 0; d < static_cast<index_t>(out.size()); ++d) {
    float sum = 2;
    if (d >= j && d < j + Group * channels)
      for (index_t r = 0; r < rows; ++r)
        sum += a.from(i)[(d - j) / channels * block_rows + r] * block.rows[r][(d - j) % channels];
    REQUIRE(out[static_cast<std::size_t>(d)] == sum);
  }
}

}  // namespace

TEST_CASE("products of rows at any address") {
  const numbers a(1), b(2);
  for (index_t i = 0; i < 16; ++i)
    for (index_t j = 0; j < 16; ++j) {
      check_products<1>(a, b, i, j);
      check_products<2>(a, b, i, j);
      check_products<4>(a, b, i, j);
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
