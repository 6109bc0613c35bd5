// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>

#include "checkpoint/alignment.hpp"
#include "checkpoint/checkpoint.hpp"
#include "kvsharer/core/cache_plan.hpp"
#include "kvsharer/search/plan_file.hpp"
#include "network/model.hpp"
#include "text/tokenizer.hpp"

namespace mini_llama {

/// A model directory, opened: what every command starts from.
struct session {
  explicit session(const std::filesystem::path& directory);

  /// Of a model that lies in no directory, and so has no words.
  explicit session(model made);

  /// What a window of text begins with: the model's BOS, or -1 where it has none or its tokenizer, once loaded, puts
  /// none before a text.
  int opening() const noexcept { return words_ && !words_->opens_texts() ? -1 : llama.config().bos; }

  /// The tokenizer, loaded when text is first needed, so that commands on token ids run without one.
  const tokenizer& words();

  /// A plan file made for this model. Throws what read_plan and check_same_model throw, and errc::bad_map for a plan
  /// that this model does not run: see require_own_readers and require_same_kinds.
  kvsharer::plan_file read(const std::filesystem::path& plan_file) const;

  /// The plan of a plan file made for this model, or the model's own when no file is given. With `align`, runs under
  /// this plan are from now on those of the alignment that the file names, if any. Throws what read and read_alignment
  /// throw, and errc::maps_differ for an alignment of two maps.
  kvsharer::cache_plan follow(const std::optional<std::filesystem::path>& plan_file, bool align = true);

  /// Has runs under `map` use a model with this alignment folded in.
  void use(const kvsharer::share_map& map, const alignment& readers);

  /// What runs under `plan`: the model itself, or one with the alignment of the plan's one map.
  const model& model_for(const kvsharer::cache_plan& plan) const noexcept {
    return aligned_ && plan.sharing().is_one_map() && aligned_->map == plan.sharing().keys() ? aligned_->llama : llama;
  }

  std::filesystem::path directory;
  model llama;
  kvsharer::model_identity identity;

 private:
  struct aligned_model {
    kvsharer::share_map map;
    model llama;
  };
  std::optional<tokenizer> words_;
  std::optional<aligned_model> aligned_;
};

}  // namespace mini_llama
