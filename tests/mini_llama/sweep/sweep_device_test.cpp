// SPDX-License-Identifier: Apache-2.0
// Sweeps on a GPU, played by the host, and by more than one score.
#include <doctest/doctest.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "mini_llama/played_gpu.hpp"
#include "mini_llama/program.hpp"
#include "mini_llama/tiny_checkpoint.hpp"
#include "search/find_sharing.hpp"
#include "sweep/sweep.hpp"

namespace {

using namespace mini_llama;
using nlohmann::json;

const tiny_checkpoint checkpoint;
const std::string passages = KVSHARER_SOURCE_DIR "/examples/mini_llama/calibration/encyclopaedia.txt";

session& tiny() {
  static session s(checkpoint.directory());
  return s;
}

sweep_request request(const std::filesystem::path& out, std::vector<std::string> orders) {
  return {.text = passages,
          .calibration = passages,
          .out = out,
          .axes = {.share = {"2", "4"}, .order = std::move(orders), .metric = {"flat"}, .samples = {3}},
          .sample_tokens = 8,
          .window = 12,
          .tokens = 30,
          .prompt_tokens = 6,
          .new_tokens = 4};
}

std::vector<json> results(const std::filesystem::path& folder) {
  std::istringstream text(slurp(folder / "results.jsonl"));
  std::vector<json> lines;
  for (std::string line; std::getline(text, line);) lines.push_back(json::parse(line));
  return lines;
}

TEST_CASE("on a GPU all that runs the model runs there, and every line says so") {
  const scratch_directory there, here;
  gpu_calls calls;
  played_gpu card(calls);
  const std::vector<std::string> orders{"similar", "best:kl"};
  CHECK(run_sweep(tiny(), request(there.path(), orders), &card).made == 1 + 2 * (1 + 2));
  CHECK(calls.probes == 2);  // one for each objective
  CHECK(calls.references == 1);
  CHECK(calls.compared == 5);
  CHECK(calls.generated >= 5);
  CHECK(calls.evaluated == 0);
  for (const std::string& type : calls.types) CHECK(type == "f32");

  run_sweep(tiny(), request(here.path(), orders));
  const std::vector<json> a = results(there.path()), b = results(here.path());
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    CHECK(a[i].at("backend") == "cuda");
    CHECK(a[i].at("device") == "a player");
    CHECK(a[i].at("dtype") == "f32");
    CHECK(b[i].at("backend") == "cpu");
    CHECK(b[i].at("device") == "CPU");
    CHECK(a[i].at("kind") == b[i].at("kind"));
    for (const char* key : {"perplexity", "kl", "score", "layer_map", "candidates", "spearman", "kv_bytes"})
      CHECK(a[i].value(key, json()) == b[i].value(key, json()));
  }
}

TEST_CASE("a type that was asked for is that of probe, text and cache") {
  const scratch_directory folder;
  gpu_calls calls;
  played_gpu card(calls);
  run_sweep(tiny(), request(folder.path(), {"similar"}), &card, {.type = "f16"});
  REQUIRE(calls.types.size() >= 5);
  for (const std::string& type : calls.types) CHECK((type == "f16" || type == "half"));
  CHECK(results(folder.path()).at(0).at("dtype") == "f16");
}

TEST_CASE("a sweep is gone on with where it was begun, and nowhere else") {
  const scratch_directory folder;
  gpu_calls calls;
  played_gpu card(calls);
  const sweep_request r = request(folder.path(), {"similar"});
  run_sweep(tiny(), r, &card);
  const std::string before = slurp(folder.path() / "results.jsonl");
  const std::string text = refusal([&] { run_sweep(tiny(), r); });
  CHECK(has(text, "backend \"cuda\" (now: \"cpu\")"));
  CHECK(has(text, "device \"a player\" (now: \"CPU\")"));
  CHECK(has(refusal([&] { run_sweep(tiny(), r, &card, {.type = "f16"}); }), "dtype \"f32\" (now: \"f16\")"));
  CHECK(slurp(folder.path() / "results.jsonl") == before);
  CHECK(run_sweep(tiny(), r, &card).made == 0);
}

TEST_CASE("orders by divergence find what a search by divergence finds") {
  const scratch_directory folder;
  sweep_request r = request(folder.path(), {"best-suffix", "best:kl", "best-suffix:kl"});
  CHECK(run_sweep(tiny(), r).made == 1 + 1 + 2 + 1 + 4);
  const std::vector<json> lines = results(folder.path());
  const std::vector<std::string> kinds{"full",   "moves",  "shared", "shared", "moves",
                                       "shared", "shared", "shared", "shared"};
  for (std::size_t i = 0; i < lines.size(); ++i) CHECK(lines[i].at("kind") == kinds[i]);
  CHECK(lines[1].at("objective") == "cosine");
  CHECK(lines[4].at("objective") == "kl");
  const token_batch samples = read_calibration(passages, tiny().words(), 3, 8);
  for (std::size_t i = 5; i < lines.size(); ++i) {
    const std::string order = lines[i].at("combination").at("order");
    const search_outcome found = find_sharing(tiny(), samples,
                                              {.share = lines[i].at("combination").at("share"),
                                               .threshold = -std::numeric_limits<double>::infinity(),
                                               .how = recipe::parse(order),
                                               .metric = "flat"});
    const auto owners = found.evidence.report.plan.keys().owners();
    CHECK(lines[i].at("layer_map") == std::vector<int>(owners.begin(), owners.end()));
    CHECK(lines[i].at("score") == found.evidence.report.score);
    CHECK(lines[i].at("score") < 0);
    CHECK(lines[i].at("layers_shared") == lines[i].at("combination").at("share"));
  }
  // The first step of a best-first search scores the very moves that the line before holds.
  for (const json& candidate : lines[5].at("candidates")) {
    if (candidate.at("resumed_at") != candidate.at("reader")) continue;
    const std::size_t reader = candidate.at("reader"), owner = candidate.at("owner");
    CHECK(lines[4].at("score").at(reader * (reader - 1) / 2 + owner) == candidate.at("score"));
    break;
  }
}

TEST_CASE("the program takes a backend, and refuses what the host cannot do") {
  const scratch_directory folder;
  const std::vector<std::string> command{"sweep",
                                         "--model",
                                         checkpoint.directory(),
                                         "--text",
                                         passages,
                                         "--out",
                                         folder.path().string(),
                                         "--share",
                                         "2",
                                         "--order",
                                         "similar",
                                         "--samples",
                                         "2",
                                         "--sample-tokens",
                                         "8",
                                         "--window",
                                         "12",
                                         "--tokens",
                                         "30",
                                         "--prompt-tokens",
                                         "6",
                                         "--new-tokens",
                                         "4"};
  auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), command.begin(), command.end());
    return run_program(more);
  };
  CHECK(with({"--dtype", "f16", "--backend", "cpu"}).exit_code == 2);
  CHECK(with({"--backend", "tpu"}).exit_code != 0);
  const program_run done = with({"--backend", "cpu", "--no-moves"});
  CHECK(done.exit_code == 0);
  CHECK(results(folder.path()).size() == 2);
  CHECK(has(with({"--backend", "cpu"}).err, "moves false (now: true)"));
}

}  // namespace
