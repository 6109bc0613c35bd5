// SPDX-License-Identifier: Apache-2.0
#pragma once

/// The work of a decoder layer on the device between its products and attention. Activations are float, float16 or
/// bfloat16, all sums float; weights of norms and angles are float.
///
/// Sampling at a temperature runs on the host: sampler picks from logits that are copied there.
#include "cuda/add_bias.cuh"
#include "cuda/argmax.cuh"
#include "cuda/embed.cuh"
#include "cuda/finish_heads.cuh"
#include "cuda/last_rows.cuh"
#include "cuda/norm.cuh"
#include "cuda/rotate.cuh"
#include "cuda/swiglu.cuh"
