// SPDX-License-Identifier: Apache-2.0
#include "gpu.hpp"

#include "usage_error.hpp"

namespace mini_llama {

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
  if (!card && choice.type != "f32")
    throw usage_error("the host computes in f32 here, not in \"" + choice.type +
                      "\"; leave --dtype out, or choose --backend cuda");
  return card;
}

}  // namespace mini_llama
