// SPDX-License-Identifier: Apache-2.0
#include "search/fit_alignment.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "kvsharer/backend/cpu/fit_alignment.hpp"
#include "kvsharer/backend/cpu/parallel.hpp"
#include "network/forward.hpp"
#include "probe/calibration_store.hpp"
#include "support/usage_error.hpp"

namespace mini_llama {

using kvsharer::index_t;
using kvsharer::layer_id;
using kvsharer::pair_moments;
using kvsharer::share_map;

namespace {

/// Some of the samples, running as one batch.
struct running_batch {
  running_batch(const model& m, std::span<const std::vector<int>> samples)
      : store(m.config().layers, static_cast<int>(samples.size()), static_cast<index_t>(samples[0].size()),
              m.config().kv_heads, m.config().head_dim) {
    std::vector<int> ids;
    for (std::size_t s = 0; s < samples.size(); ++s) {
      slices.push_back({{static_cast<int>(s)}, 0, static_cast<index_t>(samples[s].size())});
      ids.insert(ids.end(), samples[s].begin(), samples[s].end());
    }
    x.resize(ids.size() * static_cast<std::size_t>(m.config().hidden));
    embed(m, ids, x.data());
    store.begin_candidate({0});
  }

  /// What layer `reader` itself has just stored, beside its owner's.
  void add_to(pair_moments& moments, const share_map& map, layer_id reader) const {
    for (const sequence_slice& s : slices) moments.add(calibration_sample{store, s.id}, {reader, map.owner(reader)});
  }

  calibration_store store;
  std::vector<sequence_slice> slices;
  std::vector<float> x;  // [rows][hidden]
};

std::vector<layer_id> readers_of(const share_map& map) {
  std::vector<layer_id> readers;
  for (layer_id l{0}; l.value < map.layers(); ++l.value)
    if (!map.owns(l)) readers.push_back(l);
  return readers;
}

kvsharer::cpu::key_length key_length_named(const std::string& name) {
  using kvsharer::cpu::key_length;
  if (name == "least-squares") return key_length::least_squares;
  if (name == "one") return key_length::one;
  throw usage_error("there is no length \"" + name + "\" of key gains; choose least-squares or one");
}

class fitter {
 public:
  fitter(const model& m, const alignment_request& request)
      : request_(request), heads_(m.config().kv_heads), dim_(m.config().head_dim) {}

  pair_moments moments() const { return {heads_, dim_}; }

  const kvsharer::layer_alignment& fit(layer_id reader, const pair_moments& moments) {
    auto fitted = kvsharer::cpu::fit_alignment(
        moments, {.ridge = request_.ridge, .offset = request_.offset, .keys = key_length_named(request_.keys)});
    out.explained[reader.value] = {fitted.keys_explained, fitted.values_explained};
    return out.readers[reader.value] = std::move(fitted.alignment);
  }

  alignment_outcome out;

 private:
  const alignment_request& request_;
  index_t heads_, dim_;
};

bool stopped(const alignment_request& r) { return r.cancelled && r.cancelled(); }

void fit_on_full(const model& m, const token_batch& samples, const share_map& map, const alignment_request& request,
                 fitter& fit) {
  constexpr std::size_t at_once = 32;  // samples; their keys and values are given up before others run
  const std::vector<layer_id> readers = readers_of(map);
  std::vector<pair_moments> moments(readers.size(), fit.moments());
  workspace scratch;
  for (std::size_t first = 0; first < samples.size(); first += at_once) {
    running_batch batch(m, std::span(samples).subspan(first, std::min(at_once, samples.size() - first)));
    run_layers(m, batch.store, share_map::identity(map.layers()), batch.slices, 0, readers.back().value + 1,
               batch.x.data(), scratch);
    kvsharer::cpu::parallel_for(static_cast<index_t>(readers.size()), [&](index_t i) {
      const auto r = static_cast<std::size_t>(i);
      batch.add_to(moments[r], map, readers[r]);
    });
    if (stopped(request)) return;
  }
  for (std::size_t r = 0; r < readers.size(); ++r) fit.fit(readers[r], moments[r]);
}

void fit_on_shared(const model& m, const token_batch& samples, const share_map& map, const alignment_request& request,
                   fitter& fit) {
  model aligned = m;
  running_batch batch(m, samples);
  const share_map own = share_map::identity(map.layers());
  workspace scratch;
  for (layer_id l{0}; l.value < map.layers() && !stopped(request); ++l.value) {
    if (!map.owns(l)) {
      stored_in rows(batch.store);
      store_layer(m, rows, own, batch.slices, l, batch.x.data(), scratch);
      pair_moments moments = fit.moments();
      batch.add_to(moments, map, l);
      aligned.align(l.value, fit.fit(l, moments));
    }
    run_layers(aligned, batch.store, map, batch.slices, l.value, l.value + 1, batch.x.data(), scratch);
  }
}

}  // namespace

alignment_outcome fit_alignment(const model& m, const token_batch& samples, const share_map& map,
                                const alignment_request& request) {
  const auto start = std::chrono::steady_clock::now();
  if (request.activations != "full" && request.activations != "shared")
    throw usage_error("there are no \"" + request.activations + "\" activations to align on; choose full or shared");
  if (m.config().head_norms || !m.config().kv_owners.empty())
    throw usage_error("layers of " + m.config().architecture +
                      " cannot be aligned if heads have norms or layers share a cache already; leave --align out");
  fitter fit(m, request);
  if (map.reader_count() > 0 && !samples.empty())
    request.activations == "full" ? fit_on_full(m, samples, map, request, fit)
                                  : fit_on_shared(m, samples, map, request, fit);
  fit.out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return std::move(fit.out);
}

}  // namespace mini_llama
