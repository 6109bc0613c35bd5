// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/instantiate/engine_kernels.cuh"

// [define]
KVSHARER_DEFINE_ATTENTION(64, kvsharer::float16);
KVSHARER_DEFINE_CACHE(kvsharer::float16, engine::layout);
KVSHARER_DEFINE_DISTANCES(engine::metric, engine::average);
// [/define]
