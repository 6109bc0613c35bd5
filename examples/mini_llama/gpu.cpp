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

}  // namespace mini_llama
