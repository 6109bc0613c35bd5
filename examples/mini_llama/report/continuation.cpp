// SPDX-License-Identifier: Apache-2.0
#include "report/continuation.hpp"

#include <algorithm>

#include "report/chart.hpp"
#include "report/markup.hpp"
#include "report/naming.hpp"
#include "report/sections.hpp"
#include "report/table.hpp"

namespace mini_llama::report {
namespace {

bool inside_character(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

/// The text, what is common paler and the first difference marked.
std::string marked(std::string_view text, std::string_view other) {
  const parted_text p = part(text, other);
  std::string out = p.same.empty() ? "" : element("span", {{"class", "same"}}, escaped(p.same));
  if (!p.difference.empty()) out += element("mark", {}, escaped(p.difference));
  return element("p", {{"class", "text"}}, out + escaped(p.rest));
}

std::string column_of(const std::string& head, const std::string& text) {
  return element("div", {}, element("h4", {}, head) + text);
}

std::string one_map(const sweep_results& all, const result& r, bool open) {
  const std::size_t same = common_tokens(all.full.token_ids, r.token_ids);
  const std::string name = rule_name(all, r) + ", " + size_name(r);
  const bool equal = all.full.token_ids == r.token_ids;
  const std::string summary =
      mark_of(style_of(all, r.rule.how)) + element("b", {}, escaped(name)) + " " +
      (all.settings().size() > 1
           ? element("span", {}, escaped(setting_name(all, {r.rule.metric, r.rule.samples, r.rule.threshold}))) + " "
           : "") +
      (equal       ? "the same to the end"
       : same == 0 ? "another text from the first token on"
                   : "the same for " + data(static_cast<double>(same), count(static_cast<double>(same))) + " of " +
                         std::to_string(all.full.token_ids.size()) + " tokens");
  return element(
             "details", open ? attributes{{"open", "open"}, {"class", "pair"}} : attributes{{"class", "pair"}},
             element("summary", {}, summary) + element("div", {{"class", "sides"}},
                                                       column_of("full model", marked(all.full.text, r.text)) +
                                                           column_of(escaped(name), marked(r.text, all.full.text)))) +
         "\n";
}

/// Whole words of the last `length` bytes.
std::string ending(const std::string& text, std::size_t length) {
  if (text.size() <= length) return escaped(text);
  std::size_t begin = text.size() - length;
  if (const std::size_t space = text.find(' ', begin); space != std::string::npos) begin = space + 1;
  while (begin < text.size() && inside_character(text[begin])) ++begin;
  return "\u2026 " + escaped(std::string_view(text).substr(begin));
}

}  // namespace

parted_text part(std::string_view text, std::string_view other) {
  const auto at = std::mismatch(text.begin(), text.end(), other.begin(), other.end()).first;
  auto same = static_cast<std::size_t>(at - text.begin());
  if (same == text.size()) return {text, {}, {}};
  const auto space = [&](std::size_t i) { return text[i] == ' ' || text[i] == '\n'; };
  // Where a word of each ends here, the next one is the first that differs.
  const bool between = space(same) && (same == other.size() || other[same] == ' ' || other[same] == '\n');
  while (!between && same > 0 && !space(same - 1)) --same;
  std::size_t end = same;
  while (end < text.size() && space(end)) ++end;
  while (end < text.size() && !space(end)) ++end;
  return {text.substr(0, same), text.substr(same, end - same), text.substr(end)};
}

std::size_t common_tokens(const std::vector<int>& a, const std::vector<int>& b) {
  return static_cast<std::size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
}

std::string continuation_section(const sweep_results& all) {
  const std::vector<int> shares = all.shares();
  const int middle = shares.empty() ? 0 : shares[(shares.size() - 1) / 2];
  std::string out =
      element("p", {},
              "The beginning of the text, continued greedily. The first place where two continuations part is " +
                  element("mark", {}, "marked") + "; what they have in common before it is paler.") +
      element("blockquote", {},
              element("p", {{"class", "text"}}, element("span", {{"class", "same"}}, ending(all.prompt, 300))) +
                  element("p", {{"class", "source"}}, "The prompt\u2019s end. The text itself goes on:") +
                  element("p", {{"class", "text"}}, escaped(all.text_goes_on)));
  for (const result& r : all.maps)
    if (r.rule.seed == 0) out += one_map(all, r, r.rule.share == middle && r.rule.how == all.maps.front().rule.how);
  std::string seeds;
  for (const result& r : all.maps)
    if (r.rule.seed > 0) seeds += one_map(all, r, false);
  if (!seeds.empty()) out += element("details", {}, element("summary", {}, "Other seeds") + seeds);
  return out;
}

}  // namespace mini_llama::report
