// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "golden/golden.hpp"
#include "mini_llama/commands/program_cases.hpp"
#include "mini_llama/program.hpp"
#include "mini_llama/tiny_checkpoint.hpp"

/// Searches by the program, and the plans that other commands follow.
namespace {

using namespace program_cases;
using nlohmann::json;

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

}  // namespace
