// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/config.hpp"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "mini_llama/damage.hpp"
#include "mini_llama/scratch_directory.hpp"

using nlohmann::json;
using namespace mini_llama;

namespace {

json llama2() {
  return json::parse(R"({
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "bos_token_id": 1, "eos_token_id": 2,
    "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 5632, "max_position_embeddings": 2048,
    "num_attention_heads": 32, "num_hidden_layers": 22, "num_key_value_heads": 4, "pretraining_tp": 1,
    "rms_norm_eps": 1e-05, "rope_scaling": null, "tie_word_embeddings": false, "torch_dtype": "float32",
    "use_cache": true, "vocab_size": 32000})");
}

json llama3() {
  json c = llama2();
  c.update(json::parse(R"({
    "attention_bias": false, "mlp_bias": false, "eos_token_id": [128001, 128008, 128009], "bos_token_id": 128000,
    "head_dim": 64, "max_position_embeddings": 131072, "rope_theta": 500000.0, "tie_word_embeddings": true,
    "vocab_size": 128256, "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
    "original_max_position_embeddings": 8192, "rope_type": "llama3"}})"));
  return c;
}

json mistral() {
  json c = llama2();
  c.update(json::parse(R"({
    "architectures": ["MistralForCausalLM"], "model_type": "mistral", "hidden_size": 4096, "num_key_value_heads": 8,
    "max_position_embeddings": 32768, "rope_theta": 1000000.0, "sliding_window": null, "head_dim": null})"));
  return c;
}

json qwen2() {
  json c = llama2();
  c.update(json::parse(R"({
    "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "max_position_embeddings": 32768,
    "sliding_window": 4096, "use_sliding_window": false, "max_window_layers": 21, "bos_token_id": null})"));
  return c;
}

model_config read(const json& config) {
  const scratch_directory d;
  d.write("config.json", config.dump());
  return read_config(d.path());
}

/// What is said against `config` with `changes` made; always begins with the file.
std::string refused(json config, const json& changes) {
  config.update(changes);
  const scratch_directory d;
  d.write("config.json", config.dump());
  const std::string text = refusal([&] { read_config(d.path()); });
  CHECK_MESSAGE(has(text, "config.json: "), text);
  return text;
}

void check_refused(const json& config, const char* changes, const char* reason) {
  const std::string text = refused(config, json::parse(changes));
  CHECK_MESSAGE(has(text, reason), text);
}

}  // namespace

TEST_CASE("Llama-2 and TinyLlama") {
  const model_config c = read(llama2());
  CHECK(c.architecture == "LlamaForCausalLM");
  CHECK(c.layers == 22);
  CHECK(c.hidden == 2048);
  CHECK(c.intermediate == 5632);
  CHECK(c.heads == 32);
  CHECK(c.kv_heads == 4);
  CHECK(c.head_dim == 64);
  CHECK(c.vocab == 32000);
  CHECK(c.max_position == 2048);
  CHECK(c.norm_eps == doctest::Approx(1e-5));
  CHECK(!c.tied_embeddings);
  CHECK(c.bos == 1);
  CHECK(c.eos == std::vector{2});
  CHECK(rope_identity(c.rope) == "half-split theta=10000 scaling=none");

  json old = llama2();
  old.erase("num_key_value_heads");
  old.erase("rope_scaling");
  CHECK(read(old).kv_heads == 32);
}

TEST_CASE("Llama-3 of both generations of files") {
  const model_config c = read(llama3());
  CHECK(c.tied_embeddings);
  CHECK(c.bos == 128000);
  CHECK(c.eos == std::vector{128001, 128008, 128009});
  CHECK(c.rope.scaling == kvsharer::rope_scaling::llama3);
  CHECK(c.rope.theta == 500000);
  CHECK(c.rope.factor == 32);
  CHECK(c.rope.low_freq_factor == 1);
  CHECK(c.rope.high_freq_factor == 4);
  CHECK(c.rope.original_max_position == 8192);
  CHECK(rope_identity(c.rope) == "half-split theta=5e+05 scaling=llama3 factor=32 low=1 high=4 original=8192");

  json newer = llama3();
  newer["rope_parameters"] = newer["rope_scaling"];
  newer["rope_parameters"]["rope_theta"] = newer["rope_theta"];
  newer.erase("rope_scaling");
  newer.erase("rope_theta");
  newer["dtype"] = "bfloat16";
  newer.erase("torch_dtype");
  CHECK(rope_identity(read(newer).rope) == rope_identity(c.rope));
}

