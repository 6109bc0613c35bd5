// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>

#include "checkpoint/safetensors.hpp"
#include "kvsharer/core/element.hpp"

namespace mini_llama::cuda {

/// The run-time name of a type in which the device computes.
template <kvsharer::CacheElement E>
inline constexpr dtype dtype_of = std::same_as<E, float>               ? dtype::f32
                                  : std::same_as<E, kvsharer::float16> ? dtype::f16
                                                                       : dtype::bf16;

}  // namespace mini_llama::cuda
