// SPDX-License-Identifier: Apache-2.0
#include "run/throughput.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "checkpoint/shapes.hpp"
#include "mini_llama/scratch_directory.hpp"
#include "support/usage_error.hpp"

namespace {

using kvsharer::index_t;
using kvsharer::share_map;
using namespace mini_llama;

model_config small() {
  model_config c = shape_named("llama2-7b");
  c.layers = 3;
  c.hidden = 64;
  c.intermediate = 96;
  c.heads = 4;
  c.kv_heads = 2;
  c.head_dim = 16;
  c.vocab = 50;
  c.max_position = 64;
  return c;
}

TEST_CASE("a decode step's weights are a model's without its embedding, norms and readers' keys and values") {
  const model_config c = shape_named("llama2-7b");
  const double all = 2.0 * (6738415616.0 - 32000.0 * 4096 - (2 * 32 + 1) * 4096);
  CHECK(decode_weight_bytes(c, share_map::identity(32), 2) == all);
  std::vector<int> owners(32, 0);
  for (int l = 0; l < 32; ++l) owners[static_cast<std::size_t>(l)] = l < 24 ? l : 23;
  CHECK(decode_weight_bytes(c, share_map::from_owners(owners).value(), 2) == all - 8 * 2 * 4096.0 * 4096 * 2);
}

/// Multiplications and additions, counted one matrix, layer and token at a time.
double count_prefill(const model_config& c, const share_map& map, index_t tokens) {
  double sum = 2.0 * c.hidden * c.vocab;
  for (int l = 0; l < c.layers; ++l)
    for (index_t t = 0; t < tokens; ++t) {
      // Above the last owner only the last token runs; the last owner itself stores all.
      const bool runs = l < map.last_owner().value || t + 1 == tokens;
      if (map.owns({l})) sum += 2 * (2.0 * c.hidden * c.kv_heads * c.head_dim);
      if (!runs) continue;
      sum += 2 * (2.0 * c.hidden * c.heads * c.head_dim) + 2 * (3.0 * c.hidden * c.intermediate);
      sum += static_cast<double>(t + 1) * c.heads * 2 * (2.0 * c.head_dim);
    }
  return sum;
}

TEST_CASE("a prefill's operations, with and without readers at the top") {
  const model_config c = small();
  for (const std::vector<int>& owners : std::vector<std::vector<int>>{{0, 1, 2}, {0, 1, 1}, {0, 0, 2}, {0, 0, 0}}) {
    const share_map map = share_map::from_owners(owners).value();
    CHECK(prefill_operations(c, map, 1, 7) == doctest::Approx(count_prefill(c, map, 7)).epsilon(1e-12));
    CHECK(prefill_operations(c, map, 5, 7) == doctest::Approx(5 * count_prefill(c, map, 7)).epsilon(1e-12));
  }
}

TEST_CASE("a budget is filled with whole sequences in whole pages") {
  throughput_request r{.config = small(), .context = 20, .new_tokens = 13};
  const share_map all = share_map::identity(3), shared = share_map::from_owners(std::vector<int>{0, 1, 1}).value();
  // 33 tokens take three pages of 16, each 2 planes x 32 channels x 2 bytes a token and layer.
  CHECK(sequence_kv_bytes(r.config, all, 2, 33, 16) == 48 * 3 * 2 * 32 * 2.0);
  r.batch = 7;
  CHECK(batch_of(r, all, 2, 16) == 7);
  r.kv_budget = 18432.0 * 4;
  CHECK(batch_of(r, all, 2, 16) == 4);
  CHECK(batch_of(r, shared, 2, 16) == 6);
  r.kv_budget = 18431;
  CHECK_THROWS_AS(batch_of(r, all, 2, 16), usage_error);
  CHECK(batch_of(r, shared, 2, 16) == 1);
}

TEST_CASE("measuring on the host: every map, with the bytes that its cache allocates") {
  throughput_request r{.config = small(), .type = "bf16", .batch = 2, .context = 20, .new_tokens = 3, .repeats = 2};
  r.maps = {share_map::identity(3), share_map::from_owners(std::vector<int>{0, 1, 1}).value()};
  std::vector<std::string> told;
  r.progress = [&](std::size_t, std::size_t of, const std::string& what) {
    CHECK(of == 3);
    told.push_back(what);
  };
  const throughput_report report = measure_throughput(r);
  CHECK(told.size() == 3);
  CHECK(report.device == "CPU");
  CHECK(report.copy_bytes_per_second > 1e8);
  REQUIRE(report.runs.size() == 2);
  for (const throughput& t : report.runs) {
    CHECK(t.batch == 2);
    CHECK(t.kv_bytes == static_cast<std::size_t>(2 * 32 * t.map.owner_count() * 2 * 32 * 2));  // 2 pages of 16
    CHECK(t.prefill_seconds > 0);
    CHECK(t.step_seconds > 0);
    CHECK(t.tokens_per_second > 0);
    // All layers read 21.5 tokens on average of two sequences, readers as well.
    CHECK(t.step_bytes == doctest::Approx(t.weight_bytes + 3 * 2 * 32 * 2 * 21.5 * 2));
  }
  CHECK(report.runs[1].weight_bytes == report.runs[0].weight_bytes - 2 * 32 * 64 * 2);

  r.type = "f8";
  CHECK_THROWS_AS(measure_throughput(r), usage_error);
}

}  // namespace
