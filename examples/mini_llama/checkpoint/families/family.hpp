// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>

/// Families of checkpoints as data. Their forward pass is one; what differs is how tensors are named and which of a few
/// parts are there.
namespace mini_llama {

/// What a family calls its tensors. Those of a layer stand behind "model.layers.<l>." and without ".weight" or ".bias".
struct tensor_names {
  const char *embedding, *final_norm, *head;
  const char *attention_norm, *query, *key, *value;
  const char* fused;  ///< queries, keys and values in one, by KV head; then those have no names. Null: apart
  const char *output, *query_norm, *key_norm, *mlp_norm, *gate, *up, *down;
};

inline constexpr tensor_names huggingface_names{.embedding = "model.embed_tokens.weight",
                                                .final_norm = "model.norm.weight",
                                                .head = "lm_head.weight",
                                                .attention_norm = "input_layernorm",
                                                .query = "self_attn.q_proj",
                                                .key = "self_attn.k_proj",
                                                .value = "self_attn.v_proj",
                                                .fused = nullptr,
                                                .output = "self_attn.o_proj",
                                                .query_norm = "self_attn.q_norm",
                                                .key_norm = "self_attn.k_norm",
                                                .mlp_norm = "post_attention_layernorm",
                                                .gate = "mlp.gate_proj",
                                                .up = "mlp.up_proj",
                                                .down = "mlp.down_proj"};

inline constexpr tensor_names internlm2_names{.embedding = "model.tok_embeddings.weight",
                                              .final_norm = "model.norm.weight",
                                              .head = "output.weight",
                                              .attention_norm = "attention_norm",
                                              .query = "",
                                              .key = "",
                                              .value = "",
                                              .fused = "attention.wqkv",
                                              .output = "attention.wo",
                                              .query_norm = "",
                                              .key_norm = "",
                                              .mlp_norm = "ffn_norm",
                                              .gate = "feed_forward.w1",
                                              .up = "feed_forward.w3",
                                              .down = "feed_forward.w2"};

/// Which layers "sliding_window" is of, where "layer_types" does not say.
enum class window_rule {
  none,     ///< the key means nothing
  all,      ///< every layer; 4096 where the key is absent
  switched  ///< where use_sliding_window is true: those from max_window_layers on
};

struct family {
  const char* model_type;
  const char* architecture;
  const tensor_names* names;
  const char* bias_flag;  ///< the key that gives queries, keys, values and the output a bias; null: none does
  bool qkv_bias;          ///< queries, keys and values always have one
  bool head_norms;        ///< each head of queries and keys is normed before it is rotated
  window_rule window;
  int head_dim;  ///< where config.json does not say; 0: hidden_size over num_attention_heads
};

inline constexpr std::array families = {
    family{"llama", "LlamaForCausalLM", &huggingface_names, "attention_bias", false, false, window_rule::none, 0},
    family{"mistral", "MistralForCausalLM", &huggingface_names, nullptr, false, false, window_rule::all, 0},
    family{"qwen2", "Qwen2ForCausalLM", &huggingface_names, nullptr, true, false, window_rule::switched, 0},
    family{"qwen3", "Qwen3ForCausalLM", &huggingface_names, "attention_bias", false, true, window_rule::switched, 128},
    family{"internlm2", "InternLM2ForCausalLM", &internlm2_names, "bias", false, false, window_rule::none, 0}};

}  // namespace mini_llama
