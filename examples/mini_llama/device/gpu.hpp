// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kvsharer/kvsharer.hpp"
#include "probe/probe_request.hpp"
#include "run/evaluation.hpp"
#include "run/generation.hpp"
#include "run/session.hpp"
#include "run/throughput.hpp"

namespace mini_llama {

/// In what a GPU is to compute, and how much at once.
struct gpu_choice {
  std::string type = "f32";               ///< of weights, activations and cache: f32, f16 or bf16
  kvsharer::index_t rows_at_once = 8192;  ///< of sequences that run as one batch, at most; a longer one runs alone
};

/// The driver's work on a GPU. The part of the program that knows CUDA makes one; the rest knows this.
class gpu {
 public:
  virtual ~gpu() = default;

  /// The card's name.
  virtual std::string name() const = 0;

  /// As mini_llama::generate, with the cache's type also that of weights and activations, and pages of 16 tokens.
  /// Throws kvsharer::error for what the device refuses.
  virtual generation generate(const session& s, const kvsharer::cache_plan& plan,
                              const generation_request& request) = 0;

  /// As mini_llama::evaluate, with as many windows at once as memory allows; progress is told after each batch of them.
  /// Distributions are compared on the device. Throws also kvsharer::error for what the device refuses.
  virtual evaluation evaluate(const session& s, const kvsharer::cache_plan& plan, std::span<const int> ids,
                              kvsharer::index_t window, const gpu_choice& choice,
                              const evaluation_progress& on_progress = {},
                              const std::function<bool()>& cancelled = {}) = 0;

  /// As mini_llama::full_reference: runs the full model over the text now, and keeps its final hidden states and the
  /// weights in the GPU's memory. Borrows this object and the session. Throws what evaluate throws.
  virtual std::unique_ptr<text_reference> reference(const session& s, std::vector<int> ids, kvsharer::index_t window,
                                                    const gpu_choice& choice,
                                                    const evaluation_progress& on_progress = {},
                                                    const std::function<bool()>& cancelled = {}) = 0;

  /// [sequences][vocab]: the logits of each sequence's last position. None is empty or longer than the model's context.
  /// Throws kvsharer::error for what the device refuses.
  virtual std::vector<std::vector<float>> logits(const session& s, const kvsharer::cache_plan& plan,
                                                 const token_batch& batch, const gpu_choice& choice) = 0;

  /// As mini_llama::measure_throughput, in pages of 16 tokens. Throws kvsharer::error for what the device refuses.
  virtual throughput_report measure(const throughput_request& request) = 0;

  /// A probe that runs the samples here, as search_probe does on the host. It borrows this object. Throws
  /// kvsharer::error for what the device refuses.
  virtual made_probe make_probe(const weight_source& source, const probe_request& wanted) = 0;
};

/// Says that no GPU was looked for, since the program was built without CUDA.
struct built_without_cuda : kvsharer::error {
  built_without_cuda()
      : error(kvsharer::errc::no_device,
              "this program was built without CUDA; build it where nvcc is, or choose --backend cpu") {}
};

/// The first GPU. Throws kvsharer::error (no_device) where none can be used; built_without_cuda, which is one, where
/// there could be none.
std::unique_ptr<gpu> open_gpu();

using gpu_opener = std::function<std::unique_ptr<gpu>()>;

/// Takes a sentence for the user.
using remark = std::function<void(const std::string&)>;

/// As a line on standard error, where no JSON is.
void remark_on_stderr(const std::string& sentence);

/// What `backend` names, of "auto", "cpu" and "cuda": a GPU, or nothing for the host. With "auto" a GPU that cannot be
/// used is no error; `say` is told why, unless the program was built without CUDA. Throws usage_error for another name,
/// and what `open` throws for "cuda".
std::unique_ptr<gpu> choose_backend(const std::string& backend, const gpu_opener& open,
                                    const remark& say = remark_on_stderr);

/// The same for work in `choice.type`. Throws usage_error also where that is the host's to do and not f32: there, sums
/// and caches of evaluations are float.
std::unique_ptr<gpu> choose_backend(const std::string& backend, const gpu_choice& choice, const gpu_opener& open,
                                    const remark& say = remark_on_stderr);

/// Throws kvsharer::error (bad_argument) for a model that the GPU does not run, and names what it lacks: a map of the
/// model's own.
void require_device_model(const model_config& model);

/// Lets go of a GPU that does not run this model: one with a map of its own. `say` is told.
/// Throws kvsharer::error (bad_argument) that names it where `backend` insists on it, and usage_error where the work
/// was to be done in another type than the host's.
void keep_for(std::unique_ptr<gpu>& card, const std::string& backend, const model_config& model,
              const std::string& type = "f32", const remark& say = remark_on_stderr);

/// Lets go of a GPU where options were given that only the host follows, such as "--page-tokens 32", and tells `say`.
/// Throws usage_error that names them where `backend` insists on the GPU.
void keep_unless_given(std::unique_ptr<gpu>& card, const std::string& backend,
                       const std::vector<std::string>& host_options, const remark& say = remark_on_stderr);

}  // namespace mini_llama
