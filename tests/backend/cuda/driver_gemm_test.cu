// SPDX-License-Identifier: Apache-2.0
// The driver's matrix products against sums in double.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "backend/cuda/device.hpp"
#include "backend/cuda/driver_numbers.hpp"
#include "cuda/gemm.cuh"

namespace {

using namespace device_test;
using mini_llama::cuda::dtype_of;
using mini_llama::cuda::gemm;
using mini_llama::cuda::gemm_shape;

struct operands {
  index_t rows, n, k;
};

/// The largest difference to the exact result, as a share of what rounding the result once and the k sums in float may
/// cost, and where it is added, rounding the product before: some of cuBLASLt's algorithms do.
template <class E, class Out>
double worst_error(const operands& o, const std::vector<E>& in, const std::vector<E>& weight,
                   const std::vector<Out>& before, const std::vector<Out>& got) {
  double worst = 0;
  for (index_t r = 0; r < o.rows; ++r)
    for (index_t j = 0; j < o.n; ++j) {
      const auto at = static_cast<std::size_t>(r * o.n + j);
      const double held = before.empty() ? 0 : static_cast<double>(static_cast<float>(before[at]));
      double sum = held, size = std::abs(sum);
      for (index_t i = 0; i < o.k; ++i) {
        const double term = static_cast<double>(static_cast<float>(in[static_cast<std::size_t>(r * o.k + i)])) *
                            static_cast<double>(static_cast<float>(weight[static_cast<std::size_t>(j * o.k + i)]));
        sum += term;
        size += std::abs(term);
      }
      const double allowed = rounding<Out> * (std::abs(sum) + (before.empty() ? 0 : std::abs(sum - held))) * 1.01 +
                             0x1p-23 * std::sqrt(static_cast<double>(o.k)) * size;
      const double error = std::abs(static_cast<double>(static_cast<float>(got[at])) - sum) / allowed;
      worst = std::isnan(error) ? 1e300 : std::max(worst, error);
    }
  return worst;
}

template <class E, class Out>
void compare(gemm& multiply, const operands& o, bool accumulate, unsigned seed) {
  const gemm_shape shape{o.rows, o.n, o.k, dtype_of<E>, dtype_of<Out>, accumulate};
  INFO(shape.text());
  owned_stream own;
  const auto in = random_numbers<E>(o.rows * o.k, seed), weight = random_numbers<E>(o.n * o.k, seed + 1);
  const auto before = random_numbers<Out>(accumulate ? o.rows * o.n : 0, seed + 2);
  const auto on_in = on_device(own.ref(), in), on_weight = on_device(own.ref(), weight);
  auto out =
      accumulate ? on_device(own.ref(), before) : poisoned<Out>(own.ref(), static_cast<std::size_t>(o.rows * o.n));
  own.ref().synchronize();
  multiply(on_in.data(), on_weight.data(), out.data(), o.rows, o.n, o.k, accumulate);
  cuda::check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  CHECK(worst_error(o, in, weight, before, on_host(out)) < 1);
}

TEST_CASE("products of all types, set and added, of odd sizes and of one row") {
  owned_stream own;
  gemm multiply(own.ref());
  unsigned seed = 1;
  for (const operands& o : {operands{1, 40, 64}, {5, 24, 100}, {17, 33, 72}, {3, 1, 1}, {2, 129, 1032}})
    for (const bool accumulate : {false, true}) {
      compare<float, float>(multiply, o, accumulate, seed += 3);
      compare<float16, float16>(multiply, o, accumulate, seed += 3);
      compare<bfloat16, bfloat16>(multiply, o, accumulate, seed += 3);
      compare<float16, float>(multiply, o, accumulate, seed += 3);
      compare<bfloat16, float>(multiply, o, accumulate, seed += 3);
    }
}

TEST_CASE("tuning keeps the fastest algorithm, and it computes the same product") {
  owned_stream own;
  gemm multiply(own.ref());
  const operands o{9, 48, 136};
  const auto tuning = multiply.tune({o.rows, o.n, o.k, dtype_of<bfloat16>, dtype_of<bfloat16>, true}, 8, 5);
  REQUIRE(tuning.chosen < tuning.milliseconds.size());
  CHECK(tuning.milliseconds.size() > 1);
  for (const float t : tuning.milliseconds) {
    CHECK(t > 0);
    CHECK(tuning.milliseconds[tuning.chosen] <= t);
  }
  compare<bfloat16, bfloat16>(multiply, o, true, 90);
}

TEST_CASE("a captured product follows its operands") {
  owned_stream own;
  gemm multiply(own.ref());
  const operands o{4, 32, 64};
  const auto weight = random_numbers<float16>(o.n * o.k, 1);
  const auto on_weight = on_device(own.ref(), weight);
  auto in = poisoned<float16>(own.ref(), static_cast<std::size_t>(o.rows * o.k));
  auto out = poisoned<float16>(own.ref(), static_cast<std::size_t>(o.rows * o.n));
  const captured graph(own.ref(), [&] { multiply(in.data(), on_weight.data(), out.data(), o.rows, o.n, o.k); });
  for (unsigned seed = 5; seed < 7; ++seed) {
    const auto numbers = random_numbers<float16>(o.rows * o.k, seed);
    cuda::check(cudaMemcpyAsync(in.data(), numbers.data(), in.bytes(), cudaMemcpyHostToDevice, own.ref().get()),
                "copy");
    graph.replay();
    CHECK(worst_error<float16, float16>(o, numbers, weight, {}, on_host(out)) < 1);
  }
}

TEST_CASE("operands need to lie at multiples of 16 bytes only") {
  owned_stream own;
  gemm multiply(own.ref());
  const auto ones = on_device(own.ref(), std::vector<float>(64, 1.0f));
  auto out = on_device(own.ref(), std::vector<float>(12, 5.0f));
  multiply(ones.data() + 4, ones.data() + 12, out.data() + 4, 1, 4, 8, true);
  CHECK(on_host(out) == std::vector<float>{5, 5, 5, 5, 13, 13, 13, 13, 5, 5, 5, 5});
}

TEST_CASE("no rows are no work, and what cannot be is refused with its shape") {
  owned_stream own;
  gemm multiply(own.ref());
  auto memory = poisoned<float>(own.ref(), 64);
  CHECK_NOTHROW(multiply(memory.data(), memory.data(), memory.data(), 0, 8, 8));
  const std::string shape = refusal([&] { multiply(memory.data(), memory.data(), memory.data(), 2, 0, 8); });
  CHECK(shape.starts_with("kvsharer E302"));
  CHECK(shape.find("out[2][0] = in[2][8] * weight[0][8]^T in F32") != shape.npos);
  const std::string place = refusal([&] { multiply(memory.data() + 1, memory.data(), memory.data(), 2, 4, 8, true); });
  CHECK(place.starts_with("kvsharer E303"));
  CHECK(place.find("out[2][4] += in[2][8]") != place.npos);
}

}  // namespace
