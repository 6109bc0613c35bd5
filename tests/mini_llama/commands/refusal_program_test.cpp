// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "mini_llama/commands/program_cases.hpp"
#include "mini_llama/program.hpp"
#include "mini_llama/tiny_checkpoint.hpp"

/// What the program refuses: exit codes and words.
namespace {

using namespace program_cases;
using nlohmann::json;

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

}  // namespace
