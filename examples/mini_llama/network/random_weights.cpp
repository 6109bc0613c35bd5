// SPDX-License-Identifier: Apache-2.0
#include "network/random_weights.hpp"

#include <cmath>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "kvsharer/core/element.hpp"
#include "kvsharer/core/hash.hpp"

namespace mini_llama {

using kvsharer::index_t;

std::uint64_t random_tensor_key(std::uint64_t seed, std::string_view name) {
  std::uint64_t h = kvsharer::fnv1a(kvsharer::fnv1a::basis ^ seed).add(name).value();
  // Keys of similar names must not be neighbours, or their numbers would be each other's, shifted.
  h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdu;
  h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53u;
  return h ^ (h >> 33);
}

float random_tensor_deviation(const model_config& config, std::string_view name) {
  const bool to_residual = name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight");
  return to_residual ? 0.02f / std::sqrt(2.0f * static_cast<float>(config.layers)) : 0.02f;
}

namespace {

template <class E>
void write(std::byte* to, index_t place, float x) {
  const E rounded(x);
  std::memcpy(to + place * static_cast<index_t>(sizeof(E)), &rounded, sizeof(E));
}

}  // namespace

model random_model(const model_config& config, std::uint64_t seed, dtype type) {
  auto memory = std::make_shared<std::deque<std::vector<std::byte>>>();
  const auto make = [&](const std::string& name, std::initializer_list<index_t> shape) {
    tensor_view t{type, shape, nullptr};
    std::vector<std::byte>& bytes = memory->emplace_back(static_cast<std::size_t>(t.bytes()));
    const std::uint64_t key = random_tensor_key(seed, name);
    const float deviation = random_tensor_deviation(config, name);
    for (index_t i = 0; i < t.elements(); ++i) {
      const float x = shape.size() == 1 && !name.ends_with(".bias") ? 1.0f : random_weight(key, i, deviation);
      type == dtype::f32   ? write<float>(bytes.data(), i, x)
      : type == dtype::f16 ? write<kvsharer::float16>(bytes.data(), i, x)
                           : write<kvsharer::bfloat16>(bytes.data(), i, x);
    }
    t.data = bytes.data();
    return t;
  };
  return model(config, make, memory, "random-" + std::to_string(seed));
}

}  // namespace mini_llama
