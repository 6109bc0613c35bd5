// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "kvsharer/concepts/policies.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/share_map.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/search/best_first_options.hpp"
#include "kvsharer/search/detail/probe_run.hpp"
#include "kvsharer/search/detail/search_checks.hpp"
#include "kvsharer/search/search_report.hpp"

namespace kvsharer::inline v0::detail {

/// One run of find_best_share_map, whose contract it keeps.
template <FidelityProbe Probe>
class best_first_search {
 public:
  best_first_search(int layers, Probe& probe, const best_first_options& options)
      : layers_(layers), options_(options), probe_(probe, layers, options.resume) {
    check_share_count(layers, options.share);
    if (options.beam < 1)
      throw error(errc::bad_argument, "a beam of " + std::to_string(options.beam) + " keeps no map; use 1 or more");
    if (std::isnan(options.threshold)) throw error(errc::bad_argument, "the threshold is not a number");
    if (!(options.slack >= 0) || std::isinf(options.slack))
      throw error(errc::bad_argument, "the slack must be a number of 0 or more; for no guesses at all, lazy = false");
  }

  search_report run() {
    report_.map = share_map::identity(layers_);
    if (options_.share == 0) return std::move(report_);
    report_.score = probe_.score(report_.map);
    if (!std::isfinite(report_.score))
      throw error(errc::not_finite, "the probe's score of the full model is not finite; look at what it computes");
    states_ = {{report_.map, report_.score, gains(static_cast<std::size_t>(layers_ * layers_), unknown), {}}};
    report_.pairs_ranked = moves(states_[0]).size();

    report_.status = search_status::complete;
    while (report_.status == search_status::complete && states_[0].map.reader_count() < options_.share)
      report_.status = step();

    report_.map = states_[0].map;
    report_.score = states_[0].score;
    for (std::size_t i : states_[0].path) report_.candidates[i].outcome = verdict::accepted;
    probe_.resume_from(report_.map);
    report_.layer_evaluations = probe_.evaluations();
    report_.layer_evaluations_without_resume = probe_.evaluations_without_resume();
    if (options_.throw_when_missed && report_.status == search_status::ranking_exhausted)
      throw_missed(report_.accepted(), options_.share);
    return std::move(report_);
  }

 private:
  using gains = std::vector<double>;  // [reader][owner]: what a move added to the score when it was last scored
  static constexpr double unknown = std::numeric_limits<double>::quiet_NaN();

  /// A map on the way, and what is known of the moves from it.
  struct state {
    share_map map;
    double score;
    gains known;
    std::vector<std::size_t> path;  // the candidates that led here
  };

  /// A move from states_[parent], with its score or what that is guessed to be.
  struct move {
    double score;
    std::size_t parent;
    layer_pair pair;
    share_map map;
    std::size_t candidate = 0;

    bool before(const move& other) const {
      return score != other.score ? score > other.score : std::tie(parent, pair) < std::tie(other.parent, other.pair);
    }
  };

  /// One more reader; leaves states_ as it is unless the answer is `complete`.
  search_status step() {
    best_.clear();
    scored_.clear();
    step_began_ = report_.candidates.size();
    at_most_ = step_began_ + moves_left_at_most();
    for (std::size_t parent = 0; parent < states_.size(); ++parent)
      if (!score_moves(parent)) return search_status::cancelled;
    if (best_.empty()) return search_status::ranking_exhausted;

    std::vector<state> next;
    for (move& m : best_) {
      const state& from = states_[m.parent];
      next.push_back({std::move(m.map), m.score, from.known, from.path});
      next.back().path.push_back(m.candidate);
    }
    states_ = std::move(next);
    return search_status::complete;
  }

  /// Scores moves until those left cannot be among the best, as far as their guesses tell. False if cancelled.
  bool score_moves(std::size_t parent) {
    state& from = states_[parent];
    std::vector<move> left = moves(from);
    for (move& m : left) m.parent = parent;
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

  /// Scores a move and reports it; true if it is a candidate for the next step.
  bool score(move& m) {
    state& from = states_[m.parent];
    double& gain = from.known[index(m.pair)];
    const std::vector<int> owners(m.map.owners().begin(), m.map.owners().end());
    if (const auto same = scored_.find(owners); same != scored_.end()) {  // a better parent has this move already
      gain = std::isfinite(same->second) ? same->second - from.score : unknown;
      return false;
    }
    probe_.resume_from(from.map);
    candidate tried{.pair = m.pair, .rank = report_.candidates.size() - step_began_};
    tried.resumed_at = probe_.start(m.map);
    tried.score = m.score = probe_.score(m.map);
    const bool finite = std::isfinite(m.score);
    gain = finite ? m.score - from.score : unknown;
    if (options_.beam > 1) scored_.emplace(owners, m.score);
    tried.outcome = !finite                        ? verdict::not_finite
                    : m.score > options_.threshold ? verdict::outscored
                                                   : verdict::below_threshold;
    m.candidate = report_.candidates.size();
    report_.candidates.push_back(tried);
    if (options_.progress)
      options_.progress(
          {report_.candidates.back(), report_.candidates.size(), at_most_, from.map.reader_count(), options_.share});
    return tried.outcome == verdict::outscored;
  }

  void keep(move m) {
    const auto place = std::find_if(best_.begin(), best_.end(), [&](const move& other) { return m.before(other); });
    best_.insert(place, std::move(m));
    if (best_.size() > beam()) best_.pop_back();
  }

  /// Every legal move from a map, each with its guess: infinite if nothing is known of it.
  std::vector<move> moves(const state& from) const {
    const share_map& map = from.map;
    const layer_id lowest{options_.suffix_only ? layers_ - 1 - map.reader_count() : 1};
    std::vector<move> found;
    for (layer_id reader = lowest; reader.value < layers_; ++reader.value)
      for (layer_id owner{0}; map.owns(reader) && owner < reader; ++owner.value) {
        if (!map.owns(owner)) continue;
        share_map changed = map.with({reader, owner}).value();
        if (!all_shareable(changed, options_.shareable)) continue;
        const double gain = from.known[index({reader, owner})];
        const double guess = options_.lazy && !std::isnan(gain) ? from.score + gain + options_.slack * std::abs(gain)
                                                                : std::numeric_limits<double>::infinity();
        found.push_back({guess, 0, {reader, owner}, std::move(changed)});
      }
    return found;
  }

  std::size_t moves_left_at_most() const {
    std::size_t left = 0, maps = states_.size();
    for (int readers = states_[0].map.reader_count(); readers < options_.share; ++readers, maps = beam()) {
      const auto owners = static_cast<std::size_t>(layers_ - readers);
      left += maps * (options_.suffix_only ? owners - 1 : owners * (owners - 1) / 2);
    }
    return left;
  }

  std::size_t beam() const { return static_cast<std::size_t>(options_.beam); }
  std::size_t index(layer_pair p) const { return static_cast<std::size_t>(p.reader.value * layers_ + p.owner.value); }

  int layers_;
  const best_first_options& options_;
  probe_run<Probe> probe_;
  search_report report_;
  std::vector<state> states_;                  // best first; all with as many readers
  std::vector<move> best_;                     // of this step, best first, at most `beam`
  std::map<std::vector<int>, double> scored_;  // maps of this step; kept for a beam only
  std::size_t step_began_ = 0, at_most_ = 0;
};

}  // namespace kvsharer::inline v0::detail
