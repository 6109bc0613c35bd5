// SPDX-License-Identifier: Apache-2.0
// Compiled with -ffast-math, as engines do: what is not finite is refused all the same. A program without a test
// framework, whose headers would be compiled like that, too.
#include <cstdint>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include "kvsharer/cpu.hpp"
#include "kvsharer/kvsharer.hpp"

using namespace kvsharer;

namespace {

#if !defined(__FAST_MATH__)
#error "this program says nothing without -ffast-math"
#endif

int failures = 0;

void check(bool holds, const char* what) {
  if (holds) return;
  ++failures;
  std::printf("does not hold: %s\n", what);
}

/// Numbers that the compiler does not know.
float number(std::uint32_t bits) {
  volatile std::uint32_t hidden = bits;
  return __builtin_bit_cast(float, static_cast<std::uint32_t>(hidden));
}
double number(std::uint64_t bits) {
  volatile std::uint64_t hidden = bits;
  return __builtin_bit_cast(double, static_cast<std::uint64_t>(hidden));
}
const float spoilers[] = {number(0x7fc00000u), number(0xffc00001u), number(0x7f800001u), number(0x7f800000u),
                          number(0xff800000u)};
const double nan = number(std::uint64_t{0x7ff8000000000000u}), infinite = number(std::uint64_t{0x7ff0000000000000u});

/// The number of the error that f() ends with; 0 for none.
template <class F>
int refusal(F&& f) {
  try {
    f();
  } catch (const error& e) {
    return static_cast<int>(e.code());
  }
  return 0;
}

/// One sequence's cache, [keys|values][layer][token][channel].
struct sample {
  static constexpr memory_space space = memory_space::host;
  static constexpr index_t layers = 3, tokens = 4, channels = 6;
  std::vector<float> data;

