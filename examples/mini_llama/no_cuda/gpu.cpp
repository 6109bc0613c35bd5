// SPDX-License-Identifier: Apache-2.0
// The GPU of a program that was built without CUDA.
#include "../gpu.hpp"

namespace mini_llama {

std::unique_ptr<gpu> open_gpu() {
  throw kvsharer::error(kvsharer::errc::no_device,
                        "this program was built without CUDA; build it where nvcc is, or choose --backend cpu");
}

}  // namespace mini_llama
