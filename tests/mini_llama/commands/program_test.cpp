// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "golden/golden.hpp"
#include "mini_llama/program.hpp"
#include "mini_llama/tiny_checkpoint.hpp"

/// The program as users meet it: streams, exit codes, files.
namespace {

using nlohmann::json;
using arguments = std::vector<std::string>;

const std::string model = golden::model_directory();
const std::string calibration = KVSHARER_SOURCE_DIR "/examples/mini_llama/calibration/encyclopaedia.txt";

arguments with(arguments a, const arguments& more) {
  a.insert(a.end(), more.begin(), more.end());
  return a;
}

TEST_CASE("every command explains itself") {
  const program_run all = run_program({"--help"});
  CHECK(all.exit_code == 0);
  for (const std::string command :
       {"search", "plan", "generate", "eval", "logits", "demo", "sweep", "report", "bench"}) {
    CHECK(has(all.out, command));
    const program_run one = run_program({command, "--help"});
    CHECK(one.exit_code == 0);
    CHECK(has(one.out, command == "report" ? "--out" : command == "bench" ? "--shape" : "--model"));
    CHECK(one.err.empty());
  }
  CHECK(has(run_program({"--version"}).out, "0.1.0"));
}

TEST_CASE("bench measures a shape under several maps") {
  const scratch_directory folder;
  const auto shape = folder.write("tiny.json", R"({"model_type": "llama", "num_hidden_layers": 4, "hidden_size": 64,
    "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 100,
    "max_position_embeddings": 128})");
  const arguments tiny{"bench",        "--shape", shape.string(), "--backend", "cpu", "--context", "24",
                       "--new-tokens", "4",       "--repeats",    "1"};
  const program_run timed = run_program(with(tiny, {"--share", "0,25%", "--batch", "2", "--json"}));
  REQUIRE(timed.exit_code == 0);
  const json j = json::parse(timed.out);
  REQUIRE(j["runs"].size() == 2);
  CHECK(j["runs"][0]["layer_map"] == json({0, 1, 2, 3}));
  CHECK(j["runs"][1]["layer_map"] == json({0, 1, 2, 2}));
  CHECK(j["runs"][0]["decode_step_seconds"].get<double>() > 0);

  // 32 tokens are two pages: 4 layers x 2 planes x 32 tokens x 32 channels x 2 bytes.
  const program_run budget =
      run_program(with(tiny, {"--share", "0,50%", "--order", "spread", "--kv-budget", "0.000034", "--json"}));
  REQUIRE(budget.exit_code == 0);
  const json b = json::parse(budget.out);
  CHECK(b["runs"][0]["batch"] == 2);
  CHECK(b["runs"][1]["batch"] == 4);
  CHECK(b["runs"][1]["layer_map"] == json({0, 0, 2, 2}));
  CHECK(has(run_program(tiny).out, "tokens/s"));
  CHECK(
      has(run_program({"bench", "--shape", shape.string(), "--context", "125"}).err, "this shape knows 128 positions"));
  CHECK(has(run_program(with(tiny, {"--map", "0,1"})).err, "this shape has 4 layers"));
}

TEST_CASE("bench begins with the map that a shape has of its own, and pairs layers of one window" *
          doctest::test_suite("long")) {
  const std::string families = std::string(KVSHARER_SOURCE_DIR) + "/tests/golden/families/";
  const auto bench = [&](const std::string& family, const arguments& more) {
    return run_program(with({"bench", "--shape", families + family + "/config.json", "--backend", "cpu", "--context",
                             "16", "--new-tokens", "4", "--repeats", "1", "--json"},
                            more));
  };
  const auto maps = [](const program_run& r) {
    std::vector<json> all;
    REQUIRE_MESSAGE(r.exit_code == 0, r.err);
    const json report = json::parse(r.out);
    for (const json& run : report.at("runs")) all.push_back(run.at("layer_map"));
    return all;
  };
  // Its last two layers were trained to read layer 2.
  CHECK(maps(bench("own_map", {"--share", "0,2,3,4"})) ==
        std::vector<json>{{0, 1, 2, 2, 2}, {0, 1, 2, 2, 2}, {0, 1, 1, 1, 1}, {0, 0, 0, 0, 0}});
  // Windows 0, 0, 6, 6.
  CHECK(maps(bench("qwen2", {"--share", "1,2"})) == std::vector<json>{{0, 1, 2, 2}, {0, 0, 2, 2}});
  const program_run most = bench("qwen2", {"--share", "3"});
  CHECK(most.exit_code == 2);
  CHECK(has(most.err, "no more than 2 layers of this shape can share"));
  CHECK(has(bench("qwen2", {"--map", "0,1,1,3"}).err, "layer 2 attends to 6 tokens and is to read layer 1"));
}

