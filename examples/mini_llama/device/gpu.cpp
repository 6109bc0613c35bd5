// SPDX-License-Identifier: Apache-2.0
#include "device/gpu.hpp"

#include <cstdio>

#include "support/usage_error.hpp"

namespace mini_llama {
namespace {

void require_host_type(const std::string& type) {
  if (type != "f32")
    throw usage_error("the host computes in f32 here, not in \"" + type +
                      "\"; leave --dtype out, or choose --backend cuda");
}

/// The part of a model that the GPU's forward pass does not support, for a message; null if it supports all.
const char* host_part(const model_config& c) { return c.kv_owners.empty() ? nullptr : "a layer map of their own"; }

}  // namespace

void remark_on_stderr(const std::string& sentence) { std::fprintf(stderr, "mini_llama: %s\n", sentence.c_str()); }

std::unique_ptr<gpu> choose_backend(const std::string& backend, const gpu_opener& open, const remark& say) {
  if (backend == "cpu") return nullptr;
  if (backend == "cuda") return open();
  if (backend != "auto") throw usage_error("there is no backend \"" + backend + "\"; choose auto, cpu or cuda");
  try {
    return open();
  } catch (const built_without_cuda&) {
    return nullptr;  // whoever built the program knows
  } catch (const kvsharer::error& e) {
    if (e.code() != kvsharer::errc::no_device) throw;
    say("runs on the CPU, since no GPU can be used (" + std::string(e.what()) + ")");
    return nullptr;
  }
}

std::unique_ptr<gpu> choose_backend(const std::string& backend, const gpu_choice& choice, const gpu_opener& open,
                                    const remark& say) {
  std::unique_ptr<gpu> card = choose_backend(backend, open, say);
  if (!card) require_host_type(choice.type);
  return card;
}

void require_device_model(const model_config& model) {
  if (const char* part = host_part(model))
    throw kvsharer::error(kvsharer::errc::bad_argument,
                          "the GPU does not run models with " + std::string(part) + "; choose --backend cpu");
}

void keep_for(std::unique_ptr<gpu>& card, const std::string& backend, const model_config& model,
              const std::string& type, const remark& say) {
  const char* const part = host_part(model);
  if (!card || !part) return;
  if (backend == "cuda") require_device_model(model);
  require_host_type(type);
  say("runs on the CPU, since the GPU does not run models with " + std::string(part));
  card.reset();
}

void keep_unless_given(std::unique_ptr<gpu>& card, const std::string& backend,
                       const std::vector<std::string>& host_options, const remark& say) {
  if (!card || host_options.empty()) return;
  std::string names;
  for (const std::string& option : host_options) names += (names.empty() ? "" : ", ") + option;
  if (backend == "cuda")
    throw usage_error("the GPU does not support " + names + "; leave it out, or choose --backend cpu");
  say("runs on the CPU, since the GPU does not support " + names);
  card.reset();
}

}  // namespace mini_llama
