// SPDX-License-Identifier: Apache-2.0
#include "probe/objective.hpp"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "kvsharer/backend/cpu/logits.hpp"
#include "kvsharer/backend/cpu/parallel.hpp"
#include "network/workspace.hpp"

namespace mini_llama {

using kvsharer::index_t;

namespace {

/// The full model's next-token distributions, and how far others are from them.
class divergence_score {
 public:
  divergence_score(const model& m, std::span<const float> full)
      : model_(m),
        rows_(static_cast<index_t>(full.size()) / m.config().hidden),
        full_(static_cast<std::size_t>(rows_ * m.config().vocab)),
        log_full_(static_cast<std::size_t>(rows_)),
        parts_(log_full_.size()),
        logits_(static_cast<std::size_t>(block * m.config().vocab)) {
    // In the blocks of later runs, so that the full model is 0 from itself to the last bit.
    for (index_t first = 0; first < rows_; first += block)
      project_logits(m, full.data() + first * m.config().hidden, std::min(block, rows_ - first),
                     full_.data() + first * m.config().vocab, scratch_);
    kvsharer::cpu::parallel_for(rows_,
                                [&](index_t r) { log_full_[at(r)] = kvsharer::cpu::log_normaliser(row(full_, r)); });
  }

  double operator()(std::span<const float> hidden) {
    for (index_t first = 0; first < rows_; first += block) {
      const index_t rows = std::min(block, rows_ - first);
      project_logits(model_, hidden.data() + first * model_.config().hidden, rows, logits_.data(), scratch_);
      kvsharer::cpu::parallel_for(rows, [&](index_t r) {
        const std::span<const float> shared = row(logits_, r);
        parts_[at(first + r)] = kvsharer::cpu::divergence(row(full_, first + r), log_full_[at(first + r)], shared,
                                                          kvsharer::cpu::log_normaliser(shared));
      });
    }
    // In order, so that the sum has the same bits whatever thread was first.
    double sum = 0;
    for (double part : parts_) sum += part;
    return -sum / static_cast<double>(rows_);
  }

 private:
  static constexpr index_t block = 256;  // rows whose logits are made at once, while they are in the cache

  static std::size_t at(index_t r) { return static_cast<std::size_t>(r); }
  std::span<const float> row(const std::vector<float>& logits, index_t r) const {
    return {logits.data() + r * model_.config().vocab, at(model_.config().vocab)};
  }

  const model& model_;
  index_t rows_;
  std::vector<float> full_;       // [rows][vocab]
  std::vector<double> log_full_;  // [rows]
  std::vector<double> parts_;     // [rows]
  std::vector<float> logits_;     // [block][vocab]
  workspace scratch_;
};

}  // namespace

objective cosine_objective(kvsharer::similarity mode) {
  return [mode](const model&, std::span<const float> full, index_t samples) -> hidden_score {
    return [reference = std::vector<float>(full.begin(), full.end()), samples, mode](std::span<const float> hidden) {
      return kvsharer::hidden_similarity(reference, hidden, samples, mode);
    };
  };
}

objective kl_objective() {
  return [](const model& m, std::span<const float> full, index_t) -> hidden_score {
    // Shared, since a std::function's content must be copyable.
    const auto score = std::make_shared<divergence_score>(m, full);
    return [score](std::span<const float> hidden) { return (*score)(hidden); };
  };
}

}  // namespace mini_llama
