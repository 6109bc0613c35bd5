// SPDX-License-Identifier: Apache-2.0
#include "gpu.hpp"

#include "usage_error.hpp"

namespace mini_llama {
namespace {

void require_host_type(const std::string& type) {
  if (type != "f32")
    throw usage_error("the host computes in f32 here, not in \"" + type +
                      "\"; leave --dtype out, or choose --backend cuda");
}

/// What of a model the GPU's forward pass does not have, for a message.
std::string host_parts(const model_config& c) {
  std::string parts;
  const auto add = [&](bool has, const char* name) {
    if (has) parts += (parts.empty() ? "" : ", ") + std::string(name);
  };
  add(!c.windows.empty(), "sliding windows shorter than the context");
  add(!c.kv_owners.empty(), "a layer map of their own");
  return parts;
}

}  // namespace

std::unique_ptr<gpu> choose_backend(const std::string& backend, const gpu_opener& open) {
  if (backend == "cpu") return nullptr;
  if (backend == "cuda") return open();
  if (backend != "auto") throw usage_error("there is no backend \"" + backend + "\"; choose auto, cpu or cuda");
  try {
    return open();
  } catch (const kvsharer::error& e) {
    if (e.code() != kvsharer::errc::no_device) throw;
    return nullptr;
  }
}

std::unique_ptr<gpu> choose_backend(const std::string& backend, const gpu_choice& choice, const gpu_opener& open) {
  std::unique_ptr<gpu> card = choose_backend(backend, open);
  if (!card) require_host_type(choice.type);
  return card;
}

void require_device_model(const model_config& model) {
  const std::string parts = host_parts(model);
  if (!parts.empty())
    throw kvsharer::error(kvsharer::errc::bad_argument,
                          "the GPU does not run models with " + parts + "; choose --backend cpu");
}

void keep_for(std::unique_ptr<gpu>& card, const std::string& backend, const model_config& model,
              const std::string& type) {
  const std::string parts = host_parts(model);
  if (!card || parts.empty()) return;
  if (backend == "cuda") require_device_model(model);
  require_host_type(type);
  card.reset();
}

}  // namespace mini_llama
