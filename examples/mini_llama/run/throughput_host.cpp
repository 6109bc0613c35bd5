// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <chrono>
#include <cstring>
#include <random>
#include <vector>

#include "kvsharer/backend/cpu/parallel.hpp"
#include "kvsharer/cpu.hpp"
#include "network/forward.hpp"
#include "network/random_weights.hpp"
#include "run/prefill_passes.hpp"
#include "run/throughput.hpp"
#include "support/usage_error.hpp"

namespace mini_llama {

using kvsharer::index_t;

namespace {

using clock = std::chrono::steady_clock;
double since(clock::time_point start) { return std::chrono::duration<double>(clock::now() - start).count(); }

constexpr index_t page_tokens = 16;
constexpr index_t most_rows = 1024;

double median(std::vector<double> x) {
  if (x.empty()) return 0;
  const auto middle = x.begin() + static_cast<std::ptrdiff_t>(x.size() / 2);
  std::nth_element(x.begin(), middle, x.end());
  return *middle;
}

/// Bytes per second, read and written, of a copy by all threads, past the caches of most machines.
double copy_bytes_per_second() {
  constexpr index_t pieces = 256, piece = 1 << 20;
  std::vector<char> from(pieces * piece, 1), to(pieces * piece, 2);
  double best = 0;
  for (int i = 0; i < 4; ++i) {
    const auto start = clock::now();
    kvsharer::cpu::parallel_for(pieces,
                                [&](index_t p) { std::memcpy(to.data() + p * piece, from.data() + p * piece, piece); });
    best = std::max(best, 2.0 * static_cast<double>(pieces * piece) / since(start));
  }
  return best;
}

template <class E>
class host_meter {
 public:
  host_meter(const model& m, const kvsharer::share_map& map, const throughput_request& request)
      : model_(m),
        request_(request),
        map_(map),
        batch_(batch_of(request, map, sizeof(E), page_tokens)),
        cache_(map,
               {request.config.layers, request.config.kv_heads, request.config.head_dim,
                request.context + request.new_tokens},
               {.max_sequences = batch_}, kvsharer::layout::paged<page_tokens>{}) {}

  throughput run() {
    const kvsharer::cache_footprint held = cache_.footprint();
    throughput t{.map = map_, .batch = batch_, .kv_bytes = held.keys + held.values};
    std::vector<double> prefills, steps;
    for (int i = 0; i < request_.repeats && !cancelled(); ++i) {
      cache_.clear();
      prefills.push_back(prefill());
    }
    double seconds = 0;
    for (index_t step = 0; step < request_.new_tokens && !prefills.empty() && !cancelled(); ++step) {
      steps.push_back(decode());
      seconds += steps.back();
    }
    t.prefill_seconds = median(prefills);
    t.step_seconds = median(steps);
    if (seconds > 0) t.tokens_per_second = static_cast<double>(steps.size()) * static_cast<double>(batch_) / seconds;
    return t;
  }

 private:
  bool cancelled() const { return request_.cancelled && request_.cancelled(); }

  double prefill() {
    std::mt19937_64 random(request_.seed);
    std::uniform_int_distribution<int> id(0, request_.config.vocab - 1);
    sequences_.clear();
    for (index_t b = 0; b < batch_; ++b) sequences_.push_back({cache_.create(), 0, 0});
    next_.assign(sequences_.size(), 0);
    for (int& n : next_) n = id(random);
    const auto start = clock::now();
    for (const auto& pass : prefill_passes(std::vector<index_t>(sequences_.size(), request_.context), most_rows)) {
      std::vector<sequence_slice> slices;
      std::vector<int> ids;
      for (const prompt_piece& piece : pass) {
        sequence_slice& s = sequences_[piece.prompt];
        cache_.append(s.id, piece.tokens);
        s = {s.id, piece.first, piece.tokens};
        slices.push_back(s);
        for (index_t i = 0; i < piece.tokens; ++i) ids.push_back(id(random));
      }
      forward(model_, cache_, slices, ids, {}, scratch_);
    }
    return since(start);
  }

  double decode() {
    const auto start = clock::now();
    for (sequence_slice& s : sequences_) {
      s = {s.id, s.first + s.tokens, 1};
      cache_.append(s.id, 1);
    }
    const std::span<const float> logits = forward(model_, cache_, sequences_, next_, {}, scratch_);
    const index_t vocab = request_.config.vocab;
    for (std::size_t r = 0; r < next_.size(); ++r) {
      const auto row = logits.subspan(r * static_cast<std::size_t>(vocab), static_cast<std::size_t>(vocab));
      next_[r] = static_cast<int>(std::max_element(row.begin(), row.end()) - row.begin());
    }
    return since(start);
  }

  const model& model_;
  const throughput_request& request_;
  const kvsharer::share_map& map_;
  index_t batch_;
  kvsharer::shared_cache<E, kvsharer::layout::paged<page_tokens>> cache_;
  std::vector<sequence_slice> sequences_;
  std::vector<int> next_;
  workspace scratch_;
};

template <class E>
throughput_report measure(const throughput_request& request, dtype type) {
  const auto tell = [&](std::size_t done, const char* what) {
    if (request.progress) request.progress(done, request.maps.size() + 1, what);
  };
  throughput_report report;
  report.device = "CPU";
  report.copy_bytes_per_second = copy_bytes_per_second();
  tell(0, "making weights");
  const model m = random_model(request.config, request.seed, type);
  for (const kvsharer::share_map& map : request.maps) {
    tell(report.runs.size() + 1, "prefill and decode");
    throughput t = host_meter<E>(m, map, request).run();
    add_floors(t, request, sizeof(E));
    report.runs.push_back(std::move(t));
    if (request.cancelled && request.cancelled()) break;
  }
  return report;
}

}  // namespace

throughput_report measure_throughput(const throughput_request& request) {
  if (request.type == "f32") return measure<float>(request, dtype::f32);
  if (request.type == "f16") return measure<kvsharer::float16>(request, dtype::f16);
  if (request.type == "bf16") return measure<kvsharer::bfloat16>(request, dtype::bf16);
  throw usage_error("there is no type \"" + request.type + "\"; choose f32, f16 or bf16");
}

}  // namespace mini_llama
