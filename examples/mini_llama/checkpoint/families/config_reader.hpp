// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "kvsharer/core/finite.hpp"
#include "support/load_error.hpp"

namespace mini_llama {

/// Typed access to one object of a config.json, where null counts as absent.
class config_reader {
 public:
  config_reader(const std::filesystem::path& file, const nlohmann::json& object, std::string where = "")
      : file_(file), object_(object), where_(std::move(where)) {}

  [[noreturn]] void refuse(const std::string& text) const { throw load_error(file_, text); }

  bool has(const char* key) const { return object_.contains(key); }

  const nlohmann::json* find(const char* key) const {
    const auto at = object_.find(key);
    return at == object_.end() || at->is_null() ? nullptr : &*at;
  }

  /// The object at a key that is there.
  config_reader within(const char* key) const {
    if (!find(key)->is_object()) refuse(said(key) + " is not an object");
    return {file_, *find(key), where_ + key + "."};
  }

  std::string said(const char* key) const {
    const nlohmann::json* value = find(key);
    std::string text = value ? value->dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) : "null";
    return "\"" + where_ + key + "\": " + (text.size() <= 100 ? text : text.substr(0, 100) + "...");
  }

  /// A positive whole number below 2^30.
  int size(const char* key, std::optional<int> otherwise = std::nullopt) const {
    const nlohmann::json* value = find(key);
    if (!value && otherwise) return *otherwise;
    if (!value) refuse("lacks \"" + where_ + key + "\"; the config.json of a Llama-family model has it");
    if (!value->is_number_unsigned() || value->get<std::uint64_t>() == 0 || value->get<std::uint64_t>() >= 1u << 30)
      refuse(said(key) + " is not a positive whole number of a usable size");
    return value->get<int>();
  }

  /// A positive finite number.
  double number(const char* key, std::optional<double> otherwise = std::nullopt) const {
    const nlohmann::json* value = find(key);
    if (!value && otherwise) return *otherwise;
    if (!value) refuse("lacks \"" + where_ + key + "\"");
    if (!value->is_number() || !(value->get<double>() > 0) || !kvsharer::is_finite(value->get<double>()))
      refuse(said(key) + " is not a positive number");
    return value->get<double>();
  }

  bool flag(const char* key) const {
    const nlohmann::json* value = find(key);
    if (value && !value->is_boolean()) refuse(said(key) + " is neither true nor false");
    return value && value->get<bool>();
  }

  std::string text(const char* key, const char* otherwise) const {
    const nlohmann::json* value = find(key);
    if (value && !value->is_string()) refuse(said(key) + " is not a string");
    return value ? value->get<std::string>() : otherwise;
  }

 private:
  const std::filesystem::path& file_;
  const nlohmann::json& object_;
  std::string where_;  ///< the keys above this object, for messages
};

}  // namespace mini_llama
