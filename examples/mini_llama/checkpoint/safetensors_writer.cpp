// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/safetensors_writer.hpp"

#include <bit>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

namespace mini_llama {

static_assert(std::endian::native == std::endian::little, "safetensors files are little endian");

std::string safetensors_bytes(std::span<const named_floats> tensors, const std::map<std::string, std::string>& texts) {
  nlohmann::ordered_json header;
  header["__metadata__"] = texts;
  std::uint64_t end = 0;
  for (const named_floats& t : tensors) {
    const std::uint64_t begin = end;
    end += t.numbers.size_bytes();
    header[t.name] = {{"dtype", "F32"}, {"shape", t.shape}, {"data_offsets", {begin, end}}};
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');  // aligns the numbers behind it

  std::string bytes;
  for (int shift = 0; shift < 64; shift += 8)
    bytes += static_cast<char>(static_cast<std::uint64_t>(text.size()) >> shift & 0xff);
  bytes += text;
  for (const named_floats& t : tensors)
    bytes += std::string_view(reinterpret_cast<const char*>(t.numbers.data()), t.numbers.size_bytes());
  return bytes;
}

}  // namespace mini_llama
