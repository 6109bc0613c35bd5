// SPDX-License-Identifier: Apache-2.0
#include "report/markup.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>

#include "kvsharer/core/finite.hpp"

namespace mini_llama::report {
namespace {

/// Elements that HTML closes without an end tag, and those of SVG that may be.
bool may_be_empty(std::string_view name) {
  for (const std::string_view known :
       {"meta", "br", "hr", "link", "rect", "circle", "line", "path", "polyline", "polygon"})
    if (name == known) return true;
  return false;
}

std::string printed(const char* format, int digits, double value) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), format, digits, value);
  return text.data();
}

}  // namespace

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        // Control characters are in no document; only the three of white space are.
        if ((static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
          out += "\ufffd";
        else
          out += c;
    }
  return out;
}

std::string element(std::string_view name, const attributes& values, std::string_view content) {
  std::string out = "<" + std::string(name);
  for (const auto& [key, value] : values) out += " " + key + "=\"" + escaped(value) + "\"";
  if (content.empty() && may_be_empty(name)) return out + "/>";
  return out + ">" + std::string(content) + "</" + std::string(name) + ">";
}

std::string coordinate(double value) {
  std::string text = printed("%.*f", 2, value);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text == "-0" ? "0" : text;
}

std::string fixed(double value, int digits) {
  if (!kvsharer::is_finite(value)) return "\u2013";
  const std::string size = printed("%.*f", digits, std::abs(value));
  const bool zero = size.find_first_of("123456789") == std::string::npos;
  return (value < 0 && !zero ? "\u2212" : "") + size;
}

std::string fixed_or_short(double value, int digits) {
  return std::abs(value) < 1000 ? fixed(value, digits) : plain(value);
}

std::string count(double value) {
  std::string text = fixed(std::round(value), 0);
  // A thin space between thousands, that no line breaks at.
  const auto digits =
      static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; }));
  for (std::size_t behind = 3; behind < digits; behind += 3)
    text.insert(text.size() - behind - (behind / 3 - 1) * 3, "\u202f");
  return text;
}

std::string rounded(double value) {
  const double size = std::abs(value);
  if (!kvsharer::is_finite(value) || size == 0) return fixed(value, 0);
  if (size < 1e-4) return printed("%.*e", 1, value);
  const int before = static_cast<int>(std::floor(std::log10(size))) + 1;
  return before >= 3 ? count(value) : fixed(value, std::min(3 - before, 6));
}

std::string plain(double value) {
  if (std::abs(value) >= 1e12) return printed("%.*g", 3, value);
  for (const auto& [size, name] : {std::pair{1e9, "\u00a0G"}, {1e6, "\u00a0M"}, {1e4, "\u00a0k"}})
    if (std::abs(value) >= size) return plain(value / (size == 1e4 ? 1e3 : size)) + name;
  std::string text = rounded(value);
  if (text.find('.') == std::string::npos || text.find('e') != std::string::npos) return text;
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

byte_unit unit_of(double value) {
  byte_unit unit{"B", 1};
  for (const char* larger : {"KiB", "MiB", "GiB", "TiB"})
    if (value >= 1024 * unit.size) unit = {larger, 1024 * unit.size};
  return unit;
}

std::string bytes(double value) {
  if (!kvsharer::is_finite(value)) return "\u2013";
  const byte_unit unit = unit_of(value);
  return rounded(value / unit.size) + "\u00a0" + unit.name;
}

std::string percent(double fraction, int digits) { return fixed(100 * fraction, digits) + "\u00a0%"; }

std::string exact(double value) { return nlohmann::json(value).dump(); }

std::string data(double value, std::string_view shown) {
  return element("data", {{"value", exact(value)}}, escaped(shown));
}

}  // namespace mini_llama::report
