// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "kvsharer/concepts/policies.hpp"
#include "kvsharer/core/distance_matrix.hpp"
#include "kvsharer/core/share_map.hpp"
#include "kvsharer/core/types.hpp"

/// Metrics, policies and probes that offer what their concepts ask and nothing more.
namespace archetypes {

using kvsharer::distance_matrix;
using kvsharer::fold_scope;
using kvsharer::index_t;
using kvsharer::layer_id;
using kvsharer::layer_pair;
using kvsharer::share_map;

/// What converts to double, and only implicitly.
struct score {
  const double x;
  operator double() const { return x; }
};
/// The same as another type, since f(map) and f.resume(map, first) need not agree on one.
struct other_score {
  const double x;
  operator double() const { return x; }
};

/// DistanceMetric: the weighted mean of |a - b|, and the number of pairs counted by the fold itself, so that a pair
/// that is left out, padded or folded twice shows in the result.
template <fold_scope Scope>
class mean_difference {
 public:
  class partial {
   public:
    partial() = default;

   private:
    friend mean_difference;
    double sum_ = 0;
    double pairs_ = 0;
  };
  static constexpr fold_scope scope = Scope;

  explicit mean_difference(double weight) : weight_(weight) {}
  partial step(partial p, float a, float b) const {
    p.sum_ += std::abs(static_cast<double>(a) - static_cast<double>(b));
    p.pairs_ += 1;
    return p;
  }
  partial merge(partial p, partial q) const {
    p.sum_ += q.sum_;
    p.pairs_ += q.pairs_;
    return p;
  }
  /// -1 if `count` is not the number of pairs that were folded.
  score finish(partial p, index_t count) const {
    return {p.pairs_ == static_cast<double>(count) ? weight_ * p.sum_ / static_cast<double>(count) : -1.0};
  }

 private:
  const double weight_;
};

/// SharePolicy: the legal pairs in the opposite order. Cannot be copied.
class last_pair_first {
 public:
  explicit last_pair_first(int) {}
  last_pair_first(const last_pair_first&) = delete;
  std::vector<layer_pair> rank(const distance_matrix&, std::vector<layer_pair> pairs) const {
    std::reverse(pairs.begin(), pairs.end());
    return pairs;
  }
};

/// FidelityProbe: changes when it is called, cannot be copied. Refuses maps in which layer `deaf` reads another.
class probe {
 public:
  explicit probe(int deaf) : deaf_(deaf) {}
  probe(const probe&) = delete;
  score operator()(const share_map& map) {
    ++calls;
    return {map.owns({deaf_}) ? 1.0 : 0.0};
  }
  int calls = 0;

 private:
  const int deaf_;
};

/// ResumableProbe: the same verdicts, and a check that it is told of what it accepted.
class resumable_probe {
 public:
  resumable_probe(int layers, int deaf) : probe_(deaf), accepted(share_map::identity(layers)), last_(accepted) {}
  resumable_probe(const resumable_probe&) = delete;
  score operator()(const share_map& map) {
    last_ = map;
    return probe_(map);
  }
  other_score resume(const share_map& map, layer_id first) {
    for (layer_id l{0}; l < first; ++l.value) honest = honest && map.owner(l) == accepted.owner(l);
    last_ = map;
    ++resumed;
    return {probe_(map)};
  }
  void accept() { accepted = last_; }

 private:
  probe probe_;

 public:
  share_map accepted;
  bool honest = true;
  int resumed = 0;

 private:
  share_map last_;
};

static_assert(kvsharer::DistanceMetric<mean_difference<fold_scope::row>>);
static_assert(kvsharer::DistanceMetric<mean_difference<fold_scope::plane>>);
static_assert(!std::is_default_constructible_v<mean_difference<fold_scope::row>>);
static_assert(kvsharer::SharePolicy<last_pair_first> && !std::is_move_constructible_v<last_pair_first>);
static_assert(kvsharer::FidelityProbe<probe> && !kvsharer::FidelityProbe<const probe>);
static_assert(!kvsharer::ResumableProbe<probe> && kvsharer::ResumableProbe<resumable_probe>);

}  // namespace archetypes
