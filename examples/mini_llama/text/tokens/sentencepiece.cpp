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

using sentencepiece::SentencePieceProcessor;

/// Why `bytes` are no model, or nothing. SentencePiece answers with a status, or lets an exception of what it is built
/// on pass, as for a piece that begins with a zero byte.
std::string refusal(SentencePieceProcessor& model, const std::string& bytes) {
  if (bytes.empty()) return "it is empty";
  try {
    const auto status = model.LoadFromSerializedProto(bytes);
    if (!status.ok()) return status.ToString();
  } catch (const std::exception& e) {
    return e.what();
  }
  return model.GetPieceSize() == 0 ? "it has no pieces" : "";
}

std::unique_ptr<SentencePieceProcessor> load(const std::filesystem::path& file, const std::string& bytes) {
  auto model = std::make_unique<SentencePieceProcessor>();
  if (const std::string why = refusal(*model, bytes); !why.empty())
    throw load_error(file, "is not a SentencePiece model (" + why +
                               "). It is cut short, damaged, or a tokenizer of another kind; fetch it again from the "
                               "checkpoint, or give token ids instead of text");
  return model;
}

/// Behind a serialized model, a field that goes before its own: normalizer_spec { add_dummy_prefix: false }.
constexpr std::string_view without_prefix{"\x1A\x02\x18\x00", 4};

void append(const SentencePieceProcessor& model, std::string_view text, std::vector<int>& ids) {
  std::vector<int> more;
  const auto status = model.Encode({text.data(), text.size()}, &more);
  if (!status.ok()) throw load_error("the text cannot be tokenized (" + status.ToString() + ")");
  ids.insert(ids.end(), more.begin(), more.end());
}

std::string text_of(const SentencePieceProcessor& model, std::span<const int> ids) {
  std::string text;
  const auto status = model.Decode(std::vector<int>(ids.begin(), ids.end()), &text);
  if (!status.ok()) throw load_error("the tokens cannot be turned into text (" + status.ToString() + ")");
  return text;
}

}  // namespace

sentencepiece_coder::sentencepiece_coder(const std::filesystem::path& file) {
  const std::string bytes = read_text_file(file);
  opening_ = load(file, bytes);
  following_ = load(file, bytes + std::string(without_prefix));
  beside_ = read_tokens_beside(file.parent_path());
  for (const auto& [id, token] : beside_.added) spelled_.add(token.text, id);
  for (const std::string& name : beside_.named) {
    const int id = id_of(name, -1);
    if (id >= 0 && beside_.added.try_emplace(id, tokens_beside::token{name, true}).second) spelled_.add(name, id);
  }
  bos_ = id_of(beside_.bos, opening_->bos_id());
  eos_ = id_of(beside_.eos, opening_->eos_id());
}

sentencepiece_coder::~sentencepiece_coder() = default;

int sentencepiece_coder::id_of(const std::string& text, int otherwise) const {
  if (const auto added = beside_.ids.find(text); added != beside_.ids.end()) return added->second;
  const int id = opening_->PieceToId(text);
  return opening_->IdToPiece(id) == text ? id : otherwise;
}

bool sentencepiece_coder::is_silent(int id) const {
  if (const auto added = beside_.added.find(id); added != beside_.added.end()) return added->second.special;
  return id < 0 || id >= pieces() || opening_->IsControl(id);
}

std::vector<int> sentencepiece_coder::encode(std::string_view text, bool framed) const {
  std::vector<int> ids;
  if (framed && opens_texts()) ids.push_back(bos_);
  spelled_.find(
      text, [&](int id) { ids.push_back(id); },
      [&](std::string_view piece) {
        const bool first = piece.data() == text.data(), each = beside_.prefix_each && piece[0] != ' ';
        const bool prefix = beside_.prefix && (first || each);
        append(prefix ? *opening_ : *following_, piece, ids);
      });
  if (framed && beside_.closes && eos_ >= 0) ids.push_back(eos_);
  return ids;
}

std::string sentencepiece_coder::decode(std::span<const int> ids) const {
  std::string text;
  bool begun = false;  // only the blank that was put before the whole text is taken away again
  for (auto at = ids.begin(); at != ids.end();) {
    const auto added = beside_.added.find(*at);
    if (is_silent(*at) || added != beside_.added.end()) {
      if (!is_silent(*at)) {
        text += added->second.text;
        begun = true;
      }
      ++at;
      continue;
    }
    const auto end = std::find_if(at, ids.end(), [&](int id) { return is_silent(id) || beside_.added.contains(id); });
    text += text_of(begun || !beside_.prefix ? *following_ : *opening_, {at, end});
    begun = true;
    at = end;
  }
  return text;
}

std::string sentencepiece_coder::decode_next(std::span<const int> ids, std::size_t& known) const {
  // Characters outside the vocabulary come as one token per byte; three bytes may wait for a fourth.
  std::string tail;
  for (std::size_t i = ids.size(); i > known && tail.size() < 3; --i) {
    const int id = ids[i - 1];
    if (is_silent(id) || beside_.added.contains(id) || !opening_->IsByte(id)) break;
    // Byte pieces are spelled <0xNN>.
    const std::string piece = opening_->IdToPiece(id);
    tail.insert(tail.begin(), static_cast<char>(std::stoi(piece.substr(1, 4), nullptr, 16)));
  }
  const std::size_t end = ids.size() - unfinished(tail);
  const std::string before = decode(ids.first(known));
  std::string text = decode(ids.first(end));
  known = end;
  return text.substr(std::min(before.size(), text.size()));
}

int sentencepiece_coder::vocab() const {
  return beside_.added.empty() ? pieces() : std::max(pieces(), beside_.added.rbegin()->first + 1);
}

int sentencepiece_coder::pieces() const { return opening_->GetPieceSize(); }

}  // namespace mini_llama
