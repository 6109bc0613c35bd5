// SPDX-License-Identifier: Apache-2.0
// The driver's kernels against the same in double.
#include "cuda/kernels.cuh"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "backend/cuda/device.hpp"
#include "backend/cuda/driver_numbers.hpp"

namespace {

using namespace device_test;
namespace cuda = kvsharer::cuda;
namespace driver = mini_llama::cuda;

/// Calls f with a number of each type.
template <class F>
void for_types(F&& f) {
  f(float{});
  f(float16{});
  f(bfloat16{});
}

/// A ragged batch on the device: of sequence b the newest rows[b] of lengths[b] tokens, `spare` rows behind them.
struct ragged_rows {
  std::vector<std::int32_t> lengths, rows, begins;
  index_t spare;
  cuda::device_buffer<std::int32_t> on_lengths, on_begins;

  ragged_rows(cuda::stream_ref stream, std::vector<std::int32_t> of_lengths, std::vector<std::int32_t> of_rows,
              index_t behind = 0)
      : lengths(of_lengths),
        rows(of_rows),
        begins(1, 0),
        spare(behind),
        on_lengths(on_device(stream, lengths)),
        on_begins(stream) {
    for (const std::int32_t r : rows) begins.push_back(begins.back() + r);
    on_begins = on_device(stream, begins);
  }
  index_t count() const { return begins.back() + spare; }
  cuda::ragged_batch batch() const {
    return {.sequences = static_cast<index_t>(rows.size()),
            .rows = count(),
            .max_rows = *std::max_element(rows.begin(), rows.end()),
            .lengths = on_lengths.data(),
            .row_begin = on_begins.data()};
  }
  /// Of a row its position; negative where it has none.
  std::vector<index_t> positions() const {
    std::vector<index_t> p;
    for (std::size_t b = 0; b < rows.size(); ++b)
      for (std::int32_t r = 0; r < rows[b]; ++r) p.push_back(lengths[b] - rows[b] + r);
    p.resize(static_cast<std::size_t>(count()), -1);
    return p;
  }
};

TEST_CASE("embedding: a row of the table for every id, zeros for rows of nobody") {
  for_types([]<class E>(E) {
    device on;
    const index_t vocab = 37;
    for (const index_t hidden : {index_t{8}, index_t{72}, index_t{2304}}) {
      const auto table = random_numbers<E>(vocab * hidden, 1);
      const ragged_rows ragged(on.stream, {5, 0, 9, 1}, {3, 0, 9, 1}, 2);
      std::vector<std::int32_t> ids;
      for (int r = 0; r < 13; ++r) ids.push_back(r == 4 ? 0 : r == 9 ? 36 : r * 7 % 37);
      const auto on_table = on_device(on.stream, table);
      const auto on_ids = on_device(on.stream, ids);
      auto x = poisoned<E>(on.stream, static_cast<std::size_t>(ragged.count() * hidden));
      driver::embed(on.backend, on_table.data(), vocab, hidden, on_ids.data(), ragged.batch(), x.data());
      const auto got = on_host(x);
      CHECK_NOTHROW(on.backend.check_status());
      index_t wrong = 0;
      for (index_t r = 0; r < ragged.count(); ++r)
        for (index_t i = 0; i < hidden; ++i) {
          const auto id = r < 13 ? ids[static_cast<std::size_t>(r)] : -1;
          const double expected = id < 0 ? 0 : number(table[static_cast<std::size_t>(id * hidden + i)]);
          wrong += number(got[static_cast<std::size_t>(r * hidden + i)]) != expected;
        }
      CHECK(wrong == 0);
    }
  });
}

TEST_CASE("embedding: an id outside the vocabulary is reported with its place, and its row is zero") {
  device on;
  const auto table = on_device(on.stream, std::vector<float>(4 * 8, 1.0f));
  for (const std::int32_t bad : {-1, 4}) {
    const ragged_rows ragged(on.stream, {7, 20, 3}, {2, 3, 3});
    const auto ids = on_device(on.stream, std::vector<std::int32_t>{0, 1, 2, bad, 3, 0, 0, 0});
    auto x = poisoned<float>(on.stream, 64);
    driver::embed(on.backend, table.data(), 4, 8, ids.data(), ragged.batch(), x.data());
    const auto got = on_host(x);
    for (std::size_t i = 0; i < 64; ++i) CHECK(got[i] == (i / 8 == 3 ? 0.0f : 1.0f));
    const std::string text = refusal([&] { on.backend.check_status(); });
    CHECK(text.find("E705") != text.npos);
    CHECK(text.find("token id is outside the vocabulary (layer -1, sequence 1 of the batch, token 18)") != text.npos);
  }
}

template <class E>
void compare_norm(index_t rows, index_t width, unsigned seed) {
  INFO(rows, " rows of ", width);
  device on;
  const auto x = random_numbers<E>(rows * width, seed), y = random_numbers<E>(rows * width, seed + 1);
  const auto gain = random_numbers<float>(width, seed + 2);
  const float eps = 1e-2f;
  const auto on_y = on_device(on.stream, y);
  const auto on_gain = on_device(on.stream, gain);
  auto plain = on_device(on.stream, x), summed = on_device(on.stream, x), in_place = on_device(on.stream, x);
  auto normed = poisoned<E>(on.stream, x.size()), sum_normed = poisoned<E>(on.stream, x.size());
  driver::rms_norm(on.backend, plain.data(), on_gain.data(), eps, rows, width, normed.data());
  driver::rms_norm(on.backend, in_place.data(), on_gain.data(), eps, rows, width, in_place.data());
  driver::add_rms_norm(on.backend, summed.data(), on_y.data(), on_gain.data(), eps, rows, width, sum_normed.data());
  const auto got = on_host(normed), got_sum_normed = on_host(sum_normed), got_summed = on_host(summed);
  CHECK(std::ranges::equal(on_host(in_place), got, {}, number<E>, number<E>));
  CHECK(std::ranges::equal(on_host(plain), x, {}, number<E>, number<E>));

  double worst = 0, worst_sum = 0, worst_sum_normed = 0;
  for (index_t r = 0; r < rows; ++r) {
    double squares = 0, sum_squares = 0;
    for (index_t i = 0; i < width; ++i) {
      const auto at = static_cast<std::size_t>(r * width + i);
      squares += number(x[at]) * number(x[at]);
      worst_sum = std::max(worst_sum, misfit(got_summed[at], number(x[at]) + number(y[at]), 0));
      sum_squares += number(got_summed[at]) * number(got_summed[at]);
    }
    for (index_t i = 0; i < width; ++i) {
      const auto at = static_cast<std::size_t>(r * width + i);
      const double g = number(gain[static_cast<std::size_t>(i)]), n = static_cast<double>(width);
      const double expected = number(x[at]) / std::sqrt(squares / n + static_cast<double>(eps)) * g;
      const double of_sum = number(got_summed[at]) / std::sqrt(sum_squares / n + static_cast<double>(eps)) * g;
      worst = std::max(worst, misfit(got[at], expected, 1e-6));
      worst_sum_normed = std::max(worst_sum_normed, misfit(got_sum_normed[at], of_sum, 1e-6));
    }
  }
  CHECK(worst <= 1);
  CHECK(worst_sum <= 1);
  CHECK(worst_sum_normed <= 1);
}

TEST_CASE("RMS norm, of rows within a block's registers and beyond, in place, and with a sum before it") {
  for_types([]<class E>(E) {
    compare_norm<E>(3, 8, 1);
    compare_norm<E>(5, 264, 2);
    compare_norm<E>(2, 2064, 3);
    compare_norm<E>(1, 8192 + 1048, 4);
  });
}

template <class E>
void compare_rotation(int head_dim, index_t heads, bool strided, unsigned seed) {
  INFO(heads, " heads of ", head_dim, strided ? ", strided" : ", in place");
  device on;
  const kvsharer::rope_rule rope{.theta = 500,
                                 .scaling = kvsharer::rope_scaling::llama3,
                                 .factor = 8,
                                 .low_freq_factor = 1,
                                 .high_freq_factor = 4,
                                 .original_max_position = 64};
  const driver::device_rope table(on.stream, rope, head_dim, 300);
  CHECK(table.bytes() == static_cast<std::size_t>(300 * head_dim) * 4);
  const ragged_rows ragged(on.stream, {1, 300, 0, 70, 0}, {1, 5, 0, 9, 1}, 1);
  const index_t width = heads * head_dim, stride_in = width + (strided ? 16 : 0), stride_out = width;
  const auto x = random_numbers<E>(ragged.count() * stride_in, seed);
  auto in = on_device(on.stream, x);
  auto out = poisoned<E>(on.stream, static_cast<std::size_t>(ragged.count() * stride_out));
  if (strided)
    driver::rotate(on.backend, table.angles(), ragged.batch(), heads, head_dim,
                   driver::head_rows<const E>{in.data(), stride_in}, driver::head_rows<E>{out.data(), stride_out});
  else
    driver::rotate(on.backend, table.angles(), ragged.batch(), heads, head_dim, in.data());
  const auto got = strided ? on_host(out) : on_host(in);
  CHECK_NOTHROW(on.backend.check_status());

  const std::vector<double> frequencies = kvsharer::rope_frequencies(rope, head_dim);
  const auto positions = ragged.positions();
  const index_t half = head_dim / 2;
  double worst = 0;
  for (index_t r = 0; r < ragged.count(); ++r)
    for (index_t h = 0; h < heads; ++h)
      for (index_t i = 0; i < half; ++i) {
        const auto from = static_cast<std::size_t>(r * stride_in + h * head_dim + i);
        const auto to = static_cast<std::size_t>(r * stride_out + h * head_dim + i);
        const auto position = static_cast<double>(positions[static_cast<std::size_t>(r)]);
        const double angle = position * frequencies[static_cast<std::size_t>(i)];
        double a = number(x[from]), b = number(x[from + static_cast<std::size_t>(half)]);
        if (position < 0) a = b = 0;
        worst = std::max(worst, misfit(got[to], a * std::cos(angle) - b * std::sin(angle), 5e-7));
        worst = std::max(
            worst, misfit(got[to + static_cast<std::size_t>(half)], a * std::sin(angle) + b * std::cos(angle), 5e-7));
      }
  CHECK(worst <= 1);
}

/// Heads of rows with their bias and gain, all in double; empty for none.
void finish_by_the_book(std::vector<double>& row, std::size_t begin, std::size_t heads, std::size_t head_dim,
                        const std::vector<float>& bias, const std::vector<float>& gain, double eps) {
  for (std::size_t h = 0; h < heads; ++h) {
    double squares = 0;
    for (std::size_t i = 0; i < head_dim; ++i) {
      double& x = row[begin + h * head_dim + i];
      if (!bias.empty()) x += static_cast<double>(bias[h * head_dim + i]);
      squares += x * x;
    }
    const double scale = 1 / std::sqrt(squares / static_cast<double>(head_dim) + eps);
    if (!gain.empty())
      for (std::size_t i = 0; i < head_dim; ++i) row[begin + h * head_dim + i] *= scale * static_cast<double>(gain[i]);
  }
}

TEST_CASE("biases and norms of heads: of queries, keys and values in one row, each with what it has") {
  device on;
  const float eps = 1e-3f;
  for_types([&]<class E>(E) {
    for (const index_t head_dim : std::vector<index_t>{10, 64, 128})
      for (const int mask : {1, 2, 4, 8, 16, 31}) {  // which of the five vectors there are
        const index_t heads = 6, kv_heads = 2, rows = 5, width = (heads + 2 * kv_heads) * head_dim, stride = width + 8;
        const auto x = random_numbers<E>(rows * stride, 5);
        const auto vector = [&](int bit, index_t n) {
          return (mask & bit) != 0 ? random_numbers<float>(n, static_cast<unsigned>(bit)) : std::vector<float>();
        };
        const std::vector<float> query_bias = vector(1, heads * head_dim), key_bias = vector(2, kv_heads * head_dim),
                                 value_bias = vector(4, kv_heads * head_dim), query_gain = vector(8, head_dim),
                                 key_gain = vector(16, head_dim);
        auto on_x = on_device(on.stream, x);
        const auto a = on_device(on.stream, query_bias), b = on_device(on.stream, key_bias),
                   c = on_device(on.stream, value_bias), d = on_device(on.stream, query_gain),
                   e = on_device(on.stream, key_gain);
        E* const keys = on_x.data() + heads * head_dim;
        driver::finish_heads<E>(on.backend,
                                {{on_x.data(), stride, static_cast<int>(heads), a.data(), d.data()},
                                 {keys, stride, static_cast<int>(kv_heads), b.data(), e.data()},
                                 {keys + kv_heads * head_dim, stride, static_cast<int>(kv_heads), c.data(), nullptr}},
                                rows, head_dim, eps);
        const std::vector<E> got = on_host(on_x);
        double worst = 0;
        for (index_t r = 0; r < rows; ++r) {
          std::vector<double> row;
          for (index_t i = 0; i < stride; ++i) row.push_back(number(x[static_cast<std::size_t>(r * stride + i)]));
          const auto dim = static_cast<std::size_t>(head_dim), q = static_cast<std::size_t>(heads),
                     kv = static_cast<std::size_t>(kv_heads);
          finish_by_the_book(row, 0, q, dim, query_bias, query_gain, static_cast<double>(eps));
          finish_by_the_book(row, q * dim, kv, dim, key_bias, key_gain, static_cast<double>(eps));
          finish_by_the_book(row, (q + kv) * dim, kv, dim, value_bias, {}, static_cast<double>(eps));
          for (index_t i = 0; i < stride; ++i)
            worst = std::max(
                worst, misfit(got[static_cast<std::size_t>(r * stride + i)], row[static_cast<std::size_t>(i)], 1e-6));
        }
        CHECK(worst <= 1);
      }
  });
}

TEST_CASE("a bias is added to every row; without one nothing is done") {
  device on;
  for_types([&]<class E>(E) {
    const index_t rows = 3, width = 300;
    const auto x = random_numbers<E>(rows * width, 5);
    const auto bias = random_numbers<float>(width, 6);
    auto on_x = on_device(on.stream, x);
    const auto on_bias = on_device(on.stream, bias);
    driver::add_bias<E>(on.backend, nullptr, rows, width, on_x.data());
    const std::vector<E> before = on_host(on_x);
    driver::add_bias(on.backend, on_bias.data(), rows, width, on_x.data());
    const std::vector<E> got = on_host(on_x);
    double worst = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      CHECK(number(before[i]) == number(x[i]));
      worst = std::max(worst, misfit(got[i], number(x[i]) + number(bias[i % static_cast<std::size_t>(width)]), 1e-7));
    }
    CHECK(worst <= 1);
  });
}

