// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <type_traits>

#include "kvsharer/concepts/require.hpp"
#include "kvsharer/core/share_map.hpp"
#include "kvsharer/core/share_plan.hpp"
#include "kvsharer/search/best_first_options.hpp"
#include "kvsharer/search/detail/best_first_search.hpp"
#include "kvsharer/search/detail/probe_calls.hpp"
#include "kvsharer/search/search_report.hpp"

namespace kvsharer::inline v0 {

/// Tries every move at every step and keeps the best: what to do when no ranking can be trusted. Ours, not the paper's.
///
/// A move makes one more layer a reader of one that still owns; its own readers follow it. (To read a reader is to read
/// its owner, so moves that lead to one map are one move.) At each step the moves from the map found so far are scored
/// by the probe, and the one with the highest score is taken if that is above the threshold; equal scores go to the
/// lowest reader, then to the lowest owner. The score is the probe's business: any number of which more is better.
///
/// With `lazy`, a step does not score all of them. What a move last added to the score (as a rule it costs: less than
/// nothing) is kept, and the guess is that it adds the same now, or `slack` of its amount more. Moves are scored in the
/// order of their guesses until the best score found is no worse than every guess left. So the result is that of
/// `lazy = false` whenever no move has become cheaper by more than that since it was last scored, as where a reader
/// costs the more the more others there are. Scores of networks only tend to that; where they break it, a lazy search
/// may take a move that is not the best. It never takes one that it has not scored on the map at hand, and gives up
/// only when every move was scored on it.
///
/// With `beam` above 1 the best `beam` maps of each step are kept and continued, and the best last one is returned.
///
/// A ResumableProbe starts every run at the first layer that differs. A map that is continued, and the one returned,
/// has to be run once more for that, unless it was the last one scored. This is counted, and so is the full model's run
/// for the score to start from. As with find_share_map, the probe has accepted the map returned. A score that is not
/// finite rejects its move, which is then scored anew at each step.
///
/// In the report a candidate's `rank` is its place within its step, so that 0 begins a step (`distance` is 0);
/// `pairs_ranked` counts the moves of the first step, `pairs_skipped` those left unscored by all steps. While the
/// search runs, candidates above the threshold are `outscored`; those on the way to the map are marked at the end.
///
/// Throws errc::bad_share_count, errc::bad_argument (a beam below 1, a threshold or a slack that is not a number),
/// errc::not_finite (the score of the full model), errc::share_count_missed (on request), and whatever the probe and
/// the callbacks throw. Cost: at most share * beam * layers^2 / 2 probe calls.
template <class Probe>
search_report find_best_share_map(int layers, Probe&& probe, const best_first_options& options = {}) {
  if constexpr (require_fidelity_probe<std::remove_reference_t<Probe>>()) {
    return detail::best_first_search(layers, false, detail::calls_of<share_map>(probe), options).run();
  } else {
    return {};
  }
}

/// The same search with keys and values apart: besides both halves of a layer, a move may share its keys alone or its
/// values alone, at half the cost. `options.share` still counts layers, so the plan found shares 2 * share planes and
/// frees as many bytes as `share` layers do.
///
/// Plans are compared where they cost the same: the best with p planes shared comes by a half move from the best with
/// p - 1, or by a whole move from the best with p - 2. find_best_share_map's search goes first, and its maps stand
/// among the plans of their level; so the plan found scores no worse than the map found, and is that map where nothing
/// is better. Each plan is scored once.
///
/// Everything else is as above: `lazy` keeps what whole moves and half moves added each by itself, `suffix_only` holds
/// for either map, `shareable` for the pairs of both; progress counts whole layers; a candidate says in `part` what was
/// to be shared. Cancelled after the first search, it returns that one's map. Cost: at most share * beam * 7 *
/// layers^2 / 2 probe calls.
///
/// With `options.halves` = keys or values only that half of layers is shared, 2 * share layers' of it: at most
/// (layers - 1) / 2 layers' worth, and the search's status says where that was too little.
template <class Probe>
search_report find_best_share_plan(int layers, Probe&& probe, const best_first_options& options = {}) {
  if constexpr (require_plan_probe<std::remove_reference_t<Probe>>()) {
    return detail::best_first_search(layers, true, detail::calls_of<share_plan>(probe), options).run();
  } else {
    return {};
  }
}

}  // namespace kvsharer::inline v0
