// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "kvsharer/core/kv_part.hpp"

namespace mini_llama {

/// Which pairs a search tries first.
enum class search_order : std::uint8_t { dissimilar, similar, suffix, random, best, best_suffix, explicit_map };

/// What a search scores: the similarity of final hidden states, or minus the divergence of predictions.
enum class search_score : std::uint8_t { cosine, kl };

/// What a layer may share: keys and values together, each of them alone as well, or only one of them.
enum class shared_parts : std::uint8_t { together, apart, keys, values };

// Names on the command line, in the order of the enumerations.
inline constexpr std::array order_names{"dissimilar", "similar", "suffix", "random", "best", "best-suffix", "explicit"};
inline constexpr std::array objective_names{"cosine", "kl"};
inline constexpr std::array parts_names{"together", "apart", "keys", "values"};

/// How a search goes about it: what it tries first, what it scores, and what a layer may share. Its text is
/// `ORDER[:kl][:PARTS]`, as in "dissimilar", "best:kl" or "best-suffix:kl:apart": on the command line, in results and
/// in reports. Valid whenever it exists: only best-first searches share parts of layers.
class recipe {
 public:
  /// The paper's: the most dissimilar pair first, by similarity.
  recipe() = default;

  /// Throws usage_error for parts of layers with an order that ranks pairs of whole layers.
  explicit recipe(search_order order, search_score score = search_score::cosine,
                  shared_parts parts = shared_parts::together);

  /// Reads a text. Throws usage_error, which says what can be chosen, for one that is none.
  static recipe parse(std::string_view text);

  /// What parse() reads, in its shortest form.
  std::string text() const;

  search_order order() const noexcept { return order_; }
  search_score score() const noexcept { return score_; }
  shared_parts parts() const noexcept { return parts_; }

  std::string order_name() const { return order_names[static_cast<std::size_t>(order_)]; }
  std::string objective() const { return objective_names[static_cast<std::size_t>(score_)]; }

  /// Does it score every move, instead of ranking pairs by their distances?
  bool is_best_first() const noexcept { return order_ == search_order::best || order_ == search_order::best_suffix; }
  /// Are scores similarities, which thresholds are for? Divergences have no scale of their own.
  bool has_threshold() const noexcept { return score_ == search_score::cosine; }
  /// The score that a step must exceed unless something else is asked for: the paper's, or none.
  double default_threshold() const noexcept;
  /// Do different seeds give different maps?
  bool has_seeds() const noexcept { return order_ == search_order::random; }
  /// May keys and values get maps of their own?
  bool is_apart() const noexcept { return parts_ != shared_parts::together; }
  /// As kvsharer::best_first_options has it.
  kvsharer::kv_part halves() const noexcept;

  friend bool operator==(const recipe&, const recipe&) = default;

 private:
  search_order order_ = search_order::dissimilar;
  search_score score_ = search_score::cosine;
  shared_parts parts_ = shared_parts::together;
};

/// The order, score or parts of this name. Throws usage_error.
search_order order_named(std::string_view name);
search_score score_named(std::string_view name);

}  // namespace mini_llama
