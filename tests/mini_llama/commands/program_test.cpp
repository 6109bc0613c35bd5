// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "golden/golden.hpp"
#include "mini_llama/commands/program_cases.hpp"
#include "mini_llama/program.hpp"

/// The program as users meet it: streams, exit codes, files.
namespace {

using namespace program_cases;
using nlohmann::json;

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
