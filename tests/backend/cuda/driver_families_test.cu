// SPDX-License-Identifier: Apache-2.0
// Every family that the device takes, from its config.json to logits and greedy tokens, against the host's driver. That
// one is held against transformers in tests/mini_llama/checkpoint/families, on heads for which the device has no
// attention.
#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <initializer_list>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "backend/cuda/driver_families/host_logits.hpp"
#include "checkpoint/config.hpp"
#include "checkpoint/families/own_map.hpp"
#include "device/gpu.hpp"
#include "kvsharer/kvsharer.hpp"
#include "mini_llama/scratch_directory.hpp"
#include "run/session.hpp"

namespace {

using namespace mini_llama;
using kvsharer::index_t;
using kvsharer::share_map;
using kvsharer::share_plan;

struct family_case {
  const char *name, *architecture, *more;  // what config.json says beyond the sizes
};

// Rotations are stretched so much that within a few dozen tokens some pairs keep their frequency, some are slowed
// and some are blended.
const family_case cases[] = {
    {"Llama 3", "LlamaForCausalLM",
     R"("tie_word_embeddings": true, "rope_theta": 500000.0,
        "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                         "original_max_position_embeddings": 16})"},
    {"TinyLlama", "LlamaForCausalLM", R"("rope_theta": 10000.0)"},
    {"Llama, linearly stretched", "LlamaForCausalLM", R"("rope_scaling": {"type": "linear", "factor": 4.0})"},
    {"Qwen2", "Qwen2ForCausalLM", R"("tie_word_embeddings": true, "rope_theta": 1000000.0)"},
    {"Qwen3", "Qwen3ForCausalLM", R"("tie_word_embeddings": true, "rope_theta": 1000000.0)"},
    {"InternLM2", "InternLM2ForCausalLM", R"("bias": false, "rope_theta": 1000000.0)"},
    {"Mistral within a window", "MistralForCausalLM", R"("sliding_window": 9, "rope_theta": 10000.0)"},
    {"Qwen2, windows of some layers", "Qwen2ForCausalLM",
     R"("use_sliding_window": true, "sliding_window": 6, "layer_types": ["full_attention", "sliding_attention",
        "sliding_attention"])"}};

constexpr int layers = 3, vocab = 61;

model_config config_of(const family_case& family) {
  const scratch_directory d;
  return read_config_file(d.write("config.json", std::string(R"({"architectures": [")") + family.architecture +
                                                     R"("], "num_hidden_layers": 3, "hidden_size": 48,
    "intermediate_size": 80, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64, "vocab_size": 61,
    "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "bos_token_id": 1, "eos_token_id": 2, )" +
                                                     family.more + "}"));
}

/// Random weights. Biases are as large as what they are added to, and gains far from 1, so that none can be left out.
model random_llama(const model_config& c, unsigned seed) {
  const auto weights = std::make_shared<std::map<std::string, std::vector<float>>>();
  return {c,
          [weights, seed](const std::string& name, std::initializer_list<index_t> shape) {
            index_t n = 1;
            for (const index_t s : shape) n *= s;
            std::vector<float>& numbers = (*weights)[name];
            std::mt19937 bits(seed + static_cast<unsigned>(weights->size()));
            const bool bias = name.ends_with(".bias"), gain = shape.size() == 1 && !bias;
            const double size = bias ? 0.8 : gain ? 0.5 : 1.7 / std::sqrt(static_cast<double>(*(shape.end() - 1)));
            for (index_t i = 0; i < n; ++i) {
              const double uniform = static_cast<double>(bits() % 20001) / 10000 - 1;
              numbers.push_back(static_cast<float>((gain ? 1 : 0) + size * uniform));
            }
            return tensor_view{dtype::f32, shape, reinterpret_cast<const std::byte*>(numbers.data())};
          },
          weights};
}

token_batch some_prompts() {
  token_batch prompts;
  std::mt19937 bits(5);
  for (const int tokens : {7, 1, 24}) {
    std::vector<int>& ids = prompts.emplace_back(static_cast<std::size_t>(tokens));
    for (int& id : ids) id = static_cast<int>(bits() % vocab);
  }
  return prompts;
}

/// |a - b| / |b|, in the Euclidean norm; NaN where either has one.
double relative_error(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(double{a[i]} - double{b[i]}, 2);
    size += std::pow(double{b[i]}, 2);
  }
  return std::sqrt(difference / size);
}

/// Does the plan pair layers of one window only?
bool fits(const model_config& c, const share_plan& plan) {
  for (kvsharer::layer_id l{0}; l.value < layers; ++l.value)
    if (!same_kind(c, l, plan.key_owner(l)) || !same_kind(c, l, plan.value_owner(l))) return false;
  return true;
}

share_map map_of(std::initializer_list<int> owners) { return share_map::from_owners(std::vector<int>(owners)).value(); }

TEST_CASE("each family says on the device what it says on the host, with keys and values shared alike, apart or not") {
  const auto card = open_gpu();
  const token_batch prompts = some_prompts();
  const share_plan plans[] = {share_map::identity(layers), map_of({0, 1, 1}),
                              share_plan(map_of({0, 0, 2}), map_of({0, 1, 1}))};
  unsigned seed = 1;
  for (const family_case& family : cases) {
    CAPTURE(family.name);
    const session s(random_llama(config_of(family), seed += 100));
    std::vector<std::vector<float>> full;
    for (const share_plan& plan : plans) {
      CAPTURE(plan.shared_planes());
      if (!fits(s.llama.config(), plan)) continue;
      const auto here = card->logits(s, plan, prompts, {});
      REQUIRE(here.size() == prompts.size());
      std::vector<std::vector<float>> there;
      for (const auto& prompt : prompts) there.push_back(host_logits(s, plan, prompt));
      for (std::size_t p = 0; p < prompts.size(); ++p) CHECK(relative_error(here[p], there[p]) < 1e-4);
      // Or plans would be compared that change nothing.
      if (full.empty()) full = there;
      if (plan.shared_planes() > 0) CHECK(relative_error(there[2], full[2]) > 1e-2);

      const generation_request request{.prompts = prompts, .max_new_tokens = 6, .stop_at_eos = false};
      CHECK(card->generate(s, plan, request).token_ids == generate(s, plan, request).token_ids);
    }
  }
}

TEST_CASE("what families differ in is there") {
  const auto config = [](std::size_t i) { return config_of(cases[i]); };
  CHECK(config(0).rope.scaling == kvsharer::rope_scaling::llama3);
  CHECK(config(2).rope.scaling == kvsharer::rope_scaling::linear);
  CHECK(config(3).qkv_bias);
  CHECK(config(4).head_norms);
  CHECK(config(5).names->fused != nullptr);
  CHECK(config(6).windows == std::vector<int>{9, 9, 9});
  CHECK(config(7).windows == std::vector<int>{0, 6, 6});
  for (const family_case& family : cases) {
    // Nothing that would have the driver stay on the host.
    std::unique_ptr<gpu> card = open_gpu();
    keep_for(card, "auto", config_of(family));
    CHECK(card != nullptr);
  }
}

}  // namespace