TEST_CASE("search writes a plan that generate, eval and logits follow") {
  const scratch_directory folder;
  const std::string plan = (folder.path() / "plan.json").string();
  const std::string python = (folder.path() / "map.py").string();
  const program_run found =
      run_program({"search", "--model", model, "--calibration", calibration, "--samples", "4", "--sample-tokens", "16",
                   "--share", "25%", "--out", plan, "--python-map", python, "--json"});
  REQUIRE(found.exit_code == 0);
  const json j = json::parse(found.out);  // nothing but one object
  CHECK(j.at("accepted") == 6);
  CHECK(j.at("layer_map").size() == 24);
  CHECK(j.at("candidates_tried") >= 6);
  CHECK(j.at("score") > 0.5);
  CHECK(j.at("seconds") > 0);
  CHECK(j.at("layer_evaluations") > 24);
  const auto& d = j.at("distance_matrix");
  REQUIRE(d.size() == 24);
  for (std::size_t r = 0; r < 24; ++r)
    for (std::size_t c = 0; c < 24; ++c) CHECK((d.at(r).at(c) > 0) == (c < r));
  CHECK(json::parse(slurp(plan)).at("key_map") == j.at("layer_map"));
  CHECK(slurp(python).starts_with("{"));
  std::vector<std::string> files;
  for (const auto& file : std::filesystem::directory_iterator(folder.path()))
    files.push_back(file.path().filename().string());
  CHECK(files.size() == 2);  // no temporary file stays

  const auto owners = j.at("layer_map").get<std::vector<int>>();
  const arguments generate{"generate", "--model", model, "--prompt", "In 1914", "--max-new-tokens", "5", "--json"};
  const json full = json::parse(run_program(generate).out);
  const json shared = json::parse(run_program(with(generate, {"--plan", plan})).out);
  CHECK(full.at("token_ids").size() == 5);
  CHECK(full.at("text").is_string());
  CHECK(full.at("decode_tokens_per_second") > 0);
  CHECK(full.at("prefill_seconds") > 0);
  CHECK(full.at("kv_bytes") == full.at("kv_bytes_unshared"));
  CHECK(shared.at("kv_bytes_unshared") == full.at("kv_bytes"));
  CHECK(shared.at("kv_bytes").get<long>() * 24 == full.at("kv_bytes").get<long>() * 18);

  const std::string text = folder.write("text.txt", "The river flows through the town and into the sea.\n").string();
  const arguments eval{"eval", "--model", model, "--text", text, "--window", "8", "--json"};
  const json same = json::parse(run_program(eval).out);
  CHECK(same.at("dtype") == "f32");
  CHECK(json::parse(run_program(with(eval, {"--backend", "cpu"})).out).at("device") == "CPU");
  CHECK(same.at("kl") == 0);
  CHECK(same.at("top1_agreement") == 1);
  const json other = json::parse(run_program(with(eval, {"--plan", plan})).out);
  CHECK(other.at("kl") > 0);
  CHECK(other.at("tokens") == same.at("tokens"));
  CHECK(other.at("perplexity") > 1);

  const std::string ids = folder.write("ids.json", "[[1, 5, 9], [1, 7]]").string();
  const json rows = json::parse(run_program({"logits", "--model", model, "--token-ids", ids}).out).at("logits");
  const json moved =
      json::parse(run_program({"logits", "--model", model, "--token-ids", ids, "--plan", plan}).out).at("logits");
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].size() == golden::vocab);
  CHECK(rows != moved);
}

