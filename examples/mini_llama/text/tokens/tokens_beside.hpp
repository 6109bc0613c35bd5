// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>

#include "support/load_error.hpp"

namespace mini_llama {

/// What the files beside a tokenizer.model say of it.
struct tokens_beside {
  struct token {
    std::string text;
    bool special = false;
  };

  std::map<int, token> added;      ///< by id: tokens that stand in a text where they are spelled out
  std::map<std::string, int> ids;  ///< theirs, by text
  std::set<std::string> named;  ///< special tokens named without an id: those that the model has pieces for are as well
  std::string bos, eos;         ///< which token these are; empty: the model's own
  bool opens = true, closes = false;  ///< is BOS put before a text, EOS behind it?
  bool prefix = true;                 ///< is a blank put before a text, where the model asks for it ...
  bool prefix_each = false;           ///< ... and before pieces of it that follow an added token, if not with a blank?
};

/// Reads tokenizer_config.json, special_tokens_map.json and added_tokens.json, as far as they are in the folder. The
/// tokens of added_tokens.json count where tokenizer_config.json lists none, as transformers has it. Throws load_error
/// for files that are broken or ask for what is not supported.
tokens_beside read_tokens_beside(const std::filesystem::path& directory);

}  // namespace mini_llama
