// SPDX-License-Identifier: Apache-2.0
// Distances of all layer pairs on the device against their definitions in double, over shapes, views and metrics.
#include "kvsharer/backend/cuda/distances/distances.cuh"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "backend/cuda/device.hpp"
#include "backend/cuda/stored_planes.hpp"
#include "kvsharer/backend/cuda/pool_view.cuh"
#include "kvsharer/layout/layer_view.hpp"
#include "kvsharer/layout/paged_index.hpp"
#include "kvsharer/metric/cosine.hpp"
#include "kvsharer/metric/flat_euclidean.hpp"
#include "kvsharer/metric/mean_row_norm.hpp"

/// Types that kernels are made of, which need a name that other translation units could know.
namespace user_types {

using namespace kvsharer;

/// Mean absolute difference: a user's metric, over the whole plane or row by row. It counts for itself, so that numbers
/// which are no numbers of a row would show.
template <fold_scope Scope>
struct mean_absolute {
  struct partial {
    float sum = 0;
    int count = 0;
  };
  static constexpr fold_scope scope = Scope;
  KVSHARER_HD partial step(partial p, float a, float b) const { return {p.sum + std::fabs(a - b), p.count + 1}; }
  KVSHARER_HD partial merge(partial p, partial q) const { return {p.sum + q.sum, p.count + q.count}; }
  KVSHARER_HD double finish(partial p, index_t count) const {
    return p.count == count ? static_cast<double>(p.sum) / static_cast<double>(count) : -1;
  }
};

/// A metric that takes its two layers apart: the largest excess of the reader.
struct largest_excess {
  using partial = float;
  static constexpr fold_scope scope = fold_scope::plane;
  KVSHARER_HD float step(float most, float reader, float owner) const { return fmaxf(most, reader - owner); }
  KVSHARER_HD float merge(float a, float b) const { return fmaxf(a, b); }
  KVSHARER_HD double finish(float most, index_t) const { return most; }
};

/// Numbers behind at() alone, on the device alone, which counts how often each is read.
struct counted_view {
  using value_type = float;
  const float* numbers;
  int* reads;
  index_t head, token;
  __device__ float at(index_t h, index_t t, index_t c) const {
    const index_t i = h * head + t * token + c;
    atomicAdd(reads + i, 1);
    return numbers[i];
  }
};

}  // namespace user_types

