// SPDX-License-Identifier: Apache-2.0
// The device's cache where it differs from the host's: lengths and block tables in device memory, RoPE on the way in,
// captured graphs, refusals of kernels, memory that is borrowed.
#include "kvsharer/backend/cuda/shared_cache.cuh"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <sstream>
#include <utility>
#include <vector>

#include "backend/cuda/device.hpp"
#include "kvsharer/backend/cuda/saved_sequence.cuh"
#include "kvsharer/backend/cuda/sequence_batch.cuh"
#include "runtime/cache_fixtures.hpp"

namespace {

using namespace device_test;
using cache_fixtures::map_of;

const share_map map = map_of({0, 1, 0, 1});
const cache_shape shape{.layers = 4, .kv_heads = 2, .head_dim = 64, .capacity = 100};
constexpr index_t width = 2 * 64;

std::vector<float> random_numbers(index_t n, unsigned seed) {
  std::mt19937 bits(seed);
  std::vector<float> x(static_cast<std::size_t>(n));
  for (float& v : x) v = static_cast<float>(static_cast<int>(bits() % 2001) - 1000) / 500.0f;
  return x;
}

/// Attention of one query row over rows [token][kv_head][channel] in double; MHA.
std::vector<double> attend_slowly(const std::vector<float>& keys, const std::vector<float>& values, const float* query,
                                  index_t tokens) {
  std::vector<double> out(static_cast<std::size_t>(width));
  for (index_t h = 0; h < shape.kv_heads; ++h) {
    std::vector<double> weights;
    double sum = 0;
    for (index_t t = 0; t < tokens; ++t) {
      double score = 0;
      for (index_t d = 0; d < 64; ++d)
        score += static_cast<double>(query[h * 64 + d]) * keys[static_cast<std::size_t>(t * width + h * 64 + d)];
      weights.push_back(std::exp(score / 8));
      sum += weights.back();
    }
    for (index_t t = 0; t < tokens; ++t)
      for (index_t d = 0; d < 64; ++d)
        out[static_cast<std::size_t>(h * 64 + d)] +=
            weights[static_cast<std::size_t>(t)] / sum * values[static_cast<std::size_t>(t * width + h * 64 + d)];
  }
  return out;
}

double worst(const std::vector<float>& got, std::size_t at, const std::vector<double>& expected) {
  double most = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double difference = std::abs(static_cast<double>(got[at + i]) - expected[i]);
    if (!(difference <= most)) most = difference;  // NaN too
  }
  return most;
}

