// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "kvsharer/core/element.hpp"

// What the driver uses of cuBLASLt, on the host: products of column-major matrices, sums in double, in stream order.
// Names are cuBLASLt's. Alpha and beta are float and read at the call, as with host pointers there.

enum cublasStatus_t { CUBLAS_STATUS_SUCCESS = 0, CUBLAS_STATUS_INVALID_VALUE = 7, CUBLAS_STATUS_NOT_SUPPORTED = 15 };
inline const char* cublasLtGetStatusName(cublasStatus_t s) {
  return s == CUBLAS_STATUS_SUCCESS         ? "CUBLAS_STATUS_SUCCESS"
         : s == CUBLAS_STATUS_NOT_SUPPORTED ? "CUBLAS_STATUS_NOT_SUPPORTED"
                                            : "CUBLAS_STATUS_INVALID_VALUE";
}

enum cudaDataType_t { CUDA_R_32F = 0, CUDA_R_16F = 2, CUDA_R_16BF = 14 };
enum cublasComputeType_t { CUBLAS_COMPUTE_32F = 68 };
enum cublasOperation_t { CUBLAS_OP_N = 0, CUBLAS_OP_T = 1 };
enum cublasLtMatmulDescAttributes_t { CUBLASLT_MATMUL_DESC_TRANSA, CUBLASLT_MATMUL_DESC_TRANSB };
enum cublasLtReductionScheme_t {
  CUBLASLT_REDUCTION_SCHEME_NONE = 0,
  CUBLASLT_REDUCTION_SCHEME_INPLACE = 1,
  CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE = 2,
  CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE = 4,
  CUBLASLT_REDUCTION_SCHEME_MASK = 7
};
enum cublasLtMatmulPreferenceAttributes_t {
  CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
  CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES
};

namespace simt::blas {

struct context {};

struct product {
  cublasOperation_t a = CUBLAS_OP_N, b = CUBLAS_OP_N;
};

struct matrix {
  cudaDataType_t type;
  std::uint64_t rows, columns;
  std::int64_t stride;  // from a column to the next

  double get(const void* at, std::uint64_t row, std::uint64_t column) const {
    const std::size_t i = offset(row, column);
    if (type == CUDA_R_16F) return static_cast<float>(static_cast<const kvsharer::float16*>(at)[i]);
    if (type == CUDA_R_16BF) return static_cast<float>(static_cast<const kvsharer::bfloat16*>(at)[i]);
    return static_cast<const float*>(at)[i];
  }
  void set(void* at, std::uint64_t row, std::uint64_t column, double x) const {
    const std::size_t i = offset(row, column);
    const auto rounded = static_cast<float>(x);
    if (type == CUDA_R_16F)
      static_cast<kvsharer::float16*>(at)[i] = kvsharer::float16(rounded);
    else if (type == CUDA_R_16BF)
      static_cast<kvsharer::bfloat16*>(at)[i] = kvsharer::bfloat16(rounded);
    else
      static_cast<float*>(at)[i] = rounded;
  }
  /// As doubles, [rows][columns], or those of the transpose.
  std::vector<double> by_rows(const void* at, bool transposed) const {
    std::vector<double> x;
    x.reserve(rows * columns);
    for (std::uint64_t i = 0; i < (transposed ? columns : rows); ++i)
      for (std::uint64_t j = 0; j < (transposed ? rows : columns); ++j)
        x.push_back(transposed ? get(at, j, i) : get(at, i, j));
    return x;
  }
  bool operator==(const matrix&) const = default;

 private:
  std::size_t offset(std::uint64_t row, std::uint64_t column) const {
    return static_cast<std::size_t>(column) * static_cast<std::size_t>(stride) + static_cast<std::size_t>(row);
  }
};

struct preference {
  std::uint64_t workspace_bytes = 0;
  std::uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_MASK;
  std::uint32_t alignment[4] = {256, 256, 256, 256};
};

/// The ways to compute a product that the stand-in offers, in the order in which it does. The first sums parts in the
/// type of the result, if it may; the others differ in time alone.
struct way {
  cublasLtReductionScheme_t reduction;
  std::uint64_t workspace_bytes;
  double milliseconds;
};
inline constexpr way ways[] = {{CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE, 1024, 0.1},
                               {CUBLASLT_REDUCTION_SCHEME_NONE, 0, 3.0},
                               {CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE, 4096, 1.0},
                               {CUBLASLT_REDUCTION_SCHEME_NONE, 0, 2.0}};

inline bool agree(const product& p, const matrix& a, const matrix& b, const matrix& c, const matrix& d) {
  const bool ta = p.a == CUBLAS_OP_T, tb = p.b == CUBLAS_OP_T;
  const auto m = ta ? a.columns : a.rows, k = ta ? a.rows : a.columns;
  const auto held = [](const matrix& x) { return x.stride >= static_cast<std::int64_t>(x.rows) && x.columns > 0; };
  return k == (tb ? b.columns : b.rows) && m == d.rows && d.columns == (tb ? b.rows : b.columns) && c == d &&
         a.type == b.type && (d.type == a.type || d.type == CUDA_R_32F) && held(a) && held(b) && held(d);
}

/// d = alpha a b + beta c, the sums over k in `parts` parts of which each is rounded into d before the next; 0 beta
/// does not read c.
inline void multiply(const product& p, double alpha, const void* a, const matrix& la, const void* b, const matrix& lb,
                     double beta, const void* c, void* d, const matrix& ld, std::uint64_t parts) {
  const std::vector<double> left = la.by_rows(a, p.a == CUBLAS_OP_T), right = lb.by_rows(b, p.b == CUBLAS_OP_N);
  const std::uint64_t k = left.size() / ld.rows;
  for (std::uint64_t i = 0; i < ld.rows; ++i)
    for (std::uint64_t j = 0; j < ld.columns; ++j) {
      double whole = beta == 0 ? 0 : beta * ld.get(c, i, j);
      for (std::uint64_t part = 0; part < parts; ++part) {
        double sum = 0;
        for (std::uint64_t l = k * part / parts; l < k * (part + 1) / parts; ++l)
          sum += left[i * k + l] * right[j * k + l];
        ld.set(d, i, j, whole + alpha * sum);
        whole = ld.get(d, i, j);
      }
    }
}

}  // namespace simt::blas

