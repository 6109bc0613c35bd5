// SPDX-License-Identifier: Apache-2.0
// More than a hundred thousand operations on caches of every layout.
#include "runtime/random_walk.hpp"

// Ten walks of twelve thousand steps, some of which find nothing to do; pools are too small for all sequences at
// capacity.
TEST_CASE("random operations, contiguous") {
  wander<combination<float, layout::head_major>>(together, 4, 1);
  wander<combination<bfloat16, layout::token_major>>(apart, 4, 2);
  wander<combination<float16, channel_major>>(together, 4, 3);
}
TEST_CASE("random operations, paged") {
  wander<combination<float, layout::paged<>>>(apart, 0, 4);
  wander<combination<float, layout::paged<>>>(together, 20, 5);
  wander<combination<float16, layout::paged<>>>(apart, 9, 6);
  wander<combination<bfloat16, layout::paged<4>>>(together, 12, 7);
  wander<combination<float, layout::paged<1>>>(apart, 50, 8);
  wander<combination<float, layout::paged<16>>>(together, 5, 9);
  wander<combination<float, layout::paged<64>>>(apart, 3, 10);
}
