// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/alignment.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "checkpoint/safetensors.hpp"
#include "kvsharer/cpu.hpp"
#include "mini_llama/scratch_directory.hpp"
#include "mini_llama/tiny_llama.hpp"
#include "network/forward.hpp"
#include "run/evaluation.hpp"
#include "run/generation.hpp"
#include "run/session.hpp"
#include "search/fit_alignment.hpp"
#include "support/files.hpp"
#include "support/usage_error.hpp"

namespace {

using kvsharer::index_t;
using kvsharer::layer_alignment;
using kvsharer::share_map;
using namespace mini_llama;

const std::vector<int> owners{0, 1, 1, 3, 0, 1};  // readers 2, 4 and 5
const share_map map = share_map::from_owners(owners).value();

std::vector<int> text(std::size_t tokens, unsigned seed = 1) {
  std::vector<int> ids;
  std::mt19937 bits(seed);
  while (ids.size() < tokens) ids.push_back(static_cast<int>(bits() % 61));
  return ids;
}

token_batch samples(std::size_t count, std::size_t tokens) {
  token_batch batch;
  for (std::size_t s = 0; s < count; ++s) batch.push_back(text(tokens, static_cast<unsigned>(s + 20)));
  return batch;
}

/// Nowhere near the identity.
alignment random_alignment() {
  alignment readers;
  std::mt19937 bits(17);
  for (const int l : {2, 4, 5}) {
    layer_alignment a = layer_alignment::identity(2, 10);
    for (auto* numbers : {&a.values, &a.offset, &a.key_gain})
      for (float& x : *numbers) x += static_cast<float>(bits() % 2001) / 2000.0f - 0.5f;
    readers.emplace(l, a);
  }
  return readers;
}

std::vector<float> all_logits(const model& m, const share_map& under, const std::vector<int>& ids) {
  kvsharer::shared_cache<> cache(under, {m.config().layers, 2, 10, 96});
  const auto tokens = static_cast<index_t>(ids.size());
  const sequence_slice slice{cache.create(), 0, tokens};
  cache.append(slice.id, tokens);
  workspace w;
  const auto out = forward(m, cache, {&slice, 1}, ids, {.want = outputs::all_logits}, w);
  return {out.begin(), out.end()};
}

double largest_difference(const std::vector<float>& a, const tiny_llama::rows& b) {
  REQUIRE(a.size() == b.size() * b[0].size());
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    worst = std::max(worst, std::abs(static_cast<double>(a[i]) - b[i / b[0].size()][i % b[0].size()]));
  return worst;
}

struct random_model {
  std::shared_ptr<tiny_llama::tensors> weights = std::make_shared<tiny_llama::tensors>();
  model llama = tiny_llama::make(tiny_llama::config(), weights);
};

TEST_CASE("a model with an alignment folded in computes what applying it to keys and values computes") {
  const random_model full;
  const alignment readers = random_alignment();
  model folded = full.llama;
  for (const auto& [l, a] : readers) folded.align(l, a);
  const std::vector<int> ids = text(40);
  const auto expected = tiny_llama::textbook_run(full.llama.config(), *full.weights, owners, ids, readers).logits;
  CHECK(largest_difference(all_logits(folded, map, ids), expected) < 1e-4);
  const auto plain = tiny_llama::logits(full.llama.config(), *full.weights, owners, ids);
  CHECK(largest_difference(all_logits(folded, map, ids), plain) > 0.05);
  CHECK(largest_difference(all_logits(full.llama, map, ids), plain) < 1e-4);  // what was copied from is as it was

  // An alignment folded in twice is applied twice.
  model twice = folded;
  twice.align(5, readers.at(5));
  auto changed = readers;
  const layer_alignment &a = readers.at(5), once = a;
  layer_alignment& b = changed.at(5);
  for (index_t h = 0; h < 2; ++h)
    for (index_t i = 0; i < 10; ++i) {
      const auto at = [h](index_t r, index_t c) { return static_cast<std::size_t>((h * 10 + r) * 10 + c); };
      double offset = static_cast<double>(once.offset[static_cast<std::size_t>(h * 10 + i)]);
      for (index_t n = 0; n < 10; ++n)
        offset += static_cast<double>(once.values[at(i, n)]) *
                  static_cast<double>(once.offset[static_cast<std::size_t>(h * 10 + n)]);
      b.offset[static_cast<std::size_t>(h * 10 + i)] = static_cast<float>(offset);
      for (index_t j = 0; j < 10; ++j) {
        double sum = 0;
        for (index_t n = 0; n < 10; ++n)
          sum += static_cast<double>(once.values[at(i, n)]) * static_cast<double>(once.values[at(n, j)]);
        b.values[at(i, j)] = static_cast<float>(sum);
      }
    }
  for (std::size_t g = 0; g < b.key_gain.size(); g += 2) {
    const float re = once.key_gain[g], im = once.key_gain[g + 1];
    b.key_gain[g] = re * re - im * im;
    b.key_gain[g + 1] = 2 * re * im;
  }
  const auto squared = tiny_llama::textbook_run(full.llama.config(), *full.weights, owners, ids, changed).logits;
  CHECK(largest_difference(all_logits(twice, map, ids), squared) < 2e-4);
}

TEST_CASE("folding the identity changes no bit and makes no bias") {
  const random_model full;
  model folded = full.llama;
  for (const int l : {2, 4, 5}) folded.align(l, layer_alignment::identity(2, 10));
  CHECK(folded.layer(5).output_bias.empty());
  CHECK(all_logits(folded, map, text(20)) == all_logits(full.llama, map, text(20)));
  CHECK_THROWS_AS(folded.align(2, layer_alignment::identity(4, 10)), kvsharer::error);
  CHECK_THROWS_AS(folded.align(2, layer_alignment::identity(2, 12)), kvsharer::error);
}

/// A model in which layers 1 to 3 see the same hidden states, and so do layers 4 and 5; the keys and values of layer 3
/// follow from those of layer 1 by some B and g, and those of layer 5 from those of layer 4.
random_model planted_model() {
  random_model m;
  tiny_llama::tensors& w = *m.weights;
  const auto name = [](int l, const std::string& part) { return "model.layers." + std::to_string(l) + "." + part; };
  for (const int l : {1, 2, 4})
    for (const char* part : {"self_attn.o_proj.weight", "mlp.down_proj.weight"})
      std::ranges::fill(w[name(l, part)], 0.0f);
  std::mt19937 bits(29);
  const auto number = [&] { return static_cast<double>(bits() % 2001) / 1000 - 1; };
  for (const auto& [l, owner] : {std::pair{3, 1}, std::pair{5, 4}}) {
    auto &k = w[name(l, "self_attn.k_proj.weight")], &v = w[name(l, "self_attn.v_proj.weight")];
    const auto &k_s = w[name(owner, "self_attn.k_proj.weight")], &v_s = w[name(owner, "self_attn.v_proj.weight")];
    for (std::size_t h = 0; h < 2; ++h) {
      for (std::size_t i = 0; i < 10; ++i) {
        std::vector<double> b(10);
        for (double& x : b) x = number();
        for (std::size_t in = 0; in < 32; ++in) {
          double sum = 0;
          for (std::size_t j = 0; j < 10; ++j) sum += b[j] * static_cast<double>(v_s[(h * 10 + j) * 32 + in]);
          v[(h * 10 + i) * 32 + in] = static_cast<float>(sum);
        }
      }
      for (std::size_t f = 0; f < 5; ++f) {
        const double re = number(), im = number();
        for (std::size_t in = 0; in < 32; ++in) {
          const double a = static_cast<double>(k_s[(h * 10 + f) * 32 + in]),
                       c = static_cast<double>(k_s[(h * 10 + f + 5) * 32 + in]);
          k[(h * 10 + f) * 32 + in] = static_cast<float>(re * a - im * c);
          k[(h * 10 + f + 5) * 32 + in] = static_cast<float>(re * c + im * a);
        }
      }
    }
    w[name(l, "input_layernorm.weight")] = w[name(owner, "input_layernorm.weight")];
  }
  m.llama = {m.llama.config(),
             [&w](const std::string& tensor, std::initializer_list<index_t> shape) {
               return tensor_view{dtype::f32, shape, reinterpret_cast<const std::byte*>(w.at(tensor).data())};
             },
             m.weights};
  return m;
}

TEST_CASE("where keys and values follow from their owner's exactly, an aligned model that shares is the full model") {
  const random_model m = planted_model();
  const std::vector<int> wired{0, 1, 2, 1, 4, 4};
  const share_map shares = share_map::from_owners(wired).value();
  const std::vector<int> ids = text(50);
  const auto full = tiny_llama::logits(m.llama.config(), *m.weights, {0, 1, 2, 3, 4, 5}, ids);
  CHECK(largest_difference(all_logits(m.llama, shares, ids), full) > 0.05);
  for (const std::string on : {"full", "shared"}) {
    const alignment_outcome fitted = fit_alignment(
        m.llama, samples(5, 20), shares, {.activations = on, .ridge = 0, .offset = false, .keys = "least-squares"});
    REQUIRE(fitted.readers.size() == 2);
    CHECK(fitted.explained.at(3).keys == doctest::Approx(1).epsilon(1e-9));
    CHECK(fitted.explained.at(5).values == doctest::Approx(1).epsilon(1e-9));
    model aligned = m.llama;
    for (const auto& [l, a] : fitted.readers) aligned.align(l, a);
    CHECK(largest_difference(all_logits(aligned, shares, ids), full) < 1e-3);
  }
}

/// The largest normal equation of least squares that a reader's alignment leaves open, over all samples, from a
/// textbook run: the residual's product with the owner's numbers, in shares of what it is without the alignment.
double open_equations(const random_model& m, const alignment& applied, int reader, const token_batch& batch,
                      const std::vector<int>& run_owners, const alignment& fitted) {
  const auto from = static_cast<std::size_t>(owners[static_cast<std::size_t>(reader)]);
  const layer_alignment& a = fitted.at(reader);
  std::vector<double> left(2 * 10 * 10), all(left);
  for (const auto& ids : batch) {
    const auto run = tiny_llama::textbook_run(m.llama.config(), *m.weights, run_owners, ids, applied);
    tiny_llama::rows k = run.keys[from], v = run.values[from];
    tiny_llama::detail::align(k, v, a);
    for (std::size_t t = 0; t < ids.size(); ++t)
      for (std::size_t h = 0; h < 2; ++h)
        for (std::size_t i = 0; i < 10; ++i)
          for (std::size_t j = 0; j < 10; ++j) {
            const double y = run.values[static_cast<std::size_t>(reader)][t][h * 10 + i];
            const double x = run.values[from][t][h * 10 + j];
            left[(h * 10 + i) * 10 + j] += (y - v[t][h * 10 + i]) * x;
            all[(h * 10 + i) * 10 + j] += std::abs(y * x);
          }
  }
  double worst = 0;
  for (std::size_t i = 0; i < left.size(); ++i) worst = std::max(worst, std::abs(left[i]) / all[i]);
  return worst;
}

TEST_CASE("a fit is least squares on the activations it was asked for") {
  const random_model m;
  const token_batch batch = samples(40, 12);
  const std::vector<int> alone{0, 1, 2, 3, 4, 5};
  const alignment full = fit_alignment(m.llama, batch, map, {.activations = "full", .ridge = 0}).readers;
  const alignment shared = fit_alignment(m.llama, batch, map, {.activations = "shared", .ridge = 0}).readers;
  REQUIRE(full.size() == 3);
  REQUIRE(shared.size() == 3);
  CHECK(full.at(2) == shared.at(2));  // nothing lies below it that shares
  for (const int reader : {2, 4, 5}) {
    CHECK(open_equations(m, {}, reader, batch, alone, full) < 1e-4);
    CHECK(open_equations(m, shared, reader, batch, owners, shared) < 1e-4);
    if (reader == 2) continue;
    CHECK(open_equations(m, shared, reader, batch, owners, full) > 1e-3);
    CHECK(open_equations(m, {}, reader, batch, alone, shared) > 1e-3);
  }
}

TEST_CASE("an offset is made only where it is wanted, and a map without readers needs no alignment") {
  const random_model m;
  const token_batch batch = samples(8, 12);
  for (const std::string on : {"full", "shared"}) {
    const auto without = fit_alignment(m.llama, batch, map, {.activations = on, .offset = false});
    for (const auto& [l, a] : without.readers) CHECK_FALSE(a.has_offset());
    for (const auto& [l, a] : fit_alignment(m.llama, batch, map, {.activations = on}).readers) CHECK(a.has_offset());
    CHECK(fit_alignment(m.llama, batch, share_map::identity(6), {.activations = on}).readers.empty());
    CHECK(fit_alignment(m.llama, batch, map, {.activations = on, .cancelled = [] { return true; }}).readers.empty());
  }
  CHECK_THROWS_AS(fit_alignment(m.llama, batch, map, {.activations = "both"}), usage_error);
  CHECK_THROWS_AS(fit_alignment(m.llama, batch, map, {.keys = "short"}), usage_error);
  CHECK_THROWS_AS(fit_alignment(m.llama, batch, map, {.ridge = -1}), kvsharer::error);
  const alignment one = fit_alignment(m.llama, batch, map, {.keys = "one"}).readers;
  const alignment nearest = fit_alignment(m.llama, batch, map, {.keys = "least-squares"}).readers;
  for (const int l : {2, 4, 5})
    for (std::size_t i = 0; i < 20; i += 2) {
      CHECK(std::hypot(one.at(l).key_gain[i], one.at(l).key_gain[i + 1]) == doctest::Approx(1).epsilon(1e-6));
      CHECK(one.at(l).key_gain[i] != nearest.at(l).key_gain[i]);
    }
}

TEST_CASE("a session runs the aligned model under its map and the model itself under any other") {
  const random_model m;
  session s(m.llama);
  const evaluation before = evaluate(s, map, text(60), 16);
  s.use(map, random_alignment());
  CHECK(&s.model_for(share_map::identity(6)) == &s.llama);
  CHECK(&s.model_for(share_map::from_owners(std::vector{0, 1, 1, 3, 0, 0}).value()) == &s.llama);
  const evaluation after = evaluate(s, map, text(60), 16);
  CHECK(after.full_perplexity == before.full_perplexity);
  CHECK(std::abs(after.perplexity - before.perplexity) > 1e-3 * before.perplexity);
  const std::vector<float> expected = all_logits(s.model_for(map), map, text(20));
  const auto best = std::max_element(expected.end() - 61, expected.end()) - (expected.end() - 61);
  CHECK(generate(s, map, {.prompts = {text(20)}, .max_new_tokens = 1}).token_ids.at(0).at(0) == best);
}

/// What reading refuses with: the number of a kvsharer::error, 0 for a load_error, -1 for nothing.
int refused(const std::filesystem::path& plan, const kvsharer::alignment_record& named, const share_map& under,
            const model_config& config) {
  try {
    read_alignment(plan, named, under, config);
  } catch (const kvsharer::error& e) {
    CHECK(has(e.what(), named.file));
    return static_cast<int>(e.code());
  } catch (const load_error& e) {
    CHECK(has(e.what(), named.file));
    return 0;
  }
  return -1;
}

TEST_CASE("an alignment file comes back as it was written, and no other is taken for it") {
  const scratch_directory folder;
  const std::filesystem::path plan = folder.path() / "found.json";
  CHECK(alignment_beside(plan) == folder.path() / "found.align.safetensors");
  CHECK(alignment_beside("found") == "found.align.safetensors");
  const model_config config = tiny_llama::config();
  const alignment readers = random_alignment();
  const std::string bytes = alignment_bytes(readers);
  const auto write = [&](const std::string& content) {
    const std::string name = folder.write("found.align.safetensors", content).filename().string();
    return kvsharer::alignment_record{name, alignment_hash(content), "full", 1e-3, true, "one"};
  };
  const kvsharer::alignment_record named = write(bytes);
  CHECK(read_alignment(plan, named, map, config) == readers);

  std::string damaged = bytes;
  damaged[bytes.size() - 5] = static_cast<char>(damaged[bytes.size() - 5] ^ 1);
  write(damaged);
  CHECK(refused(plan, named, map, config) == 605);
  write(bytes.substr(0, bytes.size() - 1));
  CHECK(refused(plan, named, map, config) == 605);
  std::filesystem::remove(folder.path() / named.file);
  CHECK(refused(plan, named, map, config) == 605);

  // Under a hash that is right, too, what is in the file must be the alignment of this map and model.
  CHECK(refused(plan, write(bytes), map, config) == -1);
  CHECK(refused(plan, write("no safetensors"), map, config) == 0);
  CHECK(refused(plan, write(bytes), share_map::from_owners(std::vector{0, 1, 1, 3, 0, 5}).value(), config) == 0);
  CHECK(refused(plan, write(bytes), share_map::from_owners(std::vector{0, 1, 1, 1, 0, 1}).value(), config) == 0);
  model_config other = config;
  other.head_dim = 12;
  CHECK(refused(plan, write(bytes), map, other) == 0);
  alignment broken = readers;
  broken.at(4).key_gain[3] = std::numeric_limits<float>::infinity();
  CHECK(refused(plan, write(alignment_bytes(broken)), map, config) == 0);
  broken.at(4).key_gain[3] = 0;
  broken.at(5).offset.resize(10);
  broken.at(5).kv_heads = 1;
  broken.at(5).values.resize(100);
  broken.at(5).key_gain.resize(10);
  CHECK(refused(plan, write(alignment_bytes(broken)), map, config) == 0);
}

}  // namespace
