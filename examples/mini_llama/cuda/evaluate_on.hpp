// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "device/gpu.hpp"
#include "kvsharer/backend/cuda/stream_ref.cuh"
#include "kvsharer/core/element.hpp"

namespace mini_llama::cuda {

// gpu::evaluate, gpu::reference and gpu::logits for the type E, which choice.type names. Defined in evaluate.cuh and
// text_reference.cuh, and compiled with generation, since every file with a decoder compiles all attention kernels of
// its type.

template <kvsharer::CacheElement E>
evaluation evaluate_on(kvsharer::cuda::stream_ref stream, const session& s, const kvsharer::cache_plan& plan,
                       std::span<const int> ids, kvsharer::index_t window, const gpu_choice& choice,
                       const evaluation_progress& on_progress, const std::function<bool()>& cancelled);

template <kvsharer::CacheElement E>
std::unique_ptr<text_reference> reference_on(kvsharer::cuda::stream_ref stream, const session& s, std::vector<int> ids,
                                             kvsharer::index_t window, const gpu_choice& choice,
                                             const evaluation_progress& on_progress,
                                             const std::function<bool()>& cancelled);

template <kvsharer::CacheElement E>
std::vector<std::vector<float>> logits_on(kvsharer::cuda::stream_ref stream, const session& s,
                                          const kvsharer::cache_plan& plan, const token_batch& batch,
                                          const gpu_choice& choice);

}  // namespace mini_llama::cuda
