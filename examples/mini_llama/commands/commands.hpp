// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "device/gpu.hpp"

namespace CLI {
class App;
}

/// The subcommands. Each adds itself and its options to the program and runs when it is parsed. With --json, standard
/// output carries one JSON object and nothing else; progress and remarks go to standard error.
namespace mini_llama {

void add_demo(CLI::App& app, const gpu_opener& open);
void add_search(CLI::App& app, const gpu_opener& open);
void add_generate(CLI::App& app, const gpu_opener& open);
void add_bench(CLI::App& app, const gpu_opener& open);
void add_eval(CLI::App& app, const gpu_opener& open);
void add_logits(CLI::App& app, const gpu_opener& open);
void add_sweep(CLI::App& app, const gpu_opener& open);
void add_report(CLI::App& app);
void add_plan(CLI::App& app);

}  // namespace mini_llama
