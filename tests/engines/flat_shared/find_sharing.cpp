// SPDX-License-Identifier: Apache-2.0
#include "find_sharing.hpp"

#include "kvsharer/adapt/cache.hpp"
#include "kvsharer/adapt/rows.hpp"
#include "kvsharer/cpu.hpp"

namespace flat_shared {

// [find-sharing]
kvsharer::search_report find_sharing(const hparams& hp, const weights& w, const token_samples& samples, int share) {
  using namespace kvsharer;
  calibration_average average;
  const auto run = [&](const share_map& map, bool calibrates) {
    std::vector<float> states;
    for (const std::vector<int>& tokens : samples) {
      engine* e = engine_new(hp, w, map);
      const std::size_t before = states.size();
      states.resize(before + tokens.size() * static_cast<std::size_t>(hp.n_embd));
      engine_eval(e, tokens.data(), static_cast<int>(tokens.size()), states.data() + before);
      const cache_shape shape{hp.n_layer, hp.n_head_kv, hp.d_head, hp.n_ctx};
      if (calibrates) average.add(adapt::cache(shape, e->n_past, adapt::flat(e->k, shape), adapt::flat(e->v, shape)));
      engine_free(e);
    }
    return states;
  };
  const std::vector<float> full = run(share_map::identity(hp.n_layer), true);
  const auto distances = cpu::layer_distances(cpu::backend{}, average, metric::mean_row_norm{});
  const auto probe = [&](const share_map& map) {
    return hidden_similarity(full, run(map, false), static_cast<index_t>(samples.size()));
  };
  return find_share_map(distances, policy::dissimilar_first{}, probe, {.share = share});
}
// [/find-sharing]

}  // namespace flat_shared
