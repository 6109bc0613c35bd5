// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/finite.hpp"
#include "kvsharer/core/kv_part.hpp"
#include "kvsharer/core/share_map.hpp"
#include "kvsharer/core/share_plan.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/search/best_first_options.hpp"
#include "kvsharer/search/detail/probe_calls.hpp"
#include "kvsharer/search/detail/probe_run.hpp"
#include "kvsharer/search/detail/search_checks.hpp"
#include "kvsharer/search/search_report.hpp"

namespace kvsharer::inline v0::detail {

/// One run of find_best_share_map, or, with separate maps for keys and values, of find_best_share_plan.
///
/// The level of a plan is its number of shared planes, so all plans of a level take the same memory. A move that shares
/// a whole layer climbs two levels; a move that shares only keys or only values climbs one.
class best_first_search {
 public:
  best_first_search(int layers, bool apart, probe_calls probe, const best_first_options& options)
      : layers_(layers),
        apart_(apart),
        options_(options),
        start_(starting_map(layers, options.start)),
        probe_(std::move(probe), start_, options.resume) {
    check_share_count(layers, options.share);
    if (options.beam < 1)
      throw error(errc::bad_argument, "a beam of " + std::to_string(options.beam) + " keeps no map; use 1 or more");
    if (is_nan(options.threshold)) throw error(errc::bad_argument, "the threshold is not a number");
    if (!(options.slack >= 0) || !is_finite(options.slack))
      throw error(errc::bad_argument, "the slack must be a number of 0 or more; for no guesses at all, lazy = false");
  }

  search_report run() {
    report_.plan = start_;
    if (start_.reader_count() >= options_.share) return std::move(report_);
    report_.score = probe_.score(report_.plan);
    if (!is_finite(report_.score))
      throw error(errc::not_finite, "the probe's score of the full model is not finite; look at what it computes");
    levels_.resize(2 * static_cast<std::size_t>(options_.share) + 1);
    const auto moves_known = static_cast<std::size_t>(3 * layers_ * layers_);
    levels_[lowest()] = {{report_.plan, report_.score, gains(moves_known), {}}};
    state& first = levels_[lowest()].front();
    if (whole_layers()) report_.pairs_ranked = moves(first, whole).size();
    if (apart_) report_.pairs_ranked += moves(first, halves()).size();

    if (whole_layers()) report_.status = climb(pace::layers);
    if (apart_ && report_.status != search_status::cancelled) report_.status = climb(pace::planes);

    const state& best =
        std::find_if(levels_.rbegin(), levels_.rend(), [](const auto& level) { return !level.empty(); })->front();
    report_.plan = best.plan;
    report_.score = best.score;
    for (std::size_t i : best.path) report_.candidates[i].outcome = verdict::accepted;
    probe_.resume_from(report_.plan);
    report_.layer_evaluations = probe_.evaluations();
    report_.layer_evaluations_without_resume = probe_.evaluations_without_resume();
    if (options_.throw_when_missed && report_.status == search_status::ranking_exhausted)
      throw_missed(report_.accepted(), options_.share);
    return std::move(report_);
  }

 private:
  static constexpr std::array<kv_part, 1> whole{kv_part::both};
  static constexpr std::array<kv_part, 2> both_halves{kv_part::keys, kv_part::values};

  bool whole_layers() const { return !apart_ || options_.halves == kv_part::both; }
  std::span<const kv_part> halves() const {
    const std::span<const kv_part> all = both_halves;
    return whole_layers() ? all : all.subspan(options_.halves == kv_part::keys ? 0 : 1, 1);
  }

  /// Levels that a step climbs.
  enum class pace : std::size_t { planes = 1, layers = 2 };

  using gains = std::vector<std::optional<double>>;  // [part][reader][owner]: what a move added when last scored

  /// A plan during the search, and what is known of the moves from it.
  struct state {
    share_plan plan;
    double score;
    gains known;
    std::vector<std::size_t> path;  // the candidates that led here
  };

  /// A move from a state of a lower level, with its score or a guess of it. If `number` is 0, a state that the level
  /// has already.
  struct move {
    double score;
    std::size_t number;  // of the state among those whose moves a step tries, from 1
    state* from;
    layer_pair pair = {};
    kv_part part = kv_part::both;
    share_plan plan = {};
    std::size_t candidate = 0;

