// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/config.hpp"
#include "kvsharer/core/share_map.hpp"
#include "kvsharer/core/types.hpp"

/// How fast a model of given sizes prefills and decodes with random weights, and how fast it could.
namespace mini_llama {

struct throughput_request {
  model_config config;
  std::string type = "bf16";  ///< of weights, activations and cache
  kvsharer::index_t batch = 1;
  kvsharer::index_t context = 2048;   ///< tokens of each prompt
  kvsharer::index_t new_tokens = 64;  ///< decoded in each sequence
  int repeats = 5;                    ///< prefills that the median is of
  std::uint64_t seed = 0;
  /// With a budget in bytes for keys and values, `batch` is whatever fits it under each map.
  std::optional<double> kv_budget = {};
  std::vector<kvsharer::share_map> maps = {};  ///< measured one after the other, on the same weights
  std::function<void(std::size_t done, std::size_t of, const std::string& what)> progress = {};
  std::function<bool()> cancelled = {};
};

/// Of one map.
struct throughput {
  kvsharer::share_map map;
  kvsharer::index_t batch = 0;
  std::size_t kv_bytes = 0;      ///< allocated for keys and values
  double prefill_seconds = 0;    ///< all prompts, median
  double step_seconds = 0;       ///< one decode step of the whole batch, median
  double tokens_per_second = 0;  ///< decoded, over the whole loop with what the host does in it
  double weight_bytes = 0;       ///< that a step multiplies with; readers need none for keys and values
  double step_bytes = 0;         ///< those, and keys and values at the middle of the decoded tokens
  double prefill_operations = 0;
};

struct throughput_report {
  std::string device;
  double copy_bytes_per_second = 0;          ///< of a large copy, read and written bytes
  double product_operations_per_second = 0;  ///< of a large product of the same type; 0 where that was not measured
  std::vector<throughput> runs;

  double step_floor(const throughput& t) const noexcept { return t.step_bytes / copy_bytes_per_second; }
  double prefill_floor(const throughput& t) const noexcept {
    return t.prefill_operations / product_operations_per_second;
  }
};

/// Measures on the host, which may compute with wider numbers than it stores. Throws usage_error for a type that is
/// none, and what batch_of throws.
throughput_report measure_throughput(const throughput_request& request);

/// Fills in what follows from the sizes alone: the bytes that a decode step cannot but read, and the operations of a
/// prefill. Every layer's keys and values count: a reader's are its owner's, but are read again.
void add_floors(throughput& t, const throughput_request& request, std::size_t element_bytes);

/// Bytes of the weights that one decode step multiplies with under a map; norms are left out.
double decode_weight_bytes(const model_config& c, const kvsharer::share_map& map, std::size_t element_bytes);

/// Multiplications and additions of a prefill of which only the last position's logits are wanted: above the last
/// owner's keys and values, only last rows run.
double prefill_operations(const model_config& c, const kvsharer::share_map& map, kvsharer::index_t batch,
                          kvsharer::index_t tokens);

/// Bytes of keys and values of one sequence of `tokens` tokens in pages of `page_tokens`.
double sequence_kv_bytes(const model_config& c, const kvsharer::share_map& map, std::size_t element_bytes,
                         kvsharer::index_t tokens, kvsharer::index_t page_tokens);

/// The largest batch, what a GPU's attention takes.
inline constexpr kvsharer::index_t most_sequences = 65535;

/// The batch that a request runs under a map: the request's own or, with a budget, the largest that fits. Throws
/// usage_error where not even one sequence does, or more than most_sequences.
kvsharer::index_t batch_of(const throughput_request& request, const kvsharer::share_map& map, std::size_t element_bytes,
                           kvsharer::index_t page_tokens);

}  // namespace mini_llama