TEST_CASE("a reader's attention sees its owner's rows, and a captured step follows sequences past page borders") {
  device on;
  cuda::shared_cache<float, layout::paged<16>> cache(map, shape, {.max_sequences = 4, .pages = 30}, on.stream);
  cuda::sequence_batch<> steps(on.stream, 2);
  const auto a = cache.create(), spare = cache.create(), b = cache.create();
  const std::vector<float> keys = random_numbers(2 * 40 * width, 1), values = random_numbers(2 * 40 * width, 2);
  std::vector<std::vector<float>> key_rows(2), value_rows(2);  // what each sequence should hold
  std::size_t next = 0;

  auto new_keys = poisoned<float>(on.stream, 2 * width), new_values = poisoned<float>(on.stream, 2 * width);
  auto queries = poisoned<float>(on.stream, 2 * width), out = poisoned<float>(on.stream, 2 * width);
  const auto copy = [&](cuda::device_buffer<float>& to, const std::vector<float>& from) {
    cuda::check(cudaMemcpyAsync(to.data(), from.data(), to.bytes(), cudaMemcpyHostToDevice, on.stream.get()), "copy");
    on.stream.synchronize();
  };
  const auto grow = [&](index_t of_a, index_t of_b) {
    const sequence_growth growth[] = {{a, of_a}, {b, of_b}};
    cache.append(growth);
    steps.assign(cache, growth);
  };
  const auto hold = [&](std::size_t sequence, const std::vector<float>& k, const std::vector<float>& v,
                        std::size_t row) {
    const auto begin = static_cast<std::ptrdiff_t>(row * width);
    key_rows[sequence].insert(key_rows[sequence].end(), k.begin() + begin, k.begin() + begin + width);
    value_rows[sequence].insert(value_rows[sequence].end(), v.begin() + begin, v.begin() + begin + width);
  };
  const auto take = [&](const std::vector<float>& from) {
    return std::vector<float>(from.begin() + static_cast<std::ptrdiff_t>(next * width),
                              from.begin() + static_cast<std::ptrdiff_t>((next + 2) * width));
  };

  // A prompt of 14 tokens in one of them, of 1 in the other.
  grow(14, 1);
  const auto prompt_keys = on_device(on.stream, random_numbers(15 * width, 3));
  const auto prompt_values = on_device(on.stream, random_numbers(15 * width, 4));
  cache.store(on.backend, {1}, steps.batch(), cuda::new_rows<float>{prompt_keys.data(), prompt_values.data()});
  const auto host_keys = on_host(prompt_keys), host_values = on_host(prompt_values);
  for (std::size_t row = 0; row < 15; ++row) hold(row < 14 ? 0 : 1, host_keys, host_values, row);

  const auto step = [&] {
    cache.store(on.backend, {1}, steps.batch(), cuda::new_rows<float>{new_keys.data(), new_values.data()});
    cuda::attend<64>(on.backend, {2, 2, 64}, cache.keys({3}), cache.values({3}), steps.batch(), queries.data(),
                     out.data());
  };
  const auto check_step = [&](const char* what) {
    CAPTURE(what);
    const auto got = on_host(out), asked = on_host(queries);
    for (std::size_t s = 0; s < 2; ++s) {
      const auto tokens = static_cast<index_t>(key_rows[s].size()) / width;
      CAPTURE(tokens);
      CHECK(worst(got, s * width, attend_slowly(key_rows[s], value_rows[s], asked.data() + s * width, tokens)) < 2e-5);
    }
    CHECK_NOTHROW(on.backend.check_status());
  };
  const auto feed = [&] {
    const auto k = take(keys), v = take(values);
    next += 2;
    copy(new_keys, k);
    copy(new_values, v);
    copy(queries, random_numbers(2 * width, 100 + static_cast<unsigned>(next)));
    for (std::size_t s = 0; s < 2; ++s) hold(s, k, v, s);
    cuda::check(cudaMemsetAsync(out.data(), 0xff, out.bytes(), on.stream.get()), "poison");
    grow(1, 1);
  };

  feed();
  step();
  check_step("a step that is launched");

  const captured graph(on.stream, step);
  for (int i = 0; i < 19; ++i) {  // a reaches 34 tokens, b 21: both pass page borders
    feed();
    graph.replay();
    check_step("a replay");
    if (i == 5) cache.truncate(spare, 0);
    if (i == 7) {  // a fork keeps the old page; the sequence goes on in a copy
      const auto f = cache.fork(a);
      CHECK(cache.length(f) == cache.length(a));
      cache.drop(spare);
      cache.drop(f);
    }
  }
}

TEST_CASE("a fork's copy of a page leaves the other sequence alone") {
  device on;
  cuda::shared_cache<bfloat16, layout::paged<16>> cache(map, shape, {.max_sequences = 2, .pages = 4}, on.stream);
  cuda::sequence_batch<> batch(on.stream, 1);
  const auto a = cache.create();
  const auto store = [&](sequence_id id, index_t tokens, unsigned seed) {
    const sequence_growth growth{id, tokens};
    cache.append(id, tokens);
    batch.assign(cache, {&growth, 1});
    for (const int owner : {0, 1}) {
      const auto k = on_device(on.stream, random_numbers(tokens * width, seed + static_cast<unsigned>(owner)));
      const auto v = on_device(on.stream, random_numbers(tokens * width, seed + 10 + static_cast<unsigned>(owner)));
      cache.store(on.backend, {owner}, batch.batch(), cuda::new_rows<float>{k.data(), v.data()});
    }
    on.backend.check_status();
  };
  const auto rows = [&](sequence_id id) {
    auto out = poisoned<bfloat16>(on.stream, cache.row_numbers(cache.length(id)));
    cache.copy_out(id, out.data());
    return on_host(out);
  };
  const auto same = [](const std::vector<bfloat16>& x, const std::vector<bfloat16>& y) {
    if (x.size() != y.size()) return false;
    for (std::size_t i = 0; i < x.size(); ++i)
      if (x[i].bits != y[i].bits) return false;
    return true;
  };
  store(a, 19, 1);
  const auto before = rows(a);
  const auto b = cache.fork(a);
  CHECK(same(rows(b), before));
  store(b, 3, 50);
  CHECK(same(rows(a), before));
  CHECK_FALSE(same(rows(b), before));
  cache.truncate(b, 19);
  CHECK(same(rows(b), before));
  CHECK(cache.free_pages() == 1);
  CHECK_REFUSED(pages_exhausted, cache.append(a, 30));
  CHECK(same(rows(a), before));
  CHECK_REFUSED(not_an_owner, cache.store(on.backend, {2}, batch.batch(), cuda::new_rows<float>{}));
  CHECK_REFUSED(out_of_range, cache.check_store(a, 0, 4));
}