TEST_CASE("best-first searches keep their settings and their evidence" * doctest::test_suite("long")) {
  const scratch_directory folder;
  const std::string out = (folder.path() / "plan.json").string();
  const arguments search{"search", "--model", model, "--calibration", calibration, "--samples", "2", "--sample-tokens",
                         "8",      "--share", "2",   "--out",         out,         "--json"};
  const auto run = [&](const arguments& more) {
    const program_run r = run_program(with(search, more));
    CAPTURE(r.err);
    REQUIRE(r.exit_code == 0);
    return std::pair{json::parse(r.out), json::parse(slurp(out)).at("evidence")};
  };
  const auto [best, best_file] = run({"--order", "best", "--metric", "cka"});
  CHECK(best.at("accepted") == 2);
  CHECK(best.at("candidates_tried") > 276);
  CHECK(best_file.at("options").at("order") == "best");
  CHECK(best_file.at("options").at("beam") == 1);
  CHECK(best_file.at("options").at("threshold") == 0.5);
  CHECK(best_file.at("options").at("similarity") == "mean-of-cosines");
  for (const auto& tried : best_file.at("candidates"))
    CHECK(
        tried.at("distance") ==
        best.at("distance_matrix").at(tried.at("reader").get<std::size_t>()).at(tried.at("owner").get<std::size_t>()));

  const auto [similar, unused] = run({"--order", "similar"});
  CHECK(best.at("score") >= similar.at("score"));  // two steps of few moves may be the same

  const auto [suffix, suffix_file] =
      run({"--order", "best-suffix", "--objective", "kl", "--metric", "scaled-euclidean", "--beam", "2", "--exact"});
  CHECK(suffix.at("score") < 0);
  for (const int reader : {22, 23}) CHECK(suffix.at("layer_map").at(static_cast<std::size_t>(reader)) < 22);
  CHECK(suffix.at("candidates_tried") == 23 + 2 * 22);
  CHECK(suffix_file.at("options").at("similarity") == "kl");
  CHECK(suffix_file.at("options").at("threshold").is_null());
  CHECK(suffix_file.at("options").at("exact") == true);
}

TEST_CASE("generation from ids continues as the golden data do") {
  const golden::mini_llama g = golden::read_mini_llama();
  const scratch_directory folder;
  json ids;
  for (const auto& p : g.prompts) ids.push_back(p.token_ids);
  const program_run r =
      run_program({"generate", "--model", model, "--token-ids", folder.write("ids.json", ids.dump()).string(),
                   "--max-new-tokens", "32", "--ignore-eos", "--kv-layout", "paged", "--json"});
  REQUIRE(r.exit_code == 0);
  const json out = json::parse(r.out).at("token_ids");
  for (std::size_t p = 0; p < g.prompts.size(); ++p) CHECK(out.at(p) == g.prompts[p].greedy_ids);
}

TEST_CASE("sampling repeats with its seed") {
  const arguments sample{"generate", "--model",       model, "--prompt", "The", "--max-new-tokens",
                         "12",       "--temperature", "1.0", "--top-p",  "0.9", "--json"};
  const auto ids = [&](const std::string& seed) {
    return json::parse(run_program(with(sample, {"--seed", seed})).out).at("token_ids");
  };
  CHECK(ids("1") == ids("1"));
  CHECK(ids("1") != ids("2"));
}

/// The command ends with `code`, says `words` on stderr alone, and leaves the folder as it was.
void refused(const arguments& a, int code, const std::vector<std::string>& words) {
  const program_run r = run_program(a);
  CAPTURE(r.err);
  CHECK(r.exit_code == code);
  CHECK(r.out.empty());
  for (const std::string& w : words) CHECK_MESSAGE(has(r.err, w), w);
}

