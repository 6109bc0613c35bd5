// SPDX-License-Identifier: Apache-2.0
#pragma once

/// What a decoder layer does on the device between its products and attention. Activations are float, float16 or
/// bfloat16, all sums float; weights of norms and angles are float.
///
/// Sampling at a temperature is not among these: sampler picks on the host from logits that are brought there.
#include "cuda/add_bias.cuh"
#include "cuda/argmax.cuh"
#include "cuda/embed.cuh"
#include "cuda/finish_heads.cuh"
#include "cuda/last_rows.cuh"
#include "cuda/norm.cuh"
#include "cuda/rotate.cuh"
#include "cuda/swiglu.cuh"
