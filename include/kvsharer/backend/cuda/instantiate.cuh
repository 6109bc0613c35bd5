// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kvsharer/backend/cuda/attention/attend.cuh"
#include "kvsharer/backend/cuda/distances/distances.cuh"
#include "kvsharer/backend/cuda/shared_cache.cuh"
#include "kvsharer/backend/cuda/store.cuh"

/// For engines that compile kernels once. Every file that calls a template of this backend compiles its kernels again.
/// KVSHARER_DECLARE_... in a header that all of these files include stops that, and KVSHARER_DEFINE_... with the same
/// arguments in one file compiles the kernels. Both belong in the global namespace. A declaration without a definition
/// is an undefined symbol when the program is linked.
///
/// The calling files still compile a small part: the cache's copies of pages, which its inline members launch. The
/// macros instantiate the functions that launch, not the kernels, which nvcc keeps in the file that instantiates them.
/// Types come last, and may hold commas.

/// cuda::attend of one head_dim over keys and values of one type, in caches of any layout and in memory of engines:
/// KVSHARER_DECLARE_ATTENTION(128, kvsharer::bfloat16). The form of attend that takes head_dim at run time calls those
/// of all attention_head_dims.
#define KVSHARER_DECLARE_ATTENTION(head_dim, element) \
  KVSHARER_DETAIL_INSTANTIATE_ATTENTION(extern template, head_dim, element)
/// The definition that goes with KVSHARER_DECLARE_ATTENTION, in one source file.
#define KVSHARER_DEFINE_ATTENTION(head_dim, element) KVSHARER_DETAIL_INSTANTIATE_ATTENTION(template, head_dim, element)

/// cuda::shared_cache<element, layout>, with its store of rows of type `element`.
#define KVSHARER_DECLARE_CACHE(element, ...) KVSHARER_DETAIL_INSTANTIATE_CACHE(extern template, element, __VA_ARGS__)
/// The definition that goes with KVSHARER_DECLARE_CACHE, in one source file.
#define KVSHARER_DEFINE_CACHE(element, ...) KVSHARER_DETAIL_INSTANTIATE_CACHE(template, element, __VA_ARGS__)

/// cuda::layer_distances of a cache by a metric.
#define KVSHARER_DECLARE_DISTANCES(metric, ...) \
  KVSHARER_DETAIL_INSTANTIATE_DISTANCES(extern template, metric, __VA_ARGS__)
/// The definition that goes with KVSHARER_DECLARE_DISTANCES, in one source file.
#define KVSHARER_DEFINE_DISTANCES(metric, ...) KVSHARER_DETAIL_INSTANTIATE_DISTANCES(template, metric, __VA_ARGS__)

#define KVSHARER_DETAIL_INSTANTIATE_ATTENTION(how, head_dim, element)                                             \
  how void ::kvsharer::cuda::attend<head_dim, ::kvsharer::cuda::pool_batch<const element>,                        \
                                    ::kvsharer::cuda::pool_batch<const element>>(                                 \
      const ::kvsharer::cuda::backend&, const ::kvsharer::attention_shape&,                                       \
      const ::kvsharer::cuda::pool_batch<const element>&, const ::kvsharer::cuda::pool_batch<const element>&,     \
      const ::kvsharer::cuda::ragged_batch&, const element*, element*, const ::kvsharer::cuda::attention_extras&, \
      ::kvsharer::layer_id)

#define KVSHARER_DETAIL_INSTANTIATE_CACHE(how, element, ...)                                            \
  how void ::kvsharer::cuda::store<element, element>(                                                   \
      const ::kvsharer::cuda::backend&, const ::kvsharer::cuda::pool_batch<element>&,                   \
      const ::kvsharer::cuda::pool_batch<element>&, const ::kvsharer::cuda::ragged_batch&,              \
      ::kvsharer::cuda::new_rows<element>, const ::kvsharer::cuda::rope_angles&, ::kvsharer::layer_id); \
  how class ::kvsharer::cuda::shared_cache<element, __VA_ARGS__>

#define KVSHARER_DETAIL_INSTANTIATE_DISTANCES(how, metric, ...)                         \
  how ::kvsharer::distance_matrix kvsharer::cuda::layer_distances<__VA_ARGS__, metric>( \
      const ::kvsharer::cuda::backend&, const __VA_ARGS__&, const metric&)