TEST_CASE("the cost of a search is known of a shape alone") {
  const scratch_directory folder;
  const std::string shape = folder
                                .write("shape.json", json{{"architectures", {"LlamaForCausalLM"}},
                                                          {"model_type", "llama"},
                                                          {"vocab_size", 97},
                                                          {"hidden_size", 32},
                                                          {"intermediate_size", 48},
                                                          {"num_hidden_layers", 6},
                                                          {"num_attention_heads", 4},
                                                          {"num_key_value_heads", 2},
                                                          {"head_dim", 64},
                                                          {"hidden_act", "silu"},
                                                          {"max_position_embeddings", 64},
                                                          {"rope_theta", 10000.0},
                                                          {"rms_norm_eps", 1e-5},
                                                          {"tie_word_embeddings", true},
                                                          {"bos_token_id", 1},
                                                          {"eos_token_id", 2},
                                                          {"torch_dtype", "float32"}}
                                                         .dump())
                                .string();
  const arguments search{"search", "--shape", shape, "--samples", "3", "--sample-tokens", "8", "--backend", "cpu"};
  const program_run r = run_program(with(search, {"--share", "2", "--threshold", "-1", "--json"}));
  REQUIRE(r.exit_code == 0);
  const json j = json::parse(r.out);
  CHECK(j.at("accepted") == 2);
  CHECK(j.at("device") == "CPU");
  CHECK(j.at("weights_seconds") > 0);
  REQUIRE(j.at("candidate_costs").size() == 2);
  double seconds = 0, teraflop = 0;
  for (const json& c : j.at("candidate_costs")) {
    CHECK(c.at("first_layer") > 0);
    seconds += c.at("seconds").get<double>();
    teraflop += c.at("teraflop").get<double>();
  }
  CHECK(j.at("candidate_seconds").get<double>() == doctest::Approx(seconds / 2));
  CHECK(j.at("teraflop").get<double>() == doctest::Approx(teraflop));
  CHECK(j.at("teraflop_per_second").get<double>() == doctest::Approx(teraflop / seconds));
  CHECK(json::parse(run_program(with(search, {"--share", "2", "--threshold", "-1", "--json"})).out).at("score") ==
        j.at("score"));
  const program_run text = run_program(with(search, {"--share", "1", "--dtype", "f16"}));
  CHECK(text.exit_code == 0);
  CHECK(has(text.out, "on CPU: "));
  CHECK(has(text.out, "TFLOP/s"));
  CHECK(json::parse(run_program(with(search, {"--share", "0", "--json"})).out).at("candidate_seconds").is_null());

  // On a GPU where there is one, else refused: never on the host by stealth.
  const program_run insisting = run_program({"search", "--shape", shape, "--samples", "3", "--sample-tokens", "8",
                                             "--share", "2", "--backend", "cuda", "--json"});
  if (insisting.exit_code == 0)
    CHECK(json::parse(insisting.out).at("device") != "CPU");
  else
    CHECK(has(insisting.err, "kvsharer E701: "));

  refused(with(search, {"--share", "2", "--model", model}), 2, {"--model", "--shape"});
  refused(with(search, {"--share", "2", "--token-ids", shape}), 2, {"--shape", "--token-ids"});
  refused({"search", "--shape", shape, "--share", "2", "--sample-tokens", "65"}, 2, {"--sample-tokens", "64"});
  refused({"search", "--shape", "llama2-8b", "--share", "2"}, 2, {"llama2-8b", "llama2-7b"});
  refused({"search", "--calibration", calibration, "--share", "2"}, 2, {"--model", "--shape"});
}

