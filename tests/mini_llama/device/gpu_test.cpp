// SPDX-License-Identifier: Apache-2.0
// Who is asked to run, by GPUs that are absent, broken, or played by the host.
#include "device/gpu.hpp"

#include <doctest/doctest.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "commands/commands.hpp"
#include "mini_llama/played_gpu.hpp"
#include "mini_llama/scratch_directory.hpp"
#include "mini_llama/tiny_checkpoint.hpp"
#include "search/find_sharing.hpp"
#include "support/files.hpp"
#include "support/usage_error.hpp"

namespace {

using namespace mini_llama;
using kvsharer::errc;

/// An opener of GPUs that fails in this way, and counts how often it was asked.
gpu_opener failing(errc how, int& asked) {
  return [how, &asked]() -> std::unique_ptr<gpu> {
    ++asked;
    throw kvsharer::error(how, "no luck");
  };
}

/// The text of the usage_error that a choice meets with, where there is no GPU.
std::string usage(const std::string& backend, const gpu_choice& choice) {
  int asked = 0;
  try {
    choose_backend(backend, choice, failing(errc::no_device, asked));
  } catch (const usage_error& e) {
    return e.what();
  }
  return "(nothing was refused)";
}

/// What the user is told.
struct heard {
  std::vector<std::string> sentences;
  remark ear() {
    return [this](const std::string& s) { sentences.push_back(s); };
  }
};

/// Runs the driver's command line with this GPU; its own output goes where the test's goes.
void run_line(const std::vector<std::string>& words, gpu_calls& calls) {
  const gpu_opener there = [&] { return std::make_unique<played_gpu>(calls); };
  CLI::App app;
  add_generate(app, there);
  add_demo(app, there);
  app.parse(std::vector<std::string>(words.rbegin(), words.rend()));  // CLI11 takes them from the back
}

TEST_CASE("auto takes a GPU where there is one, and nothing but its absence is forgiven") {
  gpu_calls calls;
  const gpu_opener there = [&] { return std::make_unique<played_gpu>(calls); };
  const gpu_opener absent = []() -> std::unique_ptr<gpu> {
    throw kvsharer::error(kvsharer::errc::no_device, "there is none");
  };
  const gpu_opener broken = []() -> std::unique_ptr<gpu> {
    throw kvsharer::error(kvsharer::errc::cuda_call, "it fell off");
  };
  CHECK(choose_backend("auto", there)->name() == "a player");
  CHECK(choose_backend("cuda", there)->name() == "a player");
  CHECK(choose_backend("cpu", there) == nullptr);
  CHECK(choose_backend("auto", absent) == nullptr);
  CHECK(choose_backend("cpu", broken) == nullptr);
  CHECK_THROWS_AS(choose_backend("cuda", absent), kvsharer::error);
  CHECK_THROWS_AS(choose_backend("auto", broken), kvsharer::error);
  CHECK_THROWS_AS(choose_backend("tpu", there), usage_error);
}

TEST_CASE("a search asks the GPU that it is given for its probe, and no other") {
  const tiny_checkpoint files;
  const session s(files.directory());
  const token_batch samples{{1, 5, 9, 13}, {1, 6, 11, 16}};
  gpu_calls calls;
  played_gpu card(calls);
  const search_outcome there = find_sharing(s, samples, {.share = 3}, &card);
  CHECK(calls.probes == 1);
  CHECK(calls.types == std::vector<std::string>{"f32"});
  const search_outcome here = find_sharing(s, samples, {.share = 3});
  CHECK(calls.probes == 1);
  CHECK(there.evidence.report.map() == here.evidence.report.map());
  CHECK(there.evidence.report.score == here.evidence.report.score);
  CHECK(there.layer_evaluations == here.layer_evaluations);
}

TEST_CASE("the host runs a checkpoint in its own type, and random weights in any") {
  const tiny_checkpoint files;
  const session s(files.directory());
  const token_batch samples{{1, 5, 9, 13}, {1, 6, 11, 16}};
  const weight_source stored{s.llama.config(), &s.llama}, random{s.llama.config()};
  CHECK_THROWS_AS(host_probe(stored, {.samples = samples, .type = dtype::bf16}), usage_error);
  CHECK(type_of(random, {samples}) == dtype::bf16);
  CHECK(type_of(stored, {samples}) == dtype::f32);
  const auto shared = kvsharer::share_map::identity(8).with({{5}, {2}}).value();
  const made_probe rounded = host_probe(random, {samples}),
                   exact = host_probe(random, {.samples = samples, .type = dtype::f32});
  const double a = (*rounded.runs)(shared), b = (*exact.runs)(shared);
  CHECK(a != b);
  CHECK(a == doctest::Approx(b).epsilon(0.01));
}

TEST_CASE("the host computes in f32 and says so") {
  int asked = 0;
  CHECK(choose_backend("auto", gpu_choice{}, failing(errc::no_device, asked)) == nullptr);
  CHECK(choose_backend("cpu", gpu_choice{}, failing(errc::no_device, asked)) == nullptr);
  CHECK(has(usage("cpu", {.type = "f16"}), "\"f16\""));
  CHECK(has(usage("auto", {.type = "bf16"}), "--backend cuda"));
}

TEST_CASE("a GPU is kept for models that it runs, and given back or refused, naming what it lacks, for others") {
  gpu_calls calls;
  const auto kept = [&](const std::string& backend, const model_config& c, const std::string& type = "f32") {
    std::unique_ptr<gpu> card = std::make_unique<played_gpu>(calls);
    keep_for(card, backend, c, type);
    return card != nullptr;
  };
  const tiny_checkpoint files;
  const model_config plain = session(files.directory()).llama.config();
  CHECK(kept("auto", plain));
  CHECK(kept("cuda", plain, "bf16"));
  model_config biased = plain;
  biased.qkv_bias = biased.output_bias = biased.head_norms = true;
  biased.windows.assign(static_cast<std::size_t>(plain.layers), 4);
  biased.windows[0] = 0;
  CHECK(kept("cuda", biased));

  model_config sharing = plain;
  for (int l = 0; l < plain.layers; ++l) sharing.kv_owners.push_back(l / 2 * 2);
  CHECK_FALSE(kept("auto", sharing));
  std::string text = "(nothing was refused)";
  try {
    kept("cuda", sharing);
  } catch (const kvsharer::error& e) {
    text = e.what();
  }
  CHECK(has(text, "a layer map"));
  CHECK(has(text, "--backend cpu"));
  CHECK_THROWS_AS(kept("auto", sharing, "bf16"), usage_error);  // the host would compute in another type
  std::unique_ptr<gpu> none;
  CHECK_NOTHROW(keep_for(none, "cpu", sharing));
}

TEST_CASE("who falls back to the CPU is told why, once") {
  int asked = 0;
  heard user;
  CHECK(choose_backend("auto", failing(errc::no_device, asked), user.ear()) == nullptr);
  REQUIRE(user.sentences.size() == 1);
  CHECK(has(user.sentences[0], "runs on the CPU"));
  CHECK(has(user.sentences[0], "no luck"));
  CHECK(choose_backend("auto", gpu_choice{}, failing(errc::no_device, asked), user.ear()) == nullptr);
  CHECK(user.sentences.size() == 2);
  // Nothing to tell where the CPU was asked for, or the program has no other.
  CHECK(choose_backend("cpu", failing(errc::no_device, asked), user.ear()) == nullptr);
  const gpu_opener none = []() -> std::unique_ptr<gpu> { throw built_without_cuda(); };
  CHECK(choose_backend("auto", none, user.ear()) == nullptr);
  CHECK_THROWS_AS(choose_backend("cuda", none, user.ear()), kvsharer::error);
  CHECK(user.sentences.size() == 2);

  gpu_calls calls;
  std::unique_ptr<gpu> card = std::make_unique<played_gpu>(calls);
  const tiny_checkpoint files;
  model_config sharing = session(files.directory()).llama.config();
  keep_for(card, "auto", sharing, "f32", user.ear());
  CHECK(user.sentences.size() == 2);
  sharing.kv_owners.assign(static_cast<std::size_t>(sharing.layers), 0);
  keep_for(card, "auto", sharing, "f32", user.ear());
  REQUIRE(user.sentences.size() == 3);
  CHECK(has(user.sentences[2], "a layer map"));
}

TEST_CASE("options that a GPU does not follow are refused, or followed by the CPU, which is said") {
  gpu_calls calls;
  heard user;
  std::unique_ptr<gpu> card = std::make_unique<played_gpu>(calls);
  keep_unless_given(card, "auto", {}, user.ear());
  CHECK(card != nullptr);
  CHECK(user.sentences.empty());
  keep_unless_given(card, "auto", {"--project-readers", "--page-tokens 32"}, user.ear());
  CHECK(card == nullptr);
  REQUIRE(user.sentences.size() == 1);
  CHECK(has(user.sentences[0], "does not support --project-readers, --page-tokens 32"));

  const tiny_checkpoint files;
  const scratch_directory folder;
  const std::string ids = folder.write("ids.json", "[[1, 5, 9]]").string();
  const auto generated_there = [&](const std::string& backend, const std::vector<std::string>& more) {
    std::vector<std::string> line{"generate",         "--model", files.directory(), "--token-ids", ids, "--json",
                                  "--max-new-tokens", "2",       "--backend",       backend};
    line.insert(line.end(), more.begin(), more.end());
    const int before = calls.generated;
    run_line(line, calls);
    return calls.generated > before;
  };
  const std::vector<std::string> others[] = {
      {"--kv-layout", "contiguous"}, {"--page-tokens", "32"}, {"--project-readers"}};
  for (const auto& other : others) {
    CAPTURE(other[0]);
    CHECK_FALSE(generated_there("auto", other));
    std::string text = "(nothing was refused)";
    try {
      generated_there("cuda", other);
    } catch (const usage_error& e) {
      text = e.what();
    }
    CHECK(has(text, "does not support " + other[0]));
    CHECK(has(text, "--backend cpu"));
  }
  // What it does anyway may be said.
  for (const std::string backend : {"auto", "cuda"}) {
    CHECK(generated_there(backend, {}));
    CHECK(generated_there(backend, {"--kv-layout", "paged", "--page-tokens", "16"}));
  }
}

TEST_CASE("the demo searches, measures and generates on the GPU that there is") {
  const tiny_checkpoint files;
  const scratch_directory folder;
  const std::string text = folder.write("text.txt", "The river runs.\nThe city grew.\nA bridge was built.\n").string();
  const std::string out = (folder.path() / "out").string();
  gpu_calls calls;
  run_line({"demo", "--model", files.directory(), "--calibration", text, "--samples", "2", "--sample-tokens", "4",
            "--max-new-tokens", "2", "--prompt", "The", "--out", out, "--json"},
           calls);
  CHECK(calls.probes == 6);
  CHECK(calls.evaluated == 7);
  CHECK(calls.generated == 7);
  CHECK(nlohmann::json::parse(read_text_file(folder.path() / "out" / "demo.json")).at("device") == "a player");
}

}  // namespace