  sample() : data(static_cast<std::size_t>(2 * layers * tokens * channels)) {
    for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<float>(i * 7 % 23) - 11;
  }
  /// With one number of the plane (keys, then values of all layers) changed.
  sample(index_t plane, float spoiler) : sample() {
    data[static_cast<std::size_t>(plane * tokens * channels + 9)] = spoiler;
  }
  auto view(index_t plane) const {
    return layer_view{data.data() + plane * tokens * channels, layout::strided_index{.head = 0, .token = channels}};
  }
  cache_shape shape() const { return {layers, 1, channels, tokens}; }
  index_t length() const { return tokens; }
  auto keys(layer_id l) const { return view(l.value); }
  auto values(layer_id l) const { return view(layers + l.value); }
};

distance_matrix distances() {
  distance_matrix d(4);
  double next = 1;
  for (layer_pair p : all_pairs(4)) d.set(p, next++);
  return d;
}

void numbers() {
  for (const float x : spoilers) {
    check(!is_finite(x), "a float that is not finite is seen");
    check(!is_finite(static_cast<double>(x)), "a double that is not finite is seen");
  }
  for (int i = 0; i < 3; ++i) {
    check(is_nan(spoilers[i]), "a float that is NaN is seen");
    check(is_nan(static_cast<double>(spoilers[i])), "a double that is NaN is seen");
    check(!is_zero(spoilers[i]), "NaN is not zero");
  }
  for (int i = 3; i < 5; ++i) check(!is_nan(spoilers[i]), "infinity is not NaN");
  for (const float x : {number(0x00000000u), number(0x80000000u)})
    check(is_finite(x) && is_zero(x) && is_zero(static_cast<double>(x)), "a zero is zero");
  for (const float x : {number(0x00000001u), number(0x80000001u), number(0x3f800000u), number(0xff7fffffu)})
    check(is_finite(x) && is_finite(static_cast<double>(x)) && !is_nan(x) && !is_zero(x), "a number is a number");
}

void calibration() {
  for (const float spoiler : spoilers)
    for (index_t plane = 0; plane < 2 * sample::layers; ++plane) {
      calibration_average average;
      check(refusal([&] { average.add(sample(plane, spoiler)); }) == 406, "a calibration sample that is not finite");
    }
  calibration_average average;
  check(refusal([&] { average.add(sample()); }) == 0, "a calibration sample that is finite");
}

template <class Metric>
void measured(const Metric& metric, const char* name) {
  const auto searched = [&](const sample& s) {
    const auto d = cpu::layer_distances(cpu::backend{}, s, metric);
    find_share_map(d, policy::dissimilar_first{}, [](const share_map&) { return 1.0; }, {.share = 1});
  };
  for (const float spoiler : spoilers)
    for (index_t plane = 0; plane < 2 * sample::layers; ++plane)
      check(refusal([&] { searched(sample(plane, spoiler)); }) == 406, name);
  check(refusal([&] { searched(sample()); }) == 0, name);
}

void zero_rows() {
  const double of_nan[] = {metric::cosine{}.finish({spoilers[0], spoilers[0], 0}, 1),
                           metric::cosine{}.finish({spoilers[0], spoilers[0], 1}, 1),
                           metric::scaled_euclidean{}.finish({spoilers[0], spoilers[1]}, 1)};
  for (const double x : of_nan) check(!is_finite(x), "the distance of a row with NaN from one of zeros");
  const std::vector<float> zero(3, number(0x00000000u)), plain{1, 2, 3};
  for (const float spoiler : spoilers) {
    const std::vector<float> spoilt{1, spoiler, 3};
    check(!is_finite(cosine_similarity(plain, spoilt)), "the cosine of a vector that is not finite");
    check(!is_finite(cosine_similarity(zero, spoilt)), "the cosine of zeros and a vector that is not finite");
  }
  check(is_zero(cosine_similarity(zero, plain)), "the cosine of zeros and a vector that is finite");
}

void greedy_scores() {
  for (const float spoiler : spoilers) {
    const double bad = static_cast<double>(spoiler);
    int calls = 0;
    const search_report r =
        find_share_map(distances(), policy::dissimilar_first{},
                       [&](const share_map&) { return ++calls == 1 ? bad : 0.75; }, {.share = 1, .threshold = -1});
    check(r.candidates.size() == 2 && r.candidates[0].outcome == verdict::not_finite,
          "a score that is not finite is no accepted one");
    check(r.candidates.size() == 2 && r.candidates[1].outcome == verdict::accepted, "a finite score is accepted");
    distance_matrix d = distances();
    d.set({{2}, {1}}, bad);
    check(refusal([&] {
            find_share_map(d, policy::dissimilar_first{}, [](const share_map&) { return 1.0; }, {.share = 1});
          }) == 406,
          "a distance that is not finite");
  }
  check(refusal([] {
          find_share_map(distances(), policy::dissimilar_first{}, [](const share_map&) { return 1.0; },
                         {.share = 1, .threshold = nan});
        }) == 303,
        "a threshold of NaN");
}

void best_scores() {
  for (const float spoiler : spoilers) {
    const double bad = static_cast<double>(spoiler);
    check(refusal([&] { find_best_share_map(4, [&](const share_map&) { return bad; }, {.share = 1}); }) == 406,
          "a score of the full model that is not finite");
    // All moves but one are bad, at every step, and none is taken for the best because of it.
    const auto probe = [&](const share_map& m) {
      for (layer_id l{1}; l.value < m.layers(); ++l.value)
        if (!m.owns(l) && l.value != 2) return bad;
      return m.owns({2}) ? 1.0 : 0.5;
    };
    const search_report r = find_best_share_map(4, probe, {.share = 2});
    check(r.status == search_status::ranking_exhausted && r.accepted() == 1 && !r.map().owns({2}),
          "the best of moves whose other scores are not finite");
    std::size_t refused = 0;
    for (const candidate& c : r.candidates) refused += c.outcome == verdict::not_finite;
    check(refused > 4, "scores that are not finite are reported as such");
  }
  const auto options = [](const best_first_options& o) {
    return refusal([&] {
      find_best_share_map(
          4, [](const share_map&) { return 1.0; }, o);
    });
  };
  check(options({.share = 1, .threshold = nan}) == 303, "a threshold of NaN");
  check(options({.share = 1, .slack = nan}) == 303, "a slack of NaN");
  check(options({.share = 1, .slack = infinite}) == 303, "an infinite slack");
  check(options({.share = 1}) == 0, "options that are numbers");
}

void ranks() {
  const std::vector<double> plain{1, 2, 3}, spoilt{1, nan, 3};
  check(refusal([&] { (void)spearman_rho(plain, spoilt); }) == 406, "a rank of NaN");
  check(refusal([&] { (void)spearman_rho(plain, plain); }) == 0, "ranks of numbers");
}

void alignments() {
  const auto fit = [](const sample& s, const cpu::fit_options& options) {
    pair_moments moments(1, sample::channels);
    moments.add(s, {{1}, {0}});
    cpu::fit_alignment(moments, options);
  };
  for (const float spoiler : spoilers)
    for (const index_t plane : {index_t{0}, index_t{1}, sample::layers, sample::layers + 1})
      for (const auto length : {cpu::key_length::one, cpu::key_length::least_squares})
        for (const bool offset : {true, false})
          check(refusal([&] { fit(sample(plane, spoiler), {.offset = offset, .keys = length}); }) == 406,
                "an alignment to numbers that are not finite");
  check(refusal([&] { fit(sample(), {.ridge = nan}); }) == 303, "a ridge of NaN");
  check(refusal([&] { fit(sample(), {.ridge = infinite}); }) == 303, "an infinite ridge");
  check(refusal([&] { fit(sample(), {}); }) == 0, "an alignment to numbers");
}

}  // namespace

int main() {
  numbers();
  calibration();
  measured(metric::mean_row_norm{}, "the mean row norm of what is not finite");
  measured(metric::flat_euclidean{}, "the Euclidean distance of what is not finite");
  measured(metric::cosine{}, "the cosine of what is not finite");
  measured(metric::scaled_euclidean{}, "the scaled Euclidean distance of what is not finite");
  measured(cpu::linear_cka{}, "the CKA of what is not finite");
  zero_rows();
  greedy_scores();
  best_scores();
  ranks();
  alignments();
  if (failures == 0) std::printf("all gates hold\n");
  return failures == 0 ? 0 : 1;
}
