// SPDX-License-Identifier: Apache-2.0
#include "search/recipe.hpp"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <optional>
#include <vector>

#include "support/usage_error.hpp"

namespace mini_llama {
namespace {

/// The place of a name in a table, which is the value of its enumeration.
template <class Enum, class Names>
std::optional<Enum> find(const Names& names, std::string_view name) {
  const auto at = std::find(names.begin(), names.end(), name);
  if (at == names.end()) return std::nullopt;
  return static_cast<Enum>(at - names.begin());
}

/// "a, b or c".
template <class Names>
std::string choices(const Names& names) {
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i)
    text += (i == 0 ? "" : i + 1 < names.size() ? ", " : " or ") + std::string(names[i]);
  return text;
}

}  // namespace

search_order order_named(std::string_view name) {
  if (const auto order = find<search_order>(order_names, name)) return *order;
  throw usage_error("there is no order \"" + std::string(name) + "\"; choose " + choices(order_names));
}

search_score score_named(std::string_view name) {
  if (const auto score = find<search_score>(objective_names, name)) return *score;
  throw usage_error("there is no objective \"" + std::string(name) + "\"; choose " + choices(objective_names));
}

recipe::recipe(search_order order, search_score score, shared_parts parts)
    : order_(order), score_(score), parts_(parts) {
  if (is_apart() && !is_best_first())
    throw usage_error("keys alone and values alone are shared by the orders best and best-suffix; " + order_name() +
                      " shares whole layers");
}

recipe recipe::parse(std::string_view text) {
  const auto refuse = [whole = std::string(text)](const std::string& why) {
    throw usage_error("\"" + whole + "\" is not a search rule: " + why + "; choose from " + choices(order_names) +
                      ", then :kl for the divergence as the score, and behind best and best-suffix :apart, :keys or "
                      ":values to share only keys or only values");
  };
  std::vector<std::string_view> words;
  for (std::size_t colon = 0; colon != text.npos; text.remove_prefix(std::min(text.size(), colon + 1))) {
    colon = text.find(':');
    words.push_back(text.substr(0, colon));
  }
  const auto order = find<search_order>(order_names, words[0]);
  if (!order) refuse("there is no order \"" + std::string(words[0]) + "\"");
  search_score score = search_score::cosine;
  shared_parts parts = shared_parts::together;
  std::size_t at = 1;
  if (at < words.size() && words[at] == "kl") {
    score = search_score::kl;
    ++at;
  }
  if (at < words.size()) {
    const auto named = find<shared_parts>(parts_names, words[at]);
    if (!named || *named == shared_parts::together || at + 1 < words.size())
      refuse("\"" + std::string(words[at]) + "\" says neither what is scored nor, as the last word, what is shared");
    parts = *named;
  }
  return recipe(*order, score, parts);
}

std::string recipe::text() const {
  return order_name() + (score_ == search_score::kl ? ":kl" : "") +
         (is_apart() ? ":" + std::string(parts_names[static_cast<std::size_t>(parts_)]) : std::string());
}

double recipe::default_threshold() const noexcept {
  return has_threshold() ? 0.5 : -std::numeric_limits<double>::infinity();
}

kvsharer::kv_part recipe::halves() const noexcept {
  return parts_ == shared_parts::keys     ? kvsharer::kv_part::keys
         : parts_ == shared_parts::values ? kvsharer::kv_part::values
                                          : kvsharer::kv_part::both;
}

}  // namespace mini_llama
