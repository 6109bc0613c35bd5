// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "probe/probe_request.hpp"
#include "run/session.hpp"
#include "text/calibration.hpp"

namespace mini_llama {

/// What a search is about, as the command line says it.
struct subject_arguments {
  std::optional<std::filesystem::path> model, calibration, token_ids;
  std::optional<std::string> shape;
  int samples = 30, sample_tokens = 64;
  bool skip_mismatched = false;
  std::uint64_t seed = 0;  ///< of what is random with `shape`
};

/// A checkpoint with samples of text or ids, or a shape with random weights and samples.
class search_subject {
 public:
  /// Opens the checkpoint or looks the shape up. Throws usage_error where the arguments name both or neither.
  explicit search_subject(const subject_arguments& a);

  const model_config& config() const noexcept { return session_ ? session_->llama.config() : config_; }
  const kvsharer::model_identity& identity() const noexcept { return identity_; }
  weight_source weights() const noexcept { return {config(), session_ ? &session_->llama : nullptr, arguments_.seed}; }

  /// Throws load_error where there are not enough.
  token_batch samples();

 private:
  subject_arguments arguments_;
  std::optional<session> session_;
  model_config config_;
  kvsharer::model_identity identity_;
};

}  // namespace mini_llama
