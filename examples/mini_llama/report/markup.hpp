// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// HTML and SVG as text that is well-formed by construction, and numbers as people and programs read them.
namespace mini_llama::report {

/// Text with what has a meaning in markup replaced, and what no document may hold as U+FFFD.
std::string escaped(std::string_view text);

using attributes = std::vector<std::pair<std::string, std::string>>;

/// <name key="value">content</name>, or <name/> where there is no content and `name` allows it. `content` is markup,
/// values are text.
std::string element(std::string_view name, const attributes& values = {}, std::string_view content = {});

/// At most `digits` behind the point, such as a coordinate needs: "12.5", "3".
std::string coordinate(double value);

/// With so many digits behind the point; a dash where it is no number.
std::string fixed(double value, int digits);

/// About three significant digits: "0.0123", "1.23", "123", "12 300".
std::string rounded(double value);

/// A round number in few letters, as an axis has them: "0.5", "70", "15 k", "180 M".
std::string plain(double value);

/// The same, and in few letters from a thousand on: perplexities can be anything.
std::string fixed_or_short(double value, int digits);

/// All digits of a whole number: "1 234".
std::string count(double value);

/// "7.50 KiB", "1.25 MiB".
std::string bytes(double value);

/// The unit that `bytes` would take for this many, and the bytes in one of it.
struct byte_unit {
  std::string name;
  double size;
};
byte_unit unit_of(double value);

/// "12.5 %" of a fraction.
std::string percent(double fraction, int digits = 1);

/// The shortest text that is exactly this number, as JSON has it; "null" where it is no number.
std::string exact(double value);

/// A number to be read by people as `shown`, and by programs in full.
std::string data(double value, std::string_view shown);

}  // namespace mini_llama::report
