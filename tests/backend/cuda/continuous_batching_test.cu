// SPDX-License-Identifier: Apache-2.0
// The running batch of tests/runtime all on the device: kernels make the rows, the cache stores them, and attention of
// the whole ragged batch reads them, while sequences come, share prefixes, fork, draft, shrink and go. What each row
// gives is held against float64 on the host, from the tokens of its request alone.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "backend/cuda/device.hpp"
#include "kvsharer/backend/cuda/launch.cuh"
#include "kvsharer/backend/cuda/ptx.cuh"
#include "kvsharer/backend/cuda/sequence_batch.cuh"
#include "kvsharer/backend/cuda/shared_cache.cuh"
#include "runtime/cache_fixtures.hpp"
#include "runtime/fake_engine.hpp"

namespace {

using namespace device_test;
using cache_fixtures::map_of;
using fake_model::what;

constexpr attention_shape heads{4, 2, 64};
constexpr int key_width = 2 * 64, query_width = 4 * 64;

KVSHARER_HD float key_number(index_t layer, index_t position, std::int32_t token, index_t i) {
  return 1.5f * fake_model::number(what::key, layer, position, token, i);
}
KVSHARER_HD float query_number(index_t layer, index_t position, std::int32_t token, index_t i) {
  return 2 * fake_model::number(what::query, layer, position, token, i);
}

/// Rows of one layer for tokens [rows][2], each an id and its position: keys and values where `keys` is given, queries
/// where `queries` is. Grid: rows.
template <class E>
__global__ void make_rows(const std::int32_t* tokens, int layer, float* keys, float* values, E* queries) {
  const auto row = static_cast<index_t>(blockIdx.x);
  const std::int32_t token = tokens[2 * row], position = tokens[2 * row + 1];
  const int first = static_cast<int>(threadIdx.x), step = static_cast<int>(blockDim.x);
  for (int i = first; keys != nullptr && i < key_width; i += step) {
    keys[row * key_width + i] = key_number(layer, position, token, i);
    values[row * key_width + i] = fake_model::number(what::value, layer, position, token, i);
  }
  for (int i = first; queries != nullptr && i < query_width; i += step)
    queries[row * query_width + i] = cuda::ptx::from_float<E>(query_number(layer, position, token, i));
}

/// Rounding of weights and results to E, of numbers of about 1; as attention_test.cu has it.
template <class E>
constexpr double tolerance = std::same_as<E, float>     ? 2e-5
                             : std::same_as<E, float16> ? 1.5e-3
                                                        : 1e-2;

/// What fake_engine asks of a model. The next token hangs on the tokens before it and on no rounding, so that the same
/// happens on every device; what attention gives is compared row by row.
template <class E>
class device_model {
 public:
  static constexpr cache_shape shape{.layers = 3, .kv_heads = 2, .head_dim = 64, .capacity = 64};

  /// For so many sequences at once.
  device_model(device& on, share_map map, std::size_t batch) : on_(on), map_(std::move(map)), batch_size_(batch) {
    staged_.reserve(8 * 2 * max_rows());
    for (const what kind : {what::key, what::value})
      for (index_t l = 0; l < shape.layers; ++l)
        for (index_t t = 0; t < shape.capacity; ++t)
          for (std::int32_t word = 0; word < fake_model::words; ++word)
            for (index_t i = 0; i < key_width; ++i)
              stored_.push_back(
                  rounded(kind == what::key ? key_number(l, t, word, i) : fake_model::number(kind, l, t, word, i)));
  }

  template <class Cache>
  void store(Cache& cache, std::span<const fake_engine::new_tokens> batch) {
    begin();
    for (const auto& n : batch) add(n.id, n.tokens, static_cast<index_t>(n.tokens.size()) - n.first);
    const auto rows = upload(cache);
    for (layer_id l{0}; l.value < shape.layers; ++l.value) {
      if (!cache.owns(l)) continue;
      make(rows, l, keys_.data(), values_.data(), nullptr);
      cache.store(on_.backend, l, steps_.batch(), cuda::new_rows<float>{keys_.data(), values_.data()});
    }
  }

