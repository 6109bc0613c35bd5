// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <span>
#include <string>

#include "kvsharer/budget/largest_remainder.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/finite.hpp"
#include "kvsharer/core/token_budget.hpp"
#include "kvsharer/core/types.hpp"

/// How large a budget is, in the units in which users say it. Each gives the `average` of a budget_request.
namespace kvsharer::inline v0::budget {

/// Tokens of a prompt that are kept if the part `removed` of it is dropped in every owner. This is the compression
/// ratio of other tools: 0.9 keeps a tenth. Rounded down, but an integer that rounding alone misses is reached; at
/// least 1 of a prompt that is not empty. Throws errc::bad_argument for `removed` outside [0, 1).
inline index_t tokens_left(double removed, index_t tokens) {
  if (!is_finite(removed) || removed < 0 || removed >= 1)
    throw error(errc::bad_argument, "a compression ratio of " + std::to_string(removed) +
                                        "; it is the part that is removed, from 0 up to but not including 1");
  return std::max<index_t>(std::min<index_t>(tokens, 1), floor_of(static_cast<double>(tokens) * (1 - removed)));
}

/// The same where `removed` is the part of the whole model's cache, of which sharing layers has removed something
/// already: `sets` token sets hold what is left of `layers` layers. All tokens, if sharing alone removes enough. Throws
/// errc::bad_argument for `removed` outside [0, 1), and for sets that are not between 1 and `layers`.
inline index_t tokens_left_with_sharing(double removed, index_t tokens, index_t sets, index_t layers) {
  if (sets < 1 || sets > layers)
    throw error(errc::bad_argument, std::to_string(sets) + " token sets in a model of " + std::to_string(layers) +
                                        " layers; there is at least one, and at most one for each layer");
  tokens_left(removed, tokens);
  const double all = static_cast<double>(tokens) * static_cast<double>(layers) * (1 - removed);
  return std::clamp<index_t>(floor_of(all / static_cast<double>(sets)), std::min<index_t>(tokens, 1), tokens);
}

/// Bytes of a budget whose sets have `token_bytes` [sets] for each token of a KV head, keys and values of all planes of
/// the set together. Throws errc::bad_shape for another number of sets. O(sets x heads).
inline index_t bytes_of(const token_budget& b, std::span<const index_t> token_bytes) {
  if (static_cast<index_t>(token_bytes.size()) != b.sets())
    throw error(errc::bad_shape, std::to_string(token_bytes.size()) + " sizes of a token for a budget of " +
                                     std::to_string(b.sets()) + " token sets; give one for each");
  index_t bytes = 0;
  for (index_t s = 0; s < b.sets(); ++s)
    for (index_t h = 0; h < b.kv_heads; ++h) bytes += b.at(s, h) * token_bytes[static_cast<std::size_t>(s)];
  return bytes;
}

/// The most tokens per head with which all sets together need at most `bytes`; sharing counts, since only sets are
/// stored. Budgets that give sets of different `token_bytes` different numbers can need more or less: bytes_of says how
/// much. Throws errc::bad_argument if that is not even one token, errc::bad_shape for sizes that are not positive.
inline index_t tokens_in_bytes(index_t bytes, std::span<const index_t> token_bytes, index_t kv_heads) {
  index_t each = 0;
  bool positive = kv_heads > 0 && !token_bytes.empty();
  for (const index_t of_set : token_bytes) {
    positive = positive && of_set > 0;
    each += of_set * kv_heads;
  }
  if (!positive) throw error(errc::bad_shape, "a budget in bytes needs the size of a token of every set, above zero");
  if (bytes < each)
    throw error(errc::bad_argument, "a budget of " + std::to_string(bytes) + " bytes does not hold one token, of " +
                                        std::to_string(each) + " bytes");
  return bytes / each;
}

}  // namespace kvsharer::inline v0::budget
