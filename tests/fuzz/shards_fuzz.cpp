// SPDX-License-Identifier: Apache-2.0
// The index of a checkpoint in two shards, which lie beside it and are whole.
#include "checkpoint/shards.hpp"

#include <set>
#include <string>

#include "fuzz/target.hpp"

namespace {

/// A shard with one tensor of two float16 numbers.
std::string shard(const std::string& tensor) {
  const std::string header = "{\"" + tensor + "\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,4]}}";
  return std::string(1, static_cast<char>(header.size())) + std::string(7, '\0') + header + std::string(4, '\0');
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool ready = [] {
    fuzz::folder().write("a.safetensors", shard("x"));
    fuzz::folder().write("b.safetensors", shard("yy"));
    return true;
  }();
  (void)ready;
  fuzz::folder().write("model.safetensors.index.json", fuzz::text(data, size));
  try {
    std::set<std::string> tensors;
    for (const auto& file : mini_llama::open_weights(fuzz::folder().path(), [](const std::string&) { return true; })) {
      fuzz::promise(file.path().parent_path() == fuzz::folder().path(), "shards lie in the checkpoint");
      for (const auto& [name, view] : file.tensors())
        fuzz::promise(tensors.insert(name).second, "no tensor is there twice");
    }
    fuzz::promise(!tensors.empty(), "a checkpoint holds something");
  } catch (const mini_llama::load_error&) {
  }
  return 0;
}