TEST_CASE("rotation: every row at its own position, in place and out of rows that hold more") {
  for_types([]<class E>(E) {
    compare_rotation<E>(64, 3, false, 1);
    compare_rotation<E>(96, 5, true, 2);
    compare_rotation<E>(128, 33, true, 3);
  });
}

TEST_CASE("rotation: one row of each sequence, sequences at other places") {
  device on;
  const driver::device_rope table(on.stream, {}, 64, 16);
  const auto lengths = on_device(on.stream, std::vector<std::int32_t>{16, 1, 4});
  const auto places = on_device(on.stream, std::vector<std::int32_t>{2, 0});
  auto x = on_device(on.stream, std::vector<float>(128, 1.0f));
  driver::rotate(on.backend, table.angles(),
                 {.sequences = 2, .rows = 2, .lengths = lengths.data(), .places = places.data()}, 1, 64, x.data());
  const auto got = on_host(x);
  CHECK(number(got[0]) == doctest::Approx(std::cos(3.0) - std::sin(3.0)).epsilon(1e-5));
  CHECK(number(got[64]) == doctest::Approx(std::cos(15.0) - std::sin(15.0)).epsilon(1e-5));
}

TEST_CASE("rotation: a position that the table lacks is reported, and its row is zero") {
  device on;
  const driver::device_rope table(on.stream, {}, 64, 10);
  const ragged_rows ragged(on.stream, {4, 11}, {1, 2});
  auto x = on_device(on.stream, std::vector<float>(3 * 64, 1.0f));
  driver::rotate(on.backend, table.angles(), ragged.batch(), 1, 64, x.data());
  const auto got = on_host(x);
  CHECK(std::all_of(got.begin() + 128, got.end(), [](float v) { return v == 0; }));
  CHECK(std::none_of(got.begin(), got.begin() + 128, [](float v) { return v == 0; }));
  const std::string text = refusal([&] { on.backend.check_status(); });
  CHECK(text.find("longer than the cache's capacity (layer -1, sequence 1 of the batch, token 10)") != text.npos);
}

