// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/checkpoint.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "golden/golden.hpp"
#include "kvsharer/core/element.hpp"
#include "kvsharer/search/model_fingerprint.hpp"
#include "mini_llama/damage.hpp"
#include "mini_llama/scratch_directory.hpp"
#include "network/model.hpp"

using namespace mini_llama;
using kvsharer::index_t;
using nlohmann::json;

namespace {

/// A tensor as a test writes it.
struct stored {
  std::string type;
  std::vector<index_t> shape;
  std::string bytes;
};
using tensors = std::map<std::string, stored>;

json small_config() {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"model_type", "llama"},
          {"hidden_size", 8},
          {"intermediate_size", 6},
          {"num_attention_heads", 2},
          {"num_key_value_heads", 1},
          {"num_hidden_layers", 2},
          {"vocab_size", 5},
          {"max_position_embeddings", 16},
          {"bos_token_id", 1},
          {"eos_token_id", 2}};
}

/// Every byte differs from its neighbours and from those of other tensors.
stored filled(const std::string& type, std::vector<index_t> shape, std::size_t seed) {
  std::size_t bytes = type == "F64" || type == "I64" ? 8 : type == "F32" || type == "I32" ? 4 : type == "U8" ? 1 : 2;
  for (const index_t extent : shape) bytes *= static_cast<std::size_t>(extent);
  std::string data(bytes, '\0');
  for (std::size_t i = 0; i < bytes; ++i) data[i] = static_cast<char>((i * 7 + seed * 13) % 60);
  return {type, std::move(shape), std::move(data)};
}

/// All that the small configuration calls for, in all three types.
tensors small_tensors() {
  tensors t;
  const auto add = [&](const std::string& name, std::vector<index_t> shape) {
    static const char* const types[] = {"F32", "BF16", "F16"};
    t[name] = filled(types[t.size() % 3], std::move(shape), t.size());
  };
  add("model.embed_tokens.weight", {5, 8});
  add("lm_head.weight", {5, 8});
  add("model.norm.weight", {8});
  for (const std::string layer : {"model.layers.0.", "model.layers.1."}) {
    add(layer + "input_layernorm.weight", {8});
    add(layer + "post_attention_layernorm.weight", {8});
    add(layer + "self_attn.q_proj.weight", {8, 8});
    add(layer + "self_attn.k_proj.weight", {4, 8});
    add(layer + "self_attn.v_proj.weight", {4, 8});
    add(layer + "self_attn.o_proj.weight", {8, 8});
    add(layer + "mlp.gate_proj.weight", {6, 8});
    add(layer + "mlp.up_proj.weight", {6, 8});
    add(layer + "mlp.down_proj.weight", {8, 6});
  }
  return t;
}

/// The same tensors with numbers as models have them, all of one type and times a factor.
tensors numbers(const std::string& type, float factor) {
  tensors all = small_tensors();
  index_t n = 0;
  for (auto& [name, t] : all) {
    t = {type, t.shape, ""};
    index_t count = 1;
    for (const index_t extent : t.shape) count *= extent;
    for (index_t i = 0; i < count; ++i) {
      const float x = factor * std::sin(static_cast<float>(++n));
      const auto put = [&](auto stored) { t.bytes.append(reinterpret_cast<const char*>(&stored), sizeof stored); };
      if (type == "F32") put(x);
      if (type == "BF16") put(kvsharer::bfloat16(x));
      if (type == "F16") put(kvsharer::float16(x));
    }
  }
  return all;
}

std::string fingerprint_at(const std::filesystem::path& directory) {
  return model(checkpoint(directory)).fingerprint();
}

std::string file_bytes(const tensors& all) {
  json header;
  std::string data;
  for (const char* type :
       {"F64", "I64", "F32", "I32", "F16", "BF16", "U8"})  // wide ones first, so that all are aligned
    for (const auto& [name, t] : all)
      if (t.type == type) {
        header[name] = {
            {"dtype", t.type}, {"shape", t.shape}, {"data_offsets", {data.size(), data.size() + t.bytes.size()}}};
        data += t.bytes;
      }
  return safetensors_bytes(header.dump(), data);
}

