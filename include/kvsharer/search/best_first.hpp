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

/// Tries every move at every step and keeps the best, for models on which no ranking is reliable. Ours, not the
/// paper's.
///
/// A move makes one more layer a reader of an owner; the readers of that layer then read the same owner. (Reading a
/// reader means reading its owner, so moves that lead to the same map count as one.) At each step the probe scores the
/// moves from the current map. The move with the highest score is taken if it is above the threshold; among equal
/// scores, the one with the lowest reader, then the lowest owner. The score may be any number for which higher is
/// better.
///
/// With `lazy`, a step does not score all moves. The search remembers by how much a move last changed the score
/// (usually a decrease), and guesses that it now changes it by the same amount, or better by the fraction `slack` of
/// that amount. It scores moves in the order of their guesses, until the best score is no worse than all remaining
/// guesses. So the result is that of `lazy = false` if no move has become cheaper by more than the slack since it was
/// last scored, for example if a reader costs more the more other readers there are. Real networks only tend to this;
/// if one violates it, a lazy search may take a move that is not the best. It never takes a move that it has not scored
/// on the current map, and it gives up only after it has scored every move on it.
///
/// With `beam` above 1, each step keeps and continues the best `beam` maps, and the best map of the last step is
/// returned.
///
/// A ResumableProbe starts every run at the first layer that differs. For this, each map that is continued or returned
/// is run once more, unless it was the last one scored. The report counts these runs, and one run of the full model for
/// the initial score. As with find_share_map, the probe has accepted the map returned. A move whose score is not finite
/// is rejected, and scored again at each step.
///
/// In the report a candidate's `rank` is its place within its step (0 begins a step), and `distance` is 0;
/// `pairs_ranked` counts the moves of the first step, `pairs_skipped` the moves that no step scored. While the search
/// runs, candidates above the threshold are `outscored`; at the end those that led to the map become `accepted`.
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

/// The same search with separate maps for keys and values: a move may share a whole layer, only its keys or only its
/// values; the latter two count half. `options.share` still counts layers, so the plan found shares 2 * share planes
/// and frees the bytes of `share` layers.
///
/// Only plans with the same number p of shared planes are compared. They come from the best plans with p - 1 shared
/// planes by sharing one more plane, or from the best with p - 2 by sharing one more layer. The search of
/// find_best_share_map runs first, and its maps are among these plans; so the plan found scores no worse than the map,
/// and is that map if no plan is better. Each plan is scored once.
///
/// Everything else is as above. `lazy` has separate guesses for keys, values and whole layers; `suffix_only` and
/// `shareable` apply to both maps; progress counts whole layers; `part` of a candidate says what it shares. If the
/// search is cancelled after the first search, it returns the map of that one. Cost: at most share * beam * 7 *
/// layers^2 / 2 probe calls.
///
/// With `options.halves` = keys or values, only the keys or only the values of 2 * share layers are shared. This frees
/// at most the bytes of (layers - 1) / 2 layers; the status says if that is less than asked for.
template <class Probe>
search_report find_best_share_plan(int layers, Probe&& probe, const best_first_options& options = {}) {
  if constexpr (require_plan_probe<std::remove_reference_t<Probe>>()) {
    return detail::best_first_search(layers, true, detail::calls_of<share_plan>(probe), options).run();
  } else {
    return {};
  }
}

}  // namespace kvsharer::inline v0
