// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <vector>

#include "text/tokenizer.hpp"

namespace mini_llama {

/// Equal-length token sequences, BOS first: what a search is calibrated on.
using token_batch = std::vector<std::vector<int>>;

/// The first `samples` lines of a text file that have at least `sample_tokens` tokens, cut to that many. Throws
/// load_error when there are not enough of them, saying how many there are.
token_batch read_calibration(const std::filesystem::path& file, const tokenizer& words, int samples, int sample_tokens);

/// Checks a batch given as ids: `samples` sequences at most, cut to `sample_tokens`, all of one length of at least 2.
/// Sequences of another length than the first are refused, or left out with `skip_mismatched`.
token_batch trim_calibration(token_batch batch, int samples, int sample_tokens, bool skip_mismatched = false);

}  // namespace mini_llama
