// SPDX-License-Identifier: Apache-2.0
#include "text/tokenizer.hpp"

#include <algorithm>

#include "support/file_itself.hpp"
#include "text/tokens/byte_level.hpp"
#include "text/tokens/sentencepiece.hpp"
#include "text/tokens/utf8.hpp"

namespace mini_llama {
namespace {

std::unique_ptr<const text_coder> open(const std::filesystem::path& file) {
  if (file.extension() == ".json") return std::make_unique<byte_level>(read_byte_level(file));
  return std::make_unique<sentencepiece_coder>(file);
}

/// Which of the two files there is, or an empty path.
std::filesystem::path present(const std::filesystem::path& directory) {
  // A tokenizer.json that was converted from a SentencePiece model lies beside it.
  for (const char* name : {"tokenizer.model", "tokenizer.json"})
    if (is_there(directory / name)) return directory / name;
  return {};
}

}  // namespace

std::filesystem::path tokenizer_file(const std::filesystem::path& directory) {
  std::filesystem::path file = present(directory);
  if (file.empty())
    throw load_error(
        directory,
        "has neither tokenizer.model nor tokenizer.json, and so no words. Fetch the one that the checkpoint "
        "comes with, or give token ids instead of text");
  return file;
}

bool has_tokenizer_file(const std::filesystem::path& directory) { return !present(directory).empty(); }

tokenizer::tokenizer(const std::filesystem::path& file) : coder_(open(file)) {}

std::vector<int> tokenizer::encode(std::string_view text, bool framed, const std::string& origin) const {
  // Coders make something of any bytes, but nothing that a model has seen.
  if (const std::size_t good = utf8_length(text); good < text.size())
    throw load_error(origin + " cannot be tokenized: its byte " + std::to_string(good) +
                     " is not UTF-8. Convert it to UTF-8, for one with iconv");
  std::vector<int> ids = coder_->encode(text, framed);
  for (const int id : ids)
    if (embeddings_ > 0 && id >= embeddings_)
      throw load_error("the text spells out the token of id " + std::to_string(id) +
                       ", which the tokenizer adds, but the model has only " + std::to_string(embeddings_) +
                       " embeddings; leave it out of the text");
  return ids;
}

std::string tokenizer::decode(std::span<const int> ids) const {
  check(ids);
  return coder_->decode(ids);
}

std::string tokenizer::decode_next(std::span<const int> ids, std::size_t& known) const {
  check(ids.subspan(known));
  return coder_->decode_next(ids, known);
}

void tokenizer::check(std::span<const int> ids) const {
  const int end = std::max(vocab(), embeddings_);
  for (const int id : ids)
    if (id < 0 || id >= end)
      throw load_error("token id " + std::to_string(id) + " is outside the tokenizer's 0 to " +
                       std::to_string(end - 1) + "; it belongs to another tokenizer");
}

}  // namespace mini_llama