/// A checkpoint of one file.
struct single : scratch_directory {
  explicit single(const tensors& all = small_tensors(), const json& config = small_config()) {
    write("config.json", config.dump());
    write("model.safetensors", file_bytes(all));
  }
};

/// The same tensors dealt out to three shards, and the index.
struct sharded : scratch_directory {
  explicit sharded(const tensors& all = small_tensors(), const json& config = small_config()) {
    write("config.json", config.dump());
    for (const auto& [name, t] : all) {
      const std::size_t shard = weight_map.size() % 3;
      shards[shard][name] = t;
      weight_map[name] = name_of(shard);
    }
    for (std::size_t s = 0; s < 3; ++s) write(name_of(s), file_bytes(shards[s]));
    write_index();
  }

  static std::string name_of(std::size_t shard) {
    return "model-0000" + std::to_string(shard + 1) + "-of-00003.safetensors";
  }

  void write_index() const {
    write("model.safetensors.index.json", json{{"metadata", {{"total_size", 0}}}, {"weight_map", weight_map}}.dump());
  }

  std::string refused() const {
    return refusal([&] { const checkpoint c(path()); });
  }

  tensors shards[3];
  json weight_map = json::object();
};

std::string opening(const std::filesystem::path& directory) {
  return refusal([&] { const checkpoint c(directory); });
}

/// Also finds the tensors, as running the model would.
std::string loading(const std::filesystem::path& directory) {
  return refusal([&] { const model m{checkpoint(directory)}; });
}

void check(const std::string& text, std::initializer_list<std::string_view> parts) {
  for (const std::string_view part : parts) CHECK_MESSAGE(has(text, part), text);
}

std::string bytes_of(const weight& w) {
  return {reinterpret_cast<const char*>(w.data), static_cast<std::size_t>(w.out * w.in * size_of(w.type))};
}

}  // namespace

TEST_CASE("every tensor is found with its type, shape and bytes, in one file and in shards") {
  const single one;
  const sharded three;
  for (const std::filesystem::path& directory : {one.path(), three.path()}) {
    const checkpoint c(directory);
    index_t sum = 0;
    for (const auto& entry : small_tensors()) {
      const std::string& name = entry.first;
      const stored& expected = entry.second;
      CAPTURE(name);
      REQUIRE(c.has(name));
      const tensor_view& t = c.tensors().at(name);
      CHECK(mini_llama::name(t.type) == expected.type);
      CHECK(t.shape == expected.shape);
      REQUIRE(t.bytes() == static_cast<index_t>(expected.bytes.size()));
      CHECK(std::memcmp(t.data, expected.bytes.data(), expected.bytes.size()) == 0);
      sum += t.bytes();
    }
    CHECK(c.weight_bytes() == sum);
    CHECK(c.tensors().size() == small_tensors().size());
    CHECK(!c.has("model.layers.2.input_layernorm.weight"));
    CHECK(c.config().kv_heads == 1);
  }
}

TEST_CASE("one file and shards give the same model") {
  const single one;
  const sharded three;
  const model a{checkpoint(one.path())}, b{checkpoint(three.path())};
  CHECK(a.fingerprint() == b.fingerprint());
  CHECK(bytes_of(a.embedding()) == bytes_of(b.embedding()));
  CHECK(bytes_of(a.head()) == bytes_of(b.head()));
  CHECK(a.final_norm() == b.final_norm());
  for (int l = 0; l < 2; ++l) {
    CHECK(a.layer(l).attention_norm == b.layer(l).attention_norm);
    CHECK(a.layer(l).mlp_norm == b.layer(l).mlp_norm);
    for (const auto part : {&layer_weights::query, &layer_weights::key, &layer_weights::value, &layer_weights::output,
                            &layer_weights::gate, &layer_weights::up, &layer_weights::down})
      CHECK(bytes_of(a.layer(l).*part) == bytes_of(b.layer(l).*part));
  }
  CHECK(bytes_of(a.layer(1).down) == small_tensors()["model.layers.1.mlp.down_proj.weight"].bytes);
}

