// SPDX-License-Identifier: Apache-2.0
#include "cuda/gemm.cuh"

#include <cublasLt.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <type_traits>
#include <utility>

#include "cuda/moment.cuh"
#include "kvsharer/backend/cuda/device.cuh"
#include "kvsharer/backend/cuda/memory.cuh"
#include "kvsharer/backend/cuda/status.cuh"
#include "kvsharer/core/error.hpp"

namespace mini_llama::cuda {

using kvsharer::errc;
using kvsharer::error;
using kvsharer::index_t;
using kvsharer::cuda::device_buffer;
using kvsharer::cuda::stream_ref;

namespace {

constexpr std::uint32_t operand_alignment = 16;
constexpr int most_candidates = 32;

void check(cublasStatus_t outcome, const char* what) {
  if (outcome != CUBLAS_STATUS_SUCCESS)
    throw error(errc::cuda_call, std::string(what) + " failed: " + cublasLtGetStatusName(outcome));
}
void check(cublasStatus_t outcome, const char* what, const gemm_shape& shape) {
  if (outcome != CUBLAS_STATUS_SUCCESS)
    throw error(errc::cuda_call,
                std::string(what) + " failed for " + shape.text() + ": " + cublasLtGetStatusName(outcome));
}

/// cuBLASLt's handles, destroyed with their owners.
struct destroy {
  void operator()(cublasLtHandle_t h) const { cublasLtDestroy(h); }
  void operator()(cublasLtMatmulDesc_t h) const { cublasLtMatmulDescDestroy(h); }
  void operator()(cublasLtMatrixLayout_t h) const { cublasLtMatrixLayoutDestroy(h); }
  void operator()(cublasLtMatmulPreference_t h) const { cublasLtMatmulPreferenceDestroy(h); }
};
template <class Handle>
using owned = std::unique_ptr<std::remove_pointer_t<Handle>, destroy>;

cudaDataType_t data_type(dtype type) {
  return type == dtype::f32 ? CUDA_R_32F : type == dtype::f16 ? CUDA_R_16F : CUDA_R_16BF;
}

/// An algorithm under our own name: nvcc 13.0 fails on containers of cuBLASLt's type, which is an unnamed struct.
struct candidate {
  cublasLtMatmulAlgo_t algorithm;
};

/// A product as cuBLASLt sees it. Row-major is the transpose of column-major, so it computes out^T [n][rows] as weight
/// [n][k], stored as its transpose, times in^T [k][rows].
struct plan {
  owned<cublasLtMatmulDesc_t> product;
  owned<cublasLtMatrixLayout_t> weight, in, out;
  cublasLtMatmulAlgo_t algorithm{};

  explicit plan(const gemm_shape& s) {
    cublasLtMatmulDesc_t description = nullptr;
    check(cublasLtMatmulDescCreate(&description, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescCreate", s);
    product.reset(description);
    const cublasOperation_t transpose = CUBLAS_OP_T;
    check(cublasLtMatmulDescSetAttribute(description, CUBLASLT_MATMUL_DESC_TRANSA, &transpose, sizeof transpose),
          "cublasLtMatmulDescSetAttribute", s);
    const auto layout = [&s](owned<cublasLtMatrixLayout_t>& to, dtype type, index_t rows, index_t columns) {
      cublasLtMatrixLayout_t made = nullptr;
      check(cublasLtMatrixLayoutCreate(&made, data_type(type), static_cast<std::uint64_t>(rows),
                                       static_cast<std::uint64_t>(columns), rows),
            "cublasLtMatrixLayoutCreate", s);
      to.reset(made);
    };
    layout(weight, s.type, s.k, s.n);
    layout(in, s.type, s.k, s.rows);
    layout(out, s.out, s.n, s.rows);
  }
};

void check_sizes(const gemm_shape& s) {
  constexpr index_t most = std::numeric_limits<std::int32_t>::max();
  if (s.rows < 1 || s.n < 1 || s.k < 1 || std::max({s.rows, s.n, s.k}) > most)
    throw error(errc::bad_shape, s.text() + " is impossible: sizes are positive numbers of 31 bits");
}

}  // namespace

std::string gemm_shape::text() const {
  const auto matrix = [](index_t a, index_t b) {
    return std::string("[").append(std::to_string(a)).append("][").append(std::to_string(b)).append("]");
  };
  return "out" + matrix(rows, n) + (accumulate ? " += " : " = ") + "in" + matrix(rows, k) + " * weight" + matrix(n, k) +
         "^T in " + name(type) + (out == type ? "" : std::string(" to ") + name(out));
}

struct gemm::state {
  stream_ref stream;
  device_buffer<std::byte> workspace;
  owned<cublasLtHandle_t> handle;
  owned<cublasLtMatmulPreference_t> wish;
  std::map<gemm_shape, plan> plans;