TEST_CASE("SwiGLU of fused gates and values, where exponentials overflow, too") {
  for_types([]<class E>(E) {
    for (const index_t width : {index_t{8}, index_t{88}, index_t{2064}}) {
      device on;
      const index_t rows = 3;
      auto x = random_numbers<E>(rows * 2 * width, 5);
      for (std::size_t i = 0; i < x.size(); ++i) x[i] = E(static_cast<float>(number(x[i])) * 6);
      x[0] = E(-200.0f);
      x[1] = E(200.0f);
      const auto in = on_device(on.stream, x);
      auto out = poisoned<E>(on.stream, static_cast<std::size_t>(rows * width));
      driver::swiglu(on.backend, in.data(), rows, width, out.data());
      const auto got = on_host(out);
      double worst = 0;
      for (index_t r = 0; r < rows; ++r)
        for (index_t i = 0; i < width; ++i) {
          const double gate = number(x[static_cast<std::size_t>(2 * r * width + i)]),
                       up = number(x[static_cast<std::size_t>((2 * r + 1) * width + i)]);
          const double expected = gate / (1 + std::exp(-gate)) * up;
          // The exponent is rounded before the exponential is taken.
          const double sums = std::abs(expected) * (1 + std::abs(gate)) * 0x1p-21;
          worst = std::max(worst, misfit(got[static_cast<std::size_t>(r * width + i)], expected, sums));
        }
      CHECK(worst <= 1);
    }
  });
}