TEST_CASE("linear and default rotations") {
  json c = llama2();
  c["rope_scaling"] = {{"type", "linear"}, {"factor", 2.5}};
  CHECK(rope_identity(read(c).rope) == "half-split theta=10000 scaling=linear factor=2.5");
  c["rope_scaling"] = nullptr;
  c["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 20000}};
  CHECK(rope_identity(read(c).rope) == "half-split theta=20000 scaling=none");
}

TEST_CASE("linear scaling stretches the context, other rotations have theirs stated") {
  json c = llama2();
  c["rope_scaling"] = {{"type", "linear"}, {"factor", 4.0}};
  CHECK(read(c).max_position == 8192);
  c["rope_scaling"]["factor"] = 2.5;
  CHECK(read(c).max_position == 5120);
  c["rope_scaling"]["factor"] = 1e300;
  CHECK(read(c).max_position == 1 << 30);
  c["rope_parameters"] = {{"rope_type", "linear"}, {"factor", 8}, {"rope_theta", 10000}};
  c.erase("rope_scaling");
  CHECK(read(c).max_position == 16384);
  CHECK(read(llama3()).max_position == 131072);
  c["rope_parameters"] = {{"rope_type", "dynamic"}, {"factor", 8}};
  CHECK(read(c).max_position == 2048);
  // A window between the two is one.
  json m = mistral();
  m["sliding_window"] = 40000;
  CHECK(read(m).windows.empty());
  m["rope_scaling"] = {{"type", "linear"}, {"factor", 2.0}};
  CHECK(read(m).windows == std::vector(22, 40000));
}

TEST_CASE("a rotation that is stated twice is stated alike") {
  const json linear{{"type", "linear"}, {"factor", 4.0}}, yarn{{"type", "yarn"}, {"factor", 4.0}};
  const json newer{{"rope_type", "linear"}, {"factor", 4}, {"rope_theta", 10000.0}};
  const auto rotation = [](const json& parameters, const json& scaling, const json& more = json::object()) {
    json c = llama2();
    c.update(json{{"rope_parameters", parameters}, {"rope_scaling", scaling}});
    c.update(more);
    return c;
  };
  CHECK(rope_identity(read(rotation(newer, linear)).rope) == "half-split theta=10000 scaling=linear factor=4");
  CHECK(read(rotation(newer, linear, {{"rope_theta", 10000}})).max_position == 8192);
  CHECK(read(rotation(newer, json::object())).rope.factor == 4);
  CHECK(read(rotation({{"rope_type", "default"}, {"rope_theta", 5e5}}, {{"type", "dynamic"}, {"factor", 2}}))
            .rope.theta == 5e5);

  const json plain{{"rope_type", "default"}, {"rope_theta", 10000.0}};
  check_refused(rotation(plain, yarn), "{}", "the rotation type \"yarn\" in rope_scaling is not supported");
  check_refused(rotation(yarn, linear), "{}", "the rotation type \"yarn\" in rope_parameters is not supported");
  for (const json& other :
       {json{{"type", "linear"}, {"factor", 2.0}}, json{{"type", "default"}}, llama3().at("rope_scaling")}) {
    check_refused(rotation(newer, other), "{}", "\"rope_parameters\": {\"factor\":4");
    check_refused(rotation(newer, other), "{}", "\"rope_scaling\": {");
    check_refused(rotation(newer, other), "{}", "contradict each other; keep the one");
  }
  check_refused(rotation(plain, linear), "{}", "contradict each other");
  check_refused(rotation(plain, nullptr, {{"rope_theta", 5e5}}), "{}",
                "\"rope_theta\": 500000.0 and \"rope_parameters.rope_theta\": 10000.0 contradict each other");
  check_refused(rotation(nullptr, {{"type", "linear"}, {"rope_type", "default"}, {"factor", 2}}), "{}",
                "\"rope_scaling.rope_type\": \"default\" and \"rope_scaling.type\": \"linear\" contradict");
  json l = llama3();
  l["original_max_position_embeddings"] = 4096;
  check_refused(l, "{}",
                "\"original_max_position_embeddings\": 4096 and \"rope_scaling.original_max_position_embeddings\"");
  l["original_max_position_embeddings"] = 8192;
  CHECK(read(l).rope.original_max_position == 8192);
}

TEST_CASE("the tokens that generation_config.json lists end a text, before those of config.json") {
  const auto ends = [](const std::string& generation) {
    const scratch_directory d;
    d.write("config.json", llama2().dump());
    d.write("generation_config.json", generation);
    return read_config(d.path()).eos;
  };
  CHECK(ends(R"({"eos_token_id": [2, 43, 7], "temperature": 0.6})") == std::vector{2, 43, 7});
  CHECK(ends(R"({"eos_token_id": 43})") == std::vector{43});
  CHECK(ends(R"({"eos_token_id": null, "top_p": 0.9})") == std::vector{2});
  CHECK(ends("{}") == std::vector{2});
  CHECK(has(refusal([&] { ends(R"({"eos_token_id": [2, 32000]})"); }),
            "generation_config.json: \"eos_token_id\": [2,32000] is not a token id below \"vocab_size\": 32000"));
  CHECK(has(refusal([&] { ends("{\"eos_token_id\": "); }), "generation_config.json: is not valid JSON"));
  // A config.json alone, as `bench --shape` takes it, is no checkpoint.
  const scratch_directory d;
  d.write("generation_config.json", R"({"eos_token_id": 43})");
  CHECK(read_config_file(d.write("config.json", llama2().dump())).eos == std::vector{2});
}

TEST_CASE("Mistral and Qwen") {
  const model_config m = read(mistral());
  CHECK(m.architecture == "MistralForCausalLM");
  CHECK(m.head_dim == 128);
  json window = mistral();
  window["sliding_window"] = 32768;
  CHECK(read(window).max_position == 32768);
  const model_config q = read(qwen2());
  CHECK(q.architecture == "Qwen2ForCausalLM");
  CHECK(q.bos == -1);
}

TEST_CASE("one of architectures and model_type is enough") {
  json c = llama2();
  c.erase("architectures");
  CHECK(read(c).architecture == "LlamaForCausalLM");
  c = mistral();
  c.erase("model_type");
  CHECK(read(c).architecture == "MistralForCausalLM");
}

TEST_CASE("head_dim need not follow from hidden_size") {
  json c = llama2();
  c["head_dim"] = 128;
  c["hidden_size"] = 2050;
  CHECK(read(c).head_dim == 128);
}

TEST_CASE("what the forward pass would not honour is refused by name") {
  check_refused(llama2(), R"({"architectures": ["GemmaForCausalLM"]})", "GemmaForCausalLM");
  check_refused(llama2(), R"({"model_type": "mixtral", "architectures": ["MixtralForCausalLM"]})",
                "MixtralForCausalLM");
  check_refused(llama2(), R"({"model_type": "mistral"})", "model_type mistral");
  check_refused(llama2(), R"({"architectures": null, "model_type": null})", "names neither");
  check_refused(llama2(), R"({"architectures": ["A", "B"]})", "\"architectures\"");
  check_refused(mistral(), R"({"attention_bias": true})",
                "\"attention_bias\": true is not supported for MistralForCausalLM");
  check_refused(llama2(), R"({"bias": true})", "\"bias\": true is not supported for LlamaForCausalLM");
  check_refused(llama2(), R"({"mlp_bias": true})", "\"mlp_bias\": true is not supported");
  check_refused(llama2(), R"({"hidden_act": "gelu"})", "\"hidden_act\": \"gelu\"");
  check_refused(llama2(), R"({"quantization_config": {"bits": 4}})", "quantization_config");
  check_refused(llama2(), R"({"model_type": "qwen3_moe", "architectures": ["Qwen3MoeForCausalLM"]})",
                "Qwen3MoeForCausalLM (model_type qwen3_moe) is not supported; known are LlamaForCausalLM, "
                "MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM, InternLM2ForCausalLM");
  check_refused(llama2(), R"({"num_local_experts": 8})", "num_local_experts");
  check_refused(llama2(), R"({"partial_rotary_factor": 0.5})", "partial_rotary_factor");
  check_refused(llama2(), R"({"layer_types": ["full_attention", "sliding_attention"]})", "layer_types");
  json kinds = llama2();
  kinds["layer_types"] = json(22, "chunked_attention");
  check_refused(kinds, "{}", "only full_attention and sliding_attention are supported");
  kinds["layer_types"] = json(22, "sliding_attention");
  check_refused(kinds, "{}", "lacks \"sliding_window\"");
}

TEST_CASE("windows of layers, by rule and by name") {
  CHECK(read(llama2()).windows.empty());
  json m = mistral();
  CHECK(read(m).windows.empty());  // null: the model has none
  m["sliding_window"] = 4096;
  CHECK(read(m).windows == std::vector(22, 4096));
  m.erase("sliding_window");
  CHECK(read(m).windows == std::vector(22, 4096));  // nothing said: the architecture's default
  m["max_position_embeddings"] = 4096;
  CHECK(read(m).windows.empty());  // no position sees further

  json q = qwen2();
  CHECK(read(q).windows.empty());
  q["use_sliding_window"] = true;
  std::vector<int> expected(22, 0);
  expected[21] = 4096;
  CHECK(read(q).windows == expected);
  q["max_window_layers"] = 0;
  CHECK(read(q).windows == std::vector(22, 4096));
  q["max_window_layers"] = 22;
  CHECK(read(q).windows.empty());
  q["max_window_layers"] = 0;
  q["sliding_window"] = nullptr;
  CHECK(read(q).windows.empty());  // switched on, and there is none
  q.erase("sliding_window");
  CHECK(read(q).windows == std::vector(22, 4096));
}

TEST_CASE("listed kinds of layers and keys that say there is no window") {
  // Families with a switch: it goes before the list.
  json q = qwen2();
  q["layer_types"] = json(22, "full_attention");
  q["layer_types"][3] = "sliding_attention";
  CHECK(read(q).windows.empty());
  q.erase("use_sliding_window");
  CHECK(read(q).windows.empty());
  q["use_sliding_window"] = true;
  std::vector<int> expected(22, 0);
  expected[3] = 4096;
  CHECK(read(q).windows == expected);
  q["sliding_window"] = nullptr;
  CHECK(read(q).windows.empty());

  // Families without: one of the two is wrong.
  for (json c : {llama2(), mistral()}) {
    c["layer_types"] = json(22, "sliding_attention");
    c["sliding_window"] = 512;
    CHECK(read(c).windows == std::vector(22, 512));
    c["use_sliding_window"] = true;
    CHECK(read(c).windows == std::vector(22, 512));
    check_refused(c, R"({"use_sliding_window": false})", "\"use_sliding_window\": false contradicts \"layer_types\"");
    check_refused(c, R"({"sliding_window": null})", "\"sliding_window\": null contradicts \"layer_types\"");
    c["layer_types"] = json(22, "full_attention");
    c["use_sliding_window"] = false;
    c["sliding_window"] = nullptr;
    CHECK(read(c).windows.empty());
  }
}

TEST_CASE("models that share already: the last layers read the last one of their kind below them") {
  json c = llama2();
  c["num_hidden_layers"] = 7;
  c["sliding_window"] = 512;
  c["layer_types"] = {"sliding_attention", "full_attention",    "sliding_attention", "sliding_attention",
                      "full_attention",    "sliding_attention", "full_attention"};
  c["num_kv_shared_layers"] = 3;
  CHECK(read(c).windows == std::vector{512, 0, 512, 512, 0, 512, 0});
  CHECK(read(c).kv_owners == std::vector{0, 1, 2, 3, 1, 3, 1});
  c["num_kv_shared_layers"] = 0;
  CHECK(read(c).kv_owners.empty());
  c["num_kv_shared_layers"] = 6;
  check_refused(c, "{}", "below layer 1 no layer of its kind stores");
  c["num_kv_shared_layers"] = 7;
  check_refused(c, "{}", "leaves no layer that stores");
}

TEST_CASE("what families differ in") {
  CHECK(!read(llama2()).qkv_bias);
  CHECK(!read(llama2()).output_bias);
  json c = llama2();
  c["attention_bias"] = true;
  CHECK(read(c).qkv_bias);
  CHECK(read(c).output_bias);
  CHECK(read(qwen2()).qkv_bias);
  CHECK(!read(qwen2()).output_bias);
  json q3 = qwen2();
  q3["model_type"] = "qwen3";
  q3["architectures"] = {"Qwen3ForCausalLM"};
  CHECK(read(q3).head_norms);
  CHECK(!read(q3).qkv_bias);
  CHECK(read(q3).head_dim == 128);
  json i = llama2();
  i["model_type"] = "internlm2";
  i["architectures"] = {"InternLM2ForCausalLM"};
  i["bias"] = false;
  i["rope_scaling"] = {{"type", "dynamic"}, {"factor", 2.0}};  // changes nothing within the context
  CHECK(rope_identity(read(i).rope) == "half-split theta=10000 scaling=none");
  CHECK(std::string(read(i).names->fused) == "attention.wqkv");
}

TEST_CASE("rotations that are not supported or not whole are refused") {
  for (const char* type : {"yarn", "longrope", "su", "mrope"})
    CHECK(has(refused(llama2(), {{"rope_scaling", {{"rope_type", type}, {"factor", 2.0}}}}),
              std::string("the rotation type \"") + type + "\""));
  check_refused(llama2(), R"({"rope_scaling": {"type": "linear"}})", "lacks \"rope_scaling.factor\"");
  check_refused(llama2(), R"({"rope_scaling": {"type": "linear", "factor": 0.5}})", "is less than 1");
  check_refused(llama2(), R"({"rope_scaling": 7})", "\"rope_scaling\": 7 is not an object");
  check_refused(llama2(), R"({"rope_theta": -1})", "\"rope_theta\": -1 is not a positive number");
  check_refused(llama2(), R"({"rope_theta": 1e-300})", "\"rope_theta\": 1e-300 is not above 1");
  check_refused(llama2(), R"({"rope_parameters": {"rope_theta": 1}})",
                "\"rope_parameters.rope_theta\": 1 is not above");
  check_refused(llama2(), R"({"rope_theta": "big"})", "\"rope_theta\": \"big\"");
  check_refused(llama2(), R"({"rope_parameters": {"full_attention": {"rope_type": "default"}}})", "differ by layer");
  check_refused(llama2(), R"({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.25}})",
                "rope_parameters.partial_rotary_factor");
  check_refused(llama2(), R"({"rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 4,
                "high_freq_factor": 4, "original_max_position_embeddings": 8192}})",
                "is not above");
  check_refused(llama2(), R"({"rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1,
                "high_freq_factor": 4}})",
                "lacks \"rope_scaling.original_max_position_embeddings\"");
}