  template <class Cache>
  void decode(const Cache& cache, std::span<fake_engine::request* const> batch) {
    if (batch.empty()) return;
    begin();
    for (const auto* r : batch) add(r->id, r->text.tokens, r->fresh);
    const auto rows = upload(cache);
    const auto numbers = static_cast<std::size_t>(rows * query_width);
    cuda::check(cudaMemsetAsync(out_.data(), 0xff, out_.bytes(), on_.stream.get()), "cudaMemsetAsync");
    for (layer_id l{0}; l.value < shape.layers; ++l.value) {
      make(rows, l, nullptr, nullptr, queries_.data());
      cuda::attend<64>(on_.backend, heads, cache.keys(l), cache.values(l), steps_.batch(), queries_.data(),
                       out_.data() + static_cast<std::size_t>(l.value) * numbers, {}, l);
    }
    const std::vector<E> out = on_host(on_.stream, out_.data(), shape.layers * numbers);  // the step's one wait
    staged_.clear();
    index_t row = 0;
    for (auto* r : batch) {
      std::vector<std::int32_t>& tokens = r->text.tokens;
      const auto length = static_cast<index_t>(tokens.size());
      for (const index_t of : {index_t{0}, r->fresh - 1}) {  // the first and the last of its rows
        for (index_t l = 0; l < shape.layers; ++l)
          wrong_ += !is_right(tokens, length - r->fresh + of, l,
                              out.data() + static_cast<std::size_t>(l) * numbers + (row + of) * query_width);
        ++checked_;
        if (r->fresh == 1) break;
      }
      row += r->fresh;
      tokens.push_back(next_token(tokens));
    }
  }

  static std::int32_t next_token(std::span<const std::int32_t> tokens) {
    return static_cast<std::int32_t>((prefix_hash{}(0xcbf29ce484222325u, tokens) >> 20) % fake_model::words);
  }

  std::size_t checked() const { return checked_; }  // rows
  std::size_t wrong() const { return wrong_; }      // of those, in one of the layers

 private:
  static float rounded(float x) { return static_cast<float>(E(x)); }
  std::size_t max_rows() const { return batch_size_ * static_cast<std::size_t>(shape.capacity); }

  void begin() {
    growth_.clear();
    if (staged_.size() + 2 * max_rows() <= staged_.capacity()) {
      first_ = staged_.size();
    } else {
      on_.stream.synchronize();  // the copies have been made
      staged_.clear();
      first_ = 0;
    }
  }
  void add(sequence_id id, std::span<const std::int32_t> tokens, index_t newest) {
    growth_.push_back({id, newest});
    for (std::size_t t = tokens.size() - static_cast<std::size_t>(newest); t < tokens.size(); ++t)
      staged_.insert(staged_.end(), {tokens[t], static_cast<std::int32_t>(t)});
  }
  /// Puts what was added in place and says how many rows that is. The host's numbers stay until the step's wait.
  template <class Cache>
  index_t upload(const Cache& cache) {
    steps_.assign(cache, growth_);
    const std::size_t words = staged_.size() - first_;
    if (words > 0)
      cuda::check(cudaMemcpyAsync(tokens_.data(), staged_.data() + first_, words * sizeof(std::int32_t),
                                  cudaMemcpyHostToDevice, on_.stream.get()),
                  "cudaMemcpyAsync");
    return static_cast<index_t>(words / 2);
  }
  void make(index_t rows, layer_id l, float* keys, float* values, E* queries) {
    if (rows == 0) return;
    cuda::detail::launch("the making of rows", on_.stream, {dim3(static_cast<unsigned>(rows)), 128u}, make_rows<E>,
                         static_cast<const std::int32_t*>(tokens_.data()), l.value, keys, values, queries);
  }

  const float* stored(what kind, index_t layer, index_t position, std::int32_t token) const {
    const index_t row = ((kind == what::key ? 0 : shape.layers) + layer) * shape.capacity + position;
    return stored_.data() + (row * fake_model::words + token) * key_width;
  }

  /// Attention of the token at `position` over the tokens up to it, as the layer's owner would have stored them.
  bool is_right(const std::vector<std::int32_t>& tokens, index_t position, index_t layer, const E* out) const {
    const index_t from = map_.owner({static_cast<int>(layer)}).value, dim = heads.head_dim;
    const auto token = [&](index_t t) { return tokens[static_cast<std::size_t>(t)]; };
    double query[64], expected[64], weights[shape.capacity];
    for (index_t head = 0; head < heads.heads; ++head) {
      const index_t shared = head / heads.group() * dim;
      for (index_t c = 0; c < dim; ++c) {
        query[c] = rounded(query_number(layer, position, token(position), head * dim + c));
        expected[c] = 0;
      }
      double sum = 0;
      for (index_t t = 0; t <= position; ++t) {
        const float* const key = stored(what::key, from, t, token(t)) + shared;
        double score = 0;
        for (index_t c = 0; c < dim; ++c) score += query[c] * key[c];
        sum += weights[t] = std::exp(score / 8);
      }
      for (index_t t = 0; t <= position; ++t) {
        const float* const value = stored(what::value, from, t, token(t)) + shared;
        for (index_t c = 0; c < dim; ++c) expected[c] += weights[t] / sum * value[c];
      }
      for (index_t c = 0; c < dim; ++c)
        if (!(std::abs(static_cast<double>(static_cast<float>(out[head * dim + c])) - expected[c]) <= tolerance<E>))
          return false;  // NaN too
    }
    return true;
  }