TEST_CASE("the last row of every sequence, zeros where it has none") {
  for_types([]<class E>(E) {
    device on;
    const index_t width = 2056;
    const ragged_rows ragged(on.stream, {4, 9, 0, 1}, {4, 2, 0, 1});
    const auto x = random_numbers<E>(ragged.count() * width, 6);
    const auto in = on_device(on.stream, x);
    auto out = poisoned<E>(on.stream, static_cast<std::size_t>(4 * width));
    driver::gather_last_rows(on.backend, in.data(), width, ragged.batch(), out.data());
    const auto got = on_host(out);
    const index_t last[] = {3, 5, -1, 6};
    index_t wrong = 0;
    for (index_t b = 0; b < 4; ++b)
      for (index_t i = 0; i < width; ++i) {
        const double expected = last[b] < 0 ? 0 : number(x[static_cast<std::size_t>(last[b] * width + i)]);
        wrong += number(got[static_cast<std::size_t>(b * width + i)]) != expected;
      }
    CHECK(wrong == 0);
  });
}

TEST_CASE("the largest logit, the first of equal ones; none where the row is not finite") {
  for_types([]<class E>(E) {
    for (const index_t vocab : {index_t{1}, index_t{7}, index_t{61}, index_t{1000}, index_t{16421}, index_t{16448}}) {
      INFO(vocab, " logits");
      device on;
      const index_t rows = 7;
      const float infinity = std::numeric_limits<float>::infinity();
      auto x = random_numbers<E>(rows * vocab, 7);
      const auto at = [&](index_t r, index_t i) -> E& { return x[static_cast<std::size_t>(r * vocab + i)]; };
      for (index_t i = 0; i < vocab; ++i) at(1, i) = E(-3.0f), at(2, i) = E(-infinity);
      at(2, vocab / 2) = E(-7.0f);
      at(3, vocab / 2) = E(std::numeric_limits<float>::quiet_NaN());
      at(4, vocab - 1) = E(infinity);
      for (index_t i = 0; i < vocab; ++i) at(5, i) = E(-infinity);
      at(6, vocab / 3) = E(4.0f), at(6, vocab - 1) = E(4.0f);
      const auto logits = on_device(on.stream, x);
      auto ids = poisoned<std::int32_t>(on.stream, static_cast<std::size_t>(rows));
      driver::argmax(on.backend, logits.data(), rows, vocab, ids.data());
      const auto got = on_host(ids);
      index_t best = 0;
      for (index_t i = 0; i < vocab; ++i)
        if (number(at(0, i)) > number(at(0, best))) best = i;
      CHECK(got == std::vector<std::int32_t>{static_cast<std::int32_t>(best), 0, static_cast<std::int32_t>(vocab / 2),
                                             -1, -1, -1, static_cast<std::int32_t>(vocab / 3)});
    }
  });
}

