// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "kvsharer/core/types.hpp"

namespace mini_llama {

/// A float tensor to write, row-major; the numbers are borrowed.
struct named_floats {
  std::string name;
  std::vector<kvsharer::index_t> shape;
  std::span<const float> numbers;
};

/// The bytes of a safetensors file of these tensors, F32, in their order, with texts as its metadata. Equal for equal
/// tensors. Precondition: names differ, and each shape's product is the count of its numbers.
std::string safetensors_bytes(std::span<const named_floats> tensors, const std::map<std::string, std::string>& texts);

}  // namespace mini_llama
