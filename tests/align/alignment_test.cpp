// SPDX-License-Identifier: Apache-2.0
// Alignments against plain loops in float64: what was planted is found, and weights that have one folded in compute
// what applying it to every key and value computes.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <initializer_list>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include "kvsharer/cpu.hpp"

namespace {

using kvsharer::errc;
using kvsharer::index_t;
using kvsharer::layer_alignment;
using kvsharer::layer_id;
using kvsharer::pair_moments;
using kvsharer::rope_pairing;
using kvsharer::cpu::fit_alignment;
using kvsharer::cpu::key_length;

constexpr index_t heads = 2, dim = 6, tokens = 50;
constexpr std::size_t plane = static_cast<std::size_t>(heads * tokens * dim);

std::size_t at(index_t head, index_t token, index_t channel) {
  return static_cast<std::size_t>((head * tokens + token) * dim + channel);
}

struct random_numbers {
  std::mt19937 bits;
  double operator()() { return static_cast<double>(bits() % 20001) / 10000 - 1; }
};

/// Two layers of one sequence, [layer][head][token][channel].
struct two_layers {
  static constexpr auto space = kvsharer::memory_space::host;
  std::vector<float> key_numbers = std::vector<float>(2 * plane), value_numbers = key_numbers;
  index_t used = tokens;

