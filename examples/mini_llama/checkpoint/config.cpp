// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/config.hpp"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>
#include <utility>

#include "checkpoint/families/config_reader.hpp"
#include "checkpoint/families/layer_kinds.hpp"
#include "checkpoint/families/rope_reader.hpp"
#include "kvsharer/core/rope_text.hpp"
#include "support/file_itself.hpp"
#include "support/json_file.hpp"

namespace mini_llama {
namespace {

using json = nlohmann::json;

const family& family_of(const config_reader& config) {
  const std::string type = config.text("model_type", "");
  std::string declared;
  if (const json* list = config.find("architectures")) {
    if (!list->is_array() || list->size() != 1 || !list->front().is_string())
      config.refuse(config.said("architectures") + " is not a list of one name");
    declared = list->front().get<std::string>();
  }
  if (type.empty() && declared.empty()) config.refuse("names neither \"architectures\" nor \"model_type\"");
  std::string known;
  for (const family& f : families) {
    if ((type.empty() || type == f.model_type) && (declared.empty() || declared == f.architecture)) return f;
    known += (known.empty() ? "" : ", ") + std::string(f.architecture);
  }
  config.refuse("the architecture " + (declared.empty() ? type : declared) +
                (type.empty() ? "" : " (model_type " + type + ")") + " is not supported; known are " + known);
}

/// Refuses by name whatever the forward pass would silently leave out.
void refuse_unsupported(const config_reader& config, const family& kind) {
  for (const char* key : {"attention_bias", "bias", "mlp_bias", "qkv_bias", "use_qk_norm"})
    if (config.flag(key) && (kind.bias_flag == nullptr || key != std::string_view(kind.bias_flag)))
      config.refuse(config.said(key) + " is not supported for " + kind.architecture);
  for (const char* key : {"quantization_config", "num_local_experts", "num_experts", "n_routed_experts",
                          "attn_logit_softcapping", "final_logit_softcapping", "no_rope_layers"})
    if (config.find(key)) config.refuse(config.said(key) + " is not supported; give an ordinary dense model");
  for (const char* key : {"partial_rotary_factor", "embedding_multiplier", "residual_multiplier", "logits_scaling"})
    if (config.find(key) && config.number(key) != 1) config.refuse(config.said(key) + " is not supported; only 1 is");

  const std::string activation = config.text("hidden_act", "silu");
  if (activation != "silu" && activation != "swish")
    config.refuse("the activation " + config.said("hidden_act") + " is not supported; silu is");
}

/// One id, or each of a list of them where `list` allows it; null gives none.
std::vector<int> special_tokens(const config_reader& config, const char* key, int vocab, bool list) {
  const json* value = config.find(key);
  if (!value) return {};
  if (value->is_array() && !list) config.refuse(config.said(key) + " is not a number");
  std::vector<int> ids;
  const json values = value->is_array() ? *value : json::array({*value});
  for (const json& id : values) {
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= static_cast<std::uint64_t>(vocab))
      config.refuse(config.said(key) + " is not a token id below \"vocab_size\": " + std::to_string(vocab));
    ids.push_back(id.get<int>());
  }
  return ids;
}

model_config read_model(const config_reader& config) {
  const family& kind = family_of(config);
  model_config c;
  c.architecture = kind.architecture;
  c.names = kind.names;
  c.layers = config.size("num_hidden_layers");
  c.hidden = config.size("hidden_size");
  c.intermediate = config.size("intermediate_size");
  c.heads = config.size("num_attention_heads");
  c.kv_heads = config.size("num_key_value_heads", c.heads);
  c.vocab = config.size("vocab_size");
  c.rope = read_rope(config);
  c.max_position = stretched_context(c.rope, config.size("max_position_embeddings"));
  const double eps = config.number("rms_norm_eps", 1e-6);
  if (eps < 1e-30 || eps > 1)  // within which it is an ordinary float
    config.refuse(config.said("rms_norm_eps") + " is not between 1e-30 and 1; values such as 1e-5 are meant");
  c.norm_eps = static_cast<float>(eps);
  c.tied_embeddings = config.flag("tie_word_embeddings");
  refuse_unsupported(config, kind);
  c.output_bias = kind.bias_flag != nullptr && config.flag(kind.bias_flag);
  c.qkv_bias = kind.qkv_bias || c.output_bias;
  c.head_norms = kind.head_norms;
  c.windows = layer_windows(config, kind, c.layers, c.max_position);
  c.kv_owners = layer_owners(config, c.windows, c.layers);

  if (c.heads % c.kv_heads != 0)
    config.refuse(config.said("num_attention_heads") + " is not a multiple of " + config.said("num_key_value_heads"));
  if (!config.find("head_dim") && kind.head_dim == 0 && c.hidden % c.heads != 0)
    config.refuse("lacks \"head_dim\", and " + config.said("hidden_size") + " is not a multiple of " +
                  config.said("num_attention_heads") + ", from which it could be derived");
  c.head_dim = config.size("head_dim", kind.head_dim != 0 ? kind.head_dim : c.hidden / c.heads);
  if (c.head_dim % 2 != 0) config.refuse("head_dim is " + std::to_string(c.head_dim) + "; rotations need an even one");

  const std::vector<int> bos = special_tokens(config, "bos_token_id", c.vocab, false);
  c.bos = bos.empty() ? -1 : bos[0];
  c.eos = special_tokens(config, "eos_token_id", c.vocab, true);
  return c;
}

/// The tokens that end a text according to generation_config.json, which lists more of them than config.json in many
/// checkpoints; nothing where it does not say.
std::vector<int> ends_of_generation(const std::filesystem::path& directory, int vocab) {
  const std::filesystem::path file = directory / "generation_config.json";
  if (!is_there(file)) return {};
  const json root = read_json_object(file);
  return special_tokens(config_reader(file, root), "eos_token_id", vocab, true);
}

}  // namespace

std::string rope_identity(const kvsharer::rope_rule& rope) { return "half-split " + kvsharer::rope_text(rope); }

model_config read_config(const std::filesystem::path& directory) {
  std::error_code ignored;  // a name that cannot be looked up is no folder either
  if (!std::filesystem::is_directory(directory, ignored))
    throw load_error(directory,
                     "is not a folder; give the folder of a HuggingFace checkpoint, which holds config.json");
  model_config c = read_config_file(directory / "config.json");
  if (std::vector<int> ends = ends_of_generation(directory, c.vocab); !ends.empty()) c.eos = std::move(ends);
  return c;
}

model_config read_config_file(const std::filesystem::path& file) {
  const json root = read_json_object(file);
  return read_model(config_reader(file, root));
}

}  // namespace mini_llama
