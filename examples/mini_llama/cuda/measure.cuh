// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <deque>
#include <random>
#include <vector>

#include "cuda/device_rates.cuh"
#include "cuda/engine.cuh"
#include "cuda/moment.cuh"
#include "run/prefill_passes.hpp"
#include "run/throughput.hpp"

namespace mini_llama::cuda {

/// Measures prefill and decode of one map on given weights.
template <kvsharer::CacheElement E>
class meter {
  using index_t = kvsharer::index_t;

 public:
  meter(kvsharer::cuda::stream_ref stream, const device_weights<E>& weights, const kvsharer::share_map& map,
        const throughput_request& request)
      : stream_(stream),
        request_(request),
        map_(map),
        batch_(batch_of(request, map, sizeof(E), page_tokens)),
        rows_(std::min(batch_ * request.context, most_rows)),
        engine_(stream, weights, map, {batch_, request.context + request.new_tokens, rows_}) {
    engine_.tune(rows_, batch_);
  }

  throughput run() {
    throughput t{.map = map_, .batch = batch_, .kv_bytes = kv_bytes()};
    std::vector<double> prefills;
    prefill();  // loads kernels
    for (int i = 0; i < request_.repeats && !cancelled(); ++i) {
      engine_.cache().clear();
      prefills.push_back(prefill());
    }
    t.prefill_seconds = prefills.empty() ? 0 : median(prefills);
    decode(t);
    return t;
  }

 private:
  using clock = std::chrono::steady_clock;
  static constexpr index_t most_rows = 8192;

  bool cancelled() const { return request_.cancelled && request_.cancelled(); }
  std::size_t kv_bytes() const {
    const kvsharer::cache_footprint f = engine_.cache().footprint();
    return f.keys + f.values;
  }
  static double median(std::vector<double>& x) {
    const auto middle = x.begin() + static_cast<std::ptrdiff_t>(x.size() / 2);
    std::nth_element(x.begin(), middle, x.end());
    return *middle;
  }

  /// Seconds from random prompts on the host to the next token of each.
  double prefill() {
    std::mt19937_64 random(request_.seed);
    std::uniform_int_distribution<int> id(0, request_.config.vocab - 1);
    std::vector<kvsharer::sequence_id> sequences;
    for (index_t b = 0; b < batch_; ++b) sequences.push_back(engine_.cache().create());
    const auto passes = prefill_passes(std::vector<index_t>(sequences.size(), request_.context), rows_);
    std::vector<int> ids(static_cast<std::size_t>(rows_));
    for (int& i : ids) i = id(random);
    stream_.synchronize();

    const auto start = clock::now();
    for (const std::vector<prompt_piece>& pass : passes) {
      std::vector<kvsharer::sequence_growth> growth;
      std::size_t rows = 0;
      for (const prompt_piece& piece : pass) {
        growth.push_back({sequences[piece.prompt], piece.tokens});
        rows += static_cast<std::size_t>(piece.tokens);
      }
      engine_.run(growth, std::span(ids).first(rows));
    }
    engine_.check();
    const double seconds = std::chrono::duration<double>(clock::now() - start).count();

    growth_.clear();
    for (const kvsharer::sequence_id s : sequences) growth_.push_back({s, 1});
    engine_.give(std::span(ids).first(growth_.size()));
    return seconds;
  }

  /// Decodes all sequences' new tokens. Each step runs what the previous one chose; the host does not wait.
  void decode(throughput& t) {
    engine_.step(growth_);  // this step is captured
    engine_.check();
    std::deque<moment> ends(1);
    ends[0].record(stream_);
    const auto start = clock::now();
    for (index_t step = 1; step < request_.new_tokens && !cancelled(); ++step) {
      engine_.step(growth_);
      ends.emplace_back().record(stream_);
    }
    engine_.check();
    const double seconds = std::chrono::duration<double>(clock::now() - start).count();
    const std::size_t steps = ends.size() - 1;
    if (steps == 0) return;
    std::vector<double> each;
    for (std::size_t i = 1; i < ends.size(); ++i) each.push_back(ends[i].seconds_since(ends[i - 1]));
    t.step_seconds = median(each);
    t.tokens_per_second = static_cast<double>(steps) * static_cast<double>(batch_) / seconds;
  }

  kvsharer::cuda::stream_ref stream_;
  const throughput_request& request_;
  const kvsharer::share_map& map_;
  index_t batch_, rows_;
  engine<E> engine_;
  std::vector<kvsharer::sequence_growth> growth_;
};

template <kvsharer::CacheElement E>
throughput_report measure(kvsharer::cuda::stream_ref stream, const throughput_request& request) {
  const auto tell = [&](std::size_t done, const char* what) {
    if (request.progress) request.progress(done, request.maps.size() + 1, what);
  };
  throughput_report report;
  report.device = kvsharer::cuda::device_name();
  tell(0, "making weights");
  const auto weights = device_weights<E>::random(stream, request.config, request.seed);
  {
    gemm products(stream);
    report.copy_bytes_per_second = copy_bytes_per_second(stream);
    report.product_operations_per_second = product_operations_per_second(stream, products, weights);
  }
  for (const kvsharer::share_map& map : request.maps) {
    tell(report.runs.size() + 1, "prefill and decode");
    throughput t = meter<E>(stream, weights, map, request).run();
    add_floors(t, request, sizeof(E));
    report.runs.push_back(std::move(t));
    if (request.cancelled && request.cancelled()) break;
  }
  return report;
}

/// Declared here and compiled once for each type (engine_*.cu), as generate_on is.
template <kvsharer::CacheElement E>
throughput_report measure_on(kvsharer::cuda::stream_ref stream, const throughput_request& request);

}  // namespace mini_llama::cuda