  using view = kvsharer::layer_view<float, kvsharer::layout::strided_index>;
  kvsharer::cache_shape shape() const { return {2, heads, dim, tokens}; }
  index_t length() const { return used; }
  view keys(layer_id l) const { return of(key_numbers, l); }
  view values(layer_id l) const { return of(value_numbers, l); }
  static view of(const std::vector<float>& numbers, layer_id l) {
    return {numbers.data() + static_cast<std::size_t>(l.value) * plane, {.head = tokens * dim, .token = dim}};
  }
};

/// Small multiples of powers of two, so that the layers' floats hold B v + c and g k without rounding.
layer_alignment planted(rope_pairing pairing) {
  layer_alignment a = layer_alignment::identity(heads, dim, pairing);
  std::mt19937 bits(3);
  for (auto* numbers : {&a.values, &a.offset, &a.key_gain})
    for (float& x : *numbers) x = static_cast<float>(static_cast<int>(bits() % 65) - 32) / 16.0f;
  return a;
}

std::complex<double> gain(const layer_alignment& a, index_t head, index_t f) {
  const auto i = static_cast<std::size_t>((head * dim / 2 + f) * 2);
  return {static_cast<double>(a.key_gain[i]), static_cast<double>(a.key_gain[i + 1])};
}

/// The two channels of a frequency, as the pairings are defined.
std::pair<index_t, index_t> pair_of(rope_pairing pairing, index_t f) {
  return pairing == rope_pairing::half_split ? std::pair{f, f + dim / 2} : std::pair{2 * f, 2 * f + 1};
}

/// Layer 0 random, layer 1 what `a` makes of it plus `noise`.
two_layers layers_of(const layer_alignment& a, double noise = 0, unsigned seed = 1) {
  two_layers c;
  random_numbers next{std::mt19937(seed)};
  for (std::size_t i = 0; i < plane; ++i) {
    c.key_numbers[i] = static_cast<float>(std::round(next() * 64) / 64);
    c.value_numbers[i] = static_cast<float>(std::round(next() * 64) / 64 + 0.5);
  }
  for (index_t h = 0; h < heads; ++h)
    for (index_t t = 0; t < tokens; ++t) {
      for (index_t i = 0; i < dim; ++i) {
        double v = static_cast<double>(a.offset[static_cast<std::size_t>(h * dim + i)]);
        for (index_t j = 0; j < dim; ++j)
          v += static_cast<double>(a.values[static_cast<std::size_t>((h * dim + i) * dim + j)]) *
               static_cast<double>(c.value_numbers[at(h, t, j)]);
        c.value_numbers[plane + at(h, t, i)] = static_cast<float>(v + noise * next());
      }
      for (index_t f = 0; f < dim / 2; ++f) {
        const auto [re, im] = pair_of(a.pairing, f);
        const std::complex<double> k(static_cast<double>(c.key_numbers[at(h, t, re)]),
                                     static_cast<double>(c.key_numbers[at(h, t, im)]));
        const std::complex<double> y = gain(a, h, f) * k;
        c.key_numbers[plane + at(h, t, re)] = static_cast<float>(y.real() + noise * next());
        c.key_numbers[plane + at(h, t, im)] = static_cast<float>(y.imag() + noise * next());
      }
    }
  return c;
}

pair_moments moments_of(const two_layers& c) {
  pair_moments m(heads, dim);
  m.add(c, {{1}, {0}});
  return m;
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    worst = std::max(worst, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  return worst;
}

template <class Action>
errc refused(Action&& action) {
  try {
    action();
  } catch (const kvsharer::error& e) {
    return e.code();
  }
  return errc{};
}

TEST_CASE("what was planted is found, in both pairings") {
  for (const rope_pairing pairing : {rope_pairing::half_split, rope_pairing::interleaved}) {
    const layer_alignment a = planted(pairing);
    const auto fit =
        fit_alignment(moments_of(layers_of(a)), {.ridge = 0, .keys = key_length::least_squares, .pairing = pairing});
    CHECK(largest_difference(fit.alignment.values, a.values) < 1e-6);
    CHECK(largest_difference(fit.alignment.offset, a.offset) < 1e-6);
    CHECK(largest_difference(fit.alignment.key_gain, a.key_gain) < 1e-6);
    CHECK(fit.values_explained == doctest::Approx(1).epsilon(1e-12));
    CHECK(fit.keys_explained == doctest::Approx(1).epsilon(1e-12));
    // The other pairing mixes channels that do not belong together.
    const auto other = pairing == rope_pairing::half_split ? rope_pairing::interleaved : rope_pairing::half_split;
    const auto wrong =
        fit_alignment(moments_of(layers_of(a)), {.ridge = 0, .keys = key_length::least_squares, .pairing = other});
    CHECK(wrong.keys_explained < 0.9);
  }
}

/// What least squares minimises, from the samples themselves: the mean squared distance of layer 1 from what `a` makes
/// of layer 0, of keys and of values.
std::pair<double, double> distances(const two_layers& c, const layer_alignment& a) {
  two_layers made = c;
  double keys = 0, values = 0;
  for (index_t h = 0; h < heads; ++h)
    for (index_t t = 0; t < tokens; ++t) {
      for (index_t i = 0; i < dim; ++i) {
        double v = static_cast<double>(a.offset[static_cast<std::size_t>(h * dim + i)]);
        for (index_t j = 0; j < dim; ++j)
          v += static_cast<double>(a.values[static_cast<std::size_t>((h * dim + i) * dim + j)]) *
               static_cast<double>(c.value_numbers[at(h, t, j)]);
        values += std::pow(v - static_cast<double>(c.value_numbers[plane + at(h, t, i)]), 2) / tokens;
      }
      for (index_t f = 0; f < dim / 2; ++f) {
        const auto [re, im] = pair_of(a.pairing, f);
        const auto k = [&](std::size_t layer) {
          return std::complex<double>(static_cast<double>(c.key_numbers[layer * plane + at(h, t, re)]),
                                      static_cast<double>(c.key_numbers[layer * plane + at(h, t, im)]));
        };
        keys += std::norm(gain(a, h, f) * k(0) - k(1)) / tokens;
      }
    }
  return {keys, values};
}

TEST_CASE("no other alignment comes nearer to noisy layers, and the explained share is that of the samples") {
  const two_layers c = layers_of(planted(rope_pairing::half_split), 0.7);
  const auto fit = fit_alignment(moments_of(c), {.ridge = 0, .keys = key_length::least_squares});
  const auto [keys, values] = distances(c, fit.alignment);
  CHECK(keys > 0.1);
  CHECK(values > 0.1);
  random_numbers next{std::mt19937(7)};
  for (int i = 0; i < 200; ++i) {
    layer_alignment other = fit.alignment;
    for (auto* numbers : {&other.values, &other.offset, &other.key_gain})
      for (float& x : *numbers) x += static_cast<float>(0.01 * next());
    const auto [other_keys, other_values] = distances(c, other);
    CHECK(other_keys > keys);
    CHECK(other_values > values);
  }
  // Nothing at all for keys; the mean, by way of an infinite ridge, for values.
  layer_alignment none = layer_alignment::identity(heads, dim);
  for (auto* numbers : {&none.values, &none.offset, &none.key_gain}) numbers->assign(numbers->size(), 0.0f);
  none.offset = fit_alignment(moments_of(c), {.ridge = 1e12}).alignment.offset;
  const auto [all_keys, all_values] = distances(c, none);
  CHECK(fit.keys_explained == doctest::Approx(1 - keys / all_keys).epsilon(1e-5));
  CHECK(fit.values_explained == doctest::Approx(1 - values / all_values).epsilon(1e-5));
}

TEST_CASE("a ridge draws the fit towards nothing, and values towards the reader's mean") {
  const two_layers c = layers_of(planted(rope_pairing::half_split), 0.3);
  double size = std::numeric_limits<double>::infinity();
  for (const double ridge : {0.0, 1e-2, 1.0, 1e2, 1e8}) {
    const layer_alignment a =
        fit_alignment(moments_of(c), {.ridge = ridge, .keys = key_length::least_squares}).alignment;
    double now = 0;
    for (const float x : a.values) now += static_cast<double>(x) * static_cast<double>(x);
    for (const float x : a.key_gain) now += static_cast<double>(x) * static_cast<double>(x);
    CHECK(now < size);
    size = now;
    if (ridge == 1e8)
      for (index_t h = 0; h < heads; ++h)
        for (index_t i = 0; i < dim; ++i) {
          double mean = 0;
          for (index_t t = 0; t < tokens; ++t)
            mean += static_cast<double>(c.value_numbers[plane + at(h, t, i)]) / tokens;
          CHECK(static_cast<double>(a.offset[static_cast<std::size_t>(h * dim + i)]) ==
                doctest::Approx(mean).epsilon(1e-5));
        }
  }
  CHECK(size < 1e-12);
  // One ridge by hand: of one channel pair and no offset, g = sum y conj(x) / (sum |x|^2 + ridge * mean |x|^2).
  double power = 0, of_x = 0;
  std::complex<double> cross = 0;
  for (index_t t = 0; t < tokens; ++t)
    for (index_t f = 0; f < dim / 2; ++f) {
      const auto k = [&](std::size_t layer) {
        return std::complex<double>(static_cast<double>(c.key_numbers[layer * plane + at(1, t, f)]),
                                    static_cast<double>(c.key_numbers[layer * plane + at(1, t, f + dim / 2)]));
      };
      power += std::norm(k(0)) / (dim / 2);
      if (f == 2) {
        of_x += std::norm(k(0));
        cross += k(1) * std::conj(k(0));
      }
    }
  const layer_alignment a = fit_alignment(moments_of(c), {.ridge = 0.25, .keys = key_length::least_squares}).alignment;
  CHECK(std::abs(gain(a, 1, 2) - cross / (of_x + 0.25 * power)) < 1e-6);
}

TEST_CASE("gains of length 1 have the angle of least squares") {
  const two_layers c = layers_of(planted(rope_pairing::half_split), 0.7);
  const layer_alignment nearest = fit_alignment(moments_of(c), {.keys = key_length::least_squares}).alignment;
  const auto turned = fit_alignment(moments_of(c), {.keys = key_length::one});
  CHECK(fit_alignment(moments_of(c)).alignment == turned.alignment);  // the default
  double left = 0, all = 0;
  for (index_t h = 0; h < heads; ++h)
    for (index_t f = 0; f < dim / 2; ++f) {
      const auto g = gain(nearest, h, f);
      CHECK(std::abs(gain(turned.alignment, h, f) - g / std::abs(g)) < 1e-6);
      CHECK(std::abs(std::abs(g) - 1) > 1e-3);
      for (index_t t = 0; t < tokens; ++t) {
        const auto k = [&](std::size_t layer) {
          return std::complex<double>(static_cast<double>(c.key_numbers[layer * plane + at(h, t, f)]),
                                      static_cast<double>(c.key_numbers[layer * plane + at(h, t, f + dim / 2)]));
        };
        left += std::norm(k(1) - g / std::abs(g) * k(0));
        all += std::norm(k(1));
      }
    }
  CHECK(turned.keys_explained == doctest::Approx(1 - left / all).epsilon(1e-5));
}

TEST_CASE("moments of several sequences are those of all their tokens") {
  const two_layers c = layers_of(planted(rope_pairing::half_split), 0.3, 1);
  two_layers d = layers_of(planted(rope_pairing::half_split), 0.3, 2);
  d.used = 20;
  pair_moments m(heads, dim);
  m.add(c, {{1}, {0}});
  m.add(d, {{1}, {0}});
  CHECK(m.values(1).tokens == 70);
  double sum = 0, product = 0;
  for (index_t t = 0; t < tokens; ++t) sum += static_cast<double>(c.value_numbers[at(1, t, 4)]);
  for (index_t t = 0; t < 20; ++t) sum += static_cast<double>(d.value_numbers[at(1, t, 4)]);
  for (const two_layers* from : std::initializer_list<const two_layers*>{&c, &d})
    for (index_t t = 0; t < from->used; ++t)
      product += static_cast<double>(from->key_numbers[plane + at(0, t, 5)]) *
                 static_cast<double>(from->key_numbers[at(0, t, 2)]);
  CHECK(m.values(1).x[4] == doctest::Approx(sum).epsilon(1e-12));
  CHECK(m.keys(0).yx[5 * dim + 2] == doctest::Approx(product).epsilon(1e-12));
}

TEST_CASE("without an offset there is none, and a constant owner gives the mean or nothing") {
  const two_layers c = layers_of(planted(rope_pairing::half_split), 0.3);
  const auto fit = fit_alignment(moments_of(c), {.ridge = 1e-3, .offset = false});
  CHECK_FALSE(fit.alignment.has_offset());
  CHECK(fit_alignment(moments_of(c)).alignment.has_offset());
  two_layers flat = c;
  std::fill_n(flat.value_numbers.begin(), plane, 0.0f);
  std::fill_n(flat.key_numbers.begin(), plane, 0.0f);
  const auto none = fit_alignment(moments_of(flat));
  for (const float x : none.alignment.values) CHECK(x == 0);
  CHECK(none.alignment.key_gain == layer_alignment::identity(heads, dim).key_gain);
  for (const float x : fit_alignment(moments_of(flat), {.keys = key_length::least_squares}).alignment.key_gain)
    CHECK(x == 0);
  CHECK(none.values_explained == doctest::Approx(0).epsilon(1e-9));
}

/// One query's attention over all tokens, times the output projection, textbook style: keys and values are changed by
/// `a` before they are read.
std::vector<double> attended(const layer_alignment& a, index_t query_heads, const std::vector<float>& query_weights,
                             const std::vector<float>& output_weights, const std::vector<double>& x,
                             const two_layers& c) {
  const index_t in = static_cast<index_t>(x.size()),
                out = static_cast<index_t>(output_weights.size()) / query_heads / dim;
  std::vector<double> y(static_cast<std::size_t>(out));
  for (index_t h = 0; h < query_heads; ++h) {
    const index_t kv = h / (query_heads / heads);
    std::vector<double> q(static_cast<std::size_t>(dim)), weight, mixed(q);
    for (index_t i = 0; i < dim; ++i)
      for (index_t j = 0; j < in; ++j)
        q[static_cast<std::size_t>(i)] +=
            static_cast<double>(query_weights[static_cast<std::size_t>((h * dim + i) * in + j)]) *
            x[static_cast<std::size_t>(j)];
    double sum = 0;
    for (index_t t = 0; t < tokens; ++t) {
      double score = 0;
      for (index_t f = 0; f < dim / 2; ++f) {
        const auto [re, im] = pair_of(a.pairing, f);
        const std::complex<double> k(static_cast<double>(c.key_numbers[at(kv, t, re)]),
                                     static_cast<double>(c.key_numbers[at(kv, t, im)]));
        const std::complex<double> changed = gain(a, kv, f) * k;
        score += q[static_cast<std::size_t>(re)] * changed.real() + q[static_cast<std::size_t>(im)] * changed.imag();
      }
      weight.push_back(std::exp(score));
      sum += weight.back();
    }
    for (index_t t = 0; t < tokens; ++t)
      for (index_t i = 0; i < dim; ++i) {
        double v = static_cast<double>(a.offset[static_cast<std::size_t>(kv * dim + i)]);
        for (index_t j = 0; j < dim; ++j)
          v += static_cast<double>(a.values[static_cast<std::size_t>((kv * dim + i) * dim + j)]) *
               static_cast<double>(c.value_numbers[at(kv, t, j)]);
        mixed[static_cast<std::size_t>(i)] += weight[static_cast<std::size_t>(t)] / sum * v;
      }
    for (index_t o = 0; o < out; ++o)
      for (index_t i = 0; i < dim; ++i)
        y[static_cast<std::size_t>(o)] +=
            static_cast<double>(output_weights[static_cast<std::size_t>((o * query_heads + h) * dim + i)]) *
            mixed[static_cast<std::size_t>(i)];
  }
  return y;
}

TEST_CASE("weights with an alignment folded in compute what applying it computes, in both pairings") {
  constexpr index_t query_heads = 6, in = 5, out = 7;
  random_numbers next{std::mt19937(11)};
  std::vector<float> query(query_heads * dim * in), output(out * query_heads * dim);
  std::vector<double> x(in);
  for (float& w : query) w = static_cast<float>(next() * 0.3);
  for (float& w : output) w = static_cast<float>(next());
  for (double& v : x) v = next();
  for (const rope_pairing pairing : {rope_pairing::half_split, rope_pairing::interleaved}) {
    const layer_alignment a = planted(pairing), nothing = layer_alignment::identity(heads, dim, pairing);
    const two_layers c = layers_of(a);
    const std::vector<double> expected = attended(a, query_heads, query, output, x, c);
    std::vector<float> folded_query = query, folded_output = output, bias(out, 0.5f);
    kvsharer::fold_into_queries(a, query_heads, in, folded_query);
    kvsharer::fold_into_output(a, query_heads, out, folded_output, bias);
    const std::vector<double> folded = attended(nothing, query_heads, folded_query, folded_output, x, c);
    const std::vector<double> untouched = attended(nothing, query_heads, query, output, x, c);
    for (std::size_t o = 0; o < out; ++o) {
      CHECK(folded[o] + static_cast<double>(bias[o]) - 0.5 == doctest::Approx(expected[o]).epsilon(1e-5));
      CHECK(std::abs(untouched[o] - expected[o]) > 1e-3);
    }
  }
}

TEST_CASE("folding the identity changes no bit") {
  constexpr index_t query_heads = 4, in = 3, out = 5;
  random_numbers next{std::mt19937(13)};
  std::vector<float> query(query_heads * dim * in), output(out * query_heads * dim), bias(out, 0.25f);
  for (float& w : query) w = static_cast<float>(next());
  for (float& w : output) w = static_cast<float>(next());
  std::vector<float> folded_query = query, folded_output = output, folded_bias = bias;
  const layer_alignment nothing = layer_alignment::identity(heads, dim);
  kvsharer::fold_into_queries(nothing, query_heads, in, folded_query);
  kvsharer::fold_into_output(nothing, query_heads, out, folded_output, folded_bias);
  CHECK(folded_query == query);
  CHECK(folded_output == output);
  CHECK(folded_bias == bias);
}

TEST_CASE("what does not fit is refused") {
  const two_layers c = layers_of(planted(rope_pairing::half_split));
  CHECK(refused([] { pair_moments(0, 6); }) == errc::bad_shape);
  CHECK(refused([] { pair_moments(2, 5); }) == errc::bad_shape);
  pair_moments other(heads, 4);
  CHECK(refused([&] { other.add(c, {{1}, {0}}); }) == errc::bad_shape);
  pair_moments m(heads, dim);
  CHECK(refused([&] { m.add(c, {{2}, {0}}); }) == errc::out_of_range);
  CHECK(refused([&] { fit_alignment(m); }) == errc::short_samples);
  m.add(c, {{1}, {0}});
  CHECK(refused([&] { fit_alignment(m, {.ridge = -1}); }) == errc::bad_argument);
  CHECK(refused([&] { fit_alignment(m, {.ridge = std::numeric_limits<double>::quiet_NaN()}); }) == errc::bad_argument);
  two_layers broken = c;
  broken.value_numbers[3] = std::numeric_limits<float>::infinity();
  CHECK(refused([&] { fit_alignment(moments_of(broken)); }) == errc::not_finite);
  broken = c;
  broken.key_numbers[plane + 3] = std::numeric_limits<float>::quiet_NaN();
  CHECK(refused([&] { fit_alignment(moments_of(broken)); }) == errc::not_finite);

  layer_alignment a = layer_alignment::identity(heads, dim);
  std::vector<float> weights(4 * dim * 3), bias(3);
  CHECK(refused([&] { kvsharer::fold_into_queries(a, 4, 3, weights); }) == errc{});
  CHECK(refused([&] { kvsharer::fold_into_queries(a, 3, 4, weights); }) == errc::bad_shape);
  CHECK(refused([&] { kvsharer::fold_into_queries(a, 4, 2, weights); }) == errc::bad_shape);
  CHECK(refused([&] { kvsharer::fold_into_output(a, 4, 3, weights, std::span(bias).first(2)); }) == errc::bad_shape);
  a.offset.pop_back();
  CHECK(refused([&] { kvsharer::fold_into_queries(a, 4, 3, weights); }) == errc::bad_shape);
}

}  // namespace
