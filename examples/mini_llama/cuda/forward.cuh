// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cuda/gemm.cuh"
#include "cuda/kernels.cuh"
#include "cuda/products.cuh"
#include "cuda/weights.cuh"
#include "kvsharer/backend/cuda/attention/attend.cuh"
#include "kvsharer/backend/cuda/backend.cuh"
#include "kvsharer/backend/cuda/batch.cuh"
#include "kvsharer/backend/cuda/memory.cuh"
#include "kvsharer/backend/cuda/rope.cuh"
#include "kvsharer/backend/cuda/store.cuh"
#include "kvsharer/core/share_plan.hpp"
#include "kvsharer/core/types.hpp"

/// The decoder on the device: forward.hpp's layers, in stream order. As there, sharing shows in only two places: which
/// layer's view is read, and whether keys and values are projected.
namespace mini_llama::cuda {

/// Device memory of a run of at most `rows` rows in `sequences` sequences.
template <kvsharer::CacheElement E>
class run_buffers {
  template <class T>
  using buffer = kvsharer::cuda::device_buffer<T>;

 public:
  run_buffers(kvsharer::cuda::stream_ref stream, const model_config& c, kvsharer::index_t rows,
              kvsharer::index_t sequences)
      : x(stream, size(rows, c.hidden)),
        normed(stream, size(rows, c.hidden)),
        projected(stream, size(rows, kvsharer::index_t{c.heads + 2 * c.kv_heads} * c.head_dim)),
        queries(stream, size(rows, kvsharer::index_t{c.heads} * c.head_dim)),
        attended(stream, size(rows, kvsharer::index_t{c.heads} * c.head_dim)),
        gate_up(stream, size(rows, 2 * kvsharer::index_t{c.intermediate})),
        gated(stream, size(rows, c.intermediate)),
        last(stream, size(sequences, c.hidden)),
        logits(stream, size(sequences, c.vocab)) {}

  buffer<E> x;           // [rows][hidden], the residual stream
  buffer<E> normed;      // [rows][hidden]
  buffer<E> projected;   // [rows][heads + 2 kv_heads][head_dim] at most
  buffer<E> queries;     // [rows][heads][head_dim], rotated
  buffer<E> attended;    // [rows][heads][head_dim]
  buffer<E> gate_up;     // [rows][2][intermediate]
  buffer<E> gated;       // [rows][intermediate]
  buffer<E> last;        // [sequences][hidden], of each sequence's last row
  buffer<float> logits;  // [sequences][vocab]

 private:
  static std::size_t size(kvsharer::index_t rows, kvsharer::index_t width) {
    return static_cast<std::size_t>(rows * width);
  }
};

/// Runs layers over rows in device memory. Borrows everything. Once the products' algorithms are known (`prepare`),
/// neither allocates nor synchronises, and may be captured.
template <kvsharer::CacheElement E>
class decoder {
  using index_t = kvsharer::index_t;

 public:
  decoder(const kvsharer::cuda::backend& on, const device_weights<E>& weights, const kvsharer::cuda::rope_angles& rope,
          gemm& by_library, run_buffers<E>& buffers)
      : on_(on),
        weights_(weights),
        rope_(rope),
        products_(on, by_library, buffers.normed.data(), buffers.gate_up.data(), weights.config().norm_eps),
        buffers_(buffers) {}

  /// Writes the logits of each sequence's last row to buffers.logits. `ids` are the tokens of the batch's rows, in
  /// device memory; `cache` is a cuda::shared_cache to which the batch has been appended. Other rows than the last run
  /// no further than the last owner's keys and values, since nothing reads them above.
  template <class Cache>
  void last_logits(Cache& cache, const kvsharer::cuda::ragged_batch& batch, const std::int32_t* ids) {
    const model_config& c = weights_.config();
    const kvsharer::share_plan& plan = cache.sharing();
    E* x = buffers_.x.data();
    embed(on_, weights_.embedding(), c.vocab, c.hidden, ids, batch, x);
    if (batch.max_rows == 1) {
      run_layers(cache, plan, batch, 0, c.layers, x);
    } else {
      const kvsharer::layer_id p = plan.last_owner();
      run_layers(cache, plan, batch, 0, p.value, x);
      project_and_store(cache, plan, batch, p, x);
      gather_last_rows(on_, x, c.hidden, batch, buffers_.last.data());
      x = buffers_.last.data();
      const kvsharer::cuda::ragged_batch last = last_rows(batch);
      ask_and_attend(cache, last, p, x);
      multiply(last, p, x);
      run_layers(cache, plan, last, p.value + 1, c.layers, x);
    }
    products_.normed(x, weights_.final_norm(), weights_.head(), buffers_.logits.data(), batch.sequences, c.vocab,
                     c.hidden);
  }

