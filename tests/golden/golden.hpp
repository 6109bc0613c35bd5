// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

/// The golden data of this folder; README.md says what each number is.
namespace golden {

struct prompt {
  std::string text;
  std::vector<int> token_ids;
  std::vector<int> greedy_ids;
  std::vector<double> greedy_margins;
};

struct candidate {
  int reader;
  int owner;
  double similarity;
  bool accepted;
};

struct strategy {
  int share;
  double threshold;
  std::vector<int> layer_map;
  double similarity;
  std::vector<candidate> tried;
};

struct mini_llama {
  std::vector<prompt> prompts;
  std::vector<std::vector<int>> calibration_ids;
  std::vector<std::vector<double>> distance_matrix;
  std::vector<std::pair<int, int>> ranked_pairs;  ///< (reader, owner)
  std::vector<strategy> strategies;
};

struct tokenized {
  std::string text;
  std::vector<int> ids;  ///< without BOS
  std::string decoded;
};

inline constexpr std::size_t vocab = 8192;

/// Where the sources are: told when compiling, or by the environment where a packed test runs (cmake/gpu-pack).
inline std::string root() {
  const char* packed = std::getenv("KVSHARER_SOURCE_DIR");
  return packed != nullptr ? packed : KVSHARER_SOURCE_DIR;
}

inline std::string model_directory() { return root() + "/examples/mini_llama/model"; }

inline std::string read_file(const std::string& name) {
  std::ifstream in(root() + "/tests/golden/" + name, std::ios::binary);
  if (!in) throw std::runtime_error("tests/golden/" + name + " cannot be opened");
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

inline mini_llama read_mini_llama() {
  const nlohmann::json root = nlohmann::json::parse(read_file("mini_llama.json"));
  mini_llama g;
  for (const auto& p : root.at("prompts"))
    g.prompts.push_back({p.at("text"), p.at("token_ids"), p.at("greedy_ids"), p.at("greedy_margins")});
  g.calibration_ids = root.at("calibration_ids");
  g.distance_matrix = root.at("distance_matrix");
  g.ranked_pairs = root.at("ranked_pairs");
  for (const auto& s : root.at("strategies")) {
    strategy made{s.at("share"), s.at("threshold"), s.at("layer_map"), s.at("similarity"), {}};
    for (const auto& t : s.at("tried")) made.tried.push_back({t.at(0), t.at(1), t.at(2), t.at(3)});
    g.strategies.push_back(std::move(made));
  }
  return g;
}

/// Little-endian float32 numbers, whatever this machine's byte order.
inline std::vector<float> read_floats(const std::string& name) {
  const std::string bytes = read_file(name);
  std::vector<float> values(bytes.size() / 4);
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::uint32_t bits = 0;
    for (std::size_t b = 4; b-- > 0;) bits = bits << 8 | static_cast<unsigned char>(bytes[4 * i + b]);
    values[i] = std::bit_cast<float>(bits);
  }
  return values;
}

/// [prompt][vocab]
inline std::vector<float> read_logits() { return read_floats("logits.f32"); }

/// [prompt][strategy][vocab]
inline std::vector<float> read_shared_logits() { return read_floats("shared_logits.f32"); }

inline std::vector<tokenized> read_tokenized() {
  std::vector<tokenized> all;
  for (const auto& t : nlohmann::json::parse(read_file("tokenizer.json")))
    all.push_back({t.at("text"), t.at("ids"), t.at("decoded")});
  return all;
}

}  // namespace golden
