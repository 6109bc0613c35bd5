// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <set>
#include <string>
#include <unordered_map>

#include "text/tokens/byte_level.hpp"
#include "text/tokens/json_place.hpp"

namespace mini_llama {

/// Reads the tokens of a tokenizer.json into its parts: read, read_bytes, any number of read_added and read_merge,
/// finish. All throw broken_json for tokens that contradict each other, and unsupported_json for what has no
/// counterpart here.
class byte_level_vocabulary {
 public:
  /// Borrows `to`, whose `composed` is set already.
  explicit byte_level_vocabulary(byte_level_parts& to) : to_(to) {}

  /// `vocab`: ids by spelling. With `ignore_merges` words that are in it are taken whole.
  void read(const json_place& vocab, bool ignore_merges);

  /// The tokens of single bytes; for those without one, what the file's `model` says of the unknown.
  void read_bytes(const json_place& model);

  /// One of the list of added tokens.
  void read_added(const json_place& token);

  /// One of the list of merges: "a b" or ["a", "b"].
  void read_merge(const json_place& merge);

  /// Fills in the bytes of all tokens.
  void finish();

 private:
  void add(const std::string& spelling, const json_place& id);
  int id_of(const std::string& spelling, const json_place& merge) const;

  byte_level_parts& to_;
  std::unordered_map<std::string, int> ids_;
  std::set<int> taken_, specials_;
};

}  // namespace mini_llama
