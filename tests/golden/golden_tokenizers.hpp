// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "golden/golden.hpp"

/// What the reference implementation makes of texts and ids: tests/golden/tokenizers.
namespace golden {

inline constexpr std::array byte_level_styles = {"gpt2", "qwen2", "llama3", "nemo", "digits"};

struct encoded {
  std::string text;
  std::vector<int> ids, before;
  std::string decoded;
};

struct byte_level_style {
  std::vector<encoded> texts;
  std::vector<std::pair<std::vector<int>, std::string>> decoded;  ///< ids that no text has
};

inline std::string byte_level_file(const std::string& style) {
  return root() + "/tests/golden/tokenizers/" + style + ".json";
}

inline byte_level_style read_byte_level_style(const std::string& style) {
  const auto texts = nlohmann::json::parse(read_file("tokenizers/texts.json"));
  const auto results = nlohmann::json::parse(read_file("tokenizers/" + style + ".ids.json"));
  byte_level_style all;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const auto& e = results.at("encoded").at(i);
    all.texts.push_back({texts[i], e.at(0), e.at(1), e.at(2)});
  }
  for (const auto& d : results.at("decoded")) all.decoded.emplace_back(d.at(0), d.at(1));
  return all;
}

}  // namespace golden