TEST_CASE("keys are turned by their positions on the way in") {
  device on;
  const cache_shape one_layer{1, shape.kv_heads, shape.head_dim, shape.capacity};
  cuda::shared_cache<float, layout::head_major> cache(share_map::identity(1), one_layer, {}, on.stream);
  cuda::sequence_batch<> batch(on.stream, 1);
  std::vector<float> table;  // [position][cosine, sine][channel]
  for (int p = 0; p < 20; ++p)
    for (const bool sine : {false, true})
      for (int c = 0; c < 32; ++c) {
        const double angle = p * std::pow(10000.0, -c / 32.0);
        table.push_back(static_cast<float>(sine ? std::sin(angle) : std::cos(angle)));
      }
  const auto angles = on_device(on.stream, table);
  const cuda::rope_angles rope{angles.data(), 20};
  const auto keys = random_numbers(20 * width, 1), values = random_numbers(20 * width, 2);
  const auto id = cache.create();
  index_t stored = 0;
  for (const index_t tokens : {13, 7}) {
    const sequence_growth growth{id, tokens};
    cache.append(id, tokens);
    batch.assign(cache, {&growth, 1});
    const auto slice = [&](const std::vector<float>& x) {
      return on_device(on.stream,
                       std::vector<float>(x.begin() + stored * width, x.begin() + (stored + tokens) * width));
    };
    const auto k = slice(keys), v = slice(values);
    cache.store(on.backend, {0}, batch.batch(), cuda::new_rows<float>{k.data(), v.data()}, rope);
    on.backend.check_status();
    stored += tokens;
  }
  auto out = poisoned<float>(on.stream, cache.row_numbers(20));
  cache.copy_out(id, out.data());
  const auto got = on_host(out);
  double most = 0;
  for (int t = 0; t < 20; ++t)
    for (int h = 0; h < 2; ++h)
      for (int i = 0; i < 32; ++i) {
        const auto at = static_cast<std::size_t>(t * width + h * 64 + i);
        const double angle = t * std::pow(10000.0, -i / 32.0);
        const double low = keys[at] * std::cos(angle) - keys[at + 32] * std::sin(angle);
        const double high = keys[at + 32] * std::cos(angle) + keys[at] * std::sin(angle);
        most = std::max({most, std::abs(got[at] - low), std::abs(got[at + 32] - high)});
        CHECK(got[20 * width + at] == values[at]);
      }
  CHECK(most < 1e-5);

  // The twenty-first token has no angle.
  const sequence_growth growth{id, 1};
  cache.append(id, 1);
  batch.assign(cache, {&growth, 1});
  const auto k = on_device(on.stream, random_numbers(width, 3));
  cache.store(on.backend, {0}, batch.batch(), cuda::new_rows<float>{k.data(), k.data()}, rope);
  CHECK_REFUSED(device_refusal, on.backend.check_status());
  CHECK_NOTHROW(on.backend.check_status());
}

