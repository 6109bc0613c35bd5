// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "device/gpu.hpp"
#include "probe/choices.hpp"

namespace mini_llama {

/// Where a command that can run on a GPU is to run, and in what.
struct device_options {
  std::string backend = "auto";
  gpu_choice choice;

  void add_to(CLI::App& command) {
    command.add_option("--backend", backend, "Where to run: auto takes a GPU where there is one; cuda insists on it")
        ->capture_default_str()
        ->check(CLI::IsMember({"auto", "cpu", "cuda"}));
    command.add_option("--dtype", choice.type, "Type of weights, activations and cache on a GPU")
        ->capture_default_str()
        ->check(CLI::IsMember(std::vector<std::string>(kv_type_names.begin(), kv_type_names.end())));
  }

  /// A GPU, or nothing for the host; see choose_backend.
  std::unique_ptr<gpu> choose(const gpu_opener& open) const { return choose_backend(backend, choice, open); }

  /// Gives the GPU back where the model is the host's to run; see mini_llama::keep_for.
  void keep_for(std::unique_ptr<gpu>& card, const model_config& c) const {
    mini_llama::keep_for(card, backend, c, choice.type);
  }
};

}  // namespace mini_llama
