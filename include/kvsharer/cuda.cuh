// SPDX-License-Identifier: Apache-2.0
#pragma once

/// All of the library that runs on a CUDA device, and the core. For nvcc, or any compiler that takes CUDA C++20.
#include "kvsharer/backend/cuda/attention/attend.cuh"
#include "kvsharer/backend/cuda/backend.cuh"
#include "kvsharer/backend/cuda/batch.cuh"
#include "kvsharer/backend/cuda/calibration_average.cuh"
#include "kvsharer/backend/cuda/device.cuh"
#include "kvsharer/backend/cuda/distances/distances.cuh"
#include "kvsharer/backend/cuda/instantiate.cuh"
#include "kvsharer/backend/cuda/memory.cuh"
#include "kvsharer/backend/cuda/numbers.cuh"
#include "kvsharer/backend/cuda/pool_view.cuh"
#include "kvsharer/backend/cuda/rope.cuh"
#include "kvsharer/backend/cuda/saved_sequence.cuh"
#include "kvsharer/backend/cuda/sequence_batch.cuh"
#include "kvsharer/backend/cuda/shared_cache.cuh"
#include "kvsharer/backend/cuda/similarity.cuh"
#include "kvsharer/backend/cuda/status.cuh"
#include "kvsharer/backend/cuda/store.cuh"
#include "kvsharer/backend/cuda/stream_ref.cuh"
#include "kvsharer/kvsharer.hpp"
