// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <vector>

/// A small engine for Llama on a GPU, as its author wrote it: nothing here knows of kvsharer. Sequences decode
/// together, each with pages of its own, [page][token][kv_head * d_head] in a pool for each layer's keys and one for
/// its values. A step is captured once and replayed; what changes from step to step lies in device memory.
namespace paged {

constexpr int page_tokens = 16;

struct hparams {
  int n_layer, n_embd, n_head, n_head_kv, d_head, n_ff, n_vocab;
  int n_pages, n_seq, max_pages;  // of each pool; sequences, and pages of one
  float norm_eps, rope_base;
};

/// Matrices are [out][in], in device memory.
struct layer_weights {
  const float *attn_norm, *wq, *wk, *wv, *wo, *ffn_norm, *w_gate, *w_up, *w_down;
};
struct weights {
  const float *tok_embd, *out_norm;
  std::vector<layer_weights> layers;
};

/// What a step reads, in device memory at addresses that never change. A sequence with token -1 rests.
struct step_input {
  const int *token, *length, *table;  // [n_seq], [n_seq] before the step, [n_seq][max_pages]
};

inline void check(cudaError_t e) {
  if (e == cudaSuccess) return;
  std::fprintf(stderr, "%s\n", cudaGetErrorString(e));
  std::abort();
}

__device__ inline int thread_index() { return static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x); }

static __global__ void embed(hparams hp, step_input in, const float* table, float* x) {
  const int i = thread_index(), s = i / hp.n_embd;
  if (s < hp.n_seq && in.token[s] >= 0) x[i] = table[in.token[s] * hp.n_embd + i % hp.n_embd];
}

static __global__ void rms_norm(hparams hp, const float* x, const float* gain, float* y) {
  const int s = thread_index();
  if (s >= hp.n_seq) return;
  float squares = 0;
  for (int i = 0; i < hp.n_embd; i++) squares += x[s * hp.n_embd + i] * x[s * hp.n_embd + i];
  const float scale = 1.0f / sqrtf(squares / static_cast<float>(hp.n_embd) + hp.norm_eps);
  for (int i = 0; i < hp.n_embd; i++) y[s * hp.n_embd + i] = x[s * hp.n_embd + i] * scale * gain[i];
}

// y[n_seq][out] (+)= x[n_seq][in] w[out][in]
static __global__ void matmul(int n_seq, int out, int in, const float* w, const float* x, float* y, bool add) {
  const int i = thread_index(), s = i / out, o = i % out;
  if (s >= n_seq) return;
  float sum = 0;
  for (int j = 0; j < in; j++) sum += w[o * in + j] * x[s * in + j];
  y[i] = add ? y[i] + sum : sum;
}

// Half-split pairs, in place: x [n_seq][heads][d_head].
static __global__ void rope(hparams hp, step_input in, int heads, float* x) {
  const int half = hp.d_head / 2, i = thread_index(), s = i / (heads * half);
  if (s >= hp.n_seq) return;
  float *a = x + i / half * hp.d_head + i % half, *b = a + half, p = *a, q = *b;
  const float exponent = -2.0f * static_cast<float>(i % half) / static_cast<float>(hp.d_head);
  const float angle = static_cast<float>(in.length[s]) * powf(hp.rope_base, exponent);
  *a = p * cosf(angle) - q * sinf(angle);
  *b = p * sinf(angle) + q * cosf(angle);
}

__device__ inline size_t row_of(hparams hp, step_input in, int s, int token) {
  return (static_cast<size_t>(in.table[s * hp.max_pages + token / page_tokens]) * page_tokens + token % page_tokens) *
         hp.n_head_kv * hp.d_head;
}

static __global__ void store(hparams hp, step_input in, const float* k, const float* v, float* k_pool, float* v_pool) {
  const int row = hp.n_head_kv * hp.d_head, i = thread_index(), s = i / row;
  if (s >= hp.n_seq || in.token[s] < 0) return;
  k_pool[row_of(hp, in, s, in.length[s]) + i % row] = k[i];
  v_pool[row_of(hp, in, s, in.length[s]) + i % row] = v[i];
}