TEST_CASE("wrong use is refused with exit code 2, and nothing is written") {
  const scratch_directory folder;
  const std::string out = (folder.path() / "never.json").string();
  const arguments search{"search", "--model", model, "--calibration", calibration, "--out", out};
  for (const std::string share : {"24", "-1", "100%", "1e9", "some", ""})
    refused(with(search, {"--share", share}), 2, {"--share"});
  refused(search, 2, {"--share"});
  refused(with(search, {"--share", "6", "--metric", "manhattan"}), 2, {"--metric", "mean-row-norm"});
  refused(with(search, {"--share", "6", "--order", "explicit"}), 2, {"--map"});
  refused(with(search, {"--share", "6", "--beam", "2"}), 2, {"--beam", "dissimilar"});
  refused(with(search, {"--share", "6", "--order", "similar", "--exact"}), 2, {"--exact", "similar"});
  refused(with(search, {"--share", "6", "--order", "best", "--beam", "0"}), 2, {"--beam"});
  refused(with(search, {"--share", "6", "--objective", "mse"}), 2, {"--objective", "cosine"});
  refused(with(search, {"--share", "6", "--sample-tokens", "1"}), 2, {"--sample-tokens"});
  refused({"search", "--model", model, "--share", "6", "--out", out}, 2, {"--calibration", "--token-ids"});
  refused(with(search, {"--share", "6", "--backend", "tpu"}), 2, {"--backend", "cuda"});
  refused(
      with(search, {"--share", "6", "--samples", "2", "--sample-tokens", "8", "--backend", "cpu", "--dtype", "f32"}), 2,
      {"--dtype"});
  refused({"generate", "--model", model, "--prompt", ""}, 2, {"empty"});
  refused({"generate", "--model", model}, 2, {"--prompt"});
  refused({"generate", "--model", model, "--prompt", "a", "--max-new-tokens", "0"}, 2, {"--max-new-tokens"});
  refused({"generate", "--model", model, "--prompt", "a", "--max-new-tokens", "100000"}, 2, {"context"});
  refused({"generate", "--model", model, "--prompt", std::string(20000, 'x')}, 2, {"context"});
  refused({"generate", "--model", model, "--prompt", "a", "--kv-type", "int3"}, 2, {"--kv-type"});
  refused({"eval", "--model", model, "--text", calibration, "--window", "1"}, 2, {"window"});
  refused({"eval", "--model", model, "--text", calibration, "--window", "99999"}, 2, {"window"});
  refused({"eval", "--model", model, "--text", calibration, "--backend", "tpu"}, 2, {"--backend", "cuda"});
  refused({"eval", "--model", model, "--text", calibration, "--backend", "cpu", "--dtype", "f16"}, 2, {"--dtype"});
  refused({"logits", "--model", model, "--token-ids", "ids.json", "--backend", "cpu", "--dtype", "bf16"}, 2,
          {"--dtype", "bf16"});
  refused({"logits", "--model", model, "--token-ids", "ids.json", "--dtype", "f64"}, 2, {"--dtype", "f16"});
  refused({"sing"}, 2, {"subcommand"});
  refused({}, 2, {"subcommand"});
  CHECK(std::filesystem::is_empty(folder.path()));
}

