// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/concepts/layouts.hpp"
#include "kvsharer/concepts/policies.hpp"
#include "kvsharer/core/distance_matrix.hpp"
#include "kvsharer/core/element.hpp"
#include "kvsharer/core/share_map.hpp"
#include "kvsharer/core/share_plan.hpp"
#include "kvsharer/core/types.hpp"

/// Compile-time messages for types that do not satisfy a concept: one numbered sentence that names the missing member.
/// docs/troubleshooting.md has a heading for each number. Entry points test `if constexpr (require_…<T>())`, so that
/// the compiler prints nothing else. Authors of a type may write `static_assert(require_…<my_type>())` below it.
namespace kvsharer::inline v0 {

/// Is V a LayerView? If not, says which part is missing.
template <class V>
consteval bool require_layer_view() {
  constexpr bool copies = std::is_trivially_copyable_v<V>;
  constexpr bool type = requires { typename V::value_type; };
  constexpr bool at = requires(const V v, index_t i) {
    { v.at(i, i, i) } -> std::convertible_to<float>;
  };
  static_assert(copies, "kvsharer E111: a layer view is borrowed and copied into kernels; make it trivially copyable");
  static_assert(type, "kvsharer E112: a layer view needs `using value_type = ...`, the type that is stored");
  static_assert(at, "kvsharer E113: a layer view needs `float at(index_t head, index_t token, index_t channel) const`");
  return copies && type && at;
}

/// Is C a KVCache? If not, says which member is missing, of it or of its views.
template <class C>
consteval bool require_kv_cache() {
  constexpr bool space = requires { std::bool_constant<C::space == memory_space::host>{}; };
  constexpr bool shape = requires(const C& c) {
    { c.shape() } -> std::same_as<cache_shape>;
  };
  constexpr bool length = requires(const C& c) {
    { c.length() } -> std::convertible_to<index_t>;
  };
  constexpr bool keys = requires(const C& c, layer_id l) { requires std::is_class_v<decltype(c.keys(l))>; };
  constexpr bool values = requires(const C& c, layer_id l) { requires std::is_class_v<decltype(c.values(l))>; };
  static_assert(space, "kvsharer E101: a cache needs `static constexpr memory_space space`, host or device");
  static_assert(shape, "kvsharer E102: a cache needs `cache_shape shape() const`");
  static_assert(length, "kvsharer E103: a cache needs `index_t length() const`, the tokens it holds now");
  static_assert(keys, "kvsharer E104: a cache needs `keys(layer_id) const` that returns a LayerView by value");
  static_assert(values, "kvsharer E105: a cache needs `values(layer_id) const` that returns a LayerView by value");
  if constexpr (space && shape && length && keys && values)
    return require_layer_view<decltype(std::declval<const C&>().keys(layer_id{}))>() &&
           require_layer_view<decltype(std::declval<const C&>().values(layer_id{}))>();
  else
    return false;
}

/// Is M a DistanceMetric? If not, says which part is missing.
template <class M>
consteval bool require_distance_metric() {
  constexpr bool copies = std::is_trivially_copyable_v<M>;
  constexpr bool partial = requires { typename M::partial; };
  constexpr bool scope = requires { std::bool_constant<M::scope == fold_scope::row>{}; };
  static_assert(copies, "kvsharer E121: a distance metric is copied into kernels; make it trivially copyable");
  static_assert(partial, "kvsharer E122: a distance metric needs a type `partial`, the state of its fold");
  static_assert(scope, "kvsharer E123: a distance metric needs `static constexpr fold_scope scope`, row or plane");
  if constexpr (partial) {
    using state = typename M::partial;
    constexpr bool step = requires(const M m, state p, float a, float b) {
      { m.step(p, a, b) } -> std::same_as<state>;
    };
    constexpr bool merge = requires(const M m, state p) {
      { m.merge(p, p) } -> std::same_as<state>;
    };
    constexpr bool finish = requires(const M m, state p, index_t count) {
      { m.finish(p, count) } -> std::convertible_to<double>;
    };
    static_assert(step, "kvsharer E124: a distance metric needs `partial step(partial, float a, float b) const`");
    static_assert(merge, "kvsharer E125: a distance metric needs `partial merge(partial, partial) const`");
    static_assert(finish, "kvsharer E126: a distance metric needs `double finish(partial, index_t count) const`");
    return copies && scope && step && merge && finish;
  } else {
    return false;
  }
}

/// Is P a SharePolicy? If not, says so.
template <class P>
consteval bool require_share_policy() {
  static_assert(SharePolicy<P>,
                "kvsharer E131: a share policy needs `std::vector<layer_pair> rank(const distance_matrix&, "
                "std::vector<layer_pair> legal) const`");
  return SharePolicy<P>;
}

/// Is L an IndexLayout? If not, says which part is missing.
template <class L>
consteval bool require_index_layout() {
  constexpr bool copies = std::is_trivially_copyable_v<L>;
  constexpr bool offset = requires(const L l, index_t i) {
    { l.offset(i, i, i) } -> std::same_as<index_t>;
  };
  constexpr bool rows = requires { std::bool_constant<L::rows_contiguous>{}; };
  static_assert(copies, "kvsharer E141: an index layout is copied into kernels; make it trivially copyable");
  static_assert(offset,
                "kvsharer E142: an index layout needs `index_t offset(index_t head, index_t token, index_t channel) "
                "const`, in elements");
  static_assert(rows, "kvsharer E143: an index layout needs `static constexpr bool rows_contiguous`");
  return copies && offset && rows;
}

/// Is L a CacheLayout? If not, says which part is missing, of it or of its index layout.
template <class L>
consteval bool require_cache_layout() {
  constexpr bool copies = std::copyable<L>;
  constexpr bool page = requires(const L l, cache_shape s) {
    { l.page_tokens(s) } -> std::same_as<index_t>;
  };
  constexpr bool index = requires(const L l, cache_shape s, const std::int32_t* pages) {
    requires std::is_class_v<decltype(l.index(s, pages))>;
  };
  constexpr bool name = requires(const L l) {
    { l.name() } -> std::convertible_to<const char*>;
  };
  static_assert(copies, "kvsharer E144: a cache layout must be copyable");
  static_assert(page, "kvsharer E145: a cache layout needs `index_t page_tokens(cache_shape) const`");
  static_assert(index,
                "kvsharer E146: a cache layout needs `index(cache_shape, const std::int32_t* pages) const` that "
                "returns an IndexLayout");
  static_assert(name, "kvsharer E147: a cache layout needs `const char* name() const`");
  if constexpr (copies && page && index && name)
    return require_index_layout<decltype(std::declval<const L&>().index(cache_shape{}, nullptr))>();
  else
    return false;
}

/// Is F a FidelityProbe? If not, says so.
template <class F>
consteval bool require_fidelity_probe() {
  static_assert(
      FidelityProbe<F>,
      "kvsharer E151: a fidelity probe is called with a `const share_map&` and returns its score as a double");
  return FidelityProbe<F>;
}

/// Is F a FidelityProbe that takes a share_plan? If not, says so.
template <class F>
consteval bool require_plan_probe() {
  static_assert(FidelityProbe<F, share_plan>,
                "kvsharer E152: to search keys and values apart, a fidelity probe is called with a `const share_plan&` "
                "and returns its score as a double");
  return FidelityProbe<F, share_plan>;
}

/// Is E a type that caches can store? If not, lists those types.
template <class E>
consteval bool require_cache_element() {
  static_assert(CacheElement<E>, "kvsharer E161: a cache stores float, kvsharer::float16 or kvsharer::bfloat16");
  return CacheElement<E>;
}

/// Can the backend read memory of this kind? If not, says so.
template <class Backend, memory_space S>
consteval bool require_readable() {
  constexpr bool readable = Backend::template can_read<S>;
  static_assert(readable, "kvsharer E201: this backend cannot read the memory in which the cache lies");
  return readable;
}

}  // namespace kvsharer::inline v0