    bool before(const move& other) const {
      return score != other.score ? score > other.score
                                  : std::tie(number, pair, part) < std::tie(other.number, other.pair, other.part);
    }
  };

  /// Fills the levels one after the other.
  search_status climb(pace at) {
    const auto stride = static_cast<std::size_t>(at);
    for (std::size_t level = lowest() + stride; level < levels_.size(); level += stride)
      if (!step(level, at)) return search_status::cancelled;
    return levels_.back().empty() ? search_status::ranking_exhausted : search_status::complete;
  }

  /// Keeps the best plans of a level, including those that it has already. If cancelled, returns false and changes
  /// nothing.
  bool step(std::size_t level, pace at) {
    best_.clear();
    for (state& s : levels_[level]) best_.push_back({s.score, 0, &s});
    step_began_ = report_.candidates.size();
    at_most_ = step_began_ + candidates_at_most(level, at);
    std::size_t number = 0;
    if (level >= lowest() + 2 && whole_layers())
      for (state& from : levels_[level - 2])
        if (!score_moves(from, ++number, whole)) return false;
    if (at == pace::planes)
      for (state& from : levels_[level - 1])
        if (!score_moves(from, ++number, halves())) return false;

    std::vector<state> next;
    for (move& m : best_) {
      if (m.number == 0) {
        next.push_back(std::move(*m.from));
      } else {
        next.push_back({std::move(m.plan), m.score, m.from->known, m.from->path});
        next.back().path.push_back(m.candidate);
        forget_other_half(next.back(), m);
      }
    }
    levels_[level] = std::move(next);
    return true;
  }

  /// Scores moves until, by their guesses, the remaining ones cannot be among the best. False if cancelled.
  bool score_moves(state& from, std::size_t number, std::span<const kv_part> parts) {
    std::vector<move> left = moves(from, parts);
    for (move& m : left) m.number = number;
    std::sort(left.begin(), left.end(), [](const move& a, const move& b) { return a.before(b); });
    for (std::size_t i = 0; i < left.size(); ++i) {
      move& m = left[i];
      if (best_.size() == beam() && best_.back().before(m)) {
        report_.pairs_skipped += left.size() - i;
        break;
      }
      if (options_.cancelled && options_.cancelled()) return false;
      if (score(m)) keep(std::move(m));
    }
    return true;
  }

  /// Scores a move and reports it; true if it is a candidate for its level.
  bool score(move& m) {
    state& from = *m.from;
    std::optional<double>& gain = from.known[index(m.part, m.pair)];
    std::vector<int> owners(m.plan.keys().owners().begin(), m.plan.keys().owners().end());
    owners.insert(owners.end(), m.plan.values().owners().begin(), m.plan.values().owners().end());
    if (const auto same = scored_.find(owners); same != scored_.end()) {  // another way led here, and it was judged
      gain = gain_of(same->second, from);
      return false;
    }
    probe_.resume_from(from.plan);
    candidate tried{.pair = m.pair, .part = m.part, .rank = report_.candidates.size() - step_began_};
    tried.resumed_at = probe_.start(m.plan);
    tried.score = m.score = probe_.score(m.plan);
    gain = gain_of(m.score, from);
    scored_.emplace(std::move(owners), m.score);
    tried.outcome = !gain                          ? verdict::not_finite
                    : m.score > options_.threshold ? verdict::outscored
                                                   : verdict::below_threshold;
    m.candidate = report_.candidates.size();
    report_.candidates.push_back(tried);
    if (options_.progress)
      options_.progress({report_.candidates.back(), report_.candidates.size(), at_most_, from.plan.shared_planes() / 2,
                         options_.share});
    return tried.outcome == verdict::outscored;
  }

  /// What a move to a plan of this score adds; unknown if the score is not finite.
  static std::optional<double> gain_of(double score, const state& from) {
    if (!is_finite(score)) return std::nullopt;
    return score - from.score;
  }

  /// Guesses assume that a move does not become cheaper. After one plane of a reader is shared, sharing its other plane
  /// may become almost free, so its earlier cost is no guess.
  void forget_other_half(state& s, const move& m) {
    if (m.part == kv_part::both) return;
    const kv_part other = m.part == kv_part::keys ? kv_part::values : kv_part::keys;
    for (layer_id owner{0}; owner < m.pair.reader; ++owner.value) s.known[index(other, {m.pair.reader, owner})].reset();
  }