using cublasLtHandle_t = simt::blas::context*;
using cublasLtMatmulDesc_t = simt::blas::product*;
using cublasLtMatrixLayout_t = simt::blas::matrix*;
using cublasLtMatmulPreference_t = simt::blas::preference*;

struct cublasLtMatmulAlgo_t {
  std::uint64_t data[8];
};
struct cublasLtMatmulHeuristicResult_t {
  cublasLtMatmulAlgo_t algo;
  std::size_t workspaceSize;
  cublasStatus_t state;
  float wavesCount;
  int reserved[4];
};

inline cublasStatus_t cublasLtCreate(cublasLtHandle_t* h) {
  *h = new simt::blas::context;
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtDestroy(cublasLtHandle_t h) {
  delete h;
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* d, cublasComputeType_t, cudaDataType_t scale) {
  if (scale != CUDA_R_32F) return CUBLAS_STATUS_NOT_SUPPORTED;
  *d = new simt::blas::product;
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d) {
  delete d;
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d, cublasLtMatmulDescAttributes_t which,
                                                     const void* value, std::size_t bytes) {
  if (bytes != sizeof(cublasOperation_t)) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(which == CUBLASLT_MATMUL_DESC_TRANSA ? &d->a : &d->b, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* l, cudaDataType_t type, std::uint64_t rows,
                                                 std::uint64_t columns, std::int64_t stride) {
  *l = new simt::blas::matrix{type, rows, columns, stride};
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l) {
  delete l;
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* p) {
  *p = new simt::blas::preference;
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p) {
  delete p;
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p,
                                                           cublasLtMatmulPreferenceAttributes_t which,
                                                           const void* value, std::size_t bytes) {
  void* to = which == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES ? static_cast<void*>(&p->workspace_bytes)
             : which == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK
                 ? static_cast<void*>(&p->reductions)
                 : &p->alignment[which - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES];
  if (bytes != (which == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES ? sizeof(std::uint64_t) : sizeof(std::uint32_t)))
    return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(to, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

/// Writes into an algorithm: which way, and the alignment its operands must have.
inline cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t p, cublasLtMatrixLayout_t a,
                                                     cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                                                     cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t wish,
                                                     int asked, cublasLtMatmulHeuristicResult_t results[],
                                                     int* returned) {
  *returned = 0;
  if (!simt::blas::agree(*p, *a, *b, *c, *d)) return CUBLAS_STATUS_INVALID_VALUE;
  std::uint64_t number = 0;
  for (const simt::blas::way& way : simt::blas::ways) {
    const bool may = way.reduction == CUBLASLT_REDUCTION_SCHEME_NONE || (wish->reductions & way.reduction) != 0;
    if (*returned < asked && may && way.workspace_bytes <= wish->workspace_bytes) {
      cublasLtMatmulHeuristicResult_t r{};
      r.algo.data[0] = number;
      for (int i = 0; i < 4; ++i) r.algo.data[1 + i] = wish->alignment[i];
      r.workspaceSize = static_cast<std::size_t>(way.workspace_bytes);
      r.wavesCount = 1;
      results[(*returned)++] = r;
    }
    ++number;
  }
  return *returned > 0 ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

inline cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t p, const void* alpha, const void* a,
                                     cublasLtMatrixLayout_t la, const void* b, cublasLtMatrixLayout_t lb,
                                     const void* beta, const void* c, cublasLtMatrixLayout_t lc, void* d,
                                     cublasLtMatrixLayout_t ld, const cublasLtMatmulAlgo_t* algorithm, void* workspace,
                                     std::size_t workspace_bytes, cudaStream_t stream) {
  if (!simt::blas::agree(*p, *la, *lb, *lc, *ld)) return CUBLAS_STATUS_INVALID_VALUE;
  const simt::blas::way way = simt::blas::ways[algorithm->data[0]];
  if (way.workspace_bytes > workspace_bytes) return CUBLAS_STATUS_INVALID_VALUE;
  const void* const operands[] = {a, b, c, d};
  for (int i = 0; i < 4; ++i)
    if (reinterpret_cast<std::uintptr_t>(operands[i]) % algorithm->data[1 + i] != 0) return CUBLAS_STATUS_INVALID_VALUE;
  simt::of(stream).push([p = *p, la = *la, lb = *lb, ld = *ld, alpha = *static_cast<const float*>(alpha),
                         beta = *static_cast<const float*>(beta), a, b, c, d, way, workspace] {
    if (way.workspace_bytes > 0) std::memset(workspace, 0xff, static_cast<std::size_t>(way.workspace_bytes));
    simt::blas::multiply(p, alpha, a, la, b, lb, beta, c, d, ld,
                         way.reduction == CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE ? 16 : 1);
    simt::device_milliseconds() += way.milliseconds;
  });
  return CUBLAS_STATUS_SUCCESS;
}
