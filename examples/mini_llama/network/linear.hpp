// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "checkpoint/safetensors.hpp"
#include "kvsharer/core/types.hpp"

namespace mini_llama {

/// A matrix [out][in] in the type in which the checkpoint stores it, borrowed.
struct weight {
  dtype type = dtype::f32;
  const std::byte* data = nullptr;
  kvsharer::index_t out = 0;
  kvsharer::index_t in = 0;
};

/// One product of a group that reads the same rows: y [rows][w.out] becomes x w^T, or has it added.
struct projection {
  weight w;
  float* y = nullptr;
  bool add = false;
};

/// Scratch that `linear` keeps between calls.
struct linear_scratch {
  std::vector<float> weights;  ///< one block of a weight, decoded
};

/// Up to so many rows a product streams the stored weights once and decodes them in registers; above, it decodes them
/// in blocks for Eigen's matrix product.
inline constexpr kvsharer::index_t streamed_rows = 4;

/// x [rows][in] times all weights of a group, which must agree in `in`. Runs on all threads. With at most
/// `streamed_rows` rows nothing is allocated, and each row's results are the same whatever rows stand beside it.
void linear(std::span<const projection> group, const float* x, kvsharer::index_t rows, linear_scratch& scratch);

/// y [rows][w.out] = x [rows][w.in] w^T.
void linear(const weight& w, const float* x, float* y, kvsharer::index_t rows, linear_scratch& scratch);

/// Row `row` of a matrix as floats: y [w.in].
void decode_row(const weight& w, kvsharer::index_t row, float* y);

}  // namespace mini_llama
