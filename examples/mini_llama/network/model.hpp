// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.hpp"
#include "checkpoint/config.hpp"
#include "kvsharer/align/layer_alignment.hpp"
#include "network/linear.hpp"
#include "network/workspace.hpp"

namespace mini_llama {

/// One decoder layer. Matrices are borrowed as stored; only the vectors are held as floats.
struct layer_weights {
  std::vector<float> attention_norm;        // [hidden]
  weight query;                             // [heads * head_dim][hidden]
  weight key, value;                        // [kv_heads * head_dim][hidden]; of a reader, never touched. None (no data)
                                            // in a layer that the model was trained to have read another
  std::vector<float> query_bias;            // [heads * head_dim], or nothing
  std::vector<float> key_bias, value_bias;  // [kv_heads * head_dim], or nothing
  std::vector<float> query_norm, key_norm;  // [head_dim], or nothing: gains of each head's norm before rotation
  weight output;                            // [hidden][heads * head_dim]
  std::vector<float> output_bias;           // [hidden], or nothing; alignments make one, too
  std::vector<float> mlp_norm;              // [hidden]
  weight gate, up;                          // [intermediate][hidden]
  weight down;                              // [hidden][intermediate]
};

/// A Llama ready to run. Matrices stay where and as the checkpoint has them, so a mapped file's pages are read when a
/// layer first runs, and those of keys and values of reader layers are not read at all. Unchanged by running: several
/// runs may use it at the same time, each with a workspace of its own.
class model {
 public:
  /// Finds a tensor by its name and shape, or throws.
  using tensor_source =
      std::function<tensor_view(const std::string& name, std::initializer_list<kvsharer::index_t> shape)>;

  /// Throws load_error when a tensor is missing or has another shape.
  explicit model(checkpoint file);

  /// Of tensors that lie elsewhere; `owner` keeps them alive, or is null when the caller does.
  model(model_config config, const tensor_source& tensors, std::shared_ptr<const void> owner = nullptr,
        std::string fingerprint = {});

  /// Folds an alignment into a layer's queries and output, of which this model then has float copies of its own: from
  /// now on the layer is a reader. What was copied from this model before stays as it was. Throws kvsharer::error
  /// (bad_shape) for an alignment of other heads or channels, and (bad_argument) where norms of heads stand between
  /// the weights and what is aligned. O(hidden * heads * head_dim^2).
  void align(int l, const kvsharer::layer_alignment& a);

  const model_config& config() const noexcept { return config_; }

  /// What tells this model from others in plan files and saved caches: fingerprint_of, for a checkpoint.
  const std::string& fingerprint() const noexcept { return fingerprint_; }

  const layer_weights& layer(int l) const noexcept { return layers_[static_cast<std::size_t>(l)]; }
  const weight& embedding() const noexcept { return embedding_; }  // [vocab][hidden]
  const weight& head() const noexcept { return head_; }            // [vocab][hidden]; the embedding itself when tied
  const std::vector<float>& final_norm() const noexcept { return final_norm_; }  // [hidden]

 private:
  explicit model(std::shared_ptr<const checkpoint> file);

  void add_fused(layer_weights& w, const tensor_view& fused);
  void add_fused_bias(layer_weights& w, const tensor_view& fused) const;

  model_config config_;
  std::string fingerprint_;
  std::shared_ptr<const void> owner_;
  std::vector<std::shared_ptr<const void>> copies_;  // weights of its own: folded, or split from fused ones
  weight embedding_, head_;
  std::vector<float> final_norm_;
  std::vector<layer_weights> layers_;
};

/// x [ids.size()][hidden]: the embedding of each token. Throws kvsharer::error (bad_argument) for an id outside the
/// vocabulary.
void embed(const model& m, std::span<const int> ids, float* x);

/// y = the last RMS norm of x, both [rows][hidden] and possibly the same.
void final_norm(const model& m, const float* x, kvsharer::index_t rows, float* y);

/// logits [rows][vocab] of normed hidden states x [rows][hidden].
void project_logits(const model& m, const float* x, kvsharer::index_t rows, float* logits, workspace& scratch);

}  // namespace mini_llama
