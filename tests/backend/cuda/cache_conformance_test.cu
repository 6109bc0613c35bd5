// SPDX-License-Identifier: Apache-2.0
// What holds for the caches of the host holds for those of the device.
#include "backend/cuda/hosted_cache.hpp"
#include "kvsharer/layout/contiguous.hpp"
#include "kvsharer/layout/paged.hpp"

#define CACHES                                                                      \
  device_test::on_the_device<float, kvsharer::layout::head_major>,                  \
      device_test::on_the_device<kvsharer::float16, kvsharer::layout::token_major>, \
      device_test::on_the_device<kvsharer::bfloat16, kvsharer::layout::paged<16>>,  \
      device_test::on_the_device<float, kvsharer::layout::paged<>>
#include "runtime/conformance.hpp"
