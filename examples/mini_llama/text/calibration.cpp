// SPDX-License-Identifier: Apache-2.0
#include "text/calibration.hpp"

#include <cstddef>
#include <string>
#include <utility>

#include "support/files.hpp"

namespace mini_llama {

token_batch read_calibration(const std::filesystem::path& file, const tokenizer& words, int samples,
                             int sample_tokens) {
  token_batch batch;
  int too_short = 0;
  for_each_passage(read_text_file(file), [&](std::string_view line, int number) {
    std::vector<int> ids = words.encode(line, true, line_of(file, number));
    if (static_cast<int>(ids.size()) < sample_tokens) {
      ++too_short;
    } else {
      ids.resize(static_cast<std::size_t>(sample_tokens));
      batch.push_back(std::move(ids));
    }
    return static_cast<int>(batch.size()) < samples;
  });
  if (static_cast<int>(batch.size()) < samples)
    throw load_error(file.string() + ": " + std::to_string(batch.size()) + " lines have the " +
                     std::to_string(sample_tokens) + " tokens a sample needs (" + std::to_string(too_short) +
                     " are shorter), but " + std::to_string(samples) +
                     " samples are wanted; give more text, one passage a line, or fewer --samples or --sample-tokens");
  return batch;
}

token_batch trim_calibration(token_batch batch, int samples, int sample_tokens, bool skip_mismatched) {
  for (std::vector<int>& ids : batch)
    if (static_cast<int>(ids.size()) > sample_tokens) ids.resize(static_cast<std::size_t>(sample_tokens));
  if (skip_mismatched && !batch.empty())
    std::erase_if(batch, [length = batch[0].size()](const std::vector<int>& ids) { return ids.size() != length; });
  if (static_cast<int>(batch.size()) > samples) batch.resize(static_cast<std::size_t>(samples));
  if (batch.empty()) throw load_error("no calibration samples were given");
  for (std::size_t i = 0; i < batch.size(); ++i) {
    if (batch[i].size() < 2)
      throw load_error("calibration sample " + std::to_string(i) + " has fewer than 2 tokens; 64 is usual");
    if (batch[i].size() != batch[0].size())
      throw load_error("calibration sample " + std::to_string(i) + " has " + std::to_string(batch[i].size()) +
                       " tokens, the first one has " + std::to_string(batch[0].size()) +
                       "; all need one length (see --sample-tokens and --skip-mismatched)");
  }
  return batch;
}

}  // namespace mini_llama