  /// Writes every row's final hidden state, after the last norm, to states [rows][hidden]; otherwise like last_logits.
  template <class Cache>
  void final_states(Cache& cache, const kvsharer::cuda::ragged_batch& batch, const std::int32_t* ids, E* states) {
    const model_config& c = weights_.config();
    E* const x = buffers_.x.data();
    embed(on_, weights_.embedding(), c.vocab, c.hidden, ids, batch, x);
    run_layers(cache, cache.sharing(), batch, 0, c.layers, x);
    rms_norm(on_, x, weights_.final_norm(), c.norm_eps, batch.rows, c.hidden, states);
  }

  /// logits [rows][vocab] of final hidden states [rows][hidden].
  void project(const E* states, kvsharer::index_t rows, float* logits) {
    products_.plain(states, weights_.head(), logits, rows, config().vocab, config().hidden);
  }

  /// cuBLASLt's products in a run of `rows` rows in `sequences` sequences under a plan, last rows and head too.
  std::vector<gemm_shape> products(const kvsharer::share_plan& plan, kvsharer::index_t rows,
                                   kvsharer::index_t sequences) const {
    const model_config& c = config();
    std::vector<gemm_shape> shapes;
    const auto add = [&](kvsharer::index_t of, kvsharer::index_t n, kvsharer::index_t k, bool accumulate) {
      shapes.push_back({of, n, k, dtype_of<E>, dtype_of<E>, accumulate});
    };
    const auto add_layer = [&](kvsharer::index_t of) {
      add(of, query_width() + 2 * key_width(), c.hidden, false);
      add(of, query_width(), c.hidden, false);
      if (!plan.is_one_map()) {
        add(of, query_width() + key_width(), c.hidden, false);
        add(of, key_width(), c.hidden, false);
      }
      add(of, c.hidden, query_width(), true);
      add(of, 2 * kvsharer::index_t{c.intermediate}, c.hidden, false);
      add(of, c.hidden, c.intermediate, true);
    };
    if (sequences > 1) {
      add_layer(sequences);
      shapes.push_back({sequences, c.vocab, c.hidden, dtype_of<E>, dtype::f32, false});
    }
    if (rows > sequences) {
      add_layer(rows);
      add(rows, 2 * key_width(), c.hidden, false);
    }
    return shapes;
  }

  /// Layers [from, to) over x [rows][hidden], in place.
  template <class Cache>
  void run_layers(Cache& cache, const kvsharer::share_plan& plan, const kvsharer::cuda::ragged_batch& batch, int from,
                  int to, E* x) {
    for (kvsharer::layer_id l{from}; l.value < to; ++l.value) {
      project_and_attend(cache, plan, batch, l, x);
      multiply(batch, l, x);
    }
  }

 private:
  kvsharer::index_t query_width() const { return kvsharer::index_t{config().heads} * config().head_dim; }
  kvsharer::index_t key_width() const { return kvsharer::index_t{config().kv_heads} * config().head_dim; }
  const model_config& config() const { return weights_.config(); }

  static kvsharer::cuda::ragged_batch last_rows(kvsharer::cuda::ragged_batch batch) {
    batch.rows = batch.sequences;
    batch.max_rows = 1;
    batch.row_begin = nullptr;
    return batch;
  }

  /// Where a product left a layer's queries, keys and values; null for those that were not requested.
  struct projections {
    head_rows<const E> queries;
    kvsharer::cuda::new_rows<E> stored;
  };

  /// Projects what is requested, with one product for matrices that are contiguous in memory; there is at most one gap,
  /// between queries and values. Keys and values, if both are requested, are neighbours, so they have one stride.
  projections multiply_heads(const kvsharer::cuda::ragged_batch& batch, kvsharer::layer_id l, const E* x, bool queries,
                             bool keys, bool values) {
    const layer_matrices<E> w = weights_.layer(l.value);
    const index_t hidden = config().hidden;
    E* out = buffers_.projected.data();
    const auto multiply_by = [&](const E* weight, index_t width) {
      products_.normed(x, w.attention_norm, weight, out, batch.rows, width, hidden);
    };
    projections at{};
    const index_t stored = (keys ? key_width() : 0) + (values ? key_width() : 0);
    const E* const first = keys ? w.key : w.value;  // the first of the keys and values to store
    if (queries) {
      const bool together = stored > 0 && first == w.query + query_width() * hidden;
      const index_t width = query_width() + (together ? stored : 0);
      multiply_by(w.query, width);
      at.queries = {out, width};
      if (together) {
        const E* const behind = out + query_width();
        at.stored = {keys ? behind : nullptr, values ? behind + (keys ? key_width() : 0) : nullptr, width};
        return at;
      }
      out += batch.rows * query_width();
    }
    if (stored > 0) {
      multiply_by(first, stored);
      at.stored = {keys ? out : nullptr, values ? out + (keys ? key_width() : 0) : nullptr, stored};
    }
    return at;
  }

