// SPDX-License-Identifier: Apache-2.0
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/tokens/pattern.hpp"

#include <pcre2.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <new>

#include "support/load_error.hpp"
#include "text/tokens/utf8.hpp"

namespace mini_llama {
namespace {

template <class T, void (*Free)(T*)>
struct freed {
  void operator()(T* p) const { Free(p); }
};
template <class T, void (*Free)(T*)>
using owned = std::unique_ptr<T, freed<T, Free>>;

std::string message_of(int error) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(error, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

}  // namespace

pattern::pattern(std::string_view source, unsigned options) {
  int error = 0;
  PCRE2_SIZE at = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(source.data()), source.size(), options | PCRE2_UTF,
                                   &error, &at, nullptr);
  if (code == nullptr) throw invalid_pattern("is not a regular expression (" + message_of(error) + ")");
  code_ =
      std::shared_ptr<const pcre2_code>(code, [](const pcre2_code* c) { pcre2_code_free(const_cast<pcre2_code*>(c)); });
}

pattern pattern::expression(std::string_view expression) {
  // In Ruby's syntax ^ and $ are at every line.
  return {translated_pattern(expression), PCRE2_UCP | PCRE2_MULTILINE};
}

pattern pattern::literal(std::string_view text) { return {text, PCRE2_LITERAL}; }

std::vector<pattern::match> pattern::matches(std::string_view text) const {
  const owned<pcre2_match_data, pcre2_match_data_free> data(pcre2_match_data_create(1, nullptr));
  const owned<pcre2_match_context, pcre2_match_context_free> limits(pcre2_match_context_create(nullptr));
  if (!data || !limits) throw std::bad_alloc();
  // An expression that tries all ways through a text is stopped in time. Those of the known models take a few steps for
  // each character.
  pcre2_set_match_limit(limits.get(),
                        1'000'000 + 20 * static_cast<std::uint32_t>(std::min<std::size_t>(text.size(), 1 << 27)));
  std::vector<match> found;
  if (text.empty()) return found;
  for (std::size_t from = 0; from <= text.size();) {
    const int count = pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                                  PCRE2_NO_UTF_CHECK, data.get(), limits.get());
    if (count == PCRE2_ERROR_NOMATCH) break;
    if (count < 0) throw load_error("the text cannot be split into words (" + message_of(count) + ")");
    const PCRE2_SIZE* const place = pcre2_get_ovector_pointer(data.get());
    const match m{place[0], place[1]};
    // An empty match where the last one ended says nothing new.
    if (m.begin != m.end || found.empty() || found.back().end != m.begin) found.push_back(m);
    from = m.end;
    if (m.begin == m.end) from += m.end < text.size() ? front_of(text.substr(m.end)).bytes : 1;
  }
  return found;
}

}  // namespace mini_llama
