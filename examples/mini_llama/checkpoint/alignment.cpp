// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/alignment.hpp"

#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

#include "checkpoint/safetensors.hpp"
#include "checkpoint/safetensors_writer.hpp"
#include "kvsharer/core/finite.hpp"
#include "support/files.hpp"
#include "support/hash.hpp"

namespace mini_llama {

using kvsharer::index_t;

namespace {

std::string tensor_name(int layer, const char* part) { return "layers." + std::to_string(layer) + "." + part; }

/// Copies a tensor into numbers that have the wanted size already.
void take(const safetensors_file& file, const std::string& name, const std::vector<index_t>& shape,
          std::vector<float>& numbers) {
  const auto found = file.tensors().find(name);
  if (found == file.tensors().end() || found->second.type != dtype::f32 || found->second.shape != shape)
    throw load_error(file.path(), "has no tensor '" + name +
                                      "' in F32 of the shape that the plan's map and model ask for. It is the "
                                      "alignment of another map; search again with --align");
  std::memcpy(numbers.data(), found->second.data, numbers.size() * sizeof(float));
  for (const float x : numbers)
    if (!kvsharer::is_finite(x)) throw load_error(file.path(), "tensor '" + name + "' holds NaN or infinity");
}

}  // namespace

std::string alignment_bytes(const alignment& readers) {
  std::vector<named_floats> tensors;
  for (const auto& [l, a] : readers) {
    tensors.push_back({tensor_name(l, "values"), {a.kv_heads, a.head_dim, a.head_dim}, a.values});
    tensors.push_back({tensor_name(l, "offset"), {a.kv_heads, a.head_dim}, a.offset});
    tensors.push_back({tensor_name(l, "key_gain"), {a.kv_heads, a.head_dim / 2, 2}, a.key_gain});
  }
  return safetensors_bytes(tensors, {{"format", "kvsharer alignment 1"}, {"pairing", "half-split"}});
}

std::string alignment_hash(std::string_view bytes) {
  hash h;
  h.add(bytes);
  return h.digits();
}

std::filesystem::path alignment_beside(const std::filesystem::path& plan_file) {
  std::filesystem::path name = plan_file;
  if (name.extension() == ".json") name.replace_extension();
  name += ".align.safetensors";
  return name;
}

alignment read_alignment(const std::filesystem::path& plan_file, const kvsharer::alignment_record& named,
                         const kvsharer::share_map& map, const model_config& config) {
  const std::filesystem::path path = plan_file.parent_path() / named.file;
  const auto refuse = [&](const std::string& what) {
    throw kvsharer::error(kvsharer::errc::alignment_file,
                          path.string() + what + "; it belongs to " + plan_file.string() +
                              ". Bring the two files together, search again with --align, or leave the alignment out "
                              "with --no-align");
  };
  std::string found;
  try {
    found = alignment_hash(read_text_file(path));
  } catch (const load_error&) {
    refuse(" cannot be read");
  }
  if (found != named.hash) refuse(" has the hash " + found + " where the plan names " + named.hash);

  const safetensors_file file(path);
  alignment readers;
  const index_t heads = config.kv_heads, d = config.head_dim;
  for (int l = 0; l < map.layers(); ++l) {
    if (map.owns({l})) continue;
    kvsharer::layer_alignment a = kvsharer::layer_alignment::identity(heads, d);
    take(file, tensor_name(l, "values"), {heads, d, d}, a.values);
    take(file, tensor_name(l, "offset"), {heads, d}, a.offset);
    take(file, tensor_name(l, "key_gain"), {heads, d / 2, 2}, a.key_gain);
    readers.emplace(l, std::move(a));
  }
  if (file.tensors().size() != 3 * readers.size())
    throw load_error(path, "holds " + std::to_string(file.tensors().size()) + " tensors where the plan's " +
                               std::to_string(readers.size()) +
                               " readers have three each. It is the alignment of another map; search again with "
                               "--align");
  return readers;
}

}  // namespace mini_llama
