// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <concepts>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/safetensors.hpp"
#include "cuda/element.hpp"
#include "kvsharer/backend/cuda/stream_ref.cuh"
#include "kvsharer/core/element.hpp"
#include "kvsharer/core/types.hpp"

namespace mini_llama::cuda {

/// What distinguishes products: out[rows][n] (+)= in[rows][k] weight[n][k]^T.
struct gemm_shape {
  kvsharer::index_t rows = 0;
  kvsharer::index_t n = 0;
  kvsharer::index_t k = 0;
  dtype type = dtype::f32;  ///< of in and weight
  dtype out = dtype::f32;   ///< the same, or f32
  bool accumulate = false;
  friend constexpr auto operator<=>(const gemm_shape&, const gemm_shape&) = default;

  /// "out[2][48] += in[2][64] * weight[48][64]^T in BF16 to F32".
  std::string text() const;
};

/// The results of trying algorithms.
struct gemm_tuning {
  std::vector<float> milliseconds;  ///< of one product by each algorithm, cuBLASLt's first choice first
  std::size_t chosen = 0;
};

/// Products of rows with weights through cuBLASLt, on one stream. Sums are kept in full float, whatever the types; a
/// product that is added to 16-bit numbers may be rounded to them first. Everything that a shape needs is made once:
/// when it first occurs, or in `prepare` or `tune`. After that a product neither allocates nor synchronises, and may be
/// captured; the graph is valid as long as this object lives, since it uses its workspace. Not for two threads at the
/// same time. Move only.
class gemm {
 public:
  static constexpr std::size_t default_workspace_bytes = std::size_t{32} << 20;  // as cuBLAS takes on sm_90

  /// Allocates the workspace on the stream, which is borrowed. Throws kvsharer::error (device_memory, cuda_call).
  explicit gemm(kvsharer::cuda::stream_ref stream, std::size_t workspace_bytes = default_workspace_bytes);
  gemm(gemm&&) noexcept;
  gemm& operator=(gemm&&) noexcept;
  ~gemm();

  /// out [rows][n] = in [rows][k] times the transpose of weight [n][k], or += that. All in device memory, at multiples
  /// of 16 bytes, row-major and without gaps. Does nothing for 0 rows. Throws kvsharer::error: bad_shape, bad_argument
  /// for an address, cuda_call with the shape when cuBLASLt refuses.
  template <kvsharer::CacheElement E, kvsharer::CacheElement Out>
  requires std::same_as<Out, E> || std::same_as<Out, float>
  void operator()(const E* in, const E* weight, Out* out, kvsharer::index_t rows, kvsharer::index_t n,
                  kvsharer::index_t k, bool accumulate = false) {
    run({rows, n, k, dtype_of<E>, dtype_of<Out>, accumulate}, in, weight, out);
  }

  /// Finds the algorithm that cuBLASLt recommends, unless one is known. Runs on the host alone. Throws as above.
  void prepare(const gemm_shape& shape);

  /// Times up to `candidates` algorithms, at most 32, on own operands that together exceed the L2, and keeps the
  /// fastest. For set-up: allocates temporarily and synchronises. Graphs captured earlier do not change.
  gemm_tuning tune(const gemm_shape& shape, int candidates = 16, int repeats = 20);

 private:
  struct state;

  void run(const gemm_shape& shape, const void* in, const void* weight, void* out);

  std::unique_ptr<state> state_;
};

}  // namespace mini_llama::cuda
