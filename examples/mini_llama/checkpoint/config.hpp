// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "checkpoint/families/family.hpp"
#include "kvsharer/core/attention_shape.hpp"
#include "kvsharer/core/rope.hpp"
#include "kvsharer/core/types.hpp"
#include "support/load_error.hpp"

namespace mini_llama {

/// One line that is equal for two models of half-split pairing exactly when their rotations are, such as
/// "half-split theta=10000 scaling=none". Stands in plan files.
std::string rope_identity(const kvsharer::rope_rule& rope);

/// What a config.json says about a model of the Llama family, checked: sizes are positive, heads is a multiple of
/// kv_heads, head_dim is even.
struct model_config {
  std::string architecture;  ///< such as "LlamaForCausalLM"
  int layers = 0;
  int hidden = 0;
  int intermediate = 0;
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
  int vocab = 0;
  int max_position = 0;  ///< the context, stretched by linear scaling where the rotation has it
  float norm_eps = 0;
  bool tied_embeddings = false;
  // In the half-split pairing of HuggingFace's Llama.
  kvsharer::rope_rule rope;
  int bos = 0;           ///< -1 when the model has none
  std::vector<int> eos;  ///< any of these ends a text; may be empty

  // What families differ in.
  const tensor_names* names = &huggingface_names;
  bool qkv_bias = false, output_bias = false;
  bool head_norms = false;   ///< heads of queries and keys are normed before they are rotated
  std::vector<int> windows;  ///< by layer, how many tokens a position sees, itself included; 0: all. Empty: all, always
  std::vector<int> kv_owners;  ///< by layer, whose cache it reads in the model as it was trained. Empty: its own

  /// Has layer l weights of keys and values?
  bool stores(int l) const noexcept { return kv_owners.empty() || kv_owners[static_cast<std::size_t>(l)] == l; }
  int window(int l) const noexcept { return windows.empty() ? 0 : windows[static_cast<std::size_t>(l)]; }
  kvsharer::attention_shape attention(kvsharer::layer_id l) const noexcept {
    return {.heads = heads, .kv_heads = kv_heads, .head_dim = head_dim, .window = window(l.value)};
  }
};

/// Reads `directory`/config.json, and generation_config.json where there is one: the tokens that it says end a text go
/// before those of config.json. Throws load_error for a file that is missing or broken, and by name for everything that
/// the forward pass would not honour: other architectures, activations, rotations, quantised weights, experts.
model_config read_config(const std::filesystem::path& directory);

/// The same for a config.json of any name, alone.
model_config read_config_file(const std::filesystem::path& file);

}  // namespace mini_llama
