// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "checkpoint/config.hpp"
#include "kvsharer/kvsharer.hpp"
#include "probe/probe.hpp"

namespace mini_llama {

/// What one candidate cost.
struct candidate_cost {
  kvsharer::layer_id first;  ///< the layer it was run from
  double seconds = 0;
  double operations = 0;  ///< that its run cannot do without
};

/// The samples of a search, as far as its cost depends on them.
struct sample_sizes {
  kvsharer::index_t samples = 0;
  kvsharer::index_t tokens = 0;  ///< of each
  bool predicts = false;         ///< their logits are made, too
};

/// Multiplications and additions of a run of layers from `first` on under `plan`: the products with all weights that it
/// multiplies with, and of every position's attention to itself and what is before it. Nothing else is counted, so this
/// is a floor.
double count_operations(const model_config& c, const sample_sizes& of, const kvsharer::share_plan& plan,
                        kvsharer::layer_id first);

/// Another probe, whose candidates it times and counts. Borrows it.
class metered_probe final : public probe {
 public:
  metered_probe(probe& runs, const model_config& config, const sample_sizes& sizes)
      : runs_(runs), config_(config), sizes_(sizes) {}

  void accept() override { runs_.accept(); }
  kvsharer::distance_matrix distances(const std::string& metric, const std::string& keys) override {
    return runs_.distances(metric, keys);
  }
  kvsharer::index_t layer_evaluations() const noexcept override { return runs_.layer_evaluations(); }

  /// Of all candidates so far, in order.
  const std::vector<candidate_cost>& costs() const noexcept { return costs_; }

 private:
  double score(const kvsharer::cache_plan& plan, kvsharer::layer_id first) override;

  probe& runs_;
  const model_config& config_;
  sample_sizes sizes_;
  std::vector<candidate_cost> costs_;
};

/// The sum over candidates; `first` says nothing.
candidate_cost total_cost(const std::vector<candidate_cost>& costs);

}  // namespace mini_llama