  void keep(move m) {
    const auto place = std::find_if(best_.begin(), best_.end(), [&](const move& other) { return m.before(other); });
    best_.insert(place, std::move(m));
    if (best_.size() > beam()) best_.pop_back();
  }

  /// Every legal move from a plan, each with its guess: the largest number if nothing is known of it.
  std::vector<move> moves(state& from, std::span<const kv_part> parts) const {
    std::vector<move> found;
    for (layer_id reader{1}; reader.value < layers_; ++reader.value)
      for (layer_id owner{0}; owner < reader; ++owner.value)
        for (const kv_part part : parts) {
          const layer_pair pair{reader, owner};
          if (part != kv_part::values && !open(from.plan.keys(), pair)) continue;
          if (part != kv_part::keys && !open(from.plan.values(), pair)) continue;
          share_plan changed = from.plan.with(pair, part).value();
          if (!all_shareable(changed, options_.shareable)) continue;
          const std::optional<double> gain = from.known[index(part, pair)];
          const double guess = options_.lazy && gain ? from.score + *gain + options_.slack * std::abs(*gain)
                                                     : std::numeric_limits<double>::max();
          found.push_back({guess, 0, &from, pair, part, std::move(changed)});
        }
    return found;
  }

  /// Reading a reader means reading its owner, so both layers must be owners.
  bool open(const share_map& map, layer_pair pair) const {
    const bool last = !options_.suffix_only || pair.reader.value >= layers_ - 1 - map.reader_count();
    return last && map.owns(pair.reader) && map.owns(pair.owner);
  }

  /// How many candidates the steps from `level` on may still have.
  std::size_t candidates_at_most(std::size_t level, pace at) const {
    std::size_t left = 0;
    const auto parents = [&](std::size_t l) { return l == lowest() ? 1 : l < level ? levels_[l].size() : beam(); };
    const auto stride = static_cast<std::size_t>(at);
    for (std::size_t l = level; l < levels_.size(); l += stride) {
      if (l >= lowest() + 2 && whole_layers()) left += parents(l - 2) * whole_moves_at_most(l - 2);
      if (at == pace::planes) left += parents(l - 1) * half_moves_at_most(l - 1);
    }
    // The same again in halves is still to come.
    if (apart_ && at == pace::layers)
      for (std::size_t l = lowest() + 1; l < levels_.size(); ++l) {
        const auto most = [&](std::size_t from) { return from == lowest() ? 1 : beam(); };
        left += most(l - 1) * half_moves_at_most(l - 1);
        if (l >= lowest() + 2) left += most(l - 2) * whole_moves_at_most(l - 2);
      }
    return left;
  }

  std::size_t pairs_of(std::size_t owners) const {
    return options_.suffix_only ? owners - 1 : owners * (owners - 1) / 2;
  }
  std::size_t whole_moves_at_most(std::size_t shared) const {
    return pairs_of(static_cast<std::size_t>(layers_) - (shared + 1) / 2);
  }
  std::size_t half_moves_at_most(std::size_t shared) const {
    const auto layers = static_cast<std::size_t>(layers_), of_one = std::min(shared, layers - 1);
    return pairs_of(layers - of_one) + pairs_of(layers - (shared - of_one));  // most where one map shares them all
  }

  /// The level on which the search starts.
  std::size_t lowest() const { return 2 * static_cast<std::size_t>(start_.reader_count()); }
  std::size_t beam() const { return static_cast<std::size_t>(options_.beam); }
  std::size_t index(kv_part part, layer_pair p) const {
    return static_cast<std::size_t>((static_cast<int>(part) * layers_ + p.reader.value) * layers_ + p.owner.value);
  }

  int layers_;
  bool apart_;
  const best_first_options& options_;
  share_map start_;
  probe_run probe_;
  search_report report_;
  std::vector<std::vector<state>> levels_;     // [planes shared]: at most `beam` states, best first
  std::vector<move> best_;                     // of this step, best first, at most `beam`
  std::map<std::vector<int>, double> scored_;  // all plans so far, by their owners of keys and of values
  std::size_t step_began_ = 0, at_most_ = 0;
};

}  // namespace kvsharer::inline v0::detail
