// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/shapes.hpp"

#include <string_view>

#include "support/usage_error.hpp"

namespace mini_llama {
namespace {

struct named_shape {
  std::string_view name;
  const char* architecture;
  int layers, hidden, intermediate, heads, kv_heads, vocab, max_position;
  double rope_theta;
  int bos, eos;
};

constexpr named_shape known[] = {
    {shape_names[0], "LlamaForCausalLM", 32, 4096, 11008, 32, 32, 32000, 4096, 1e4, 1, 2},
    {shape_names[1], "LlamaForCausalLM", 40, 5120, 13824, 40, 40, 32000, 4096, 1e4, 1, 2},
    {shape_names[2], "LlamaForCausalLM", 32, 4096, 14336, 32, 8, 128256, 8192, 5e5, 128000, 128001},
    {shape_names[3], "MistralForCausalLM", 32, 4096, 14336, 32, 8, 32768, 32768, 1e6, 1, 2},
};
static_assert(std::size(known) == shape_names.size());

}  // namespace

model_config shape_named(const std::string& name) {
  if (name.ends_with(".json")) return read_config_file(name);
  for (const named_shape& s : known) {
    if (s.name != name) continue;
    model_config c;
    c.architecture = s.architecture;
    c.layers = s.layers;
    c.hidden = s.hidden;
    c.intermediate = s.intermediate;
    c.heads = s.heads;
    c.kv_heads = s.kv_heads;
    c.head_dim = s.hidden / s.heads;
    c.vocab = s.vocab;
    c.max_position = s.max_position;
    c.norm_eps = 1e-5f;
    c.rope.theta = s.rope_theta;
    c.bos = s.bos;
    c.eos = {s.eos};
    return c;
  }
  throw usage_error("there is no shape \"" + name +
                    "\"; choose llama2-7b, llama2-13b, llama3-8b or mistral-7b, or give a config.json");
}

long long count_weights(const model_config& c) {
  const long long hidden = c.hidden, head_dim = c.head_dim;
  const long long attention = hidden * head_dim * (2 * c.heads + 2 * c.kv_heads), mlp = 3 * hidden * c.intermediate;
  const long long extra = (c.qkv_bias ? head_dim * (c.heads + 2 * c.kv_heads) : 0) + (c.output_bias ? hidden : 0) +
                          (c.head_norms ? 2 * head_dim : 0);
  return c.layers * (attention + mlp + 2 * hidden + extra) + hidden + (c.tied_embeddings ? 1 : 2) * hidden * c.vocab;
}

}  // namespace mini_llama
