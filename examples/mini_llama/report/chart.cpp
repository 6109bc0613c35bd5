// SPDX-License-Identifier: Apache-2.0
#include "report/chart.hpp"

#include <algorithm>

#include "kvsharer/core/finite.hpp"
#include "report/markup.hpp"
#include "report/scale.hpp"

namespace mini_llama::report {
namespace {

std::string class_of(int style) { return style < 0 ? "full" : "s" + std::to_string(style % 8); }

/// A mark of its own for each style, so that nobody needs to tell colours apart.
std::string mark(int style, bool hollow, double x, double y, const std::string& title) {
  const auto at = [&](double dx, double dy) { return coordinate(x + dx) + " " + coordinate(y + dy); };
  attributes shape{{"class", hollow ? "mark cross" : "mark"}};
  std::string path;
  if (hollow)
    path = "M" + at(-3.5, -3.5) + "L" + at(3.5, 3.5) + "M" + at(-3.5, 3.5) + "L" + at(3.5, -3.5);
  else if (style < 0)
    path = "M" + at(0, -6) + "L" + at(6, 0) + "L" + at(0, 6) + "L" + at(-6, 0) + "Z";
  else
    switch (style % 8) {
      case 0:
        path = "M" + at(-4.5, 0) + "a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0Z";
        break;
      case 1:
        path = "M" + at(-4, -4) + "h8v8h-8Z";
        break;
      case 2:
        path = "M" + at(0, -5) + "L" + at(5, 4) + "L" + at(-5, 4) + "Z";
        break;
      case 3:
        path = "M" + at(-3, 0) + "a3 3 0 1 0 6 0a3 3 0 1 0 -6 0Z";
        break;
      case 4:
        path = "M" + at(0, -5) + "L" + at(5, 0) + "L" + at(0, 5) + "L" + at(-5, 0) + "Z";
        break;
      case 5:
        path = "M" + at(0, 5) + "L" + at(5, -4) + "L" + at(-5, -4) + "Z";
        break;
      case 6:
        path = "M" + at(-1.8, -5) + "h3.6v3.2h3.2v3.6h-3.2v3.2h-3.6v-3.2h-3.2v-3.6h3.2Z";
        break;
      default:
        path = "M" + at(-5, -2.5) + "h10v5h-10Z";
    }
  shape.emplace_back("d", path);
  return element("path", shape, title.empty() ? "" : element("title", {}, escaped(title)));
}

std::string text(double x, double y, const std::string& words, const std::string& kind, const attributes& more = {}) {
  attributes a{{"x", coordinate(x)}, {"y", coordinate(y)}, {"class", kind}};
  a.insert(a.end(), more.begin(), more.end());
  return element("text", a, escaped(words));
}

std::string line(double x1, double y1, double x2, double y2, const std::string& kind) {
  return element("line", {{"x1", coordinate(x1)},
                          {"y1", coordinate(y1)},
                          {"x2", coordinate(x2)},
                          {"y2", coordinate(y2)},
                          {"class", kind}});
}

bool finite(const chart_point& p) { return kvsharer::is_finite(p.x) && kvsharer::is_finite(p.y); }

struct range {
  double low = INFINITY, high = -INFINITY;
  void add(double value) {
    if (!kvsharer::is_finite(value)) return;
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

/// The frame that points are drawn in.
class frame {
 public:
  explicit frame(const chart& c) : chart_(c), x_(make_x(c)), y_(make_y(c)) {}

  std::string axes() const {
    std::string out;
    auto y_ticks = chart_.y.ticks;
    if (y_ticks.empty())
      for (const double t : y_.ticks(5)) y_ticks.emplace_back(t, plain(t));
    for (const auto& [value, name] : y_ticks) {
      out += line(left, y_(value), right(), y_(value), "grid");
      out += text(left - 6, y_(value) + 4, name, "tick end");
    }
    auto x_ticks = chart_.x.ticks;
    if (x_ticks.empty())
      for (const double t : x_.ticks(5)) x_ticks.emplace_back(t, plain(t));
    for (const auto& [value, name] : x_ticks) {
      const std::size_t cut = name.find('\n');  // a second line says what the first amounts to
      out += line(x_(value), bottom(), x_(value), bottom() + 4, "axis");
      out += text(x_(value), bottom() + 17, name.substr(0, cut), "tick middle");
      if (cut != std::string::npos) out += text(x_(value), bottom() + 31, name.substr(cut + 1), "tick middle");
    }
    out += line(left, bottom(), right(), bottom(), "axis");
    for (const auto& [value, name] : chart_.levels) {
      out += line(left, y_(value), right(), y_(value), "level");
      out += text(right() + 6, y_(value) + 4, name, "tick");
    }
    out += text((left + right()) / 2, chart_.height - 6, chart_.x.label, "label middle");
    out += text(left - 40, 14, chart_.y.label, "label");
    return out;
  }

  std::string band(const chart_series& s) const {
    std::string there, back;
    for (const chart_band& b : s.band) {
      if (!kvsharer::is_finite(b.low) || !kvsharer::is_finite(b.high)) continue;
      there += coordinate(x_(b.x)) + "," + coordinate(y_(b.high)) + " ";
      back = coordinate(x_(b.x)) + "," + coordinate(y_(b.low)) + " " + back;
    }
    return there.empty() ? "" : element("polygon", {{"class", "band"}, {"points", there + back}});
  }

  std::string curve(const chart_series& s) const {
    std::string places;
    for (const chart_point& p : s.line)
      if (finite(p)) places += coordinate(x_(p.x)) + "," + coordinate(y_(p.y)) + " ";
    return places.empty() ? "" : element("polyline", {{"class", "curve"}, {"points", places}});
  }

  std::string marks(const chart_series& s) const {
    std::string out;
    for (const chart_point& p : s.points)
      if (finite(p)) out += mark(s.style, p.hollow, x_(p.x), y_(p.y), p.title);
    return out;
  }

  /// Names beside the last points, moved apart where they would overlap.
  std::string names() const {
    struct name {
      double x, y, at;
      const chart_series* of;
    };
    std::vector<name> all;
    for (const chart_series& s : chart_.series) {
      const auto& points = s.line.empty() ? s.points : s.line;
      const auto last = std::max_element(points.begin(), points.end(), [&](const chart_point& a, const chart_point& b) {
        return !finite(a) || (finite(b) && x_(a.x) < x_(b.x));
      });
      if (!s.name.empty() && last != points.end() && finite(*last))
        all.push_back({x_(last->x), y_(last->y), y_(last->y), &s});
    }
    constexpr double apart = 15;
    std::sort(all.begin(), all.end(), [](const name& a, const name& b) { return a.y < b.y; });
    for (std::size_t i = 0; i < all.size(); ++i) all[i].at = std::max(all[i].y, i ? all[i - 1].at + apart : top + 4);
    double limit = bottom() - 2;
    for (std::size_t i = all.size(); i-- > 0; limit = all[i].at - apart) all[i].at = std::min(all[i].at, limit);
    std::string out;
    for (const name& n : all) {
      const double x = chart_.names_beside ? n.x + 10 : right() + 10;
      std::string one = chart_.names_beside ? "" : line(n.x + 7, n.y, x - 2, n.at, "leader");
      one += text(x, n.at + 4, n.of->name, "name");
      out += element("g", {{"class", class_of(n.of->style)}}, one);
    }
    return out;
  }

 private:
  static constexpr double left = 48, top = 28;
  double right() const { return chart_.width - chart_.label_width; }
  double bottom() const { return bottom_of(chart_); }
  /// Above ticks of one or two lines and the axis' name.
  static double bottom_of(const chart& c) { return c.height - (c.x.ticks.empty() ? 42 : 58); }

  static range spread(const chart& c, bool of_x) {
    range r;
    const auto add = [&](const chart_point& p) {
      if (finite(p)) r.add(of_x ? p.x : p.y);
    };
    for (const chart_series& s : c.series) {
      for (const chart_point& p : s.points) add(p);
      for (const chart_point& p : s.line) add(p);
      for (const chart_band& b : s.band) {
        r.add(of_x ? b.x : b.low);
        r.add(of_x ? b.x : b.high);
      }
    }
    for (const double value : (of_x ? c.x : c.y).include) r.add(value);
    if (!kvsharer::is_finite(r.low)) r = {0, 1};
    return r;
  }

  static scale make_x(const chart& c) {
    const range r = spread(c, true);
    const double end = c.width - c.label_width, pad = 8;
    return c.x.falling ? scale(r.low, r.high, end - pad, left + pad, c.x.log)
                       : scale(r.low, r.high, left + pad, end - pad, c.x.log);
  }
  static scale make_y(const chart& c) {
    const range r = spread(c, false);
    return scale(r.low, r.high, bottom_of(c) - 8, top + 8, c.y.log);
  }

  const chart& chart_;
  scale x_, y_;
};

}  // namespace

std::string draw(const chart& c) {
  const frame f(c);
  std::string inside = element("title", {}, escaped(c.title)) + element("desc", {}, escaped(c.description)) + f.axes();
  for (const chart_series& s : c.series) inside += element("g", {{"class", class_of(s.style)}}, f.band(s));
  for (const chart_series& s : c.series) inside += element("g", {{"class", class_of(s.style)}}, f.curve(s));
  for (const chart_series& s : c.series) inside += element("g", {{"class", class_of(s.style)}}, f.marks(s));
  inside += f.names();
  return element("svg",
                 {{"viewBox", "0 0 " + coordinate(c.width) + " " + coordinate(c.height)},
                  {"role", "img"},
                  {"aria-label", c.title},
                  {"class", "chart"}},
                 inside);
}

std::string mark_of(int style) {
  return element("svg", {{"viewBox", "0 0 14 14"}, {"class", "key " + class_of(style)}, {"aria-hidden", "true"}},
                 mark(style, false, 7, 7, ""));
}

}  // namespace mini_llama::report
