// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace mini_llama::report {

/// Points, and what is told of one under the pointer.
struct chart_point {
  double x = 0, y = 0;
  std::string title = {};
  bool hollow = false;  ///< as a cross instead of the series' mark
};

/// What lies between two curves.
struct chart_band {
  double x = 0, low = 0, high = 0;
};

/// What belongs together: one colour, one mark, one name beside its last point.
struct chart_series {
  std::string name = {};
  int style = 0;  ///< of style.hpp's colours and marks; -1 is the full model's
  std::vector<chart_point> points = {};
  std::vector<chart_point> line = {};  ///< may differ from the points, as a mean does
  std::vector<chart_band> band = {};
};

struct chart_axis {
  std::string label = {};  ///< with its unit
  bool log = false;
  bool falling = false;                                    ///< the largest number stands first
  std::vector<std::pair<double, std::string>> ticks = {};  ///< round numbers where empty
  std::vector<double> include = {};                        ///< the range holds these, too
};

/// A picture of series over two axes, as wide as a phone is.
struct chart {
  std::string title = {}, description = {};  ///< for those who do not see it
  chart_axis x = {}, y = {};
  std::vector<chart_series> series = {};
  std::vector<std::pair<double, std::string>> levels = {};  ///< horizontal lines, and their names
  bool names_beside = false;  ///< series' names stand at their last points, not in a column on the right
  double width = 400, height = 320;
  double label_width = 112;  ///< for the series' names on the right
};

/// An <svg>. Points that are not finite are left out.
std::string draw(const chart& c);

/// The mark of a style as a small <svg>, for tables and keys.
std::string mark_of(int style);

}  // namespace mini_llama::report
