// SPDX-License-Identifier: Apache-2.0
// Who is asked to run, by GPUs that are absent, broken, or played by the host.
#include "gpu.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <utility>

#include "find_sharing.hpp"
#include "mini_llama/played_gpu.hpp"
#include "mini_llama/scratch_directory.hpp"
#include "mini_llama/tiny_checkpoint.hpp"
#include "usage_error.hpp"

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
  CHECK(there.strategy.report.map() == here.strategy.report.map());
  CHECK(there.strategy.report.score == here.strategy.report.score);
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
  CHECK(kept("cuda", biased));

  model_config windowed = plain, sharing = plain;
  windowed.windows.assign(static_cast<std::size_t>(plain.layers), 4);
  for (int l = 0; l < plain.layers; ++l) sharing.kv_owners.push_back(l / 2 * 2);
  const std::pair<model_config, std::string> refused[] = {{windowed, "sliding windows"}, {sharing, "a layer map"}};
  for (const auto& [config, what] : refused) {
    CAPTURE(what);
    CHECK_FALSE(kept("auto", config));
    std::string text = "(nothing was refused)";
    try {
      kept("cuda", config);
    } catch (const kvsharer::error& e) {
      text = e.what();
    }
    CHECK(has(text, what));
    CHECK(has(text, "--backend cpu"));
  }
  CHECK_THROWS_AS(kept("auto", windowed, "bf16"), usage_error);  // the host would compute in another type
  std::unique_ptr<gpu> none;
  CHECK_NOTHROW(keep_for(none, "cpu", windowed));
}

}  // namespace
