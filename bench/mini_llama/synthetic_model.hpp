// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <initializer_list>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kvsharer/core/element.hpp"
#include "kvsharer/core/types.hpp"
#include "network/model.hpp"

namespace mini_llama_bench {

/// A model of random bf16 weights, each uniform in +- sqrt(3 / in), so that activations keep their size from layer to
/// layer. Vectors (the gains of norms) are ones.
inline mini_llama::model synthetic_model(const mini_llama::model_config& config) {
  using kvsharer::index_t;
  auto memory = std::make_shared<std::vector<std::vector<kvsharer::bfloat16>>>();
  std::minstd_rand draw(1);
  return mini_llama::model(
      config,
      [&](const std::string&, std::initializer_list<index_t> shape) {
        index_t size = 1;
        for (const index_t n : shape) size *= n;
        auto& tensor = memory->emplace_back(static_cast<std::size_t>(size), kvsharer::bfloat16(1.0f));
        if (shape.size() == 2) {
          const float scale = std::sqrt(3.0f / static_cast<float>(shape.begin()[1]));
          for (auto& x : tensor) x = kvsharer::bfloat16((static_cast<float>(draw()) * 0x1p-30f - 1) * scale);
        }
        return mini_llama::tensor_view{mini_llama::dtype::bf16, shape,
                                       reinterpret_cast<const std::byte*>(tensor.data())};
      },
      memory);
}

}  // namespace mini_llama_bench
