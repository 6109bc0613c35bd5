// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

namespace mini_llama::report {

/// From numbers to places on one axis of a picture, straight or by logarithm.
class scale {
 public:
  /// [low, high], which are made to differ, lies on [from, to], which may run backwards. A logarithm needs low > 0.
  scale(double low, double high, double from, double to, bool log = false)
      : log_(log && low > 0), low_(turn(low)), high_(turn(high)), from_(from), to_(to) {
    if (!(high_ > low_)) {
      low_ -= 0.5;
      high_ += 0.5;
    }
  }

  double operator()(double value) const { return from_ + (turn(value) - low_) / (high_ - low_) * (to_ - from_); }

  /// About `wanted` round numbers within the range, ascending.
  std::vector<double> ticks(int wanted) const {
    if (!log_) return even_ticks(low_, high_, wanted);
    const double low = std::exp(low_), high = std::exp(high_);
    std::vector<double> found;
    for (const auto& digits : {std::vector{1.0}, std::vector{1.0, 3.0}, std::vector{1.0, 2.0, 5.0},
                               std::vector{1.0, 1.5, 2.0, 3.0, 5.0, 7.0}}) {
      found.clear();
      for (double decade = std::pow(10, std::floor(std::log10(low))); decade <= high * 1.001; decade *= 10)
        for (const double digit : digits)
          if (digit * decade >= low * 0.999 && digit * decade <= high * 1.001) found.push_back(digit * decade);
      if (static_cast<int>(found.size()) >= wanted - 1) return found;
    }
    return found.size() > 2 ? found : even_ticks(low, high, wanted);
  }

 private:
  static std::vector<double> even_ticks(double low, double high, int wanted) {
    const double rough = (high - low) / std::max(1, wanted), decade = std::pow(10, std::floor(std::log10(rough)));
    double step = 10 * decade;
    for (const double digit : {5.0, 2.0, 1.0})
      if (digit * decade >= rough * 0.999) step = digit * decade;
    std::vector<double> found;
    for (double i = std::ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; ++i) found.push_back(i * step);
    return found;
  }

  double turn(double value) const { return log_ ? std::log(value) : value; }

  bool log_;
  double low_, high_, from_, to_;
};

}  // namespace mini_llama::report