TEST_CASE("the weights stay in place when a checkpoint moves, and outlive it in a model") {
  const single one;
  checkpoint first(one.path());
  const std::byte* const data = first.tensor("model.norm.weight", {8}).data;
  checkpoint second = std::move(first);
  CHECK(second.tensor("model.norm.weight", {8}).data == data);
  const model m{std::move(second)};
  CHECK(bytes_of(m.embedding()) == small_tensors()["model.embed_tokens.weight"].bytes);
}

TEST_CASE("tied embeddings serve as the head, whichever of the two the file stores") {
  json config = small_config();
  config["tie_word_embeddings"] = true;
  tensors all = small_tensors(), without = small_tensors(), head_alone = small_tensors();
  all["lm_head.weight"] = all["model.embed_tokens.weight"];
  without.erase("lm_head.weight");
  head_alone["lm_head.weight"] = head_alone["model.embed_tokens.weight"];
  head_alone.erase("model.embed_tokens.weight");
  const single repeated(all, config), once(without, config), other(head_alone, config), untied(without);
  const std::string fingerprint = fingerprint_at(once.path());
  for (const std::filesystem::path& directory : {repeated.path(), once.path(), other.path()}) {
    const checkpoint file(directory);
    CHECK(file.remarks().empty());
    CHECK(file.config().tied_embeddings);
    const model m{checkpoint(directory)};
    CHECK(m.fingerprint() == fingerprint);
    CHECK(m.head().data == m.embedding().data);
    CHECK(bytes_of(m.embedding()) == small_tensors()["model.embed_tokens.weight"].bytes);
  }
  check(loading(untied.path()), {"lack tensor 'lm_head.weight'"});
  head_alone.erase("lm_head.weight");
  const single neither(head_alone, config);
  check(loading(neither.path()), {"lack tensor 'model.embed_tokens.weight'"});
}

TEST_CASE("a stored head that is not the embedding unties them, and that is said") {
  json config = small_config();
  config["tie_word_embeddings"] = true;
  tensors retyped = small_tensors(), last = small_tensors();
  retyped["lm_head.weight"] = retyped["model.embed_tokens.weight"];
  retyped["lm_head.weight"].type = "BF16";
  retyped["model.embed_tokens.weight"].type = "F16";
  for (stored* t : {&retyped["lm_head.weight"], &retyped["model.embed_tokens.weight"]}) t->bytes.resize(80);
  last["lm_head.weight"] = last["model.embed_tokens.weight"];
  last["lm_head.weight"].bytes.back() = static_cast<char>(last["lm_head.weight"].bytes.back() ^ 1);
  for (const tensors& all : {small_tensors(), retyped, last}) {
    const single tied(all, config), untied(all);
    const checkpoint file(tied.path());
    CHECK(!file.config().tied_embeddings);
    CHECK(fingerprint_at(tied.path()) == fingerprint_at(untied.path()));
    REQUIRE(file.remarks().size() == 1);
    check(file.remarks()[0],
          {"\"tie_word_embeddings\": true", "'lm_head.weight' that is not the embedding", "is used"});
    const model m{checkpoint(tied.path())};
    CHECK(bytes_of(m.head()) == all.at("lm_head.weight").bytes);
    CHECK(bytes_of(m.embedding()) == all.at("model.embed_tokens.weight").bytes);
  }
}

TEST_CASE("stored numbers of the rotation are passed over, wherever they stand and of whatever type") {
  const single without;
  const std::string fingerprint = fingerprint_at(without.path());
  for (const std::string place : {"model.", "model.layers.0.self_attn.", "model.layers.1.attention."})
    for (const std::string buffer : {"inv_freq", "original_inv_freq", "cos_cached", "sin_cached"})
      for (const std::string type : {"F32", "BF16", "F64", "I64", "U8"}) {
        tensors all = small_tensors();
        all[place + "rotary_emb." + buffer] = filled(type, {3}, 99);
        const single with(all);
        CHECK(loading(with.path()) == "(nothing was refused)");
        CHECK(fingerprint_at(with.path()) == fingerprint);
      }
}

