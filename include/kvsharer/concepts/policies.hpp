// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "kvsharer/core/distance_matrix.hpp"
#include "kvsharer/core/share_plan.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0 {

/// The numbers over which a metric computes one value: a row (head_dim numbers of one head at one position; the
/// distance is the mean over rows), or a layer's whole plane of keys or values.
enum class fold_scope : std::uint8_t { row, plane };

/// The distance of two lists of equal length as a fold, so that one definition works in a scalar loop, in SIMD lanes
/// and in a warp. The distance of two layers is the mean of the distances of their keys and of their values.
///
/// Required of `const M m`:
///   M::partial                       the running state; value-initialised it is the empty fold
///   M::scope -> fold_scope
///   m.step(partial, a, b) -> partial           one more pair of numbers
///   m.merge(partial, partial) -> partial       two parts of one list
///   m.finish(partial, count) -> double         the distance, from all `count` pairs
template <class M>
concept DistanceMetric = std::is_trivially_copyable_v<M> &&
    requires(const M m, typename M::partial p, float a, float b, index_t count) {
  {std::bool_constant<M::scope == fold_scope::row>{}};
  { m.step(p, a, b) } -> std::same_as<typename M::partial>;
  { m.merge(p, p) } -> std::same_as<typename M::partial>;
  { m.finish(p, count) } -> std::convertible_to<double>;
};

/// The order of the candidates of the greedy search. It sees only distances, so it can be tested without a model.
///
/// Required of `const P p`: p.rank(distances, pairs) -> std::vector<layer_pair>, some or all of `pairs` (the legal
/// ones, sorted by reader and then by owner, ascending) in the order in which the search tries them.
template <class P>
concept SharePolicy = requires(const P& p, const distance_matrix& d, std::vector<layer_pair> pairs) {
  { p.rank(d, pairs) } -> std::same_as<std::vector<layer_pair>>;
};

/// Scores a map: the engine runs the calibration samples under it and returns how similar the output is to that of the
/// full model, which scores 1. A probe that takes a share_plan can score separate maps for keys and values, and also
/// every single map.
///
/// Required of `F f`, with `Plan plan` a share_map or a share_plan: f(plan) -> double
template <class F, class Plan = share_map>
concept FidelityProbe = requires(F& f, const Plan& plan) {
  { f(plan) } -> std::convertible_to<double>;
};

/// A probe that can skip the layers below the first change, because the engine keeps the inputs of all layers and the
/// owners' keys and values of the last accepted plan.
///
/// Required besides:
///   f.resume(plan, first) -> double   scores `plan`, which below `first` equals the last accepted one
///   f.accept()                        accepts the plan scored last; until then the identity is the accepted one
template <class F, class Plan = share_map>
concept ResumableProbe = FidelityProbe<F, Plan> && requires(F& f, const Plan& plan, layer_id first) {
  { f.resume(plan, first) } -> std::convertible_to<double>;
  f.accept();
};

}  // namespace kvsharer::inline v0
