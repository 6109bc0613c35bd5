// SPDX-License-Identifier: Apache-2.0
// A model's weights on the device against the same on the host.
#include "cuda/weights.cuh"

#include <doctest/doctest.h>

#include <cstddef>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/cuda/device.hpp"
#include "backend/cuda/driver_numbers.hpp"
#include "cuda/element.hpp"
#include "cuda/fill.cuh"
#include "cuda/upload.cuh"
#include "kvsharer/align/layer_alignment.hpp"
#include "network/model.hpp"
#include "network/random_weights.hpp"

namespace {

using namespace device_test;
using mini_llama::dtype;
using mini_llama::model;
using mini_llama::model_config;
using mini_llama::cuda::device_weights;
using mini_llama::cuda::dtype_of;

model_config small(bool tied) {
  model_config c;
  c.layers = 4;
  c.hidden = 48;
  c.intermediate = 88;
  c.heads = 6;
  c.kv_heads = 2;
  c.head_dim = 10;
  c.vocab = 61;
  c.max_position = 64;
  c.norm_eps = 1e-5f;
  c.tied_embeddings = tied;
  return c;
}

/// Layer 2 reads layer 0.
share_map third_reads() { return share_map::identity(4).with({{2}, {0}}).value(); }

/// A model of this type whose every number, norms too, is another.
template <class Stored>
model distinct_model(const model_config& c) {
  auto memory = std::make_shared<std::map<std::string, std::vector<Stored>>>();
  return {c,
          [memory](const std::string& name, std::initializer_list<index_t> shape) {
            mini_llama::tensor_view t{dtype_of<Stored>, shape, nullptr};
            auto& numbers = (*memory)[name] =
                random_numbers<Stored>(t.elements(), static_cast<unsigned>(memory->size()));
            t.data = reinterpret_cast<const std::byte*>(numbers.data());
            return t;
          },
          memory};
}

template <class E>
std::size_t differences(cuda::stream_ref stream, const E* device, const mini_llama::weight& w) {
  const auto got = on_host(stream, device, static_cast<std::size_t>(w.out * w.in));
  std::vector<float> row(static_cast<std::size_t>(w.in));
  std::size_t wrong = 0;
  for (index_t r = 0; r < w.out; ++r) {
    mini_llama::decode_row(w, r, row.data());
    for (std::size_t i = 0; i < row.size(); ++i)
      wrong += number(got[static_cast<std::size_t>(r) * row.size() + i]) != number(E(row[i]));
  }
  return wrong;
}

/// Every matrix of the device against the host's, rounded to E.
template <class E>
void compare(cuda::stream_ref stream, const device_weights<E>& got, const model& m, const share_plan& held) {
  const model_config& c = m.config();
  const auto norm = [&](const float* at) { return on_host(stream, at, static_cast<std::size_t>(c.hidden)); };
  CHECK(differences(stream, got.embedding(), m.embedding()) == 0);
  CHECK(differences(stream, got.head(), m.head()) == 0);
  CHECK((got.head() == got.embedding()) == c.tied_embeddings);
  CHECK(norm(got.final_norm()) == m.final_norm());
  for (int l = 0; l < c.layers; ++l) {
    const auto layer = got.layer(l);
    const mini_llama::layer_weights& of_host = m.layer(l);
    CHECK(norm(layer.attention_norm) == of_host.attention_norm);
    CHECK(norm(layer.mlp_norm) == of_host.mlp_norm);
    CHECK(differences(stream, layer.query, of_host.query) == 0);
    CHECK(got.holds_keys(l) == held.owns_keys({l}));
    CHECK(got.holds_values(l) == held.owns_values({l}));
    CHECK((layer.key != nullptr) == held.owns_keys({l}));
    CHECK((layer.value != nullptr) == held.owns_values({l}));
    auto behind = layer.query + of_host.query.out * of_host.query.in;
    if (layer.key != nullptr) {
      CHECK(layer.key == behind);
      CHECK(differences(stream, layer.key, of_host.key) == 0);
      behind += of_host.key.out * of_host.key.in;
    }
    if (layer.value != nullptr) {
      CHECK(layer.value == behind);
      CHECK(differences(stream, layer.value, of_host.value) == 0);
    }
    CHECK(differences(stream, layer.output, of_host.output) == 0);
    CHECK(differences(stream, layer.gate_up, of_host.gate) == 0);
    CHECK(differences(stream, layer.gate_up + of_host.gate.out * of_host.gate.in, of_host.up) == 0);
    CHECK(differences(stream, layer.down, of_host.down) == 0);
    const auto same = [&](const float* at, const std::vector<float>& on_the_host, bool is_held) {
      CHECK((at != nullptr) == (is_held && !on_the_host.empty()));
      if (at != nullptr) CHECK(on_host(stream, at, on_the_host.size()) == on_the_host);
    };
    same(layer.vectors.query_bias, of_host.query_bias, true);
    same(layer.vectors.key_bias, of_host.key_bias, held.owns_keys({l}));
    same(layer.vectors.value_bias, of_host.value_bias, held.owns_values({l}));
    same(layer.vectors.query_norm, of_host.query_norm, true);
    same(layer.vectors.key_norm, of_host.key_norm, held.owns_keys({l}));
    same(layer.vectors.output_bias, of_host.output_bias, true);
  }
}

/// By hand: what a model of `small` takes, `readers` of its layers without weights of keys and values.
std::size_t bytes_of(std::size_t element, int readers, bool tied) {
  const std::size_t layer = 60 * 48 + 48 * 60 + 3 * 88 * 48, key_value = 2 * 20 * 48, table = 61 * 48;
  return element * (4 * (layer + key_value) - static_cast<std::size_t>(readers) * key_value + (tied ? 1 : 2) * table) +
         4 * 9 * 48;
}

template <class E, class Stored>
void compare_upload() {
  owned_stream own;
  const model m = distinct_model<Stored>(small(false));
  const auto whole = device_weights<E>::upload(own.ref(), m);
  compare(own.ref(), whole, m, share_map::identity(4));
  CHECK(whole.bytes() == bytes_of(sizeof(E), 0, false));
}

TEST_CASE("uploaded weights are the checkpoint's, rounded from whatever type it has") {
  compare_upload<float, float>();
  compare_upload<float, float16>();
  compare_upload<float, bfloat16>();
  compare_upload<float16, float>();
  compare_upload<float16, float16>();
  compare_upload<float16, bfloat16>();
  compare_upload<bfloat16, float>();
  compare_upload<bfloat16, float16>();
  compare_upload<bfloat16, bfloat16>();
}

/// What Qwen2, Qwen3 and Llama with attention_bias have, all at once.
model_config with_vectors() {
  model_config c = small(false);
  c.qkv_bias = c.output_bias = c.head_norms = true;
  return c;
}

TEST_CASE("biases and norms of heads come along, those of readers' keys and values stay behind") {
  owned_stream own;
  const model m = distinct_model<bfloat16>(with_vectors());
  const auto whole = device_weights<float16>::upload(own.ref(), m);
  compare(own.ref(), whole, m, share_map::identity(4));
  CHECK(whole.bytes() == bytes_of(2, 0, false) + 4 * 4 * (60 + 2 * 20 + 2 * 10 + 48));
  const auto shared = device_weights<float16>::upload(own.ref(), m, third_reads());
  compare(own.ref(), shared, m, third_reads());
  CHECK(shared.bytes() == whole.bytes() - 2 * 2 * 20 * 48 - 4 * (2 * 20 + 10));

  const model random = mini_llama::random_model(with_vectors(), 11, dtype_of<bfloat16>);
  compare(own.ref(), device_weights<bfloat16>::random(own.ref(), with_vectors(), 11, third_reads()), random,
          third_reads());
}

TEST_CASE("an aligned model's weights are those that it has folded, its offset an output bias") {
  owned_stream own;
  model m = distinct_model<bfloat16>(small(false));
  kvsharer::layer_alignment a = kvsharer::layer_alignment::identity(2, 10);
  const auto numbers = random_numbers<float>(static_cast<index_t>(a.values.size()), 71);
  a.values = numbers;
  a.key_gain.assign(numbers.begin(), numbers.begin() + static_cast<std::ptrdiff_t>(a.key_gain.size()));
  const model before = m;
  m.align(2, a);
  const auto on_device = device_weights<float>::upload(own.ref(), m, third_reads());
  compare(own.ref(), on_device, m, third_reads());
  CHECK(differences(own.ref(), on_device.layer(2).query, before.layer(2).query) > 0);
  CHECK(differences(own.ref(), on_device.layer(2).output, before.layer(2).output) > 0);

  a.offset[3] = 1;
  m.align(2, a);
  REQUIRE(!m.layer(2).output_bias.empty());
  const auto with_offset = device_weights<float>::upload(own.ref(), m, third_reads());
  compare(own.ref(), with_offset, m, third_reads());
  CHECK(with_offset.layer(1).vectors.output_bias == nullptr);
}

TEST_CASE("conversion in pieces, the last of which is short") {
  owned_stream own;
  const model m = distinct_model<float>(small(false));
  mini_llama::cuda::uploader<float16> put(own.ref(), 1000);
  const auto numbers = static_cast<std::size_t>(m.embedding().out * m.embedding().in);
  auto to = poisoned<float16>(own.ref(), numbers + 1);
  put(m.embedding(), to.data());
  CHECK(differences(own.ref(), to.data(), m.embedding()) == 0);
  CHECK(on_host(to).back().bits == 0xffff);
}

TEST_CASE("numbers by a rule, of more than one block and of none") {
  owned_stream own;
  for (const index_t n : {index_t{0}, index_t{1}, index_t{4096}, index_t{10001}}) {
    auto made = poisoned<float>(own.ref(), static_cast<std::size_t>(n + 1));
    auto ones = poisoned<float16>(own.ref(), static_cast<std::size_t>(n + 1));
    auto converted = poisoned<bfloat16>(own.ref(), static_cast<std::size_t>(n + 1));
    mini_llama::cuda::fill_random(own.ref(), made.data(), n, 5, 0.3f);
    mini_llama::cuda::fill_constant(own.ref(), ones.data(), n, 1.0f);
    mini_llama::cuda::convert(own.ref(), made.data(), converted.data(), n);
    const auto of_rule = on_host(made);
    const auto of_ones = on_host(ones);
    const auto of_conversion = on_host(converted);
    index_t wrong = 0;
    for (index_t i = 0; i < n; ++i) {
      const auto at = static_cast<std::size_t>(i);
      wrong += of_rule[at] != mini_llama::random_weight(5, i, 0.3f) || number(of_ones[at]) != 1 ||
               of_conversion[at].bits != bfloat16(of_rule[at]).bits;
    }
    CHECK(wrong == 0);
    CHECK(of_ones.back().bits == 0xffff);
    CHECK(of_conversion.back().bits == 0xffff);
  }
}

TEST_CASE("readers' weights of keys and values are left behind, and tied weights held once") {
  owned_stream own;
  const model m = distinct_model<bfloat16>(small(true));
  const auto got = device_weights<bfloat16>::upload(own.ref(), m, third_reads());
  compare(own.ref(), got, m, third_reads());
  CHECK(got.bytes() == bytes_of(2, 1, true));
  CHECK(got.bytes_per_step(third_reads()) == got.bytes());
  CHECK_NOTHROW(got.require(third_reads()));
  const std::string text = refusal([&] { got.require(share_map::identity(4)); });
  CHECK(text.starts_with("kvsharer E303: layer 2 is to own its cache"));
  CHECK(refusal([&] { got.require(share_map::identity(5)); }).starts_with("kvsharer E303: a map of 5 layers"));
  CHECK(refusal([&] {
          device_weights<float>::upload(own.ref(), m, share_map::identity(3));
        }).starts_with("kvsharer E303: a map of 3 layers"));
}

TEST_CASE("readers' weights are given back later, and a step reads no more than it needs") {
  owned_stream own;
  const model m = distinct_model<float16>(small(false));
  auto got = device_weights<float16>::upload(own.ref(), m);
  const std::size_t table = std::size_t{61} * 48 * 2, key_value = std::size_t{2} * 20 * 48 * 2;
  CHECK(got.bytes_per_step(share_map::identity(4)) == got.bytes() - table);
  CHECK(got.bytes_per_step(third_reads()) == got.bytes() - table - key_value);
  got.release_readers(third_reads());
  compare(own.ref(), got, m, third_reads());
  CHECK(got.bytes() == bytes_of(2, 1, false));
  CHECK(got.bytes_per_step(third_reads()) == got.bytes() - table);
  got.release_readers(third_reads());
  CHECK(got.bytes() == bytes_of(2, 1, false));
}

TEST_CASE("keys and values are left behind, and given back, each by its own map") {
  owned_stream own;
  const model m = distinct_model<bfloat16>(small(false));
  // Layer 1 stores values alone, 2 neither, 3 keys alone.
  const auto map_of = [](std::vector<int> owners) { return share_map::from_owners(owners).value(); };
  const share_plan apart(map_of({0, 0, 0, 3}), map_of({0, 1, 1, 1}));
  const std::size_t plane = std::size_t{20} * 48 * 2;
  const auto uploaded = device_weights<bfloat16>::upload(own.ref(), m, apart);
  compare(own.ref(), uploaded, m, apart);
  CHECK(uploaded.bytes() == bytes_of(2, 0, false) - 4 * plane);
  CHECK(refusal([&] {
          uploaded.require(share_plan(map_of({0, 1, 0, 3}), apart.values()));
        }).starts_with("kvsharer E303: layer 1 is to own"));

  auto whole = device_weights<bfloat16>::upload(own.ref(), m);
  CHECK(whole.bytes_per_step(apart) == uploaded.bytes_per_step(apart));
  whole.release_readers(share_plan(map_of({0, 0, 2, 3}), share_map::identity(4)));
  CHECK(whole.bytes() == bytes_of(2, 0, false) - plane);
  CHECK_NOTHROW(whole.require(apart));
  whole.release_readers(apart);
  compare(own.ref(), whole, m, apart);
  CHECK(whole.bytes() == uploaded.bytes());
}

template <class E>
void compare_random(bool tied) {
  owned_stream own;
  const model m = mini_llama::random_model(small(tied), 11, dtype_of<E>);
  const auto whole = device_weights<E>::random(own.ref(), small(tied), 11);
  compare(own.ref(), whole, m, share_map::identity(4));
  const auto shared = device_weights<E>::random(own.ref(), small(tied), 11, third_reads());
  compare(own.ref(), shared, m, third_reads());
  CHECK(shared.bytes() == bytes_of(sizeof(E), 1, tied));
}

TEST_CASE("random weights made on the device are the host's of the same seed, bit for bit") {
  compare_random<float>(false);
  compare_random<float16>(true);
  compare_random<bfloat16>(false);
}

TEST_CASE("sizes that the kernels cannot take are refused") {
  owned_stream own;
  model_config c = small(false);
  c.intermediate = 44;
  CHECK_NOTHROW(device_weights<float>::random(own.ref(), c, 1));
  CHECK(refusal([&] {
          device_weights<float16>::random(own.ref(), c, 1);
        }).starts_with("kvsharer E302: an MLP's inner row of 44 numbers is not a multiple of 8"));
}

TEST_CASE("models that the device would run wrongly never get there") {
  owned_stream own;
  model_config c = small(false);
  c.kv_owners = {0, 1, 1, 1};
  const std::string wanted =
      "kvsharer E303: the GPU does not run models with a layer map of their own; choose --backend cpu";
  CHECK(refusal([&] { device_weights<float>::random(own.ref(), c, 1); }) == wanted);
  // Under a map, too, in which no layer wants the keys and values that are not there.
  const share_plan held(share_map::from_owners(c.kv_owners).value());
  const model m = distinct_model<float>(c);
  CHECK(refusal([&] { device_weights<float>::upload(own.ref(), m, held); }) == wanted);
}

}  // namespace
