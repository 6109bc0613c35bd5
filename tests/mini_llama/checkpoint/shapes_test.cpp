// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/shapes.hpp"

#include <doctest/doctest.h>

#include <string>

#include "mini_llama/scratch_directory.hpp"
#include "support/usage_error.hpp"

using mini_llama::model_config;
using mini_llama::shape_named;

TEST_CASE("published models have as many weights as their cards say") {
  CHECK(mini_llama::count_weights(shape_named("llama2-7b")) == 6738415616);
  CHECK(mini_llama::count_weights(shape_named("llama2-13b")) == 13015864320);
  CHECK(mini_llama::count_weights(shape_named("llama3-8b")) == 8030261248);
  CHECK(mini_llama::count_weights(shape_named("mistral-7b")) == 7248023552);
}

TEST_CASE("what is not seen in the number of weights") {
  for (const std::string name : mini_llama::shape_names) {
    const model_config c = shape_named(name);
    CHECK(c.head_dim == 128);
    CHECK(c.heads * c.head_dim == c.hidden);
    CHECK(c.norm_eps == 1e-5f);
    CHECK_FALSE(c.tied_embeddings);
    CHECK(c.rope.scaling == kvsharer::rope_scaling::none);
    CHECK(c.bos < c.vocab);
    CHECK(c.eos.size() == 1);
  }
  CHECK(shape_named("llama2-13b").max_position == 4096);
  CHECK(shape_named("llama3-8b").rope.theta == 500000);
  CHECK(shape_named("mistral-7b").rope.theta == 1000000);
  CHECK(shape_named("mistral-7b").max_position == 32768);
}

TEST_CASE("a shape from a file, of any name") {
  const scratch_directory d;
  const auto file = d.write("other.json", R"({"model_type": "llama", "num_hidden_layers": 3, "hidden_size": 64,
    "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 100,
    "max_position_embeddings": 128, "tie_word_embeddings": true})");
  const model_config c = shape_named(file.string());
  CHECK(c.layers == 3);
  CHECK(c.kv_heads == 2);
  // Of each layer 64 x 16 x (4 + 4 + 2 + 2) in attention, 3 x 64 x 96 in the MLP and 2 x 64 in norms.
  CHECK(mini_llama::count_weights(c) == 3 * (12288 + 18432 + 128) + 64 + 6400);
  CHECK(has(refusal([&] { shape_named((d.path() / "absent.json").string()); }), "absent.json: cannot be opened"));
}

TEST_CASE("an unknown name is refused with those that are known") {
  CHECK_THROWS_WITH_AS(
      shape_named("llama2-70b"),
      "there is no shape \"llama2-70b\"; choose llama2-7b, llama2-13b, llama3-8b or mistral-7b, or give a config.json",
      mini_llama::usage_error);
}