  device& on_;
  share_map map_;
  std::size_t batch_size_, checked_ = 0, wrong_ = 0, first_ = 0;
  std::vector<float> stored_;  // keys and values [layer][position][token][key_width], rounded
  std::vector<std::int32_t> staged_;
  std::vector<sequence_growth> growth_;
  cuda::sequence_batch<> steps_{on_.stream, static_cast<index_t>(batch_size_)};
  cuda::device_buffer<std::int32_t> tokens_ = poisoned<std::int32_t>(on_.stream, 2 * max_rows());
  cuda::device_buffer<float> keys_ = poisoned<float>(on_.stream, max_rows() * key_width),
                             values_ = poisoned<float>(on_.stream, max_rows() * key_width);
  cuda::device_buffer<E> queries_ = poisoned<E>(on_.stream, max_rows() * query_width),
                         out_ = poisoned<E>(on_.stream, shape.layers*max_rows() * query_width);
};

/// Where pages are so few that none are left to take from sequences kept for their prefixes, running ones are set
/// aside; many together hardly ever come to that.
struct load {
  std::size_t requests, batch;
  index_t sequences, pages;
};

template <class E>
fake_engine::events serve(const load& much, unsigned seed) {
  const share_map map = map_of({0, 1, 1});
  device on;
  cuda::shared_cache<E, layout::paged<16>> cache(map, device_model<E>::shape,
                                                 {.max_sequences = much.sequences, .pages = much.pages}, on.stream);
  device_model<E> model(on, map, much.batch);
  fake_engine::engine engine(cache, map, model, much.requests, much.batch, 12, seed);
  engine.run(50);
  CHECK_NOTHROW(on.backend.check_status());

  CHECK(engine.requests().size() == much.requests);
  CHECK(cache.free_pages() == cache.pages());
  CHECK(cache.counters().sequences == 0);
  CHECK(cache.counters().pages_in_use == 0);
  CHECK(cache.counters().pages_at_peak > much.pages * 9 / 10);
  CHECK(engine.index().pages() == 0);
  CHECK(engine.index().sequences() == 0);

  CHECK(model.wrong() == 0);
  std::size_t wrong = 0, finished = 0, added = 0;
  for (const fake_engine::request& r : engine.requests()) {
    const std::span<const std::int32_t> tokens = r.text.tokens;
    for (std::size_t t = r.prompt; t < tokens.size(); ++t) wrong += tokens[t] != model.next_token(tokens.first(t));
    wrong += !r.done() && !r.cancelled;
    finished += r.done();
    added += tokens.size() - r.prompt;
  }
  CHECK(wrong == 0);
  CHECK(finished > much.requests * 9 / 10);
  CHECK(model.checked() >= added);

  const fake_engine::events e = engine.happened();
  const auto often = static_cast<int>(much.requests / 100);
  INFO(e.forks << " forks, " << e.drafts << " drafts, " << e.cancellations << " cancellations, " << e.preemptions
               << " preemptions, " << e.evictions << " evictions, " << e.refusals << " refusals; "
               << engine.index().counters().tokens_hit << " of " << engine.index().counters().tokens_asked
               << " prompt tokens found");
  CHECK(e.forks > often);
  CHECK(e.drafts > often);
  CHECK(e.cancellations > often / 2);
  CHECK(e.evictions > often);
  CHECK(e.refusals > often);
  CHECK(engine.index().counters().tokens_hit > engine.index().counters().tokens_asked / 20);
  return e;
}

/// Few where each takes long: on the stand-in, where every thread takes its turn, and under a sanitizer.
bool is_slow() {
#ifdef __CUDACC__
  return std::getenv("KVSHARER_TEST_WATCHED") != nullptr;
#else
  return true;
#endif
}
const load wide = is_slow() ? load{60, 20, 40, 28} : load{8000, 64, 120, 100},
           tight = is_slow() ? load{60, 10, 20, 14} : load{2000, 10, 20, 12};

}  // namespace

TEST_CASE("on the device, requests of a running batch attend to what each would alone") {
  serve<float>(wide, 1);
  CHECK(serve<float>(tight, 3).preemptions > static_cast<int>(tight.requests) / 200);
}

TEST_CASE("in bfloat16, too" * doctest::test_suite("long")) {
  CHECK(serve<bfloat16>(tight, 3).preemptions > static_cast<int>(tight.requests) / 200);
}