TEST_CASE("what cannot be is refused before anything runs") {
  device on;
  auto x = poisoned<bfloat16>(on.stream, 256);
  auto gain = poisoned<float>(on.stream, 256);
  const driver::device_rope table(on.stream, {}, 24, 4);
  const ragged_rows ragged(on.stream, {1}, {1});
  const auto begins = [](const std::string& text, const char* with) { return text.starts_with(with); };
  CHECK(begins(refusal([&] { driver::rms_norm(on.backend, x.data(), gain.data(), 1e-5f, 1, 12, x.data()); }),
               "kvsharer E302: a row to be normed of 12 numbers"));
  CHECK(begins(refusal([&] { driver::rms_norm(on.backend, x.data() + 1, gain.data(), 1e-5f, 1, 16, x.data()); }),
               "kvsharer E303: rows to be normed"));
  CHECK(begins(refusal([&] { driver::rotate(on.backend, table.angles(), ragged.batch(), 1, 24, x.data()); }),
               "kvsharer E302: half a head of 12 numbers"));
  CHECK(begins(refusal([&] { driver::swiglu(on.backend, x.data(), 1, 4, x.data()); }), "kvsharer E302"));
  CHECK(begins(refusal([&] { driver::argmax(on.backend, x.data(), 1, 0, nullptr); }), "kvsharer E302"));
}