// A thread for each sequence and head.
static __global__ void attend(hparams hp, step_input in, const float* q, const float* k_pool, const float* v_pool,
                              float* out) {
  const int i = thread_index(), s = i / hp.n_head, d = hp.d_head;
  if (s >= hp.n_seq || in.token[s] < 0) return;
  const int kv = i % hp.n_head / (hp.n_head / hp.n_head_kv) * d;
  float largest = -INFINITY, sum = 0;
  for (int c = 0; c < d; c++) out[i * d + c] = 0;
  for (int t = 0; t <= in.length[s]; t++) {
    const float *k = k_pool + row_of(hp, in, s, t) + kv, *v = v_pool + row_of(hp, in, s, t) + kv;
    float score = 0;
    for (int c = 0; c < d; c++) score += q[i * d + c] * k[c];
    score /= sqrtf(static_cast<float>(d));
    const float top = score > largest ? score : largest, old = expf(largest - top), now = expf(score - top);
    for (int c = 0; c < d; c++) out[i * d + c] = out[i * d + c] * old + now * v[c];
    sum = sum * old + now;
    largest = top;
  }
  for (int c = 0; c < d; c++) out[i * d + c] /= sum;
}

static __global__ void swiglu(int n, float* gate, const float* up) {
  const int i = thread_index();
  if (i < n) gate[i] *= up[i] / (1.0f + expf(-gate[i]));
}

class engine {
 public:
  engine(const hparams& hp, const weights& w, cudaStream_t stream) : hp_(hp), w_(w), stream_(stream) {
    // [allocate]
    const size_t pool = pool_elements();
    k_ = take<float>(hp.n_layer * pool);
    v_ = take<float>(hp.n_layer * pool);
    // [/allocate]
    const size_t width = hp.n_head * hp.d_head, row = hp.n_head_kv * hp.d_head;
    x_ = take<float>(hp.n_seq * (2 * hp.n_embd + 2 * width + 2 * row + 2 * hp.n_ff));
    numbers_ = take<int>(hp.n_seq * (2 + hp.max_pages));
    host_.assign(hp.n_seq * (2 + hp.max_pages), 0);
    for (int p = hp.n_pages; p-- > 0;) free_.push_back(p);
  }
  ~engine() {
    if (step_) cudaGraphExecDestroy(step_);
    for (void* p :
         {static_cast<void*>(k_), static_cast<void*>(v_), static_cast<void*>(x_), static_cast<void*>(numbers_)})
      cudaFreeAsync(p, stream_);
    cudaStreamSynchronize(stream_);
  }
  engine(const engine&) = delete;

  /// One token for each sequence, or -1; hidden [n_seq][n_embd] gets the final states of those that had one. False, and
  /// nothing done, when the pages do not suffice.
  bool decode(const std::vector<int>& tokens, std::vector<float>& hidden) {
    size_t wanted = 0;
    for (int s = 0; s < hp_.n_seq; s++) wanted += tokens[s] >= 0 && length(s) % page_tokens == 0;
    if (wanted > free_.size()) return false;
    for (int s = 0; s < hp_.n_seq; s++) {
      host_[s] = tokens[s];
      if (tokens[s] < 0 || length(s) % page_tokens != 0) continue;
      table(s)[length(s) / page_tokens] = free_.back();
      free_.pop_back();
    }
    check(cudaMemcpyAsync(numbers_, host_.data(), host_.size() * sizeof(int), cudaMemcpyHostToDevice, stream_));
    if (!step_) capture();
    check(cudaGraphLaunch(step_, stream_));
    hidden.resize(static_cast<size_t>(hp_.n_seq) * hp_.n_embd);
    check(cudaMemcpyAsync(hidden.data(), normed(), hidden.size() * sizeof(float), cudaMemcpyDeviceToHost, stream_));
    check(cudaStreamSynchronize(stream_));
    for (int s = 0; s < hp_.n_seq; s++) length(s) += tokens[s] >= 0;
    return true;
  }

  /// Gives a sequence's pages back.
  void drop(int s) {
    for (int t = 0; t < length(s); t += page_tokens) free_.push_back(table(s)[t / page_tokens]);
    length(s) = 0;
  }

  size_t free_pages() const { return free_.size(); }
  size_t allocated() const { return allocated_; }
  int captures() const { return captures_; }

