// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <string>

#include "kvsharer/align/layer_alignment.hpp"
#include "kvsharer/align/moments.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/finite.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cpu {

/// The length of the gain of a frequency. Its angle is always that of the sum of y conj(x), the best angle for any
/// length. With least squares, gains are shorter the less the keys of owner and reader are correlated; this makes
/// scores more equal and attention flatter. With length 1 attention stays as sharp as before.
enum class key_length {
  least_squares,  ///< the length that brings keys nearest
  one             ///< length 1: only the angle is fitted
};

/// How an alignment is fitted.
struct fit_options {
  /// Added to the diagonal of the owner's covariance, as a fraction of its mean. 0 is plain least squares; the larger
  /// the ridge, the nearer the fit is to 0 (for values, to the reader's mean). Must be greater than 0 if there are
  /// fewer tokens than channels.
  double ridge = 0.1;
  bool offset = true;                               ///< fit an offset of values, too?
  key_length keys = key_length::one;                ///< length of a frequency's gain
  rope_pairing pairing = rope_pairing::half_split;  ///< the channels that rotate together in this model
};

/// A fit, and its quality on the data of the fit: the fraction of the reader's variance that it explains (for keys, and
/// without an offset, of its mean square). 1 is all of it; below 0 the fit is worse than none.
struct fitted_alignment {
  layer_alignment alignment;    ///< what was fitted, in float
  double values_explained = 0;  ///< fraction of the values' variance, over all heads
  double keys_explained = 0;    ///< fraction of the keys' mean square, over all heads
};

namespace detail {

using square = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// How much of the reader's numbers there was, and how much of it is left.
struct residual {
  double all = 0, left = 0;
  double explained() const { return all > 0 ? 1 - left / all : 1.0; }
};

inline void fit_values(const second_moments& m, const fit_options& o, float* values, float* offset, residual& r) {
  const index_t d = m.width;
  const double n = m.tokens;
  const Eigen::Map<const Eigen::VectorXd> x(m.x.data(), d), y(m.y.data(), d), yy(m.yy.data(), d);
  const Eigen::Map<const square> xx(m.xx.data(), d, d), yx(m.yx.data(), d, d);
  const Eigen::VectorXd mean_x = o.offset ? (x / n).eval() : Eigen::VectorXd::Zero(d).eval();
  const Eigen::VectorXd mean_y = o.offset ? (y / n).eval() : Eigen::VectorXd::Zero(d).eval();
  square cov = xx / n - mean_x * mean_x.transpose();
  const square cross = yx / n - mean_y * mean_x.transpose();
  const double power = std::max(cov.trace() / static_cast<double>(d), 0.0);
  square b = square::Zero(d, d);
  if (power > 0) {
    square regular = cov;
    regular.diagonal().array() += o.ridge * power;
    b = regular.ldlt().solve(cross.transpose()).transpose();
  }
  const double all = yy.sum() / n - mean_y.squaredNorm();
  r.all += all;
  r.left += all - 2 * b.cwiseProduct(cross).sum() + (b * cov).cwiseProduct(b).sum();
  Eigen::Map<Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>(values, d, d) = b.cast<float>();
  Eigen::Map<Eigen::VectorXf>(offset, d) = (mean_y - b * mean_x).cast<float>();
}

inline std::complex<double> gain_of(std::complex<double> cross, double regular, key_length length) {
  if (length == key_length::least_squares) return regular > 0 ? cross / regular : std::complex<double>{};
  const double size = std::abs(cross);
  return size == 0 ? std::complex<double>(1) : cross / size;
}

inline void fit_keys(const second_moments& m, const fit_options& o, float* gain, residual& r) {
  const index_t d = m.width;
  const auto at = [d](index_t row, index_t column) { return static_cast<std::size_t>(row * d + column); };
  double power = 0;
  for (index_t i = 0; i < d; ++i) power += m.xx[at(i, i)];
  const double extra = o.ridge * power / static_cast<double>(d / 2);
  for (index_t f = 0; f < d / 2; ++f) {
    const auto [re, im] = channels_of(o.pairing, d, f);
    // The sums of y conj(x) and of |x|^2, as complex numbers.
    const std::complex<double> cross(m.yx[at(re, re)] + m.yx[at(im, im)], m.yx[at(im, re)] - m.yx[at(re, im)]);
    const double of_x = m.xx[at(re, re)] + m.xx[at(im, im)];
    const double of_y = m.yy[static_cast<std::size_t>(re)] + m.yy[static_cast<std::size_t>(im)];
    const std::complex<double> g = gain_of(cross, of_x + extra, o.keys);
    r.all += of_y;
    r.left += of_y - 2 * (std::conj(g) * cross).real() + std::norm(g) * of_x;
    gain[2 * f] = static_cast<float>(g.real());
    gain[2 * f + 1] = static_cast<float>(g.imag());
  }
}

/// Are all numbers finite that these are moments of? Their squares' sum is, then.
inline bool of_finite(const second_moments& m) {
  double sum = 0;
  for (index_t i = 0; i < m.width; ++i)
    sum += m.xx[static_cast<std::size_t>(i * m.width + i)] + m.yy[static_cast<std::size_t>(i)];
  return is_finite(sum);
}

}  // namespace detail

/// The alignment that brings the owner's keys and values nearest to the reader's own, by least squares per KV head: B
/// by ridge regression of all channels on all channels, g by regression of each frequency on itself.
///
/// Throws errc::bad_argument for a ridge that is negative or not finite, errc::short_samples if no token was added,
/// errc::not_finite for NaN or infinity in the moments. O(kv_heads * head_dim^3), in double.
inline fitted_alignment fit_alignment(const pair_moments& moments, const fit_options& options = {}) {
  if (!(options.ridge >= 0) || !is_finite(options.ridge))
    throw error(errc::bad_argument, "the ridge is " + std::to_string(options.ridge) + "; it must be 0 or more");
  const index_t heads = moments.kv_heads(), d = moments.head_dim();
  if (moments.keys(0).tokens < 1)
    throw error(errc::short_samples, "an alignment cannot be fitted to 0 tokens; add samples");
  fitted_alignment fit;
  fit.alignment = layer_alignment::identity(heads, d, options.pairing);
  detail::residual of_values, of_keys;
  for (index_t h = 0; h < heads; ++h) {
    if (!detail::of_finite(moments.keys(h)) || !detail::of_finite(moments.values(h)))
      throw error(errc::not_finite,
                  "an alignment was to be fitted to NaN or infinity; check the keys and values of the calibration "
                  "samples");
    detail::fit_values(moments.values(h), options, fit.alignment.values.data() + h * d * d,
                       fit.alignment.offset.data() + h * d, of_values);
    detail::fit_keys(moments.keys(h), options, fit.alignment.key_gain.data() + h * d, of_keys);
  }
  fit.values_explained = of_values.explained();
  fit.keys_explained = of_keys.explained();
  for (const auto* numbers : {&fit.alignment.values, &fit.alignment.offset, &fit.alignment.key_gain})
    for (const float x : *numbers)
      if (!is_finite(x))
        throw error(
            errc::not_finite,
            "an alignment came out as NaN or infinity; check the keys and values of the calibration samples, or "
            "use a larger ridge");
  return fit;
}

}  // namespace kvsharer::inline v0::cpu
