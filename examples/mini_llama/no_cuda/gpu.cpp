// SPDX-License-Identifier: Apache-2.0
// The GPU of a program that was built without CUDA.
#include "device/gpu.hpp"

namespace mini_llama {

std::unique_ptr<gpu> open_gpu() { throw built_without_cuda(); }

}  // namespace mini_llama
