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

/// What one value of a metric is computed over: one row (head_dim numbers of one head at one position; the distance is
/// the mean over rows), or a layer's whole plane of keys or values at once.
enum class fold_scope : std::uint8_t { row, plane };

/// The distance of two equally long lists of numbers as a fold, so that one definition serves a scalar loop, SIMD lanes
/// and a warp. The distance of two layers is the mean of that of their keys and that of their values.
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

/// Orders the candidates of the greedy search. It sees numbers, never a tensor, and so is tested without a model.
///
/// Required of `const P p`: p.rank(distances, pairs) -> std::vector<layer_pair>, some or all of `pairs` (the legal
/// ones, by reader and then owner ascending) in the order in which they are to be tried.
template <class P>
concept SharePolicy = requires(const P& p, const distance_matrix& d, std::vector<layer_pair> pairs) {
  { p.rank(d, pairs) } -> std::same_as<std::vector<layer_pair>>;
};

/// The engine's verdict on a map: runs the calibration samples under it and scores the outcome, 1 being the full model.
/// A probe that takes a share_plan can judge keys and values apart, and takes every map as well.
///
/// Required of `F f`, with `Plan plan` a share_map or a share_plan: f(plan) -> double
template <class F, class Plan = share_map>
concept FidelityProbe = requires(F& f, const Plan& plan) {
  { f(plan) } -> std::convertible_to<double>;
};

/// A probe of an engine that kept, for the last accepted plan, what every layer was given and what the owners stored,
/// and so can leave out the layers below the first change.
///
/// Required besides:
///   f.resume(plan, first) -> double   scores `plan`, which below `first` equals the last accepted one
///   f.accept()                        the plan scored last is now the accepted one; before any, it is the identity
template <class F, class Plan = share_map>
concept ResumableProbe = FidelityProbe<F, Plan> && requires(F& f, const Plan& plan, layer_id first) {
  { f.resume(plan, first) } -> std::convertible_to<double>;
  f.accept();
};

}  // namespace kvsharer::inline v0
