// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "report/markup.hpp"

namespace mini_llama::report {

/// A table in a frame of its own that scrolls sideways and can be reached by the keyboard.
class table {
 public:
  /// Columns whose name begins with '#' hold numbers.
  table(std::string caption, const std::vector<std::string>& columns) : caption_(std::move(caption)) {
    std::string row;
    for (const std::string& c : columns) {
      numbers_.push_back(c.starts_with('#'));
      row += element("th", {{"scope", "col"}, {"class", numbers_.back() ? "number" : "word"}},
                     escaped(numbers_.back() ? c.substr(1) : c));
    }
    head_ = element("thead", {}, element("tr", {}, row));
  }

  /// Cells are markup, the first one being the row's name. `id` may be empty.
  void add(const std::vector<std::string>& cells, const std::string& id = {}) {
    std::string row;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      attributes a{{"class", i < numbers_.size() && numbers_[i] ? "number" : "word"}};
      if (i == 0) a.insert(a.begin(), {"scope", "row"});
      row += element(i == 0 ? "th" : "td", a, cells[i]);
    }
    body_ += element("tr", id.empty() ? attributes{} : attributes{{"id", id}}, row) + "\n";
  }

  std::string markup() const {
    return element(
        "div", {{"class", "scroll"}, {"tabindex", "0"}, {"role", "region"}, {"aria-label", caption_}},
        element("table", {}, element("caption", {}, escaped(caption_)) + head_ + element("tbody", {}, body_)));
  }

 private:
  std::string caption_, head_, body_;
  std::vector<bool> numbers_;
};

/// What stands behind a picture: closed until it is asked for.
inline std::string numbers_behind(const std::string& summary, const std::string& content) {
  return element("details", {}, element("summary", {}, escaped(summary)) + content);
}

/// A picture below its words, and above its numbers.
inline std::string figure(const std::string& caption, const std::string& picture, const std::string& numbers) {
  return element("figure", {}, element("figcaption", {}, caption) + picture + numbers) + "\n";
}

}  // namespace mini_llama::report
