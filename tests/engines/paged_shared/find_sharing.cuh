// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <vector>

#include "engine.cuh"
#include "kvsharer/adapt/cache.hpp"
#include "kvsharer/adapt/pages.hpp"
#include "kvsharer/backend/cuda/calibration_average.cuh"
#include "kvsharer/backend/cuda/distances/distances.cuh"
#include "kvsharer/metric/mean_row_norm.hpp"
#include "kvsharer/policy/dissimilar_first.hpp"
#include "kvsharer/search/fidelity.hpp"
#include "kvsharer/search/find_share_map.hpp"

namespace paged_shared {

// [find-sharing]
/// Which `share` layers of this model may read an earlier layer's cache, by what the samples' final states say.
/// Samples, hp.n_seq of one length, decode side by side; keys and values are averaged where they lie.
inline kvsharer::search_report find_sharing(const kvsharer::cuda::backend& on, const hparams& hp, const weights& w,
                                            const std::vector<std::vector<int>>& samples, int share) {
  using namespace kvsharer;
  cuda::calibration_average average(on);
  const auto run = [&](const share_map& map, bool calibrates) {
    engine e(hp, w, map, on.stream.get());
    const std::size_t tokens = samples.at(0).size(), width = static_cast<std::size_t>(hp.n_embd);
    std::vector<float> states(samples.size() * tokens * width), step;
    for (std::size_t t = 0; t < tokens; t++) {
      std::vector<int> now;
      for (const std::vector<int>& sample : samples) now.push_back(sample.at(t));
      e.decode(now, step);
      for (std::size_t s = 0; s < samples.size(); s++)
        std::copy_n(step.data() + s * width, width, states.data() + (s * tokens + t) * width);
    }
    const cache_shape shape{hp.n_layer, hp.n_head_kv, hp.d_head, hp.max_pages * page_tokens};
    const auto pool = static_cast<index_t>(e.pool_elements());
    for (int s = 0; calibrates && s < hp.n_seq; s++) {
      const layout::page_table pages{.pages = e.device_table(s), .page_tokens = page_tokens};
      average.add(adapt::cache<memory_space::device>(
          shape, e.tokens_of(s), adapt::token_pages(adapt::stacked{e.k_pool(), pool}, shape, pages),
          adapt::token_pages(adapt::stacked{e.v_pool(), pool}, shape, pages)));
    }
    return states;
  };
  const std::vector<float> full = run(share_map::identity(hp.n_layer), true);
  const auto distances = cuda::layer_distances(on, average, metric::mean_row_norm{});
  const auto probe = [&](const share_map& map) {
    return hidden_similarity(full, run(map, false), static_cast<index_t>(samples.size()));
  };
  return find_share_map(distances, policy::dissimilar_first{}, probe, {.share = share});
}
// [/find-sharing]

}  // namespace paged_shared
