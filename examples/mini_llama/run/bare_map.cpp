// SPDX-License-Identifier: Apache-2.0
#include "run/bare_map.hpp"

#include <charconv>
#include <cstddef>
#include <string>
#include <system_error>
#include <vector>

#include "kvsharer/core/error.hpp"
#include "kvsharer/io/plan_text.hpp"

namespace mini_llama {
namespace {

/// A text without white space and quotation marks: Python's and JSON's maps are then the same.
std::string bare(std::string_view text) {
  std::string rest;
  for (const char c : text)
    if (std::string_view(" \t\r\n\"'").find(c) == std::string_view::npos) rest += c;
  return rest;
}

/// The whole numbers of a list that `separators` part in turn, such as "1:0,3:2" by ":,"; empty where it is none.
std::vector<int> numbers(std::string_view list, std::string_view separators) {
  std::vector<int> all;
  for (std::size_t next = 0; !list.empty(); next = (next + 1) % separators.size()) {
    int number = 0;
    const auto [rest, failure] = std::from_chars(list.data(), list.data() + list.size(), number);
    list.remove_prefix(static_cast<std::size_t>(rest - list.data()));
    if (failure != std::errc{} || (!list.empty() && list.front() != separators[next])) return {};
    all.push_back(number);
    list.remove_prefix(list.empty() ? 0 : 1);
  }
  return all;
}

/// Owners, as far as the text has them.
std::vector<int> owners_in(std::string_view text, const kvsharer::share_map& own) {
  if (const auto line = kvsharer::plan_from_text(text); line && line.value().is_one_map())
    return {line.value().keys().owners().begin(), line.value().keys().owners().end()};
  const std::string rest = bare(text);
  if (rest.size() < 3) return {};
  const std::string_view inside = std::string_view(rest).substr(1, rest.size() - 2);
  if (rest.front() == '[' && rest.back() == ']') return numbers(inside, ",");
  if (rest.front() != '{' || rest.back() != '}') return {};
  const std::vector<int> pairs = numbers(inside, ":,");
  if (pairs.empty() || pairs.size() % 2 != 0) return {};
  std::vector<int> owners(own.owners().begin(), own.owners().end());
  for (std::size_t i = 0; i < pairs.size(); i += 2) {
    if (pairs[i] < 0 || pairs[i] >= own.layers())
      throw kvsharer::error(kvsharer::errc::bad_map, "the map names layer " + std::to_string(pairs[i]) +
                                                         "; this model has layers 0 to " +
                                                         std::to_string(own.layers() - 1));
    owners[static_cast<std::size_t>(pairs[i])] = pairs[i + 1];
  }
  return owners;
}

}  // namespace

void refuse_bare_map(std::string_view text, const std::filesystem::path& file, const kvsharer::share_map& own) {
  const std::vector<int> owners = owners_in(text, own);
  if (owners.empty()) return;
  std::string list;
  for (std::size_t l = 0; l < owners.size(); ++l) list += (l > 0 ? "," : "") + std::to_string(owners[l]);
  throw kvsharer::error(kvsharer::errc::plan_syntax,
                        file.string() +
                            " is a map alone, not a plan of this model; make one of it with mini_llama plan "
                            "--model DIR --out FILE --map " +
                            list);
}

}  // namespace mini_llama
