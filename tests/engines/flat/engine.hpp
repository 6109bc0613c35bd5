// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

/// A small engine for Llama on a CPU, as its author wrote it: nothing here knows of kvsharer. One sequence, weights in
/// float, keys rotated in place, the cache in one allocation [layer][token][kv_head * d_head] for keys and one for
/// values.
namespace flat {

struct hparams {
  int n_layer, n_embd, n_head, n_head_kv, d_head, n_ff, n_vocab, n_ctx;
  float norm_eps, rope_base;
};

/// Matrices are [out][in].
struct layer_weights {
  const float *attn_norm, *wq, *wk, *wv, *wo, *ffn_norm, *w_gate, *w_up, *w_down;
};
struct weights {
  const float *tok_embd, *out_norm, *output;
  const layer_weights* layers;
};

struct engine {
  hparams hp;
  weights w;
  int n_past;      // tokens in the cache
  float *k, *v;    // the cache
  float* scratch;  // of one token
};

/// Bytes that engines hold now.
size_t allocated();

engine* engine_new(const hparams& hp, const weights& w);
void engine_free(engine* e);

/// Feeds n tokens; hidden [n][n_embd] gets each one's final state, after the last norm.
void engine_eval(engine* e, const int* tokens, int n, float* hidden);

/// The likeliest next token by a final state.
int engine_pick(const engine* e, const float* hidden);

}  // namespace flat