TEST_CASE("a block table that leads outside is reported with layer, sequence and token, and read nowhere") {
  device on;
  const auto plane = on_device(on.stream, std::vector<float>(2 * 16 * 64, 0.5f));
  auto target = on_device(on.stream, std::vector<float>(2 * 16 * 64, 0.5f));
  const auto tables = on_device(on.stream, std::vector<std::int32_t>{0, 1, 7, 0});
  const auto lengths = on_device(on.stream, std::vector<std::int32_t>{20, 3});
  const cache_shape one_head{1, 1, 64, 32};
  const auto view = [&](auto* data) {
    return cuda::pool_of(data, 2 * 16 * 64, tables.data(), 2, one_head, layout::paged<16>{});
  };
  const auto queries = on_device(on.stream, std::vector<float>(2 * 64, 1.0f));
  auto out = poisoned<float>(on.stream, 2 * 64);
  const cuda::ragged_batch batch{.sequences = 2, .rows = 2, .lengths = lengths.data()};
  cuda::attend<64>(on.backend, {1, 1, 64}, view(plane.data()), view(plane.data()), batch, queries.data(), out.data(),
                   {}, {5});
  const auto status = on_host(on.status).front();
  CHECK(status.layer == 5);
  CHECK(status.sequence == 1);
  CHECK(status.token >= 0);
  CHECK(status.token < 3);
  CHECK(on_host(out)[0] == doctest::Approx(0.5));  // the other sequence is served
  CHECK_REFUSED(device_refusal, on.backend.check_status());

  cuda::store(on.backend, view(target.data()), view(target.data()), batch,
              cuda::new_rows<float>{queries.data(), queries.data()});
  CHECK_REFUSED(device_refusal, on.backend.check_status());
  CHECK(on_host(target)[static_cast<std::size_t>(16 * 64 + 3 * 64)] == 1.0f);  // token 19, in page 1
}

TEST_CASE("a sequence longer than its block table is reported, and what lies behind the table is not read") {
  device on;
  std::vector<float> numbers(2 * 16 * 64, 0.5f);
  std::fill(numbers.begin() + 16 * 64, numbers.end(), std::numeric_limits<float>::quiet_NaN());  // page 1: another's
  const auto plane = on_device(on.stream, numbers);
  const auto tables = on_device(on.stream, std::vector<std::int32_t>{0, 1});
  const auto view =
      cuda::pool_of(plane.data(), 2 * 16 * 64, tables.data(), 1, cache_shape{1, 1, 64, 16}, layout::paged<16>{});
  // Decode and prefill; a little too long, and so much that some blocks find no token that is there.
  for (const auto& [rows, length] : {std::pair{1, 41}, {40, 41}, {1, 5000}, {40, 5000}}) {
    const auto lengths = on_device(on.stream, std::vector<std::int32_t>{length});
    const auto begins = on_device(on.stream, std::vector<std::int32_t>{0, rows});
    const auto queries = on_device(on.stream, std::vector<float>(static_cast<std::size_t>(rows) * 64, 1.0f));
    auto out = poisoned<float>(on.stream, static_cast<std::size_t>(rows) * 64);
    cuda::attend<64>(
        on.backend, {1, 1, 64}, view, view,
        {.sequences = 1, .rows = rows, .max_rows = rows, .lengths = lengths.data(), .row_begin = begins.data()},
        queries.data(), out.data(), {}, {3});
    const auto status = on_host(on.status).front();
    CHECK(status.why == static_cast<std::int32_t>(cuda::refusal::past_capacity));
    CHECK(status.layer == 3);
    CHECK(status.sequence == 0);
    CHECK(status.token >= 16);
    CHECK(status.token < length);
    std::size_t not_numbers = 0;
    for (const float x : on_host(out)) not_numbers += std::isnan(x);
    CHECK(not_numbers == 0);
    CHECK_REFUSED(device_refusal, on.backend.check_status());
  }
}

/// A stream as libraries have it, made from the runtime's.
struct engine_stream {
  engine_stream(cudaStream_t s) : own(s) {}
  cudaStream_t own;
};

/// What an engine's resource counts. It can be neither copied nor moved.
struct engine_memory {
  std::size_t bytes = 0;
  engine_memory() = default;
  engine_memory(const engine_memory&) = delete;

  void* give(engine_stream s, std::size_t n, std::size_t alignment) {
    CHECK(alignment == 256);
    bytes += n;
    return cuda::pool_resource{}.allocate(s.own, n);
  }
  void take(engine_stream s, void* p, std::size_t n, std::size_t alignment) noexcept {
    CHECK(alignment == 256);
    bytes -= n;
    cuda::pool_resource{}.deallocate(s.own, p, n);
  }
};
struct stream_first : engine_memory {
  void* allocate(engine_stream s, std::size_t n, std::size_t alignment) { return give(s, n, alignment); }
  void deallocate(engine_stream s, void* p, std::size_t n, std::size_t alignment) noexcept { take(s, p, n, alignment); }
};
struct stream_last : engine_memory {
  void* allocate_async(std::size_t n, std::size_t alignment, engine_stream s) { return give(s, n, alignment); }
  void deallocate_async(void* p, std::size_t n, std::size_t alignment, engine_stream s) { take(s, p, n, alignment); }
};