namespace {

using namespace device_test;
using namespace user_types;

/// The definitions, number by number, of one plane. Sums over rows, but squares, absolute and excess over numbers.
struct plain_sums {
  double norms = 0, squares = 0, cosines = 0, absolute = 0, excess = 0;
};
plain_sums compare(const planes& p, const std::vector<float>& plane, layer_pair pair) {
  plain_sums total;
  for (index_t h = 0; h < p.s.kv_heads; ++h)
    for (index_t t = 0; t < p.s.capacity; ++t) {
      double squares = 0, dot = 0, aa = 0, bb = 0;
      for (index_t c = 0; c < p.s.head_dim; ++c) {
        const double x = p.at(plane, pair.reader.value, h, t, c), y = p.at(plane, pair.owner.value, h, t, c);
        squares += (x - y) * (x - y);
        dot += x * y;
        aa += x * x;
        bb += y * y;
        total.absolute += std::abs(x - y);
        total.excess = std::max(total.excess, x - y);
      }
      total.norms += std::sqrt(squares);
      total.squares += squares;
      total.cosines += aa * bb > 0 ? 1 - dot / std::sqrt(aa * bb) : aa == bb ? 0 : 1;
    }
  return total;
}

template <class C, class M>
distance_matrix measure(device& on, const C& cache, const M& metric) {
  auto scratch = poisoned<std::byte>(on.stream, cuda::distances_scratch_bytes(on.properties, cache, metric));
  const cuda::backend backend(on.stream, on.properties, scratch.data(), scratch.size(), on.status.data());
  return cuda::layer_distances(backend, cache, metric);
}

/// How far `got` is from `expected`, for the pair where that is most.
template <class F>
double worst(const distance_matrix& got, F&& expected) {
  double most = 0;
  for (const layer_pair p : all_pairs(got.layers())) {
    const double e = expected(p), difference = std::abs(got(p) - e) / std::max(1e-3, std::abs(e));
    if (!(difference <= most)) most = difference;  // NaN too
  }
  return most;
}

/// The metrics of the library and the user's. A row has at most 300 numbers, summed in float.
template <class C>
void check_against_definitions(device& on, const C& cache, const planes& p) {
  CAPTURE(p.s.layers);
  CAPTURE(p.s.kv_heads);
  CAPTURE(p.s.capacity);
  CAPTURE(p.s.head_dim);
  std::vector<plain_sums> keys, values;
  const std::vector<layer_pair> pairs = all_pairs(static_cast<int>(p.s.layers));
  for (const layer_pair pair : pairs) {
    keys.push_back(compare(p, p.keys, pair));
    values.push_back(compare(p, p.values, pair));
  }
  const auto rows = static_cast<double>(p.s.kv_heads * p.s.capacity);
  const double numbers = rows * static_cast<double>(p.s.head_dim);
  const auto each = [&](auto&& f) {
    return [&, f](layer_pair pair) {
      const auto i = static_cast<std::size_t>(std::find(pairs.begin(), pairs.end(), pair) - pairs.begin());
      return (f(keys[i]) + f(values[i])) / 2;
    };
  };
  CHECK(worst(measure(on, cache, metric::mean_row_norm{}), each([=](const plain_sums& s) { return s.norms / rows; })) <
        1e-6);
  CHECK(worst(measure(on, cache, metric::flat_euclidean{}),
              each([](const plain_sums& s) { return std::sqrt(s.squares); })) < 1e-6);
  CHECK(worst(measure(on, cache, metric::cosine{}), each([=](const plain_sums& s) { return s.cosines / rows; })) <
        1e-5);
  CHECK(worst(measure(on, cache, mean_absolute<fold_scope::row>{}),
              each([=](const plain_sums& s) { return s.absolute / numbers; })) < 2e-6);
  CHECK(worst(measure(on, cache, mean_absolute<fold_scope::plane>{}),
              each([=](const plain_sums& s) { return s.absolute / numbers; })) < 2e-6);
  CHECK(worst(measure(on, cache, largest_excess{}), each([](const plain_sums& s) { return s.excess; })) < 1e-6);
}

template <class E = float>
void check_strided(cache_shape s, unsigned seed, index_t gap = 0, index_t before = 0) {
  strided_memory<E> memory{rounded<E>(random_planes(s, seed)), gap, before};
  check_against_definitions(memory.on, memory.cache(), memory.host);
}

TEST_CASE("every metric follows its definition: layers around groups, tokens around batches of rows") {
  check_strided({1, 1, 64, 1}, 1);
  check_strided({2, 1, 64, 1}, 2);
  check_strided({2, 3, 128, 43}, 3);
  check_strided({3, 2, 96, 65}, 4);
  check_strided({5, 1, 256, 11}, 5);
  check_strided({24, 2, 64, 8}, 6);
  check_strided({32, 1, 128, 9}, 7);
  check_strided({33, 1, 64, 7}, 8);
}

TEST_CASE("head sizes that are no multiple of a chunk, or of four") {
  check_strided({4, 2, 4, 5}, 9);
  check_strided({6, 2, 100, 9}, 10);
  check_strided({9, 3, 31, 6}, 11);
  check_strided({3, 1, 1, 2}, 12);
  check_strided({5, 1, 33, 70}, 13);
}

TEST_CASE("rows that lie apart, unaligned ones, and 16-bit numbers") {
  check_strided({5, 2, 64, 9}, 14, 8);
  check_strided({5, 2, 64, 9}, 15, 1);
  check_strided({5, 2, 64, 9}, 16, 0, 3);
  check_strided<float16>({6, 2, 64, 9}, 17);
  check_strided<bfloat16>({6, 2, 128, 5}, 18, 2);
  check_strided<float16>({6, 1, 20, 9}, 19, 1);
}

TEST_CASE("paged views") {
  const paged_memory memory{random_planes({7, 2, 64, 23}, 20)};
  device on;
  const auto cache = device_cache{memory.host.s, [&](int plane, int l) {
                                    return layer_view{memory.plane(plane, l), memory.index(memory.tables.data())};
                                  }};
  check_against_definitions(on, cache, memory.host);
}

TEST_CASE("a block table that leads outside a pool is refused, with layer and token") {
  paged_memory memory{random_planes({7, 2, 64, 23}, 21)};
  device on;
  const auto bad = [&] {
    std::vector<std::int32_t> t = memory.table;
    t[2] = static_cast<std::int32_t>(memory.pages);
    return on_device(on.stream, t);
  }();
  int spoilt = -1;
  const auto cache = device_cache{
      memory.host.s, [&](int plane, int l) {
        using view = cuda::pool_view<const float, layout::paged_index>;
        const auto& entries = plane == 1 && l == spoilt ? bad : memory.tables;
        return view{memory.plane(plane, l), memory.pool - memory.host.s.head_dim, memory.index(entries.data())};
      }};
  check_against_definitions(on, cache, memory.host);
  spoilt = 3;
  try {
    (void)measure(on, cache, metric::mean_row_norm{});
    FAIL("nothing was refused");
  } catch (const error& e) {
    CHECK(e.code() == errc::device_refusal);
    CHECK(std::string(e.what()).find("layer 3,") != std::string::npos);
    CHECK(std::string(e.what()).find("token 1") != std::string::npos);  // 10 to 14
  }
}

TEST_CASE("a view that offers at() alone is enough, and every number is read once") {
  for (const cache_shape s : {cache_shape{5, 2, 20, 37}, {33, 1, 70, 11}, {2, 1, 3, 1}}) {
    strided_memory<float> memory{random_planes(s, 22), 0, 0};
    device& on = memory.on;
    auto reads = cuda::device_buffer<int>(on.stream, memory.numbers.size());
    cuda::check(cudaMemsetAsync(reads.data(), 0, reads.bytes(), on.stream.get()), "cudaMemsetAsync");
    const auto cache = device_cache{
        s, [&](int plane, int l) {
          const index_t at = (plane * s.layers + l) * memory.layer;
          return counted_view{memory.numbers.data() + at, reads.data() + at, s.capacity * s.head_dim, s.head_dim};
        }};
    const auto got = measure(on, cache, metric::mean_row_norm{});
    const std::vector<int> counts = on_host(reads);
    CHECK(std::count(counts.begin(), counts.end(), 1) == static_cast<std::ptrdiff_t>(counts.size()));
    check_against_definitions(on, cache, memory.host);
  }
}

/// Values of another type than keys.
struct mixed_cache {
  static constexpr memory_space space = memory_space::device;
  const strided_memory<float>* floats;
  const strided_memory<float16>* halves;
  cache_shape shape() const { return floats->host.s; }
  index_t length() const { return floats->host.s.capacity; }
  auto keys(layer_id l) const { return floats->cache().keys(l); }
  auto values(layer_id l) const { return halves->cache().values(l); }
};

TEST_CASE("keys and values of different types") {
  const planes p = random_planes({6, 2, 36, 9}, 23);
  const strided_memory<float> floats{p, 0, 0};
  const strided_memory<float16> halves{p, 0, 0};
  device on;
  check_against_definitions(on, mixed_cache{&floats, &halves}, p);
}

TEST_CASE("more layers than threads have tiles for: several launches" * doctest::test_suite("long")) {
  check_strided({98, 1, 8, 3}, 24);
  check_strided({140, 1, 4, 1}, 25);
}

TEST_CASE("a number that is not finite spoils its layer's distances, and no other") {
  for (const int layer : {0, 4, 5})
    for (auto spoilt_plane : {&planes::keys, &planes::values}) {
      planes p = random_planes({6, 2, 40, 21}, 26);
      (p.*spoilt_plane)[static_cast<std::size_t>(layer * p.layer_size() + 977)] =
          std::numeric_limits<float>::quiet_NaN();
      strided_memory<float> memory{p, 0, 0};
      const auto check = [&](const auto& metric) {
        const distance_matrix d = measure(memory.on, memory.cache(), metric);
        for (const layer_pair pair : all_pairs(6))
          CHECK(std::isnan(d(pair)) == (pair.reader.value == layer || pair.owner.value == layer));
      };
      check(metric::mean_row_norm{});
      check(metric::flat_euclidean{});
      check(metric::cosine{});
    }
}

TEST_CASE("rows are added in double: the mean of many equal rows is that of one") {
  planes p{{3, 4, 8, 700}, {}, {}};
  for (auto* plane : {&p.keys, &p.values})
    for (index_t i = 0; i < 3 * p.layer_size(); ++i)
      plane->push_back(0.1f * static_cast<float>((i / p.layer_size()) * (i % 8)));
  strided_memory<float> memory{p, 0, 0};
  const distance_matrix d = measure(memory.on, memory.cache(), metric::mean_row_norm{});
  for (const layer_pair pair : all_pairs(3)) {
    float sum = 0;
    for (index_t c = 0; c < 8; ++c) {
      const float difference = p.at(p.keys, pair.reader.value, 0, 0, c) - p.at(p.keys, pair.owner.value, 0, 0, c);
      sum = std::fma(difference, difference, sum);  // the device contracts; the host's stand-in may not: one unit apart
    }
    const double one_row =
        measure(memory.on, device_cache{{3, 1, 8, 1}, [&](int plane, int l) { return memory.cache().view(plane, l); }},
                metric::mean_row_norm{})(pair);
    CHECK(one_row == doctest::Approx(std::sqrt(static_cast<double>(sum))).epsilon(3e-7));
    CHECK(d(pair) == doctest::Approx(one_row).epsilon(1e-13));
  }
}

TEST_CASE("the same input gives the same bits") {
  strided_memory<float> memory{random_planes({12, 3, 48, 50}, 27), 0, 0};
  const auto check = [&](const auto& metric) {
    CHECK(measure(memory.on, memory.cache(), metric) == measure(memory.on, memory.cache(), metric));
  };
  check(metric::mean_row_norm{});
  check(metric::flat_euclidean{});
  check(metric::cosine{});
}

template <class F>
errc refusal(F&& call) {
  try {
    (void)call();
  } catch (const error& e) {
    return e.code();
  }
  return errc{0};
}

TEST_CASE("shapes without anything to compare, and too little scratch") {
  device on;
  const auto of = [](cache_shape s) {
    return device_cache{s, [](int, int) { return layer_view<float, layout::strided_index>{}; }};
  };
  for (const int layers : {0, 1}) CHECK(measure(on, of({layers, 2, 4, 3}), metric::cosine{}).layers() == layers);
  for (const cache_shape s :
       {cache_shape{3, 0, 4, 3}, {3, 2, 0, 3}, {3, 2, 4, 0}, {3, 2, 4, -1}, {1, 0, 4, 3}, {-1, 2, 4, 3}})
    CHECK(refusal([&] { return cuda::layer_distances(on.backend, of(s), metric::cosine{}); }) == errc::bad_shape);
  const auto cache = of({3, 2, 4, 3});
  const cuda::backend narrow(on.stream, on.properties, on.scratch.data(),
                             cuda::distances_scratch_bytes(on.properties, cache, metric::cosine{}) - 1);
  CHECK(refusal([&] { return cuda::layer_distances(narrow, cache, metric::cosine{}); }) == errc::short_scratch);
}

TEST_CASE("how layers and rows are cut: every pair once, within the device's limits") {
  using namespace cuda::detail;
  for (const int capability : {80, 86, 90, 120})
    for (const int partial_bytes : {4, 12, 64})
      for (int layers = 2; layers <= 400; layers += layers < 140 ? 1 : 37) {
        const layer_cut cut = cut_layers(layers, fold_tuning.max_threads);
        std::vector<int> folded(static_cast<std::size_t>(cut.groups * cut.groups));
        bool fits = true;
        for (int i = 0; i < cut.launches(); ++i) {
          const group_range range = cut.launch(i);
          const fold_plan plan = plan_fold(capability, fold_tuning, range, 24, std::max(8, partial_bytes));
          fits = fits && plan.rows >= 1 && plan.rows * range.tiles() <= plan.threads &&
                 plan.threads <= fold_tuning.max_threads && plan.threads % 32 == 0 && plan.resident >= 1 &&
                 plan.shared_bytes <= shared_limit(capability);
          for (int thread = 0; thread < plan.threads; ++thread) {
            const auto work = range.work(thread, plan.rows);
            if (!work.any) continue;
            fits = fits && work.row < plan.rows;
            if (work.row != 0) continue;
            const auto at = range.tile(work.tile);
            const int reader = range.group(at.reader), owner = range.group(at.owner);
            const auto count = [&](int r, int o) { ++folded[static_cast<std::size_t>(r * cut.groups + o)]; };
            fits = fits && (at.within || owner < reader);
            if (!at.within) count(reader, owner);
            if (at.within) count(reader, reader);
            if (at.within && owner != reader) count(owner, owner);
          }
        }
        for (int reader = 0; reader < cut.groups; ++reader)
          for (int owner = 0; owner < cut.groups; ++owner)
            fits = fits && folded[static_cast<std::size_t>(reader * cut.groups + owner)] == (owner <= reader);
        CAPTURE(layers);
        CAPTURE(capability);
        CHECK(fits);
      }
  CHECK(cut_layers(84, 256).launches() == 1);
  CHECK(cut_layers(85, 256).launches() > 1);
  const fold_plan plan = plan_fold(90, fold_tuning, cut_layers(32, 256).launch(0), 8, 8);
  CHECK(plan.rows == 8);
  CHECK(plan.threads == 256);
  CHECK(plan.resident == 2);
}

}  // namespace
