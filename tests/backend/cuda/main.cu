// SPDX-License-Identifier: Apache-2.0
// Runs the tests, or where there is no device names those that it leaves out and exits with 77, which CTest calls
// skipped.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>

#include "kvsharer/backend/cuda/device.cuh"

int main(int argc, char** argv) {
  doctest::Context context(argc, argv);
  try {
    kvsharer::cuda::query_device();
  } catch (const kvsharer::error& e) {
    const char* const list[] = {argv[0], "--list-test-cases"};
    doctest::Context(2, list).run();
    std::printf("None of these ran: %s\n", e.what());
    return 77;
  }
  return context.run();
}