TEST_CASE_TEMPLATE("an engine's resource of a form with an alignment is borrowed", Resource, stream_first,
                   stream_last) {
  device on;
  Resource memory;
  using borrowed = cuda::borrowed_resource<Resource>;
  static_assert(cuda::MemoryResource<borrowed>);
  static_assert(!cuda::AlignedResource<cuda::pool_resource>);
  {
    const cuda::shared_cache<float16, layout::paged<>, borrowed> cache(map, shape, {.max_sequences = 3, .pages = 9},
                                                                       on.stream, {8}, borrowed(memory));
    const auto f = cache.footprint();
    CHECK(f.keys + f.values + f.block_tables == memory.bytes);
  }
  CHECK(memory.bytes == 0);
}

TEST_CASE("an engine's own pool of the runtime is borrowed") {
  device on;
  cudaMemPoolProps properties{};
  properties.allocType = cudaMemAllocationTypePinned;
  properties.location.type = cudaMemLocationTypeDevice;
  cudaMemPool_t pool = nullptr;
  cuda::check(cudaMemPoolCreate(&pool, &properties), "cudaMemPoolCreate");
  {
    const cuda::shared_cache<float16, layout::paged<>> cache(map, shape, {.max_sequences = 3, .pages = 9}, on.stream,
                                                             {8}, cuda::pool_resource{pool});
    const auto f = cache.footprint();
    std::uint64_t most = 0;
    cuda::check(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemHigh, &most), "cudaMemPoolGetAttribute");
    CHECK(most >= f.keys + f.values + f.block_tables);
  }
  on.stream.synchronize();
  CHECK(cudaMemPoolDestroy(pool) == cudaSuccess);
}

/// A resource that tells its ledger what it gave and took back.
struct counted_memory {
  std::size_t* bytes;
  std::size_t* allocations;
  void* allocate(cuda::stream_ref stream, std::size_t n) {
    *bytes += n;
    ++*allocations;
    return cuda::pool_resource{}.allocate(stream, n);
  }
  void deallocate(cuda::stream_ref stream, void* p, std::size_t n) {
    *bytes -= n;
    cuda::pool_resource{}.deallocate(stream, p, n);
  }
};

TEST_CASE("all device memory comes from the resource, in the constructor, and is what the footprint says") {
  device on;
  std::size_t bytes = 0, allocations = 0;
  {
    cuda::shared_cache<float16, layout::paged<>, counted_memory> cache(map, shape, {.max_sequences = 3, .pages = 9},
                                                                       on.stream, {8}, {&bytes, &allocations});
    const auto f = cache.footprint();
    CHECK(f.keys + f.values + f.block_tables == bytes);
    CHECK(f.keys == 2 * 9 * 8 * width * sizeof(float16));  // two owners of four layers
    CHECK(f.block_tables == (3 + 3 * 13) * sizeof(std::int32_t));
    const auto* lengths = cache.device_lengths();
    const auto* plane = cache.keys({1}).plane;
    const auto a = cache.create();
    cache.append(a, 24);  // whole pages, so that growing after the fork copies none of what nobody wrote
    cache.fork(a);
    cache.append(a, 1);
    cache.clear();
    CHECK(allocations == 2);
    CHECK(cache.device_lengths() == lengths);
    CHECK(cache.keys({3}).plane == plane);
    auto moved = std::move(cache);
    CHECK(moved.keys({3}).plane == plane);
    CHECK(allocations == 2);
  }
  CHECK(bytes == 0);
}