TEST_CASE("tensors of types that are not computed with are refused where they are needed or not known") {
  for (const std::string name : {"model.norm.weight", "lm_head.weight", "model.layers.0.mlp.up_proj.qweight"}) {
    tensors all = small_tensors();
    all[name] = filled("I32", {8}, 1);
    const single d(all);
    check(opening(d.path()), {"tensor '" + name + "' has the type \"I32\"", "convert the model"});
  }
}

TEST_CASE("index and shards may differ in tensors that nobody needs") {
  const std::string buffer = "model.layers.0.self_attn.rotary_emb.inv_freq";
  sharded listed;  // by an older index than the shards
  const std::string fingerprint = fingerprint_at(listed.path());
  listed.weight_map[buffer] = sharded::name_of(0);
  listed.weight_map["model.rotary_emb.cos_cached"] = "model-00004-of-00004.safetensors";  // which is not there
  listed.write_index();
  CHECK(listed.refused() == "(nothing was refused)");
  CHECK(fingerprint_at(listed.path()) == fingerprint);

  for (const char* type : {"F32", "F64"}) {
    sharded held;  // by shards that the index does not know as well
    held.shards[1][buffer] = filled(type, {2}, 1);
    held.write(sharded::name_of(1), file_bytes(held.shards[1]));
    CHECK(held.refused() == "(nothing was refused)");
    CHECK(fingerprint_at(held.path()) == fingerprint);
  }

  json config = small_config();
  config["tie_word_embeddings"] = true;
  tensors without = small_tensors();
  without.erase("lm_head.weight");
  sharded tied(without, config);
  tied.weight_map["lm_head.weight"] = sharded::name_of(2);
  tied.write_index();
  CHECK(loading(tied.path()) == "(nothing was refused)");

  sharded untied(without);
  untied.weight_map["lm_head.weight"] = sharded::name_of(2);
  untied.write_index();
  check(untied.refused(), {"lacks tensor 'lm_head.weight'", "Fetch them all again"});
}

TEST_CASE("an embedding in two shards is refused, though its model is tied") {
  json config = small_config();
  config["tie_word_embeddings"] = true;
  sharded d(small_tensors(), config);
  for (tensors& shard : d.shards) shard["model.embed_tokens.weight"] = small_tensors()["model.embed_tokens.weight"];
  for (std::size_t s = 0; s < 3; ++s) d.write(sharded::name_of(s), file_bytes(d.shards[s]));
  check(d.refused(), {"holds tensor 'model.embed_tokens.weight', which another shard holds too"});
}

TEST_CASE("the fingerprint tells weights apart, wherever and as whatever they are stored") {
  const tensors all = numbers("F32", 1);
  const std::string fingerprint = fingerprint_at(single(all).path());
  CHECK(fingerprint.starts_with("kv1:8:6:2:"));
  CHECK(fingerprint_at(sharded(all).path()) == fingerprint);
  for (const char* type : {"BF16", "F16"})
    CHECK(kvsharer::fingerprint_difference(fingerprint, fingerprint_at(single(numbers(type, 1)).path())) == "");
  json other = small_config();
  other["_name_or_path"] = "elsewhere";
  other["max_position_embeddings"] = 32;
  other["rope_theta"] = 20000;  // which stands beside the fingerprint, and not in it
  CHECK(fingerprint_at(single(all, other).path()) == fingerprint);

  const tensors moved = numbers("F32", 1.03f);
  for (const auto& [name, t] : all) {
    tensors trained = all;
    trained[name] = moved.at(name);
    const bool differs = !kvsharer::fingerprint_difference(fingerprint, fingerprint_at(single(trained).path())).empty();
    CHECK_MESSAGE(differs == (name != "lm_head.weight"), name);  // the head has no say in keys and values
  }
}

TEST_CASE("a layer that was trained to read another has that one's keys and values in the fingerprint") {
  json sharing = small_config();
  sharing["num_kv_shared_layers"] = 1;
  tensors all = numbers("F32", 1);
  const std::string shared = fingerprint_at(single(all, sharing).path());
  CHECK(shared != fingerprint_at(single(all).path()));
  for (const std::string part : {"k_proj", "v_proj"})
    all["model.layers.1.self_attn." + part + ".weight"] = all["model.layers.0.self_attn." + part + ".weight"];
  CHECK(shared == fingerprint_at(single(all).path()));
}