TEST_CASE("what cannot be read or does not fit is refused with exit code 1, and nothing is written") {
  const scratch_directory folder;
  const std::string out = (folder.path() / "never.json").string();
  refused({"generate", "--model", "/no/such/model", "--prompt", "a"}, 1, {"/no/such/model", "config.json"});
  refused({"eval", "--model", model, "--text", "/no/such/text"}, 1, {"/no/such/text"});
  refused({"search", "--model", model, "--calibration", calibration, "--samples", "5000", "--share", "6", "--out", out},
          1, {"5000", "samples"});
  refused({"search", "--model", model, "--calibration", calibration, "--samples", "2", "--sample-tokens", "8",
           "--share", "1", "--out", "/no/such/folder/plan.json"},
          1, {"/no/such/folder"});
  CHECK(std::filesystem::is_empty(folder.path()));

  const auto file = [&](const std::string& bytes) { return folder.write("in.json", bytes).string(); };
  const auto logits_of = [&](const std::string& ids) {
    return arguments{"logits", "--model", model, "--token-ids", file(ids)};
  };
  refused(logits_of("[[1, 2"), 1, {"in.json"});
  refused(logits_of("[[1, 8192]]"), 1, {"in.json", "8192"});
  refused(logits_of("[[1], []]"), 1, {"in.json"});
  refused(logits_of("[[1, 2.5]]"), 1, {"in.json"});
  refused(logits_of("{\"a\": 1}"), 1, {"in.json"});
  refused({"search", "--model", model, "--token-ids", file("[[1,2,3],[1,2]]"), "--share", "6"}, 1, {"length"});

  const auto plan = [&](const std::string& text) {
    return arguments{"generate", "--model", model, "--prompt", "a", "--plan", file(text)};
  };
  refused(plan("not json"), 1, {"E601"});
  refused(plan("{}"), 1, {"E601"});

  const std::string good = (folder.path() / "good.json").string();
  REQUIRE(run_program({"search", "--model", model, "--calibration", calibration, "--samples", "2", "--sample-tokens",
                       "8", "--share", "1", "--out", good})
              .exit_code == 0);
  json j = json::parse(slurp(good));
  j["kvsharer_plan"] = 99;
  refused(plan(j.dump()), 1, {"E602", "99"});
  j = json::parse(slurp(good));
  j["model"]["fingerprint"] = "0123456789abcdef";
  refused(plan(j.dump()), 1, {"E603", "fingerprint"});
  j = json::parse(slurp(good));
  j["key_map"][3] = 9;
  refused(plan(j.dump()), 1, {"E"});
  j = json::parse(slurp(good));
  j["key_codec"] = "0-23:kivi:bits=2";
  refused(plan(j.dump()), 1, {"E306", "kivi", "native"});
  j = json::parse(slurp(good));
  j["merged"] = "none";
  refused(plan(j.dump()), 1, {"E601", "merged"});
  refused(plan(R"({"kvsharer_strategy": 1, "layer_map": [0, 0]})"), 1,
          {"E602", "search again", "mini_llama plan --map"});
}

TEST_CASE("a map alone is no plan, and the refusal says how it becomes one") {
  const tiny_checkpoint tiny;
  const scratch_directory folder;
  const std::string ids = folder.write("ids.json", "[[1, 5, 9]]").string();
  const auto refused_map = [&](const std::string& text, const std::vector<std::string>& words) {
    refused({"generate", "--backend", "cpu", "--model", tiny.directory(), "--token-ids", ids, "--plan",
             folder.write("map", text).string()},
            1, words);
  };
  const std::string command = "mini_llama plan --model DIR --out FILE --map ";
  // As a notebook, Python's json, or an editor writes them; a layer that is not named is its own owner.
  for (const std::string text : {"{7: 2, 4: 1}", "{'7': 2,\n '4': 1}\n", "{\"4\": 1, \"7\": 2}", "[0,1,2,3,1,5,6,2]",
                                 "{0: 0, 1: 1, 2: 2, 3: 3, 4: 1, 5: 5, 6: 6, 7: 2}"})
    refused_map(text, {"E601", "is a map alone", command + "0,1,2,3,1,5,6,2"});
  refused_map("{9: 2}", {"E301", "layer 9", "0 to 7"});
  for (const std::string text : {"{7: }", "{7: 2, 4}", "[0,1,", "{}", "[]", "7", "{a: 1}", "[[0,1]]"})
    refused_map(text, {"E601"});
}

