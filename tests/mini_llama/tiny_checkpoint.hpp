// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "golden/golden.hpp"
#include "mini_llama/scratch_directory.hpp"

/// A Llama of 8 small layers with random weights as a directory, for tests that run a program or many passes. Its words
/// are the shipped model's.
class tiny_checkpoint {
 public:
  static constexpr int layers = 8, hidden = 32, intermediate = 44, heads = 4, kv_heads = 2, head_dim = 10;

  tiny_checkpoint() {
    const nlohmann::json config{{"architectures", {"LlamaForCausalLM"}},
                                {"model_type", "llama"},
                                {"vocab_size", golden::vocab},
                                {"hidden_size", hidden},
                                {"intermediate_size", intermediate},
                                {"num_hidden_layers", layers},
                                {"num_attention_heads", heads},
                                {"num_key_value_heads", kv_heads},
                                {"head_dim", head_dim},
                                {"hidden_act", "silu"},
                                {"max_position_embeddings", 128},
                                {"rope_theta", 10000.0},
                                {"rms_norm_eps", 1e-5},
                                {"tie_word_embeddings", true},
                                {"bos_token_id", 1},
                                {"eos_token_id", 2},
                                {"torch_dtype", "float32"}};
    folder_.write("config.json", config.dump());
    std::filesystem::create_symlink(golden::model_directory() + "/tokenizer.model", folder_.path() / "tokenizer.model");
    add("model.embed_tokens.weight", {static_cast<int>(golden::vocab), hidden}, 4);
    for (int l = 0; l < layers; ++l) {
      const std::string layer = "model.layers." + std::to_string(l) + ".";
      add(layer + "self_attn.q_proj.weight", {heads * head_dim, hidden});
      add(layer + "self_attn.k_proj.weight", {kv_heads * head_dim, hidden});
      add(layer + "self_attn.v_proj.weight", {kv_heads * head_dim, hidden});
      add(layer + "self_attn.o_proj.weight", {hidden, heads * head_dim});
      add(layer + "mlp.gate_proj.weight", {intermediate, hidden});
      add(layer + "mlp.up_proj.weight", {intermediate, hidden});
      add(layer + "mlp.down_proj.weight", {hidden, intermediate});
      add(layer + "input_layernorm.weight", {hidden});
      add(layer + "post_attention_layernorm.weight", {hidden});
    }
    add("model.norm.weight", {hidden});
    write();
  }

  /// Sets one number of a tensor, such as NaN: the one in its middle or, counted from 0, the one at `at`.
  void spoil(const std::string& tensor, float number, std::ptrdiff_t at = -1) {
    const auto& offsets = header_.at(tensor).at("data_offsets");
    const std::size_t first = offsets[0].get<std::size_t>() / sizeof(float);
    const std::size_t count = offsets[1].get<std::size_t>() / sizeof(float) - first;
    numbers_.at(first + (at < 0 ? count / 2 : static_cast<std::size_t>(at))) = number;
    write();
  }

  std::string directory() const { return folder_.path().string(); }

 private:
  void write() const {
    folder_.write("model.safetensors",
                  safetensors_bytes(header_.dump(),
                                    {reinterpret_cast<const char*>(numbers_.data()), numbers_.size() * sizeof(float)}));
  }
  void add(const std::string& name, const std::vector<int>& shape, double size = 2) {
    const std::size_t begin = numbers_.size() * sizeof(float);
    std::size_t count = 1;
    for (const int extent : shape) count *= static_cast<std::size_t>(extent);
    const bool norm = shape.size() == 1;
    const double scale = norm ? 0.2 : size / std::sqrt(static_cast<double>(shape.back()));
    for (std::size_t i = 0; i < count; ++i) {
      const double uniform = static_cast<double>(bits_() % 20001) / 10000 - 1;
      numbers_.push_back(static_cast<float>((norm ? 1 : 0) + scale * uniform));
    }
    header_[name] = {{"dtype", "F32"}, {"shape", shape}, {"data_offsets", {begin, begin + count * sizeof(float)}}};
  }

  scratch_directory folder_;
  std::mt19937 bits_{3};
  std::vector<float> numbers_;
  nlohmann::ordered_json header_;
};
