// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "device/gpu.hpp"
#include "run/session.hpp"

namespace mini_llama {

/// Where a sweep's work is done: on a GPU, or on the host.
class workplace {
 public:
  /// `card` is null for the host. Borrows session and card. `choice.type` is that of a GPU's weights, activations and
  /// caches; the host computes in float.
  explicit workplace(const session& s, gpu* card = nullptr, gpu_choice choice = {})
      : session_(s), card_(card), choice_(std::move(choice)) {}

  const session& model() const noexcept { return session_; }

  // For results: "cuda", the card's name and the type; "cpu", "CPU" and "f32" for the host.
  std::string backend() const { return card_ ? "cuda" : "cpu"; }
  std::string device() const { return card_ ? card_->name() : "CPU"; }
  std::string type() const { return card_ ? choice_.type : "f32"; }

  /// `similarity` is that of the cosines.
  made_probe make_probe(const token_batch& samples, const std::string& objective, const std::string& similarity) const;

  std::unique_ptr<text_reference> reference(const std::vector<int>& ids, kvsharer::index_t window,
                                            const evaluation_progress& on_progress,
                                            const std::function<bool()>& cancelled) const;

  /// The cache's type is set here.
  generation generate(const kvsharer::cache_plan& plan, generation_request request) const;

 private:
  const session& session_;
  gpu* card_;
  gpu_choice choice_;
};

}  // namespace mini_llama
