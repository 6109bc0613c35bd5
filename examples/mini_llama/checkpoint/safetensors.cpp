// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/safetensors.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "support/strict_json.hpp"

namespace mini_llama {
namespace {

using json = nlohmann::json;
using kvsharer::index_t;

constexpr std::uint64_t prefix_bytes = 8;
constexpr std::uint64_t largest_header = 100'000'000;  // the limit of the format's own library

constexpr std::string_view damaged = "The file is cut short or damaged; fetch it again";
constexpr std::string_view convert_type = "Only F32, F16 and BF16 are supported; convert the model to one of them";
constexpr std::string_view wrongly_made = "The file was not made by a correct writer; save the model again";

[[noreturn]] void refuse(const std::filesystem::path& file, const std::string& what, std::string_view advice) {
  throw load_error(file, what + ". " + std::string(advice));
}

/// A value as an error message shows it; a damaged header can hold megabytes.
std::string shown(const json& value) {
  std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  return text.size() <= 100 ? text : text.substr(0, 100) + "...";
}

/// An element type of the format, and the bytes of one element.
struct element {
  std::string_view name;
  std::uint64_t bytes;
};

constexpr element elements[] = {{"F32", 4},  {"F16", 2},     {"BF16", 2},    {"F64", 8},    {"I64", 8}, {"U64", 8},
                                {"I32", 4},  {"U32", 4},     {"I16", 2},     {"U16", 2},    {"I8", 1},  {"U8", 1},
                                {"BOOL", 1}, {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"F8_E8M0", 1}};

const element* element_named(std::string_view text) {
  const auto* const found =
      std::find_if(std::begin(elements), std::end(elements), [&](const element& e) { return e.name == text; });
  return found == std::end(elements) ? nullptr : found;
}

std::optional<dtype> dtype_named(std::string_view text) {
  for (const dtype type : {dtype::f32, dtype::f16, dtype::bf16})
    if (text == name(type)) return type;
  return std::nullopt;
}

/// A tensor as the header declares it: bytes [begin, end) of the data behind the header.
struct declared {
  std::string name;
  const element* type;
  std::vector<index_t> shape;
  std::uint64_t begin, end;
};

/// A whole number from 0 to 2^63 - 1.
std::optional<std::uint64_t> count(const json& value) {
  if (!value.is_number_unsigned()) return std::nullopt;
  const auto n = value.get<std::uint64_t>();
  if (n > static_cast<std::uint64_t>(std::numeric_limits<index_t>::max())) return std::nullopt;
  return n;
}

class header_reader {
 public:
  header_reader(const std::filesystem::path& file, std::span<const std::byte> bytes) : file_(file), bytes_(bytes) {}

  /// Offset of the first tensor's bytes in the file.
  std::uint64_t data_begin() const { return prefix_bytes + header_bytes_; }

  std::vector<declared> read() {
    const json header = parse();
    const std::uint64_t data_bytes = bytes_.size() - data_begin();
    std::vector<declared> tensors;
    for (const auto& [name, entry] : header.items())
      if (name != "__metadata__") tensors.push_back(tensor(name, entry, data_bytes));
    check_cover(tensors, data_bytes);
    return tensors;
  }

 private:
  json parse() {
    if (bytes_.size() < prefix_bytes)
      refuse(file_, "has " + std::to_string(bytes_.size()) + " bytes; a safetensors file begins with 8 bytes of length",
             damaged);
    header_bytes_ = 0;
    for (std::size_t i = prefix_bytes; i-- > 0;)
      header_bytes_ = header_bytes_ << 8 | std::to_integer<std::uint64_t>(bytes_[i]);
    if (header_bytes_ > largest_header)
      refuse(file_,
             "says that its header has " + std::to_string(header_bytes_) + " bytes, more than the format allows (" +
                 std::to_string(largest_header) + ")",
             "It is damaged or no safetensors file; fetch it again");
    if (header_bytes_ > bytes_.size() - prefix_bytes)
      refuse(file_,
             "says that its header has " + std::to_string(header_bytes_) + " bytes, but only " +
                 std::to_string(bytes_.size() - prefix_bytes) + " follow",
             damaged);
    const std::string_view text(reinterpret_cast<const char*>(bytes_.data()) + prefix_bytes,
                                static_cast<std::size_t>(header_bytes_));
    if (!text.starts_with('{')) refuse(file_, "has a header that does not begin with '{'", damaged);
    json header;
    try {
      header = parse_strict_json(text);
    } catch (const invalid_json& e) {
      refuse(file_, std::string("has a header that ") + e.what(), damaged);
    }
    return header;
  }

