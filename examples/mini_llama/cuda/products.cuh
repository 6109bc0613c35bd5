// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cuda/gemm.cuh"
#include "cuda/norm.cuh"
#include "cuda/row_product.cuh"
#include "cuda/swiglu.cuh"
#include "kvsharer/backend/cuda/backend.cuh"
#include "kvsharer/core/element.hpp"
#include "kvsharer/core/types.hpp"

namespace mini_llama::cuda {

/// The products of a decoder, with the norms and activations around them: through cuBLASLt, or, for a single row, by
/// kernels that include these. Borrows everything, scratch included.
template <kvsharer::CacheElement E>
class layer_products {
  using index_t = kvsharer::index_t;

 public:
  /// `normed` [rows][widest input], `gates` [rows][2][intermediate]: scratch.
  layer_products(const kvsharer::cuda::backend& on, gemm& by_library, E* normed, E* gates, float eps)
      : on_(on), by_library_(by_library), normed_(normed), gates_(gates), eps_(eps) {}

  /// out [rows][n] = x [rows][k], normed with gain, times the transpose of weight [n][k].
  template <kvsharer::CacheElement Out>
  void normed(const E* x, const float* gain, const E* weight, Out* out, index_t rows, index_t n, index_t k) {
    if (rows == 1) return row_product<row_result::set>(on_, x, gain, eps_, weight, out, n, k);
    rms_norm(on_, x, gain, eps_, rows, k, normed_);
    by_library_(normed_, weight, out, rows, n, k);
  }

  /// out [rows][n] = in [rows][k] times the transpose of weight [n][k].
  template <kvsharer::CacheElement Out>
  void plain(const E* in, const E* weight, Out* out, index_t rows, index_t n, index_t k) {
    if (rows == 1) return row_product<row_result::set>(on_, in, nullptr, eps_, weight, out, n, k);
    by_library_(in, weight, out, rows, n, k);
  }

  /// x [rows][n] += in [rows][k] times the transpose of weight [n][k].
  void add(const E* in, const E* weight, E* x, index_t rows, index_t n, index_t k) {
    if (rows == 1) return row_product<row_result::add>(on_, in, nullptr, eps_, weight, x, n, k);
    by_library_(in, weight, x, rows, n, k, true);
  }

  /// out [rows][n] = SwiGLU of x [rows][k], normed with gain, times the transposes of weight [2][n][k], gates first.
  void gated(const E* x, const float* gain, const E* weight, E* out, index_t rows, index_t n, index_t k) {
    if (rows == 1) return row_product<row_result::gated>(on_, x, gain, eps_, weight, out, n, k);
    rms_norm(on_, x, gain, eps_, rows, k, normed_);
    by_library_(normed_, weight, gates_, rows, 2 * n, k);
    swiglu(on_, gates_, rows, n, out);
  }

 private:
  const kvsharer::cuda::backend& on_;
  gemm& by_library_;
  E* normed_;
  E* gates_;
  float eps_;
};

}  // namespace mini_llama::cuda
