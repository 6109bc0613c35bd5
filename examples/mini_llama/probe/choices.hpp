// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "kvsharer/search/fidelity.hpp"
#include "probe/objective.hpp"
#include "support/usage_error.hpp"

/// Names on the command line and the values they stand for. Those of metrics, which stand for types, are in
/// metric_named.hpp, those of a search's rules in search/recipe.hpp.
namespace mini_llama {

inline constexpr std::array metric_names{"mean-row-norm", "flat", "cosine", "scaled-euclidean", "cka"};
inline constexpr std::array similarity_names{"mean-of-cosines", "cosine-of-mean"};
inline constexpr std::array key_names{"post-rope", "pre-rope"};
inline constexpr std::array kv_type_names{"f32", "f16", "bf16"};
inline constexpr std::array type_names{"auto", "f32", "f16", "bf16"};
inline constexpr std::array backend_names{"auto", "cpu", "cuda"};
inline constexpr std::array kv_layout_names{"contiguous", "paged"};

inline kvsharer::similarity similarity_named(std::string_view name) {
  if (name == "mean-of-cosines") return kvsharer::similarity::mean_of_cosines;
  if (name == "cosine-of-mean") return kvsharer::similarity::cosine_of_mean;
  throw usage_error("there is no similarity \"" + std::string(name) + "\"; choose mean-of-cosines or cosine-of-mean");
}

/// What the search is to keep. `mode` is that of the cosines.
inline objective objective_named(std::string_view name, kvsharer::similarity mode) {
  if (name == "cosine") return cosine_objective(mode);
  if (name == "kl") return kl_objective();
  throw usage_error("there is no objective \"" + std::string(name) + "\"; choose cosine or kl");
}
inline objective objective_named(std::string_view name, std::string_view similarity) {
  return objective_named(name, similarity_named(similarity));
}

/// A type of weights; nothing for "auto".
inline std::optional<dtype> type_named(std::string_view name) {
  if (name == "auto") return std::nullopt;
  if (name == "f32") return dtype::f32;
  if (name == "f16") return dtype::f16;
  if (name == "bf16") return dtype::bf16;
  throw usage_error("there is no type \"" + std::string(name) + "\"; choose auto, f32, f16 or bf16");
}

/// "6" or "25%" of `layers`, as a number of layers that are to share. Throws usage_error outside 0 to layers - 1.
int parse_share(const std::string& text, int layers);

}  // namespace mini_llama
