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

/// The type in which a GPU computes, and the size of its batches.
struct gpu_choice {
  std::string type = "f32";               ///< of weights, activations and cache: f32, f16 or bf16
  kvsharer::index_t rows_at_once = 8192;  ///< rows of the sequences in one batch, at most; a longer sequence runs alone
};

/// The driver's work on a GPU. Only the part of the program with CUDA implements it; the rest uses this interface.
class gpu {
 public:
  virtual ~gpu() = default;

  /// The card's name.
  virtual std::string name() const = 0;

  /// As mini_llama::generate, with weights and activations in the cache's type, and pages of 16 tokens. Throws
  /// kvsharer::error for what the device refuses.
  virtual generation generate(const session& s, const kvsharer::cache_plan& plan,
                              const generation_request& request) = 0;

  /// As mini_llama::evaluate, with as many windows at once as memory allows; reports progress after each batch of them.
  /// The device compares distributions. Also throws kvsharer::error for what the device refuses.
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

  /// [sequences][vocab]: the logits at each sequence's last position. No sequence may be empty or longer than the
  /// model's context. Throws kvsharer::error for what the device refuses.
  virtual std::vector<std::vector<float>> logits(const session& s, const kvsharer::cache_plan& plan,
                                                 const token_batch& batch, const gpu_choice& choice) = 0;

  /// As mini_llama::measure_throughput, in pages of 16 tokens. Throws kvsharer::error for what the device refuses.
  virtual throughput_report measure(const throughput_request& request) = 0;

  /// A probe that runs the samples on the GPU, as search_probe does on the host. It borrows this object. Throws
  /// kvsharer::error for what the device refuses.
  virtual made_probe make_probe(const weight_source& source, const probe_request& wanted) = 0;
};

/// Means that no GPU was looked for, since the program was built without CUDA.
struct built_without_cuda : kvsharer::error {
  built_without_cuda()
      : error(kvsharer::errc::no_device,
              "this program was built without CUDA; build it where nvcc is, or choose --backend cpu") {}
};

/// The first GPU. Throws kvsharer::error (no_device) if none can be used, and its subclass built_without_cuda if the
/// program was built without CUDA.
std::unique_ptr<gpu> open_gpu();

using gpu_opener = std::function<std::unique_ptr<gpu>()>;

/// Receives a sentence for the user.
using remark = std::function<void(const std::string&)>;

/// Prints the sentence as a line on standard error, which carries no JSON.
void remark_on_stderr(const std::string& sentence);

/// The backend named "auto", "cpu" or "cuda": a GPU, or null for the host. With "auto", a GPU that cannot be used is no
/// error; `say` receives the reason, unless the program was built without CUDA. Throws usage_error for another name,
/// and what `open` throws for "cuda".
std::unique_ptr<gpu> choose_backend(const std::string& backend, const gpu_opener& open,
                                    const remark& say = remark_on_stderr);

/// The same for work in `choice.type`. Also throws usage_error if the host would have to compute in a type other than
/// f32: its sums and caches of evaluations are float.
std::unique_ptr<gpu> choose_backend(const std::string& backend, const gpu_choice& choice, const gpu_opener& open,
                                    const remark& say = remark_on_stderr);

/// Throws kvsharer::error (bad_argument) for a model that the GPU does not run, and names what the GPU does not
/// support: a layer map of the model's own.
void require_device_model(const model_config& model);

/// Releases a GPU that does not run this model, one with a layer map of its own, and gives `say` the reason. Throws
/// kvsharer::error (bad_argument) with the same reason if `backend` is "cuda", and usage_error if `type` is not the
/// host's.
void keep_for(std::unique_ptr<gpu>& card, const std::string& backend, const model_config& model,
              const std::string& type = "f32", const remark& say = remark_on_stderr);

/// Releases a GPU if there are options that only the host supports, such as "--page-tokens 32", and gives `say` the
/// reason. Throws usage_error that names these options if `backend` is "cuda".
void keep_unless_given(std::unique_ptr<gpu>& card, const std::string& backend,
                       const std::vector<std::string>& host_options, const remark& say = remark_on_stderr);

}  // namespace mini_llama
