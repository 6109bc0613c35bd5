// SPDX-License-Identifier: Apache-2.0
// Random operations on the device's caches, beside the same model as the host's.
#include "backend/cuda/hosted_cache.hpp"
#include "kvsharer/layout/contiguous.hpp"
#include "kvsharer/layout/paged.hpp"
#include "runtime/random_walk.hpp"

using device_test::on_the_device;

TEST_CASE("random operations on the device, paged") {
  wander<on_the_device<float, layout::paged<>>>(apart, 20, 5, 1200, 20);
}
TEST_CASE("random operations on the device, contiguous") {
  wander<on_the_device<bfloat16, layout::token_major>>(together, 4, 2, 1200, 20);
}
