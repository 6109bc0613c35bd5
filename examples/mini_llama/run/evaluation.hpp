// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "kvsharer/kvsharer.hpp"
#include "run/session.hpp"

namespace mini_llama {

using evaluation = kvsharer::prediction_quality;

/// Throws usage_error when the text is empty or the window does not fit the model.
void check_text(const session& s, std::span<const int> ids, kvsharer::index_t window);

/// Told of the tokens done and of all tokens, after each window.
using evaluation_progress = std::function<void(std::size_t, std::size_t)>;

/// Cuts `ids` (without BOS) into pieces of `window` - 1 tokens, runs each on its own behind a BOS, and scores every
/// token once. Where the model has no BOS, the token before a piece stands in for it, and the first one is not scored.
/// When `cancelled` answers yes the figures are those so far.
/// Throws what check_text does. Cost: one forward pass per window
/// for the full model and, unless `plan` is the identity, one for `plan`.
evaluation evaluate(const session& s, const kvsharer::cache_plan& plan, std::span<const int> ids,
                    kvsharer::index_t window, const evaluation_progress& on_progress = {},
                    const std::function<bool()>& cancelled = {});

/// A text as the full model sees it, to compare many maps with, wherever it was run.
class text_reference {
 public:
  virtual ~text_reference() = default;

  /// The full model against itself. Where it was cancelled, the tokens of this say how far it came; there is nothing to
  /// compare with then.
  virtual const evaluation& full() const noexcept = 0;

  /// What `evaluate` says of a map, without running the full model again.
  virtual evaluation compare(const kvsharer::cache_plan& plan, const evaluation_progress& on_progress = {},
                             const std::function<bool()>& cancelled = {}) = 0;
};

/// The reference of the host: `compare` gives the bits of `evaluate`. It keeps final hidden states instead of
/// distributions, which are vocab / hidden times as large and cost one product to make again. Memory: ids * hidden
/// floats. Borrows the session.
class full_reference final : public text_reference {
 public:
  /// Runs the full model over `ids`; see evaluate.
  full_reference(const session& s, std::vector<int> ids, kvsharer::index_t window,
                 const evaluation_progress& on_progress = {}, const std::function<bool()>& cancelled = {});

  const evaluation& full() const noexcept override { return full_; }
  evaluation compare(const kvsharer::cache_plan& plan, const evaluation_progress& on_progress = {},
                     const std::function<bool()>& cancelled = {}) override;

 private:
  const session& session_;
  std::vector<int> ids_;
  kvsharer::index_t window_;
  std::vector<float> hidden_;  // [ids][hidden], row t being what predicts ids[t]
  evaluation full_;
};

}  // namespace mini_llama