TEST_CASE("sizes that a device cannot hold are refused in words") {
  device on;
  using paged = cuda::shared_cache<float, layout::paged<16>>;
  CHECK_REFUSED(bad_shape, paged(map, {4, 2, 3, 100}, {}, on.stream));
  CHECK_REFUSED(bad_shape, paged(map, {5, 2, 64, 100}, {}, on.stream));
  CHECK_REFUSED(bad_shape, paged(map, {4, 1, 4, index_t{1} << 34}, {.max_sequences = 32, .pages = 1}, on.stream));
  paged cache(map, shape, {}, on.stream);
  CHECK_REFUSED(out_of_range, cache.keys({4}));
  cuda::sequence_batch<> one(on.stream, 1);
  const auto a = cache.create();
  const sequence_growth two[] = {{a, 0}, {a, 0}}, longer{a, 1};
  CHECK_REFUSED(bad_argument, one.assign(cache, two));
  CHECK_REFUSED(bad_argument, one.assign(cache, {&longer, 1}));
  cuda::ragged_batch many = one.batch();
  many.sequences = many.rows = 65536;
  const cuda::new_rows<float> rows{reinterpret_cast<const float*>(256), reinterpret_cast<const float*>(256)};
  CHECK_REFUSED(bad_argument, cache.store(on.backend, {0}, many, rows));  // before anything is read
}

}  // namespace

TEST_CASE("values of another width than keys are stored, copied for a fork, moved, saved and restored on the host") {
  device on;
  for (const list_scope lists : {list_scope::cache, list_scope::head}) {
    constexpr index_t value_dim = 32, tokens = 21;
    const cache_shape wide{2, 2, 64, 48, value_dim};
    const share_plan shared = share_map::from_owners(std::vector<int>{0, 0}).value();
    cuda::shared_cache<float, layout::paged<16>> cache(
        shared, wide, {.max_sequences = 2, .positions = true, .lists = lists}, on.stream);
    cuda::sequence_batch<> batch(on.stream, 2);
    const auto id = cache.create();
    const sequence_growth grown[] = {{id, tokens}};
    cache.append(grown);
    batch.assign(cache, grown);
    const auto keys = random_numbers(tokens * 2 * 64, 31), values = random_numbers(tokens * 2 * value_dim, 32);
    const auto k = on_device(on.stream, keys), v = on_device(on.stream, values);
    cache.store(on.backend, {0}, batch.batch(), cuda::new_rows<float>{k.data(), v.data()});
    CHECK_REFUSED(bad_argument,
                  cache.store(on.backend, {0}, batch.batch(), cuda::new_rows<float>{k.data(), v.data(), 128}));
    const auto fork = cache.fork(id);  // its last page is copied when it grows
    cache.append(fork, 1);
    cache.truncate(fork, tokens);
    cache.keep(fork, std::vector<index_t>{3, 4, 20});
    on.backend.check_status();
    for (const auto& [from, slots] : {std::pair{id, std::vector<index_t>{}}, {fork, std::vector<index_t>{3, 4, 20}}}) {
      std::ostringstream out;
      cuda::save(cache, from, out);
      shared_cache<float> host(shared, wide, {.max_sequences = 1, .positions = true, .lists = lists});
      std::istringstream in(out.str());
      const auto there = host.restore(in);
      std::size_t wrong = 0;
      for (index_t t = 0; t < host.length(there); ++t)
        for (index_t h = 0; h < 2; ++h) {
          const index_t token = slots.empty() ? t : slots[static_cast<std::size_t>(t)];
          for (index_t c = 0; c < 64; ++c)
            wrong += host.keys({1}, there).at(h, t, c) != keys[static_cast<std::size_t>((token * 2 + h) * 64 + c)];
          for (index_t c = 0; c < value_dim; ++c)
            wrong += host.values({1}, there).at(h, t, c) !=
                     values[static_cast<std::size_t>((token * 2 + h) * value_dim + c)];
        }
      CHECK(wrong == 0);
      CHECK(host.length(there) == (slots.empty() ? tokens : 3));
      cache.drop(from);
      std::istringstream again(out.str());
      CHECK(cache.length(cuda::restore(cache, again)) == host.length(there));
    }
    auto out = poisoned<float>(on.stream, 2 * value_dim);
    CHECK_THROWS_WITH_AS(
        cuda::attend<64>(on.backend, {.heads = 2, .kv_heads = 2, .head_dim = 64, .value_dim = value_dim},
                         cache.keys({1}), cache.values({1}), batch.batch(), k.data(), out.data()),
        doctest::Contains("values as wide as keys"), error);
    CHECK_THROWS_WITH_AS(cuda::attend<64>(on.backend, {.heads = 2, .kv_heads = 2, .head_dim = 64}, cache.keys({1}),
                                          cache.values({1}), batch.batch(), k.data(), out.data()),
                         doctest::Contains("cannot read rows of 32"), error);
  }
}
