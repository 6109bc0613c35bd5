// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.hpp"

namespace mini_llama {

/// Equal-length token sequences, BOS first: what a search is calibrated on.
using token_batch = std::vector<std::vector<int>>;

/// The lines of a text, one passage each, without what is no part of them: empty ones, the carriage return before a
/// line's end and the byte order mark that files written on Windows have. f(line, its number from 1) for each, until it
/// answers no.
template <class F>
void for_each_passage(std::string_view text, F&& f) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  for (int number = 1; !text.empty(); ++number) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty() && !f(line, number)) return;
  }
}

/// What messages call a line of a file.
inline std::string line_of(const std::filesystem::path& file, int number) {
  return file.string() + ": line " + std::to_string(number);
}

/// The first `samples` lines of a text file that have at least `sample_tokens` tokens, cut to that many. Throws
/// load_error when there are not enough of them, saying how many there are.
token_batch read_calibration(const std::filesystem::path& file, const tokenizer& words, int samples, int sample_tokens);

/// Checks a batch given as ids: `samples` sequences at most, cut to `sample_tokens`, all of one length of at least 2.
/// Sequences of another length than the first are refused, or left out with `skip_mismatched`.
token_batch trim_calibration(token_batch batch, int samples, int sample_tokens, bool skip_mismatched = false);

}  // namespace mini_llama
