// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "kvsharer/core/share_plan.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/layout/contiguous.hpp"
#include "kvsharer/runtime/shared_cache.hpp"
#include "network/layer.hpp"
#include "network/model.hpp"
#include "network/sequence_slice.hpp"
#include "network/store.hpp"
#include "network/workspace.hpp"

namespace mini_llama {

// What nearly everything runs on is compiled once, in forward.cpp.
extern template class stored_in<kvsharer::shared_cache<>>;

/// Runs layers [from, to) over x [rows][hidden] in place, the rows of all slices in order. The store must have room for
/// the slices, and hold everything before them. Precondition: plan.layers() == m.config().layers.
void run_layers(const model& m, layer_store& store, const kvsharer::share_plan& plan,
                std::span<const sequence_slice> slices, int from, int to, float* x, workspace& w,
                layer_options options = {});
template <KVStore Store>
void run_layers(const model& m, Store& store, const kvsharer::share_plan& plan, std::span<const sequence_slice> slices,
                int from, int to, float* x, workspace& w, layer_options options = {}) {
  stored_in<Store> rows(store);
  run_layers(m, static_cast<layer_store&>(rows), plan, slices, from, to, x, w, options);
}

/// Stores the keys and values that layer `l` computes from x, which it leaves alone.
void store_layer(const model& m, layer_store& store, const kvsharer::share_plan& plan,
                 std::span<const sequence_slice> slices, kvsharer::layer_id l, float* x, workspace& w);

/// What `forward` is to return.
enum class outputs {
  last_logits,  ///< [slices][vocab], of each slice's last row
  all_logits,   ///< [rows][vocab]
  hidden        ///< [rows][hidden], after the last norm
};

struct forward_options {
  outputs want = outputs::last_logits;
  /// Where only last positions' logits are asked for: runs the others no further than the last owner's keys and values,
  /// since nothing reads them above. Changes nothing but the time.
  bool short_prefill = true;
  bool project_readers = false;  ///< see layer_options
};

/// Runs a ragged batch of token ids, slice after slice, under a plan, and returns what is asked for: numbers
/// in the workspace that stay valid until it is next used. The slices must have been appended to the store. Throws
/// kvsharer::error (bad_argument) when ids, slices, plan and model do not fit each other, before anything is stored.
std::span<const float> forward(const model& m, layer_store& store, const kvsharer::share_plan& plan,
                               std::span<const sequence_slice> slices, std::span<const int> ids,
                               const forward_options& options, workspace& w);

/// The same under the store's own plan.
template <KVStore Store>
std::span<const float> forward(const model& m, Store& store, std::span<const sequence_slice> slices,
                               std::span<const int> ids, const forward_options& options, workspace& w) {
  stored_in<Store> rows(store);
  return forward(m, rows, store.sharing(), slices, ids, options, w);
}

}  // namespace mini_llama