TEST_CASE("numbers that are none, or too large, are refused in words") {
  const tiny_checkpoint tiny;
  const scratch_directory folder;
  const std::string ids = folder.write("ids.json", "[[1, 5, 9]]").string(), most = "9223372036854775807";
  const arguments generate{"generate", "--backend", "cpu", "--model", tiny.directory(), "--token-ids", ids};
  const arguments bench{"bench", "--backend", "cpu", "--shape", tiny.directory() + "/config.json", "--dtype", "f32"};
  const arguments search{"search", "--backend", "cpu", "--model", tiny.directory(), "--token-ids", ids, "--share", "1"};
  const std::string text = folder.write("text.txt", "The river flows through the town.\n").string();
  const arguments sweep{"sweep",
                        "--backend",
                        "cpu",
                        "--model",
                        tiny.directory(),
                        "--text",
                        text,
                        "--calibration",
                        text,
                        "--samples",
                        "1",
                        "--sample-tokens",
                        "4",
                        "--share",
                        "1",
                        "--window",
                        "8",
                        "--out",
                        (folder.path() / "sweep").string()};
  refused(with(generate, {"--max-new-tokens", most}), 2,
          {"a prompt of 3 tokens and " + most + " new ones do not fit the model's context of 128"});
  refused(with(bench, {"--context", most}), 2,
          {"--context and --new-tokens make 9223372036854775871 tokens; this shape knows 128 positions"});
  refused(with(sweep, {"--new-tokens", most}), 2, {"--new-tokens", "do not fit this model's context of 128"});
  refused(with(bench, {"--context", "16", "--batch", most}), 2, {"--batch: " + most, "a whole number of 1 to 65535"});
  refused(with(bench, {"--context", "16", "--kv-budget", "1e300"}), 2, {"more than 65535 sequences"});
  refused(with(generate, {"--kv-layout", "paged", "--page-tokens", most}), 2, {"--page-tokens"});
  const std::string comma = "; decimals are written with a point";
  refused(with(generate, {"--temperature", "0,7"}), 2, {"--temperature: 0,7 is not a number of at least 0" + comma});
  refused(with(generate, {"--temperature", "-1"}), 2, {"--temperature: -1 is not a number of at least 0\n"});
  refused(with(generate, {"--temperature", "nan"}), 2, {"--temperature: nan is not a number of at least 0\n"});
  refused(with(generate, {"--top-p", "0,9"}), 2, {"--top-p: 0,9 is not a number of 0 to 1" + comma});
  refused(with(search, {"--threshold", "0,5"}), 2, {"--threshold: 0,5 is not a number" + comma});
  refused(with(search, {"--align-ridge", "0,1"}), 2, {"--align-ridge: 0,1 is not a number of at least 0" + comma});
  refused(with(bench, {"--kv-budget", "0,5"}), 2, {"--kv-budget: 0,5 is not a number of at least 0" + comma});
  refused(with(sweep, {"--threshold", "half"}), 2, {"--threshold: half is not a number\n"});
  refused(with(search, {"--samples", "0"}), 2, {"--samples: 0 is not a whole number of at least 1\n"});
}

