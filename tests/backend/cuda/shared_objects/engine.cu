// SPDX-License-Identifier: Apache-2.0
// A shared object with kernels of the library inside: built twice, the two are loaded into one process.
#include <cstddef>
#include <span>

#include "backend/cuda/device.hpp"
#include "kvsharer/backend/cuda/similarity.cuh"

/// The similarity of {1, ..., n} and the same with the sign of its last number turned, measured on the device.
extern "C" double kvsharer_test_similarity(int n) {
  using namespace kvsharer;
  std::vector<float16> x;
  for (int i = 1; i <= n; ++i) x.push_back(float16(static_cast<float>(i)));
  std::vector<float16> y = x;
  y.back() = float16(static_cast<float>(-n));
  const device_test::device on;
  const auto there = device_test::on_device(on.stream, x), other = device_test::on_device(on.stream, y);
  const auto size = static_cast<std::size_t>(n);
  return cuda::hidden_similarity<float16>(on.backend, std::span<const float16>(there.data(), size),
                                          std::span<const float16>(other.data(), size), 1);
}
