// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "sweep/combinations.hpp"

namespace mini_llama::report {

/// One candidate of a search.
struct tried {
  std::size_t rank = 0;
  int reader = 0, owner = 0;
  double distance = 0, score = 0;
  bool accepted = false;
};

/// One line of results: a map, how it was found, what it costs and buys. Numbers that a file has as null are NaN.
struct result {
  combination rule;                       ///< of the full model, all zero
  std::vector<int> owners, value_owners;  ///< of keys and of values; one and the same unless shared apart
  std::string status;
  double score = 1;
  std::vector<tried> candidates;
  std::size_t pairs_ranked = 0, pairs_skipped = 0;
  double layer_evaluations = 0, layer_evaluations_without_resume = 0;
  double perplexity = 0, kl = 0, top1_agreement = 1, kv_bytes = 0;
  double prefill_tokens_per_second = 0, decode_tokens_per_second = 0, search_seconds = 0;
  std::vector<int> token_ids;
  std::string text;

  /// Its score is a divergence, not a similarity, and knows no threshold.
  bool by_divergence() const noexcept { return !rule.how.has_threshold(); }
  int layers() const noexcept { return static_cast<int>(owners.size()); }
  bool is_one_map() const noexcept { return owners == value_owners; }
  double shared() const noexcept;  ///< layers' worth: half layers count half
  std::size_t accepted() const noexcept;
};

/// How different the layers' caches are, by one metric on one set of samples: row reader, column owner.
struct distances {
  std::string metric;
  int samples = 0;
  std::vector<std::vector<double>> rows;
};

/// Every map in which one layer alone reads another, scored on some samples.
struct scored_moves {
  int samples = 0;
  std::string objective;  ///< "cosine" or "kl"
  std::vector<int> readers, owners;
  std::vector<double> scores;
  std::vector<std::pair<std::string, std::vector<double>>> distances;  ///< of these pairs, by metric
};

/// What distinguishes maps besides the recipe and its seed.
struct setting {
  std::string metric;
  int samples = 0;
  double threshold = 0;
  friend bool operator==(const setting&, const setting&) = default;
};

/// All of a sweep's folder.
struct sweep_results {
  nlohmann::json origin;  ///< model.json
  std::size_t planned = 0;
  result full;
  std::string prompt, text_goes_on;
  std::vector<result> maps;
  std::vector<distances> matrices;
  std::vector<scored_moves> moves;

  std::vector<setting> settings() const;  ///< in the sweep's order
  std::vector<recipe> recipes() const;    ///< in the sweep's order
  std::vector<int> shares() const;        ///< ascending
  std::vector<const result*> select(const setting& where, const recipe& how) const;
};

/// Reads model.json, results.jsonl and the distances of a sweep's folder, which may be unfinished; a torn last line is
/// passed over. Throws load_error for what is missing, damaged, or too little to report on.
sweep_results read_sweep(const std::filesystem::path& folder);

}  // namespace mini_llama::report