TEST_CASE("sizes that make no sense are refused") {
  json c = llama2();
  c.erase("hidden_size");
  check_refused(c, "{}", "lacks \"hidden_size\"");
  check_refused(llama2(), R"({"num_hidden_layers": 0})", "\"num_hidden_layers\": 0");
  check_refused(llama2(), R"({"num_hidden_layers": -3})", "\"num_hidden_layers\": -3");
  check_refused(llama2(), R"({"num_hidden_layers": 2.5})", "\"num_hidden_layers\": 2.5");
  check_refused(llama2(), R"({"vocab_size": 99999999999999999})", "\"vocab_size\": 99999999999999999");
  check_refused(llama2(), R"({"num_key_value_heads": 5})", "is not a multiple of \"num_key_value_heads\": 5");
  check_refused(llama2(), R"({"hidden_size": 2050})", "lacks \"head_dim\"");
  check_refused(llama2(), R"({"head_dim": 63})", "even");
  check_refused(llama2(), R"({"rms_norm_eps": 0})", "\"rms_norm_eps\": 0");
  check_refused(llama2(), R"({"rms_norm_eps": 1e300})", "\"rms_norm_eps\": 1e+300 is not between 1e-30 and 1");
  check_refused(llama2(), R"({"rms_norm_eps": 1e-300})", "\"rms_norm_eps\": 1e-300 is not between 1e-30 and 1");
  check_refused(llama2(), R"({"eos_token_id": [2, 32000]})", "\"eos_token_id\"");
  check_refused(llama2(), R"({"bos_token_id": -1})", "\"bos_token_id\": -1");
  check_refused(llama2(), R"({"bos_token_id": [1]})", "\"bos_token_id\": [1]");
  check_refused(llama2(), R"({"tie_word_embeddings": "yes"})", "\"tie_word_embeddings\": \"yes\"");
}