TEST_CASE("the shipped model's fingerprint is the one that Python computes") {
  std::string expected = golden::read_file("model_fingerprint.txt");
  expected.pop_back();  // the line feed
  CHECK(fingerprint_at(golden::model_directory()) == expected);
}

TEST_CASE("a missing tensor and a wrong shape are named") {
  for (const auto& [name, t] : small_tensors()) {
    tensors lacking = small_tensors();
    lacking.erase(name);
    const single without(lacking);
    check(loading(without.path()), {without.path().string() + ": ", "the weights lack tensor '" + name + "'",
                                    "which config.json calls for", "or a file is missing"});
  }
  tensors wrong = small_tensors();
  wrong["model.layers.1.mlp.up_proj.weight"] = filled("F32", {8, 6}, 1);  // transposed
  const single transposed(wrong);
  check(loading(transposed.path()), {"'model.layers.1.mlp.up_proj.weight' has the shape [8, 6]", "calls for [6, 8]",
                                     "Weights and config.json are of different models"});
  wrong = small_tensors();
  wrong["model.norm.weight"] = filled("F32", {8, 1}, 1);
  const single rank(wrong);
  check(loading(rank.path()), {"'model.norm.weight' has the shape [8, 1]", "calls for [8]"});
  wrong["model.norm.weight"] = filled("F32", {}, 1);
  const single scalar(wrong);
  check(loading(scalar.path()), {"'model.norm.weight' has the shape [], config.json calls for [8]"});
}

TEST_CASE("a configuration that asks for more than there is fails before it takes memory") {
  json config = small_config();
  config["num_hidden_layers"] = 1'000'000'000;
  const single deep(small_tensors(), config);
  check(loading(deep.path()), {"lack tensor 'model.layers.2.input_layernorm.weight'"});
  config = small_config();
  config["intermediate_size"] = 1'000'000'000;
  const single wide(small_tensors(), config);
  check(loading(wide.path()), {"'model.layers.0.mlp.gate_proj.weight' has the shape [6, 8]"});
}

TEST_CASE("tensors that the forward pass would leave out are refused by name") {
  const std::pair<const char*, const char*> cases[] = {
      {"model.layers.0.self_attn.q_proj.bias", "a bias, which config.json does not call for"},
      {"model.layers.1.mlp.down_proj.bias", "a bias, which config.json does not call for"},
      {"model.layers.0.self_attn.q_norm.weight", "a norm of queries or keys, which its architecture does not have"},
      {"model.layers.0.self_attn.q_proj.weight_scale", "not part of the supported models"},
      {"model.layers.0.block_sparse_moe.gate.weight", "not part of the supported models"},
      {"model.layers.2.mlp.up_proj.weight", "a layer that config.json does not count"},
      {"model.layers.01.mlp.up_proj.weight", "not part of the supported models"},
      {"model.layers.99999999999999999999.mlp.up_proj.weight", "a layer that config.json does not count"},
      {"embed_tokens.weight", "not part of the supported models"},
      {"", "not part of the supported models"}};
  for (const auto& [name, why] : cases) {
    tensors more = small_tensors();
    more[name] = filled("F32", {8}, 1);
    const single d(more);
    check(opening(d.path()),
          {"model.safetensors: holds tensor '" + std::string(name) + "'", why, "change the model's"});
  }
}

TEST_CASE("folders without weights") {
  const scratch_directory d;
  check(opening(d.path() / "absent"), {"absent: is not a folder; give the folder of a HuggingFace checkpoint"});
  check(opening(d.path()), {"config.json: cannot be opened"});
  d.write("config.json", small_config().dump());
  d.write("pytorch_model.bin", "PK");
  check(opening(d.path()), {d.path().string() + ": holds neither model.safetensors nor", "convert others"});
}