  // A sequence's keys and values, for those who look: pools, pages, tokens.
  const float* k_pool() const { return k_; }
  const float* v_pool() const { return v_; }
  size_t pool_elements() const { return size_t{1} * hp_.n_pages * page_tokens * hp_.n_head_kv * hp_.d_head; }
  const int* device_table(int s) const { return input().table + s * hp_.max_pages; }
  int tokens_of(int s) const { return host_[hp_.n_seq + s]; }

 private:
  template <class T>
  T* take(size_t n) {
    void* p = nullptr;
    check(cudaMallocAsync(&p, n * sizeof(T), stream_));
    check(cudaMemsetAsync(p, 0, n * sizeof(T), stream_));
    allocated_ += n * sizeof(T);
    return static_cast<T*>(p);
  }

  int& length(int s) { return host_[hp_.n_seq + s]; }
  int* table(int s) { return host_.data() + 2 * hp_.n_seq + s * hp_.max_pages; }
  step_input input() const { return {numbers_, numbers_ + hp_.n_seq, numbers_ + 2 * hp_.n_seq}; }
  float* normed() const { return x_ + hp_.n_seq * hp_.n_embd; }

  template <class... P, class... A>
  void launch(int threads, void (*kernel)(P...), A... arguments) {
    cudaLaunchConfig_t config{};
    config.gridDim = dim3((threads + 63) / 64);
    config.blockDim = dim3(64);
    config.stream = stream_;
    check(cudaLaunchKernelEx(&config, kernel, static_cast<P>(arguments)...));
  }
  void multiply(int out, int in, const float* w, const float* x, float* y, bool add = false) {
    launch(hp_.n_seq * out, matmul, hp_.n_seq, out, in, w, x, y, add);
  }

  void capture() {
    cudaGraph_t graph;
    check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
    launch(hp_.n_seq * hp_.n_embd, embed, hp_, input(), w_.tok_embd, x_);
    for (int l = 0; l < hp_.n_layer; l++) run_layer(l);
    launch(hp_.n_seq, rms_norm, hp_, x_, w_.out_norm, normed());
    check(cudaStreamEndCapture(stream_, &graph));
    check(cudaGraphInstantiate(&step_, graph, 0));
    check(cudaGraphDestroy(graph));
    captures_++;
  }

  void run_layer(int l) {
    const layer_weights& w = w_.layers[l];
    const int n = hp_.n_seq, width = hp_.n_head * hp_.d_head, row = hp_.n_head_kv * hp_.d_head;
    float *q = normed() + n * hp_.n_embd, *out = q + n * width, *k = out + n * width, *v = k + n * row;
    float *gate = v + n * row, *up = gate + n * hp_.n_ff;
    // [layer]
    float *k_pool = k_ + l * pool_elements(), *v_pool = v_ + l * pool_elements();

    launch(n, rms_norm, hp_, x_, w.attn_norm, normed());
    multiply(row, hp_.n_embd, w.wk, normed(), k);
    multiply(row, hp_.n_embd, w.wv, normed(), v);
    launch(n * row / 2, rope, hp_, input(), hp_.n_head_kv, k);
    launch(n * row, store, hp_, input(), k, v, k_pool, v_pool);
    // [/layer]
    multiply(width, hp_.n_embd, w.wq, normed(), q);
    launch(n * width / 2, rope, hp_, input(), hp_.n_head, q);
    launch(n * hp_.n_head, attend, hp_, input(), q, k_pool, v_pool, out);
    multiply(hp_.n_embd, width, w.wo, out, x_, true);

    launch(n, rms_norm, hp_, x_, w.ffn_norm, normed());
    multiply(hp_.n_ff, hp_.n_embd, w.w_gate, normed(), gate);
    multiply(hp_.n_ff, hp_.n_embd, w.w_up, normed(), up);
    launch(n * hp_.n_ff, swiglu, n * hp_.n_ff, gate, up);
    multiply(hp_.n_embd, hp_.n_ff, w.w_down, gate, x_, true);
  }

  hparams hp_;
  weights w_;
  cudaStream_t stream_;
  float *k_, *v_, *x_;
  int* numbers_;           // tokens, lengths, tables
  std::vector<int> host_;  // the same
  std::vector<int> free_;
  cudaGraphExec_t step_ = nullptr;
  size_t allocated_ = 0;
  int captures_ = 0;
};

}  // namespace paged
