// SPDX-License-Identifier: Apache-2.0
#include "probe/search_probe.hpp"

#include <cstddef>
#include <span>

#include "checkpoint/families/own_map.hpp"
#include "probe/average_distances.hpp"
#include "run/finite_logits.hpp"

namespace mini_llama {

using kvsharer::cache_plan;
using kvsharer::index_t;
using kvsharer::layer_id;
using kvsharer::share_plan;

search_probe::search_probe(const model& m, const token_batch& samples, const objective& wanted)
    : model_(m),
      rows_(static_cast<index_t>(samples.size() * samples.at(0).size())),
      store_(m.config().layers, static_cast<int>(samples.size()), static_cast<index_t>(samples[0].size()),
             m.config().kv_heads, m.config().head_dim),
      inputs_(m.config().layers) {
  std::vector<int> ids;
  for (std::size_t s = 0; s < samples.size(); ++s) {
    slices_.push_back({{static_cast<int>(s)}, 0, static_cast<index_t>(samples[s].size())});
    ids.insert(ids.end(), samples[s].begin(), samples[s].end());
  }
  std::vector<float>& embedded = inputs_.own({0});
  embedded.resize(static_cast<std::size_t>(rows_ * m.config().hidden));
  embed(m, ids, embedded.data());
  inputs_.accept();

  const kvsharer::share_map own = own_map(m.config());
  run(own, {0});
  objective_ = wanted(m, hidden_, static_cast<index_t>(samples.size()));
  check_full_model();
  accept();
  for (const sequence_slice& s : slices_) average_.add(calibration_sample{store_, s.id, &own});
}

void search_probe::check_full_model() {
  const kvsharer::index_t vocab = model_.config().vocab, hidden = model_.config().hidden;
  float* const logits = workspace::at_least(workspace_.logits, vocab);
  project_logits(model_, hidden_.data() + (rows_ - 1) * hidden, 1, logits, workspace_);
  check_reference(objective_(hidden_), {logits, static_cast<std::size_t>(vocab)});
}

double search_probe::score(const cache_plan& plan, layer_id first) {
  run(plan.sharing(), first);
  return objective_(hidden_);
}

void search_probe::accept() {
  store_.accept();
  inputs_.accept();
}

kvsharer::distance_matrix search_probe::distances(const std::string& metric, const std::string& keys) {
  return average_distances(average_, model_.config().rope, metric, keys);
}

void search_probe::run(const share_plan& plan, layer_id first) {
  store_.begin_candidate(first);
  inputs_.begin({first.value + 1});
  hidden_ = inputs_[first];
  for (int l = first.value; l < plan.layers(); ++l, ++layer_evaluations_) {
    if (l > first.value) inputs_.own({l}) = hidden_;
    run_layers(model_, store_, plan, slices_, l, l + 1, hidden_.data(), workspace_);
  }
  final_norm(model_, hidden_.data(), rows_, hidden_.data());
}

}  // namespace mini_llama
