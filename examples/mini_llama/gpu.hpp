// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "generation.hpp"
#include "kvsharer/kvsharer.hpp"
#include "probe_request.hpp"
#include "session.hpp"

namespace mini_llama {

/// The driver's work on a GPU. The part of the program that knows CUDA makes one; the rest knows this.
class gpu {
 public:
  virtual ~gpu() = default;

  /// The card's name.
  virtual std::string name() const = 0;

  /// As mini_llama::generate, with the cache's type also that of weights and activations, and pages of 16 tokens.
  /// Throws kvsharer::error for what the device refuses.
  virtual generation generate(const session& s, const kvsharer::share_map& map, const generation_request& request) = 0;

  /// A probe that runs the samples here, as search_probe does on the host. It borrows this object. Throws
  /// kvsharer::error for what the device refuses.
  virtual made_probe make_probe(const weight_source& source, const probe_request& wanted) = 0;
};

/// The first GPU. Throws kvsharer::error (no_device) where none can be used, or the program was built without CUDA.
std::unique_ptr<gpu> open_gpu();

using gpu_opener = std::function<std::unique_ptr<gpu>()>;

/// What `backend` names, of "auto", "cpu" and "cuda": a GPU, or nothing for the host. With "auto" a GPU that cannot be
/// used is no error. Throws usage_error for another name, and what `open` throws for "cuda".
std::unique_ptr<gpu> choose_backend(const std::string& backend, const gpu_opener& open);

}  // namespace mini_llama