  state(stream_ref on, std::size_t bytes) : stream(on), workspace(on, bytes) {
    cublasLtHandle_t library = nullptr;
    check(cublasLtCreate(&library), "cublasLtCreate");
    handle.reset(library);
    cublasLtMatmulPreference_t preference = nullptr;
    check(cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate");
    wish.reset(preference);
    set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{bytes});
    // A split product may add up its parts in float only, never in the type of the result.
    set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, std::uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
    for (const auto operand : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                               CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
      set(operand, operand_alignment);
  }

  template <class T>
  void set(cublasLtMatmulPreferenceAttributes_t which, T value) {
    check(cublasLtMatmulPreferenceSetAttribute(wish.get(), which, &value, sizeof value),
          "cublasLtMatmulPreferenceSetAttribute");
  }

  std::vector<candidate> candidates(const gemm_shape& s, const plan& p, int most) {
    cublasLtMatmulHeuristicResult_t results[most_candidates];
    int count = 0;
    check(
        cublasLtMatmulAlgoGetHeuristic(handle.get(), p.product.get(), p.weight.get(), p.in.get(), p.out.get(),
                                       p.out.get(), wish.get(), std::clamp(most, 1, most_candidates), results, &count),
        "cublasLtMatmulAlgoGetHeuristic", s);
    std::vector<candidate> found;
    for (int i = 0; i < count; ++i)
      if (results[i].state == CUBLAS_STATUS_SUCCESS) found.push_back({results[i].algo});
    if (found.empty()) throw error(errc::cuda_call, "cuBLASLt has no algorithm for " + s.text());
    return found;
  }

  plan& plan_of(const gemm_shape& s) {
    if (const auto at = plans.find(s); at != plans.end()) return at->second;
    check_sizes(s);
    plan made(s);
    made.algorithm = candidates(s, made, 1).front().algorithm;
    return plans.emplace(s, std::move(made)).first->second;
  }

  cublasStatus_t multiply(const gemm_shape& s, const plan& p, const cublasLtMatmulAlgo_t& algorithm, const void* in,
                          const void* weight, void* out) {
    const float alpha = 1, beta = s.accumulate ? 1.0f : 0.0f;
    return cublasLtMatmul(handle.get(), p.product.get(), &alpha, weight, p.weight.get(), in, p.in.get(), &beta, out,
                          p.out.get(), out, p.out.get(), &algorithm, workspace.data(), workspace.bytes(), stream.get());
  }
};

gemm::gemm(stream_ref stream, std::size_t workspace_bytes) : state_(std::make_unique<state>(stream, workspace_bytes)) {}
gemm::gemm(gemm&&) noexcept = default;
gemm& gemm::operator=(gemm&&) noexcept = default;
gemm::~gemm() = default;

void gemm::prepare(const gemm_shape& shape) { state_->plan_of(shape); }

void gemm::run(const gemm_shape& shape, const void* in, const void* weight, void* out) {
  if (shape.rows == 0) return;
  const plan& p = state_->plan_of(shape);
  for (const void* const operand : {in, weight, static_cast<const void*>(out)})
    if (operand == nullptr || reinterpret_cast<std::uintptr_t>(operand) % operand_alignment != 0)
      throw error(errc::bad_argument, "an operand of " + shape.text() + " is null or not at a multiple of 16 bytes");
  check(state_->multiply(shape, p, p.algorithm, in, weight, out), "cublasLtMatmul", shape);
}

gemm_tuning gemm::tune(const gemm_shape& shape, int candidates, int repeats) {
  state& s = *state_;
  plan& p = s.plan_of(shape);
  repeats = std::max(repeats, 1);
  const auto found = s.candidates(shape, p, candidates);

  const auto bytes = [](index_t numbers, dtype type) {  // of an operand, up to the next multiple of 256
    return static_cast<std::size_t>((numbers * size_of(type) + 255) / 256 * 256);
  };
  const std::size_t weight_bytes = bytes(shape.n * shape.k, shape.type);
  const std::size_t past_l2 = 2 * kvsharer::cuda::query_device().l2_bytes / weight_bytes + 1;
  const std::size_t copies = std::min(past_l2, static_cast<std::size_t>(repeats));
  device_buffer<std::byte> weights(s.stream, copies * weight_bytes),
      in(s.stream, bytes(shape.rows * shape.k, shape.type)), out(s.stream, bytes(shape.rows * shape.n, shape.out));
  for (device_buffer<std::byte>* const b : {&weights, &in, &out})
    kvsharer::cuda::check(cudaMemsetAsync(b->data(), 0, b->bytes(), s.stream.get()), "cudaMemsetAsync");

  gemm_tuning result;
  moment begin, end;
  for (const candidate& tried : found) {
    const auto multiply = [&](int i) {
      return s.multiply(shape, p, tried.algorithm, in.data(),
                        weights.data() + static_cast<std::size_t>(i) % copies * weight_bytes, out.data());
    };
    cublasStatus_t outcome = multiply(0);  // loads the kernel
    begin.record(s.stream);
    for (int i = 1; i <= repeats && outcome == CUBLAS_STATUS_SUCCESS; ++i) outcome = multiply(i);
    end.record(s.stream);
    const auto milliseconds = static_cast<float>(end.seconds_since(begin) * 1e3 / repeats);
    result.milliseconds.push_back(outcome == CUBLAS_STATUS_SUCCESS ? milliseconds
                                                                   : std::numeric_limits<float>::infinity());
  }
  result.chosen = static_cast<std::size_t>(std::min_element(result.milliseconds.begin(), result.milliseconds.end()) -
                                           result.milliseconds.begin());
  p.algorithm = found[result.chosen].algorithm;
  return result;
}

}  // namespace mini_llama::cuda