TEST_CASE("a captured step follows ids and lengths") {
  device on;
  const index_t vocab = 24, hidden = 64;
  const auto table = random_numbers<float>(vocab * hidden, 8);
  const auto on_table = on_device(on.stream, table);
  const auto gain = on_device(on.stream, std::vector<float>(static_cast<std::size_t>(hidden), 1.0f));
  const driver::device_rope rope(on.stream, {}, hidden, 40);
  auto ids = poisoned<std::int32_t>(on.stream, 2), lengths = poisoned<std::int32_t>(on.stream, 2);
  auto best = poisoned<std::int32_t>(on.stream, 2);
  auto x = poisoned<float>(on.stream, static_cast<std::size_t>(2 * hidden)),
       normed = poisoned<float>(on.stream, static_cast<std::size_t>(2 * hidden));
  const cuda::ragged_batch batch{.sequences = 2, .rows = 2, .lengths = lengths.data()};
  const captured graph(on.stream, [&] {
    driver::embed(on.backend, on_table.data(), vocab, hidden, ids.data(), batch, x.data());
    driver::rms_norm(on.backend, x.data(), gain.data(), 0.0f, 2, hidden, normed.data());
    driver::rotate(on.backend, rope.angles(), batch, 1, hidden, normed.data());
    driver::argmax(on.backend, normed.data(), 2, hidden, best.data());
  });
  const std::vector<double> frequencies = kvsharer::rope_frequencies({}, hidden);
  for (std::int32_t step = 0; step < 3; ++step) {
    const std::vector<std::int32_t> now{step, 20 - step}, long_now{step + 1, 30 + 4 * step};
    cuda::check(cudaMemcpyAsync(ids.data(), now.data(), 8, cudaMemcpyHostToDevice, on.stream.get()), "copy");
    cuda::check(cudaMemcpyAsync(lengths.data(), long_now.data(), 8, cudaMemcpyHostToDevice, on.stream.get()), "copy");
    graph.replay();
    const auto got = on_host(best);
    for (std::size_t b = 0; b < 2; ++b) {
      const float* row = table.data() + now[b] * hidden;
      std::vector<double> turned(static_cast<std::size_t>(hidden));
      for (std::size_t i = 0; i < 32; ++i) {
        const double angle = (long_now[b] - 1) * frequencies[i], low = number(row[i]), high = number(row[i + 32]);
        turned[i] = low * std::cos(angle) - high * std::sin(angle);
        turned[i + 32] = low * std::sin(angle) + high * std::cos(angle);
      }
      CHECK(got[b] == std::max_element(turned.begin(), turned.end()) - turned.begin());
    }
  }
}

}  // namespace
