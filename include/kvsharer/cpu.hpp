// SPDX-License-Identifier: Apache-2.0
#pragma once

/// All of the library that runs on the host, including the parts that need Eigen.
#include "kvsharer/backend/cpu/attention.hpp"
#include "kvsharer/backend/cpu/backend.hpp"
#include "kvsharer/backend/cpu/cka_distances.hpp"
#include "kvsharer/backend/cpu/distances.hpp"
#include "kvsharer/backend/cpu/fit_alignment.hpp"
#include "kvsharer/backend/cpu/logits.hpp"
#include "kvsharer/backend/cpu/parallel.hpp"
#include "kvsharer/kvsharer.hpp"
