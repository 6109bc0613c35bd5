// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "kvsharer/core/share_plan.hpp"
#include "kvsharer/core/types.hpp"
#include "network/model.hpp"
#include "network/sequence_slice.hpp"
#include "network/store.hpp"
#include "network/workspace.hpp"

/// One decoder layer. Sharing shows in two places only: which layer's view is read, and whether keys and values are
/// projected.
namespace mini_llama {

struct layer_options {
  /// Projects keys and values in readers, too, and throws them away: changes nothing but the time. For debugging.
  bool project_readers = false;
};

/// Which share of a layer a run does with its rows.
enum class layer_part {
  whole,
  keys_and_values,  ///< of the rows, stored; x is left alone
  all_but_those     ///< they are stored already
};

/// Runs one layer over x [rows][hidden] in place, the rows of all slices in order. The store must have room for the
/// slices, and hold everything before them.
void run_layer(const model& m, layer_store& store, const kvsharer::share_plan& plan,
               std::span<const sequence_slice> slices, kvsharer::layer_id l, layer_part part, layer_options options,
               float* x, workspace& w);

}  // namespace mini_llama
