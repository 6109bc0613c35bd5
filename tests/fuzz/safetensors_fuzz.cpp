// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/safetensors.hpp"

#include "fuzz/target.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = fuzz::folder().write("model.safetensors", fuzz::text(data, size));
  try {
    const mini_llama::safetensors_file tensors(file);
    std::size_t bytes = 0;
    unsigned sum = 0;
    for (const auto& [name, t] : tensors.tensors()) {
      fuzz::promise(t.elements() >= 0 && static_cast<std::size_t>(t.bytes()) <= size, "tensors are within the file");
      bytes += static_cast<std::size_t>(t.bytes());
      if (t.bytes() > 0)
        fuzz::promise(reinterpret_cast<std::uintptr_t>(t.data) % static_cast<std::size_t>(size_of(t.type)) == 0,
                      "tensors are aligned");
      for (kvsharer::index_t i = 0; i < t.bytes(); ++i) sum += std::to_integer<unsigned>(t.data[i]);
    }
    fuzz::promise(bytes + 8 <= size && sum <= 255 * size, "tensors do not overlap");
  } catch (const mini_llama::load_error&) {
  }
  return 0;
}
