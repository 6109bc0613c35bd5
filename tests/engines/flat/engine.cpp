// SPDX-License-Identifier: Apache-2.0
#include "engine.hpp"

#include <cmath>
#include <cstdlib>
#include <cstring>

namespace flat {

static size_t in_use = 0;

size_t allocated() { return in_use; }

static float* take(size_t n) {
  size_t* p = static_cast<size_t*>(calloc(1, 64 + n * sizeof(float)));
  if (p == nullptr) abort();
  *p = n * sizeof(float);
  in_use += *p;
  return reinterpret_cast<float*>(p + 8);
}

static void give(float* x) {
  size_t* p = reinterpret_cast<size_t*>(x) - 8;
  in_use -= *p;
  free(p);
}

// y[out] (+)= w[out][in] x[in]
static void matvec(float* y, const float* w, const float* x, int out, int in, bool add) {
#pragma omp parallel for schedule(static)
  for (int o = 0; o < out; o++) {
    float sum = 0;
    for (int i = 0; i < in; i++) sum += w[static_cast<ptrdiff_t>(o) * in + i] * x[i];
    y[o] = add ? y[o] + sum : sum;
  }
}

static void rms_norm(float* y, const float* x, const float* gain, int n, float eps) {
  float squares = 0;
  for (int i = 0; i < n; i++) squares += x[i] * x[i];
  const float scale = 1.0f / sqrtf(squares / static_cast<float>(n) + eps);
  for (int i = 0; i < n; i++) y[i] = x[i] * scale * gain[i];
}

// Half-split pairs, in place.
static void rope(float* x, int heads, int d, int position, float base) {
  for (int h = 0; h < heads; h++)
    for (int i = 0; i < d / 2; i++) {
      float *a = x + h * d + i, *b = a + d / 2;
      const float angle =
          static_cast<float>(position) * powf(base, -2.0f * static_cast<float>(i) / static_cast<float>(d));
      const float c = cosf(angle), s = sinf(angle), p = *a, q = *b;
      *a = p * c - q * s;
      *b = p * s + q * c;
    }
}

// out[n_head][d] over the n tokens of one layer's cache.
static void attend(const hparams& hp, float* out, const float* q, const float* k, const float* v, int n, float* score) {
  const int d = hp.d_head, row = hp.n_head_kv * d;
  for (int h = 0; h < hp.n_head; h++) {
    const int kv = h / (hp.n_head / hp.n_head_kv) * d;
    float largest = -INFINITY, sum = 0;
    for (int t = 0; t < n; t++) {
      float dot = 0;
      for (int i = 0; i < d; i++) dot += q[h * d + i] * k[static_cast<ptrdiff_t>(t) * row + kv + i];
      score[t] = dot / sqrtf(static_cast<float>(d));
      if (score[t] > largest) largest = score[t];
    }
    for (int t = 0; t < n; t++) sum += score[t] = expf(score[t] - largest);
    memset(out + h * d, 0, static_cast<size_t>(d) * sizeof(float));
    for (int t = 0; t < n; t++)
      for (int i = 0; i < d; i++) out[h * d + i] += score[t] / sum * v[static_cast<ptrdiff_t>(t) * row + kv + i];
  }
}

engine* engine_new(const hparams& hp, const weights& w) {
  engine* e = new engine{hp, w, 0, nullptr, nullptr, nullptr};
  // [allocate]
  const size_t layer = static_cast<size_t>(hp.n_ctx) * hp.n_head_kv * hp.d_head;
  e->k = take(layer * hp.n_layer);
  e->v = take(layer * hp.n_layer);
  // [/allocate]
  e->scratch = take(2u * hp.n_embd + 2u * hp.n_head * hp.d_head + 2u * hp.n_ff + hp.n_ctx);
  return e;
}

void engine_free(engine* e) {
  give(e->k);
  give(e->v);
  give(e->scratch);
  delete e;
}

static void eval_layer(engine* e, int l, float* x) {
  const hparams& hp = e->hp;
  const layer_weights& w = e->w.layers[l];
  const int width = hp.n_head * hp.d_head, row = hp.n_head_kv * hp.d_head, here = e->n_past;
  float *in = e->scratch + hp.n_embd, *q = in + hp.n_embd, *out = q + width, *gate = out + width, *up = gate + hp.n_ff;
  // [layer]
  float* k = e->k + static_cast<ptrdiff_t>(l) * hp.n_ctx * row;
  float* v = e->v + static_cast<ptrdiff_t>(l) * hp.n_ctx * row;

  rms_norm(in, x, w.attn_norm, hp.n_embd, hp.norm_eps);
  matvec(k + here * row, w.wk, in, row, hp.n_embd, false);
  matvec(v + here * row, w.wv, in, row, hp.n_embd, false);
  rope(k + here * row, hp.n_head_kv, hp.d_head, here, hp.rope_base);
  // [/layer]
  matvec(q, w.wq, in, width, hp.n_embd, false);
  rope(q, hp.n_head, hp.d_head, here, hp.rope_base);
  attend(hp, out, q, k, v, here + 1, up + hp.n_ff);
  matvec(x, w.wo, out, hp.n_embd, width, true);

  rms_norm(in, x, w.ffn_norm, hp.n_embd, hp.norm_eps);
  matvec(gate, w.w_gate, in, hp.n_ff, hp.n_embd, false);
  matvec(up, w.w_up, in, hp.n_ff, hp.n_embd, false);
  for (int i = 0; i < hp.n_ff; i++) gate[i] *= up[i] / (1.0f + expf(-gate[i]));
  matvec(x, w.w_down, gate, hp.n_embd, hp.n_ff, true);
}

void engine_eval(engine* e, const int* tokens, int n, float* hidden) {
  const hparams& hp = e->hp;
  for (int t = 0; t < n; t++, e->n_past++) {
    float* x = e->scratch;
    memcpy(x, e->w.tok_embd + static_cast<ptrdiff_t>(tokens[t]) * hp.n_embd,
           static_cast<size_t>(hp.n_embd) * sizeof(float));
    for (int l = 0; l < hp.n_layer; l++) eval_layer(e, l, x);
    rms_norm(hidden + static_cast<ptrdiff_t>(t) * hp.n_embd, x, e->w.out_norm, hp.n_embd, hp.norm_eps);
  }
}

int engine_pick(const engine* e, const float* hidden) {
  int best = 0;
  float largest = -INFINITY;
  for (int o = 0; o < e->hp.n_vocab; o++) {
    float logit = 0;
    for (int i = 0; i < e->hp.n_embd; i++)
      logit += e->w.output[static_cast<ptrdiff_t>(o) * e->hp.n_embd + i] * hidden[i];
    if (logit > largest) largest = logit, best = o;
  }
  return best;
}

}  // namespace flat
