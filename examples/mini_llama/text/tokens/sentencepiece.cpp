// SPDX-License-Identifier: Apache-2.0
#include "text/tokens/sentencepiece.hpp"

#include <sentencepiece_processor.h>

#include <algorithm>
#include <exception>

#include "support/files.hpp"
#include "support/load_error.hpp"
#include "text/tokens/utf8.hpp"

namespace mini_llama {
namespace {

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

sentencepiece_coder::sentencepiece_coder(const std::filesystem::path& file)
    : model_(std::make_unique<sentencepiece::SentencePieceProcessor>()) {
  const std::string bytes = read_text_file(file);
  if (const std::string why = refusal(*model_, bytes); !why.empty())
    throw load_error(file, "is no SentencePiece model (" + why +
                               "). It is cut short, damaged, or a tokenizer of another kind; fetch it again from the "
                               "checkpoint, or give token ids instead of text");
}

sentencepiece_coder::~sentencepiece_coder() = default;

std::vector<int> sentencepiece_coder::encode(std::string_view text, bool bos) const {
  std::vector<int> ids;
  const auto status = model_->Encode({text.data(), text.size()}, &ids);
  if (!status.ok()) throw load_error("the text cannot be tokenized (" + status.ToString() + ")");
  if (bos && model_->bos_id() >= 0) ids.insert(ids.begin(), model_->bos_id());
  return ids;
}

std::string sentencepiece_coder::decode(std::span<const int> ids) const {
  std::vector<int> pieces(ids.begin(), ids.end());
  std::erase_if(pieces, [this](int id) { return id < 0 || id >= vocab(); });
  std::string text;
  const auto status = model_->Decode(pieces, &text);
  if (!status.ok()) throw load_error("the tokens cannot be turned into text (" + status.ToString() + ")");
  return text;
}

std::string sentencepiece_coder::decode_next(std::span<const int> ids, std::size_t& known) const {
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

int sentencepiece_coder::vocab() const { return model_->GetPieceSize(); }

}  // namespace mini_llama
