// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "device/gpu.hpp"
#include "run/session.hpp"
#include "sweep/combinations.hpp"

namespace mini_llama {

/// Where a sweep is, whenever it has come further.
struct sweep_progress {
  std::size_t done;          ///< lines that were made since the start, of
  std::size_t wanted;        ///< those that were missing then
  const std::string& doing;  ///< for people
};

/// What a sweep is asked for.
struct sweep_request {
  std::filesystem::path text, calibration, out;
  sweep_axes axes;
  std::string similarity = "mean-of-cosines";
  int sample_tokens = 64;
  kvsharer::index_t window = 512;
  std::size_t tokens = 10240;  ///< of the text are predicted, from its beginning; 0: all of them
  kvsharer::index_t prompt_tokens = 256, new_tokens = 64;
  bool moves = true;  ///< score every map that shares one layer alone, on each set of samples
  std::function<void(const nlohmann::json& line)> on_line = {};  ///< told of each line when it is on the disk
  std::function<void(const sweep_progress&)> progress = {};
  std::function<bool()> cancelled = {};
};

struct sweep_summary {
  std::size_t planned = 0;   ///< lines: one for the full model, each combination and each set of single moves
  std::size_t restored = 0;  ///< that were there already
  std::size_t made = 0;      ///< now; fewer than the rest when it was cancelled
};

/// Searches with every combination of the axes, measures each map that is found and writes, into the folder `out`,
/// model.json (what was measured on what), distances-<metric>-<samples>.json and results.jsonl: a line for the full
/// model and one for each combination, in the order of combinations_of, and before the first one on some samples a line
/// of all single moves on them. Where the folder holds a part of this sweep, goes on behind it; what was made twice
/// would be the same but for times. The full model is run over the text once, and over each set of samples once.
///
/// Throws usage_error, load_error (also for a folder of another sweep) and what the parts throw.
/// Runs on `card`, if one is given, in `choice.type`.
sweep_summary run_sweep(session& s, const sweep_request& request, gpu* card = nullptr, const gpu_choice& choice = {});

}  // namespace mini_llama