TEST_CASE("search aligns readers on request, and the other commands follow unless told not to") {
  const tiny_checkpoint tiny;
  const scratch_directory folder;
  const std::string plain = (folder.path() / "plain.json").string(), out = (folder.path() / "found.json").string();
  const std::string text = folder.write("text.txt", "The river flows through the town and into the sea.\n").string();
  const arguments search{"search",
                         "--model",
                         tiny.directory(),
                         "--calibration",
                         calibration,
                         "--samples",
                         "8",
                         "--sample-tokens",
                         "16",
                         "--share",
                         "3",
                         "--threshold",
                         "-1",
                         "--json",
                         "--out"};
  CHECK_FALSE(json::parse(run_program(with(search, {plain})).out).contains("alignment"));
  const arguments eval{"eval", "--model", tiny.directory(), "--text", text, "--window", "8", "--json", "--plan"};
  const json unaligned = json::parse(run_program(with(eval, {plain})).out);
  const std::string ids = folder.write("ids.json", "[[1, 5, 9], [1, 7]]").string();
  const arguments logits{"logits", "--model", tiny.directory(), "--token-ids", ids, "--plan"};
  const std::string unaligned_logits = run_program(with(logits, {plain})).out;

  std::vector<json> perplexities;
  for (const std::string on : {"full", "shared"}) {
    const program_run found = run_program(with(search, {out, "--align", "--align-on", on, "--align-ridge", "0.5"}));
    REQUIRE(found.exit_code == 0);
    const json readers = json::parse(found.out).at("alignment").at("readers");
    REQUIRE(readers.size() == 3);
    CHECK(readers[0].at("keys_explained") <= 1);
    const json plan = json::parse(slurp(out));
    CHECK(plan.at("alignment").at("file") == "found.align.safetensors");
    CHECK(plan.at("alignment").at("activations") == on);
    CHECK(plan.at("alignment").at("ridge") == 0.5);
    const json aligned = json::parse(run_program(with(eval, {out})).out);
    CHECK(aligned.at("full_perplexity") == unaligned.at("full_perplexity"));
    CHECK(aligned.at("perplexity") != unaligned.at("perplexity"));
    CHECK(json::parse(run_program(with(eval, {out, "--no-align"})).out).at("perplexity") == unaligned.at("perplexity"));
    CHECK(run_program(with(logits, {out})).out != unaligned_logits);
    CHECK(run_program(with(logits, {out, "--no-align"})).out == unaligned_logits);
    perplexities.push_back(aligned.at("perplexity"));
  }
  CHECK(perplexities[0] != perplexities[1]);

  const arguments generate{"generate",         "--model", tiny.directory(), "--prompt", "In 1914",
                           "--max-new-tokens", "5",       "--json",         "--plan",   out};
  CHECK(run_program(generate).exit_code == 0);
  const std::string file = (folder.path() / "found.align.safetensors").string();
  std::string bytes = slurp(file);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  folder.write("found.align.safetensors", bytes);
  refused(generate, 1, {"E605", "found.align.safetensors", "hash", "--no-align"});
  refused(with(logits, {out}), 1, {"E605"});
  CHECK(run_program(with(generate, {"--no-align"})).exit_code == 0);
  std::filesystem::remove(file);
  refused(with(eval, {out}), 1, {"E605", "cannot be read"});
  refused({"search", "--model", tiny.directory(), "--calibration", calibration, "--share", "3", "--align"}, 2,
          {"--align", "--out"});

  // Without readers there is nothing to align.
  CHECK(run_program(with(search, {out, "--align", "--order", "explicit", "--map", "0,1,2,3,4,5,6,7"})).exit_code == 0);
  CHECK_FALSE(json::parse(slurp(out)).contains("alignment"));
  CHECK_FALSE(std::filesystem::exists(file));
}

TEST_CASE("a plan file that exists is replaced whole or kept") {
  const scratch_directory folder;
  const std::filesystem::path kept = folder.write("plan.json", "precious");
  refused({"search", "--model", model, "--calibration", calibration, "--share", "24", "--out", kept.string()}, 2, {});
  CHECK(slurp(kept) == "precious");
  CHECK(run_program({"search", "--model", model, "--calibration", calibration, "--samples", "2", "--sample-tokens", "8",
                     "--share", "1", "--out", kept.string()})
            .exit_code == 0);
  CHECK(json::parse(slurp(kept)).contains("key_map"));
}

TEST_CASE("the demo tells its whole story" * doctest::test_suite("long")) {
  const scratch_directory folder;
  const std::string out = (folder.path() / "demo").string();
  std::istringstream shipped(slurp(calibration));
  std::string text, line;  // four passages to search on, one to measure on
  for (int i = 0; i < 5 && std::getline(shipped, line); ++i) text += line + "\n";
  const program_run r = run_program({"demo", "--calibration", folder.write("text.txt", text).string(), "--samples", "4",
                                     "--sample-tokens", "16", "--max-new-tokens", "4", "--out", out});
  CAPTURE(r.err);
  REQUIRE(r.exit_code == 0);
  for (const std::string part : {"12.5%", "25%", "37.5%", "control: similar", "perplexity", "reader (row) from owner",
                                 "by the full cache", "with 6 of 24 layers sharing"})
    CHECK_MESSAGE(has(r.out, part), part);
  CHECK(has(r.out, out));
  CHECK(json::parse(slurp(out + "/demo.json")).is_object());
  CHECK(std::filesystem::exists(out + "/plan-dissimilar-25%.json"));
}

}  // namespace
