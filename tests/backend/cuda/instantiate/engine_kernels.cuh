// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kvsharer/backend/cuda/calibration_average.cuh"
#include "kvsharer/backend/cuda/instantiate.cuh"
#include "kvsharer/metric/mean_row_norm.hpp"

/// What all files of an engine include: the kernels that it uses, which engine_kernels.cu makes.
// [declare]
namespace engine {
using layout = kvsharer::layout::paged<16>;
using average = kvsharer::cuda::calibration_average<>;
using metric = kvsharer::metric::mean_row_norm;
}  // namespace engine

KVSHARER_DECLARE_ATTENTION(64, kvsharer::float16);
KVSHARER_DECLARE_CACHE(kvsharer::float16, engine::layout);
KVSHARER_DECLARE_DISTANCES(engine::metric, engine::average);
// [/declare]