  declared tensor(const std::string& name, const json& entry, std::uint64_t data_bytes) const {
    const std::string who = "tensor '" + name + "' ";
    if (!entry.is_object() || !entry.contains("dtype") || !entry.contains("shape") || !entry.contains("data_offsets"))
      refuse(file_, who + "lacks one of dtype, shape and data_offsets", wrongly_made);

    const json& type_text = entry["dtype"];
    const element* const type =
        type_text.is_string() ? element_named(type_text.get_ref<const std::string&>()) : nullptr;
    if (!type) refuse(file_, who + "has the type " + shown(type_text), convert_type);

    declared t{name, type, {}, 0, 0};
    const json& shape = entry["shape"];
    if (!shape.is_array()) refuse(file_, who + "has a shape that is not a list", wrongly_made);
    std::uint64_t bytes = type->bytes;
    bool empty = false;
    for (const json& extent : shape) {
      const auto n = count(extent);
      if (!n) refuse(file_, who + "has the extent " + shown(extent) + " in its shape", wrongly_made);
      t.shape.push_back(static_cast<index_t>(*n));
      empty |= *n == 0;
    }
    for (const index_t extent : t.shape) {
      const auto n = static_cast<std::uint64_t>(extent);
      // An extent of 0 elsewhere does not excuse a product that no index can hold.
      if (n != 0 && bytes > static_cast<std::uint64_t>(std::numeric_limits<index_t>::max()) / n)
        refuse(file_, who + "has a shape " + shown(shape) + " whose size overflows", wrongly_made);
      if (n != 0) bytes *= n;
    }
    if (empty) bytes = 0;

    const json& offsets = entry["data_offsets"];
    const auto begin = offsets.is_array() && offsets.size() == 2 ? count(offsets[0]) : std::nullopt;
    const auto end = begin ? count(offsets[1]) : std::nullopt;
    if (!begin || !end || *begin > *end) refuse(file_, who + "has the data_offsets " + shown(offsets), wrongly_made);
    if (*end > data_bytes)
      refuse(
          file_,
          who + "ends at byte " + std::to_string(*end) + " of the data, which has only " + std::to_string(data_bytes),
          damaged);
    if (*end - *begin != bytes)
      refuse(file_,
             who + "has " + std::to_string(*end - *begin) + " bytes, but its shape " + shown(shape) + " in " +
                 std::string(type->name) + " asks for " + std::to_string(bytes),
             wrongly_made);
    t.begin = *begin;
    t.end = *end;
    return t;
  }

  /// The tensors must cover the data exactly, without overlaps and holes.
  void check_cover(std::vector<declared>& tensors, std::uint64_t data_bytes) const {
    std::sort(tensors.begin(), tensors.end(), [](const declared& a, const declared& b) {
      return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
    });
    std::uint64_t covered = 0;
    for (const declared& t : tensors) {
      if (t.begin < covered)
        refuse(file_, "tensor '" + t.name + "' overlaps the one before it, at byte " + std::to_string(t.begin),
               wrongly_made);
      if (t.begin > covered)
        refuse(file_, "has a hole of " + std::to_string(t.begin - covered) + " bytes before tensor '" + t.name + "'",
               wrongly_made);
      covered = t.end;
    }
    if (covered != data_bytes)
      refuse(file_, "has " + std::to_string(data_bytes - covered) + " bytes behind its last tensor", wrongly_made);
  }

  const std::filesystem::path& file_;
  std::span<const std::byte> bytes_;
  std::uint64_t header_bytes_ = 0;
};

}  // namespace

index_t size_of(dtype type) noexcept { return type == dtype::f32 ? 4 : 2; }

const char* name(dtype type) noexcept {
  static constexpr std::array names = {"F32", "F16", "BF16"};
  return names[static_cast<std::size_t>(type)];
}

index_t tensor_view::elements() const noexcept {
  index_t n = 1;
  for (const index_t extent : shape) n *= extent;
  return n;
}

safetensors_file::safetensors_file(const std::filesystem::path& file) : path_(file), file_(file) {
  header_reader header(path_, {file_.data(), file_.size()});
  for (declared& t : header.read()) {
    const auto type = dtype_named(t.type->name);
    if (!type) {
      foreign_.emplace(std::move(t.name), t.type->name);
      continue;
    }
    tensor_view view{*type, std::move(t.shape), file_.data() + header.data_begin() + t.begin};
    // Not all writers align what they write. Who computes with the numbers wants them aligned.
    if ((header.data_begin() + t.begin) % static_cast<std::uint64_t>(size_of(*type)) != 0)
      view.data = copies_.emplace_back(view.data, view.data + view.bytes()).data();
    tensors_.emplace(std::move(t.name), std::move(view));
  }
}

void safetensors_file::refuse_type(const std::string& tensor) const {
  refuse(path_, "tensor '" + tensor + "' has the type \"" + foreign_.at(tensor) + "\"", convert_type);
}

}  // namespace mini_llama
