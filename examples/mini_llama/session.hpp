// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>

#include "checkpoint.hpp"
#include "kvsharer/io/strategy_json.hpp"
#include "kvsharer/kvsharer.hpp"
#include "model.hpp"
#include "tokenizer.hpp"

namespace mini_llama {

/// A model directory, opened: what every command starts from.
struct session {
  explicit session(const std::filesystem::path& directory);

  /// Of a model that lies in no directory, and so has no words.
  explicit session(model made);

  /// The tokenizer, loaded when text is first needed, so that commands on token ids run without one.
  const tokenizer& words();

  /// The map of a strategy file made for this model, or the identity when no file is given. Throws what read_strategy
  /// and check_same_model throw.
  kvsharer::share_map map_from(const std::optional<std::filesystem::path>& strategy_file) const;

  std::filesystem::path directory;
  model llama;
  kvsharer::model_identity identity;

 private:
  std::optional<tokenizer> words_;
};

}  // namespace mini_llama
