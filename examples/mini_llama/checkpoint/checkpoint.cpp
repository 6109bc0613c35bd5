// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/checkpoint.hpp"

#include <algorithm>
#include <charconv>
#include <span>
#include <string_view>

#include "checkpoint/shards.hpp"

namespace mini_llama {
namespace {

using kvsharer::index_t;

std::string shape_text(std::span<const index_t> shape) {
  std::string text = "[";
  for (const index_t extent : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(extent);
  return text + "]";
}

/// A layer, and the part of a tensor's name behind it.
struct layer_part_name {
  int layer = -1;
  std::string_view part;
};

/// The part behind "model.layers.<l>." where l is one of the model's layers in ordinary decimal digits, or nothing.
layer_part_name within_layer(std::string_view name, int layers) {
  constexpr std::string_view prefix = "model.layers.";
  if (!name.starts_with(prefix)) return {};
  name.remove_prefix(prefix.size());
  int layer = -1;
  const auto end = std::from_chars(name.data(), name.data() + name.size(), layer).ptr;
  const auto digits = static_cast<std::size_t>(end - name.data());
  if (layer < 0 || layer >= layers || std::to_string(layer).size() != digits || !name.substr(digits).starts_with('.'))
    return {};
  return {layer, name.substr(digits + 1)};
}

enum class use {
  needed,
  tied,  ///< the embedding or the head where either may stand for both
  unneeded,
  unknown
};

/// Numbers of the rotation, which follow from the configuration: files of many versions store them, in the layers or in
/// the model.
bool is_rotary_buffer(std::string_view name) {
  for (const std::string_view buffer : {"inv_freq", "original_inv_freq", "cos_cached", "sin_cached"})
    if (name.ends_with(".rotary_emb." + std::string(buffer))) return true;
  return false;
}

use use_of(std::string_view name, const model_config& c) {
  const tensor_names& n = *c.names;
  if (name == n.head || name == n.embedding) return c.tied_embeddings ? use::tied : use::needed;
  if (name == n.final_norm) return use::needed;
  if (is_rotary_buffer(name)) return use::unneeded;
  const auto [layer, part] = within_layer(name, c.layers);
  if (layer < 0) return use::unknown;

  const auto is = [&part = part](std::string_view tensor, std::string_view kind) {
    return !tensor.empty() && part.size() == tensor.size() + kind.size() && part.starts_with(tensor) &&
           part.ends_with(kind);
  };
  const auto projection = [&](const char* tensor, bool bias) {
    return tensor != nullptr && (is(tensor, ".weight") || (bias && is(tensor, ".bias")));
  };
  // A layer that was trained to read another has keys and values in some files all the same.
  if (projection(n.key, c.qkv_bias) || projection(n.value, c.qkv_bias) || (c.head_norms && is(n.key_norm, ".weight")))
    return c.stores(layer) ? use::needed : use::unneeded;
  if (projection(n.query, c.qkv_bias) || projection(n.fused, c.qkv_bias) || projection(n.output, c.output_bias) ||
      (c.head_norms && is(n.query_norm, ".weight")))
    return use::needed;
  for (const char* tensor : {n.attention_norm, n.mlp_norm, n.gate, n.up, n.down})
    if (is(tensor, ".weight")) return use::needed;
  return use::unknown;
}

[[noreturn]] void refuse_unknown(const std::filesystem::path& file, const std::string& name) {
  std::string why = "which is not part of the supported models, or belongs to a layer that config.json does not count";
  if (name.ends_with(".bias")) why = "a bias, which config.json does not call for";
  if (name.find("q_norm") != std::string::npos || name.find("k_norm") != std::string::npos)
    why = "a norm of queries or keys, which its architecture does not have";
  throw load_error(file, "holds tensor '" + name + "', " + why + ". Leaving it out would change the model's answers");
}

bool equal(const tensor_view& a, const tensor_view& b) {
  return a.type == b.type && a.shape == b.shape && std::equal(a.data, a.data + a.bytes(), b.data);
}

}  // namespace

checkpoint::checkpoint(const std::filesystem::path& directory)
    : directory_(directory), config_(read_config(directory)), files_(open_weights(directory, [this](const auto& name) {
        const use u = use_of(name, config_);
        return u == use::needed || u == use::unknown;
      })) {
  for (const safetensors_file& file : files_) {
    for (const auto& [name, view] : file.tensors()) {
      const use u = use_of(name, config_);
      if (u == use::unknown) refuse_unknown(file.path(), name);
      if (u != use::unneeded && !tensors_.emplace(name, view).second)
        throw load_error(file.path(), "holds tensor '" + name + "', which another shard holds too. The files are of " +
                                          "different models or versions; fetch them all again");
    }
    for (const auto& [name, type] : file.foreign())
      if (use_of(name, config_) != use::unneeded) file.refuse_type(name);
  }
  if (config_.tied_embeddings) settle_head();
}

void checkpoint::settle_head() {
  const auto head = tensors_.find(config_.names->head), embedding = tensors_.find(config_.names->embedding);
  if (head == tensors_.end()) return;
  if (embedding != tensors_.end() && !equal(head->second, embedding->second)) {
    config_.tied_embeddings = false;
    remarks_.push_back("config.json says \"tie_word_embeddings\": true, but the weights hold a '" + head->first +
                       "' that is not the embedding: it is used, as transformers 5 does. Say false there where that "
                       "is meant, or remove the tensor");
    return;
  }
  tensors_.emplace(config_.names->embedding, head->second);  // nothing new where the embedding is there
  tensors_.erase(head);
}

const tensor_view& checkpoint::tensor(const std::string& name, std::initializer_list<index_t> shape) const {
  const auto at = tensors_.find(name);
  if (at == tensors_.end())
    throw load_error(directory_, "the weights lack tensor '" + name + "', which config.json calls for. Weights and " +
                                     "config.json are of different models, or a file is missing");
  if (!std::equal(at->second.shape.begin(), at->second.shape.end(), shape.begin(), shape.end()))
    throw load_error(directory_, "tensor '" + name + "' has the shape " + shape_text(at->second.shape) +
                                     ", config.json calls for " + shape_text(std::span(shape.begin(), shape.size())) +
                                     ". Weights and config.json are of different models");
  return at->second;
}

index_t checkpoint::weight_bytes() const noexcept {
  index_t sum = 0;
  for (const auto& [name, view] : tensors_) sum += view.bytes();
  return sum;
}

}  // namespace mini_llama