TEST_CASE("files that are missing or broken") {
  const scratch_directory d;
  CHECK(has(refusal([&] { read_config(d.path() / "absent"); }), "absent: is not a folder"));
  CHECK(has(refusal([&] { read_config(d.path()); }), "config.json: cannot be opened"));
  d.write("config.json", "{\"model_type\": ");
  CHECK(has(refusal([&] { read_config(d.path()); }), "config.json: is not valid JSON"));
  d.write("config.json", "{\"rope_theta\": 1e999}");
  CHECK(has(refusal([&] { read_config(d.path()); }), "config.json: is not valid JSON"));
  d.write("config.json", R"({"hidden_size": 1, "hidden_size": 2})");
  CHECK(has(refusal([&] { read_config(d.path()); }), "config.json: names 'hidden_size' twice"));
  d.write("config.json", "{\"eos_token_id\": " + std::string(500'000, '[') + std::string(500'000, ']') + "}");
  CHECK(has(refusal([&] { read_config(d.path()); }), "config.json: nests more than 100 levels deep"));
  d.write("config.json", "[1]");
  CHECK(has(refusal([&] { read_config(d.path()); }), "config.json: holds a JSON array"));
}

TEST_CASE("thousands of damaged files are refused, or read into something sound") {
  const scratch_directory d;
  damage damaged(5);
  int refusals = 0, readings = 0;
  for (int round = 0; round < 4000; ++round) {
    const json whole = round % 2 == 0 ? llama3() : mistral();
    const std::filesystem::path file = d.write("config.json", damaged(whole.dump()));
    try {
      const model_config c = read_config(d.path());
      ++readings;
      REQUIRE(c.heads % c.kv_heads == 0);
      REQUIRE((c.head_dim > 0 && c.head_dim % 2 == 0));
      for (const int size : {c.layers, c.hidden, c.intermediate, c.vocab, c.max_position}) REQUIRE(size > 0);
      REQUIRE((c.bos >= -1 && c.bos < c.vocab));
      for (const int id : c.eos) REQUIRE((id >= 0 && id < c.vocab));
      REQUIRE(c.rope.factor >= 1);
    } catch (const load_error& e) {
      ++refusals;
      REQUIRE(std::string(e.what()).starts_with(file.string() + ": "));
    }
  }
  CHECK(refusals > 1000);
  CHECK(readings > 100);
}