TEST_CASE("shards that are missing, broken or not those of the index") {
  const sharded missing;
  std::filesystem::remove(missing.path() / sharded::name_of(1));
  check(missing.refused(),
        {"model-00002-of-00003.safetensors: is missing, but model.safetensors.index.json names it", "Fetch it"});

  const sharded cut;
  const std::string whole = file_bytes(cut.shards[2]);
  cut.write(sharded::name_of(2), whole.substr(0, whole.size() - 5));
  check(cut.refused(), {"model-00003-of-00003.safetensors: tensor '", "cut short or damaged"});

  sharded lying;  // the index places a tensor in a shard that lacks it
  const std::string first = lying.shards[0].begin()->first;
  lying.weight_map[first] = sharded::name_of(1);
  lying.write_index();
  check(lying.refused(), {"model-00001-of-00003.safetensors: holds tensor '" + first + "', which it does not according",
                          "Fetch them all again"});

  sharded promising;
  promising.weight_map["model.layers.7.mlp.up_proj.weight"] = sharded::name_of(2);
  promising.write_index();
  check(promising.refused(), {"model-00003-of-00003.safetensors: lacks tensor 'model.layers.7.mlp.up_proj.weight'",
                              "which it holds according to model.safetensors.index.json"});

  sharded silent;  // a tensor that only the shard knows
  silent.weight_map.erase(first);
  silent.write_index();
  check(silent.refused(), {"holds tensor '" + first + "', which it does not according to"});
}

TEST_CASE("index files that are broken") {
  const sharded d;
  const auto refused_index = [&](std::string_view text) {
    d.write("model.safetensors.index.json", text);
    const std::string said = d.refused();
    CHECK_MESSAGE(has(said, "model.safetensors.index.json: "), said);
    CHECK_MESSAGE((has(said, "Fetch it again") || has(said, "not a plain file name")), said);
    return said;
  };
  check(refused_index(""), {"is not valid JSON"});
  check(refused_index("{\"weight_map\": {"), {"is not valid JSON"});
  for (const char* text : {"[]", "{}", "{\"weight_map\": null}", "{\"weight_map\": []}", "{\"weight_map\": {}}"})
    check(refused_index(text), {"has no \"weight_map\" from tensor names to shard files"});
  check(refused_index(R"({"weight_map": {"a": "x", "a": "y"}})"), {"names 'a' twice"});
  for (const char* shard : {"7", "null", "\"\"", "\"../x.safetensors\"", "\"/etc/passwd\"", "\"sub/x\"", "[\"x\"]"})
    check(refused_index(R"({"weight_map": {"a": )" + std::string(shard) + "}}"),
          {"places tensor 'a' in " + std::string(shard) + ", which is not a plain file name"});
  d.write("model.safetensors.index.json", R"({"weight_map": {"a": ")" + std::string(400, 'n') + "\"}}");
  check(d.refused(), {"is missing, but model.safetensors.index.json names it"});
  d.write("model.safetensors.index.json", R"({"weight_map": {"a": ".."}})");
  check(d.refused(), {"is not a regular file"});
}

TEST_CASE("hundreds of damaged indices are refused or leave the model as it is") {
  const sharded d;
  const std::string fingerprint = fingerprint_at(d.path());
  const std::string whole = json{{"metadata", {{"format", "pt"}}}, {"weight_map", d.weight_map}}.dump();
  damage damaged(21);
  int refusals = 0;
  for (int round = 0; round < 600; ++round) {
    d.write("model.safetensors.index.json", damaged(whole));
    try {
      const std::string found = fingerprint_at(d.path());
      CHECK(found == fingerprint);
    } catch (const load_error& e) {
      ++refusals;
      CHECK(has(e.what(), d.path().string()));
    }
  }
  CHECK(refusals > 300);
  CHECK(refusals < 600);
}

TEST_CASE("the shipped model") {
  const checkpoint c(golden::model_directory());
  CHECK(c.config().layers == 24);
  CHECK(rope_identity(c.config().rope) == "half-split theta=10000 scaling=none");
  CHECK(c.tensors().size() == 24 * 9 + 2);
  CHECK(c.tensor("model.layers.23.mlp.down_proj.weight", {256, 688}).type == dtype::bf16);
  CHECK(refusal([&] { const model m{checkpoint(golden::model_directory())}; }) == "(nothing was refused)");
}
