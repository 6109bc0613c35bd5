// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0 {

/// What a resumable probe keeps of every layer, such as its input or its keys and values: of the accepted plan's run,
/// and of the candidate's, which begins at some layer. Below that layer the accepted run is the candidate's, too; from
/// there on a candidate has values of its own, so that a rejected one leaves no trace. `T` is whatever stands for a
/// layer: rows in host memory, a pointer to device memory. Holds two of them for each layer; values are never copied.
///
/// What enters layers goes from one layer further than what they store: the input of the layer at which a candidate
/// begins is the accepted run's.
template <class T>
class resumable_layers {
 public:
  /// Two default values for each layer. The first candidate begins at layer 0.
  explicit resumable_layers(int layers)
      : accepted_(static_cast<std::size_t>(layers)), candidate_(static_cast<std::size_t>(layers)) {}
  /// The values that runs take turns with, [layers] each.
  resumable_layers(std::vector<T> accepted, std::vector<T> candidate)
      : accepted_(std::move(accepted)), candidate_(std::move(candidate)) {}

  /// A candidate begins at layer `first`, in [0, layers]; what another one left there may be overwritten.
  void begin(layer_id first) noexcept { first_ = first; }

  /// What the candidate has of layer l: its own from where it begins, the accepted run's below.
  const T& operator[](layer_id l) const noexcept { return (l < first_ ? accepted_ : candidate_)[index(l)]; }

  /// To be written by the candidate. Precondition: it begins at l or below.
  T& own(layer_id l) noexcept { return candidate_[index(l)]; }

  /// The candidate is the accepted run from now on; one that begins behind the last layer changes nothing of it.
  /// O(layers).
  void accept() noexcept {
    for (std::size_t l = index(first_); l < accepted_.size(); ++l) std::swap(accepted_[l], candidate_[l]);
    first_ = {static_cast<int>(accepted_.size())};
  }

 private:
  static std::size_t index(layer_id l) noexcept { return static_cast<std::size_t>(l.value); }

  std::vector<T> accepted_, candidate_;
  layer_id first_{0};
};

}  // namespace kvsharer::inline v0
