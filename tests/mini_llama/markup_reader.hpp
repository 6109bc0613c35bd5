// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cctype>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

/// Reads markup as strictly as XML does, without leniency for browsers: every element closed and nested, every
/// attribute quoted and named once, nothing but the five references that XML knows, no stray '<' or '&'.
namespace markup {

struct element {
  std::string name;
  std::map<std::string, std::string> attributes;
  std::string text;  ///< of all that is inside, references resolved
  std::vector<std::unique_ptr<element>> children;

  const std::string& at(const std::string& key) const { return attributes.at(key); }
  bool is(const std::string& tag, const std::string& kind = {}) const {
    if (name != tag) return false;
    if (kind.empty()) return true;
    const auto found = attributes.find("class");
    return found != attributes.end() && (" " + found->second + " ").find(" " + kind + " ") != std::string::npos;
  }
};

/// All elements below `root` for which `wanted` holds, in the document's order.
inline std::vector<const element*> all(const element& root, const std::function<bool(const element&)>& wanted) {
  std::vector<const element*> found;
  for (const auto& child : root.children) {
    if (wanted(*child)) found.push_back(child.get());
    for (const element* below : all(*child, wanted)) found.push_back(below);
  }
  return found;
}
inline std::vector<const element*> all(const element& root, const std::string& tag, const std::string& kind = {}) {
  return all(root, [&](const element& e) { return e.is(tag, kind); });
}

class reader {
 public:
  explicit reader(std::string_view text) : text_(text) {}

  /// The one element that the document is, behind a doctype.
  std::unique_ptr<element> document() {
    constexpr std::string_view doctype = "<!doctype html>\n";
    if (!text_.starts_with(doctype)) fail("no doctype");
    at_ = doctype.size();
    auto root = read_element();
    while (at_ < text_.size())
      if (!std::isspace(static_cast<unsigned char>(text_[at_++]))) fail("text behind the document");
    return root;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw std::runtime_error(what + " near \"" + std::string(text_.substr(at_ < 60 ? 0 : at_ - 60, 120)) + "\"");
  }
  char next() {
    if (at_ >= text_.size()) fail("the end");
    return text_[at_++];
  }
  void expect(char c) {
    if (next() != c) fail(std::string("not the '") + c + "' that belongs there");
  }
  std::string name() {
    std::string n;
    while (at_ < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[at_])) || text_[at_] == '-'))
      n += text_[at_++];
    if (n.empty()) fail("a name is missing");
    return n;
  }
  std::string reference() {
    std::string r;
    while (r.empty() || r.back() != ';') {
      r += next();
      if (r.size() > 8) fail("an unfinished reference");
    }
    if (r == "amp;") return "&";
    if (r == "lt;") return "<";
    if (r == "gt;") return ">";
    if (r == "quot;") return "\"";
    if (r == "#39;") return "'";
    fail("an unknown reference");
  }
  std::string character(char c) {
    if (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') fail("a control character");
    return c == '&' ? reference() : std::string(1, c);
  }

  std::unique_ptr<element> read_element() {
    auto e = std::make_unique<element>();
    expect('<');
    e->name = name();
    for (;;) {
      const char c = next();
      if (c == '>') break;
      if (c == '/') {
        expect('>');
        return e;
      }
      if (c != ' ') fail("no space before an attribute");
      const std::string key = name();
      expect('=');
      expect('"');
      std::string value;
      for (char v = next(); v != '"'; v = next()) {
        if (v == '<') fail("'<' in an attribute");
        value += character(v);
      }
      if (!e->attributes.emplace(key, value).second) fail("an attribute twice");
    }
    for (;;) {
      if (at_ >= text_.size()) fail(e->name + " is not closed");
      if (text_[at_] != '<') {
        e->text += character(next());
      } else if (text_.substr(at_).starts_with("</")) {
        at_ += 2;
        if (name() != e->name) fail("another element than " + e->name + " is closed");
        expect('>');
        return e;
      } else {
        e->children.push_back(read_element());
        e->text += e->children.back()->text;
      }
    }
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

inline std::unique_ptr<element> read(std::string_view text) { return reader(text).document(); }

}  // namespace markup
