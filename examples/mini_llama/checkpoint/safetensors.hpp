// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "kvsharer/core/types.hpp"
#include "support/mapped_file.hpp"

namespace mini_llama {

/// The element types of weights that the driver computes with.
enum class dtype { f32, f16, bf16 };

/// Bytes of one element.
kvsharer::index_t size_of(dtype type) noexcept;

/// "F32", "F16" or "BF16", as safetensors files say it.
const char* name(dtype type) noexcept;

/// A tensor in row-major order, borrowed from the file that holds it.
struct tensor_view {
  dtype type = dtype::f32;
  std::vector<kvsharer::index_t> shape;
  const std::byte* data = nullptr;

  /// Product of the shape; 1 for a scalar.
  kvsharer::index_t elements() const noexcept;
  kvsharer::index_t bytes() const noexcept { return elements() * size_of(type); }
};

/// One safetensors file: eight bytes with the length of a JSON header (little endian), the header, and the tensors.
/// Everything the header says is checked against the file before any of it is believed: the tensors must cover the
/// data exactly, each in the length that its type and shape ask for. Tensors are used where they lie in the mapped
/// file, but for those that are not aligned for their type, which are copied.
class safetensors_file {
 public:
  /// Throws load_error, with the file, the tensor where one is to blame, and the reason.
  explicit safetensors_file(const std::filesystem::path& file);

  const std::filesystem::path& path() const noexcept { return path_; }
  const std::map<std::string, tensor_view>& tensors() const noexcept { return tensors_; }

  /// Types by name of the tensors whose numbers the driver does not compute with, such as "I64".
  const std::map<std::string, std::string>& foreign() const noexcept { return foreign_; }

  bool holds(const std::string& tensor) const { return tensors_.contains(tensor) || foreign_.contains(tensor); }

  /// Throws load_error: this one of foreign() is needed.
  [[noreturn]] void refuse_type(const std::string& tensor) const;

 private:
  std::filesystem::path path_;
  mapped_file file_;
  std::vector<std::vector<std::byte>> copies_;
  std::map<std::string, tensor_view> tensors_;
  std::map<std::string, std::string> foreign_;
};

}  // namespace mini_llama
