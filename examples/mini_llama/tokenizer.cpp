// SPDX-License-Identifier: Apache-2.0
#include "tokenizer.hpp"

#include <sentencepiece_processor.h>

#include <algorithm>
#include <exception>

#include "files.hpp"

namespace mini_llama {
namespace {

/// Of a run of bytes, how many at its end begin a UTF-8 character without finishing it.
std::size_t unfinished(std::string_view bytes) {
  for (std::size_t n = 1; n <= std::min<std::size_t>(3, bytes.size()); ++n) {
    const auto byte = static_cast<unsigned char>(bytes[bytes.size() - n]);
    if (byte < 0x80) return 0;
    if (byte < 0xC0) continue;  // a continuation: its lead stands further left
    const std::size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : 2;
    return n < length ? n : 0;
  }
  return 0;
}

/// Why `bytes` are no model, or nothing. SentencePiece answers with a status, or lets an exception of what it is built
/// on pass, as for a piece that begins with a zero byte.
std::string refusal(sentencepiece::SentencePieceProcessor& model, const std::string& bytes) {
  if (bytes.empty()) return "it is empty";
  try {
    const auto status = model.LoadFromSerializedProto(bytes);
    if (!status.ok()) return status.ToString();
  } catch (const std::exception& e) {
    return e.what();
  }
  return model.GetPieceSize() == 0 ? "it has no pieces" : "";
}

}  // namespace

tokenizer::tokenizer(const std::filesystem::path& model_file)
    : model_(std::make_unique<sentencepiece::SentencePieceProcessor>()) {
  const std::string bytes = read_text_file(model_file);
  if (const std::string why = refusal(*model_, bytes); !why.empty())
    throw load_error(model_file, "is no SentencePiece model (" + why +
                                     "). It is cut short, damaged, or a tokenizer of another kind; fetch it again from "
                                     "the checkpoint, or give token ids instead of text");
}

tokenizer::~tokenizer() = default;
tokenizer::tokenizer(tokenizer&&) noexcept = default;
tokenizer& tokenizer::operator=(tokenizer&&) noexcept = default;

std::vector<int> tokenizer::encode(std::string_view text, bool bos) const {
  std::vector<int> ids;
  const auto status = model_->Encode({text.data(), text.size()}, &ids);
  if (!status.ok()) throw load_error("the text cannot be tokenized (" + status.ToString() + ")");
  if (bos && model_->bos_id() >= 0) ids.insert(ids.begin(), model_->bos_id());
  return ids;
}

std::string tokenizer::decode(std::span<const int> ids) const {
  for (const int id : ids)
    if (id < 0 || id >= vocab())
      throw load_error("token id " + std::to_string(id) + " is outside the tokenizer's 0 to " +
                       std::to_string(vocab() - 1) + "; it belongs to another tokenizer");
  std::string text;
  const auto status = model_->Decode(std::vector<int>(ids.begin(), ids.end()), &text);
  if (!status.ok()) throw load_error("the tokens cannot be turned into text (" + status.ToString() + ")");
  return text;
}

std::string tokenizer::decode_next(std::span<const int> ids, std::size_t& known) const {
  // Characters outside the vocabulary come as one token per byte; three bytes may wait for a fourth.
  std::string tail;
  for (std::size_t i = ids.size(); i > known && tail.size() < 3; --i) {
    const int id = ids[i - 1];
    if (id < 0 || id >= vocab() || !model_->IsByte(id)) break;
    // Byte pieces are spelled <0xNN>.
    const std::string piece = model_->IdToPiece(id);
    tail.insert(tail.begin(), static_cast<char>(std::stoi(piece.substr(1, 4), nullptr, 16)));
  }
  const std::size_t end = ids.size() - unfinished(tail);
  const std::string before = decode(ids.first(known));
  std::string text = decode(ids.first(end));
  known = end;
  return text.substr(std::min(before.size(), text.size()));
}

int tokenizer::vocab() const { return model_->GetPieceSize(); }

}  // namespace mini_llama
