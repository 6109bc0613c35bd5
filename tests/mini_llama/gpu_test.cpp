// SPDX-License-Identifier: Apache-2.0
#include "gpu.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <string>

#include "mini_llama/scratch_directory.hpp"
#include "usage_error.hpp"

namespace {

using namespace mini_llama;
using kvsharer::errc;

/// An opener of GPUs that fails in this way, and counts how often it was asked.
gpu_opener failing(errc how, int& asked) {
  return [how, &asked]() -> std::unique_ptr<gpu> {
    ++asked;
    throw kvsharer::error(how, "no luck");
  };
}

/// The text of the usage_error that a choice meets with, where there is no GPU.
std::string usage(const std::string& backend, const gpu_choice& choice) {
  int asked = 0;
  try {
    choose_backend(backend, choice, failing(errc::no_device, asked));
  } catch (const usage_error& e) {
    return e.what();
  }
  return "(nothing was refused)";
}

TEST_CASE("auto goes to the host where there is no GPU, and cuda insists on one") {
  int asked = 0;
  CHECK(choose_backend("cpu", failing(errc::no_device, asked)) == nullptr);
  CHECK(asked == 0);
  CHECK(choose_backend("auto", failing(errc::no_device, asked)) == nullptr);
  CHECK(asked == 1);
  CHECK_THROWS_AS(choose_backend("auto", failing(errc::cuda_call, asked)), kvsharer::error);
  CHECK_THROWS_AS(choose_backend("cuda", failing(errc::no_device, asked)), kvsharer::error);
  CHECK_THROWS_AS(choose_backend("tpu", failing(errc::no_device, asked)), usage_error);
  CHECK(asked == 3);
}

TEST_CASE("the host computes in f32 and says so") {
  int asked = 0;
  CHECK(choose_backend("auto", gpu_choice{}, failing(errc::no_device, asked)) == nullptr);
  CHECK(choose_backend("cpu", gpu_choice{}, failing(errc::no_device, asked)) == nullptr);
  CHECK(has(usage("cpu", {.type = "f16"}), "\"f16\""));
  CHECK(has(usage("auto", {.type = "bf16"}), "--backend cuda"));
}

}  // namespace