  /// The same, plus the biases and norms of heads in families that have them.
  projections project(const kvsharer::cuda::ragged_batch& batch, kvsharer::layer_id l, const E* x, bool queries,
                      bool keys, bool values) {
    const projections at = multiply_heads(batch, l, x, queries, keys, values);
    const model_config& c = config();
    const layer_vectors v = weights_.layer(l.value).vectors;
    const auto part = [](const E* rows, index_t stride, int heads, const float* bias, const float* gain) {
      return unfinished_heads<E>{const_cast<E*>(rows), stride, heads, bias, gain};
    };
    finish_heads<E>(on_,
                    {part(at.queries.data, at.queries.stride, c.heads, v.query_bias, v.query_norm),
                     part(at.stored.keys, at.stored.stride, c.kv_heads, v.key_bias, v.key_norm),
                     part(at.stored.values, at.stored.stride, c.kv_heads, v.value_bias, nullptr)},
                    batch.rows, c.head_dim, c.norm_eps);
    return at;
  }

  /// A layer's attention. If the layer owns keys and values, they are stored first.
  template <class Cache>
  void project_and_attend(Cache& cache, const kvsharer::share_plan& plan, const kvsharer::cuda::ragged_batch& batch,
                          kvsharer::layer_id l, E* x) {
    const projections at = project(batch, l, x, true, plan.owns_keys(l), plan.owns_values(l));
    turn_queries(batch, at);
    if (plan.owns(l)) cache.store(on_, l, batch, at.stored, rope_);
    attend(cache, batch, l, x);
  }

  /// Computes and stores only an owner's keys and values.
  template <class Cache>
  void project_and_store(Cache& cache, const kvsharer::share_plan& plan, const kvsharer::cuda::ragged_batch& batch,
                         kvsharer::layer_id l, const E* x) {
    const projections at = project(batch, l, x, false, plan.owns_keys(l), plan.owns_values(l));
    cache.store(on_, l, batch, at.stored, rope_);
  }

  /// Only the queries of a layer whose keys and values are already stored.
  template <class Cache>
  void ask_and_attend(Cache& cache, const kvsharer::cuda::ragged_batch& batch, kvsharer::layer_id l, E* x) {
    turn_queries(batch, project(batch, l, x, true, false, false));
    attend(cache, batch, l, x);
  }

  void turn_queries(const kvsharer::cuda::ragged_batch& batch, const projections& at) {
    rotate(on_, rope_, batch, config().heads, config().head_dim, at.queries,
           head_rows<E>{buffers_.queries.data(), query_width()});
  }

  /// x += the attention of buffers.queries over the rows that layer l reads, times the output weights.
  template <class Cache>
  void attend(Cache& cache, const kvsharer::cuda::ragged_batch& batch, kvsharer::layer_id l, E* x) {
    kvsharer::cuda::attend(on_, config().attention(l), cache.keys(l), cache.values(l), batch, buffers_.queries.data(),
                           buffers_.attended.data(), {}, l);
    products_.add(buffers_.attended.data(), weights_.layer(l.value).output, x, batch.rows, config().hidden,
                  query_width());
    add_bias(on_, weights_.layer(l.value).vectors.output_bias, batch.rows, config().hidden, x);
  }

  /// x += the MLP of x.
  void multiply(const kvsharer::cuda::ragged_batch& batch, kvsharer::layer_id l, E* x) {
    const layer_matrices<E> w = weights_.layer(l.value);
    products_.gated(x, w.mlp_norm, w.gate_up, buffers_.gated.data(), batch.rows, config().intermediate,
                    config().hidden);
    products_.add(buffers_.gated.data(), w.down, x, batch.rows, config().hidden, config().intermediate);
  }

  const kvsharer::cuda::backend& on_;
  const device_weights<E>& weights_;
  kvsharer::cuda::rope_angles rope_;
  layer_products<E> products_;
  run_buffers<E>& buffers_;
};

}  // namespace mini_llama::cuda
