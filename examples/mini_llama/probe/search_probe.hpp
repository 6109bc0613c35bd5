// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "kvsharer/kvsharer.hpp"
#include "network/forward.hpp"
#include "network/model.hpp"
#include "probe/calibration_store.hpp"
#include "probe/objective.hpp"
#include "probe/probe.hpp"
#include "text/calibration.hpp"

namespace mini_llama {

/// The probe of the host: runs the calibration samples, as one batch, under a plan and scores what an
/// objective makes of the final hidden states. It keeps, of the accepted plan's run, what went into every layer and
/// what every owner stored, and so can start at the first changed layer.
///
/// Memory: 2 * layers * samples * tokens * (hidden + 2 * kv_heads * head_dim) floats, and the objective's.
class search_probe final : public probe {
 public:
  /// Runs the full model once, which is both the calibration and the reference.
  search_probe(const model& m, const token_batch& samples, const objective& wanted);
  search_probe(const model& m, const token_batch& samples, kvsharer::similarity mode)
      : search_probe(m, samples, cosine_objective(mode)) {}

  /// The layers' mean keys and values over the samples.
  const kvsharer::calibration_average& average() const noexcept { return average_; }

  void accept() override;
  kvsharer::distance_matrix distances(const std::string& metric, const std::string& keys) override;
  kvsharer::index_t layer_evaluations() const noexcept override { return layer_evaluations_; }

 private:
  /// Throws errc::not_finite where the full model, whose run this holds, has nothing to compare with.
  void check_full_model();
  double score(const kvsharer::cache_plan& plan, kvsharer::layer_id first) override;
  void run(const kvsharer::share_plan& plan, kvsharer::layer_id first);

  const model& model_;
  kvsharer::index_t rows_;
  std::vector<sequence_slice> slices_;
  calibration_store store_;
  kvsharer::resumable_layers<std::vector<float>> inputs_;  // [layer][rows * hidden]
  std::vector<float> hidden_;                              // [rows * hidden], after the last norm
  hidden_score objective_;
  workspace workspace_;
  kvsharer::calibration_average average_;
  kvsharer::index_t layer_evaluations_ = 0;
};

}  // namespace mini_llama
