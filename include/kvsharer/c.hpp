// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <new>
#include <span>
#include <string>
#include <string_view>

#include "kvsharer/c.h"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/kv_part.hpp"
#include "kvsharer/core/rope.hpp"
#include "kvsharer/core/share_map.hpp"
#include "kvsharer/core/share_plan.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/io/plan_text.hpp"
#include "kvsharer/runtime/footprint.hpp"
#include "kvsharer/search/model_fingerprint.hpp"
#include "kvsharer/search/model_identity.hpp"

/// The functions of kvsharer/c.h. Exactly one C++ file of a program includes this header: the functions are not inline,
/// since C has to find them, and a second file that includes it is an error of the linker.

/// What the handle points to.
struct kvsharer_plan {
  kvsharer::share_plan plan;  ///< never changed
};

namespace kvsharer::inline v0::detail::c {

static_assert(KVSHARER_BAD_MAP == int(errc::bad_map) && KVSHARER_BAD_SHAPE == int(errc::bad_shape) &&
              KVSHARER_BAD_ARGUMENT == int(errc::bad_argument) && KVSHARER_PLAN_SYNTAX == int(errc::plan_syntax) &&
              KVSHARER_PLAN_VERSION == int(errc::plan_version) && KVSHARER_PLAN_MODEL == int(errc::plan_model));
static_assert(KVSHARER_KEYS == int(kv_part::keys) && KVSHARER_VALUES == int(kv_part::values));
static_assert(KVSHARER_EMBEDDING == int(weight_kind::embedding) && KVSHARER_OUTPUT == int(weight_kind::output) &&
              KVSHARER_FINAL_NORM == int(weight_kind::final_norm));

/// Copies a text and 0 behind it, cut to fit; without memory of its own, since that may be what is short.
inline void copy_text(std::string_view from, char* to, std::size_t size) noexcept {
  if (!to || size == 0) return;
  const std::size_t length = std::min(from.size(), size - 1);
  std::memcpy(to, from.data(), length);
  to[length] = '\0';
}

inline int report(kvsharer_error* to, int code, std::string_view text) noexcept {
  if (to) {
    to->code = code;
    copy_text(text, to->text, sizeof to->text);
  }
  return code;
}

/// Runs f, which returns nothing, and turns what it throws into a code and a text.
template <class F>
int guarded(kvsharer_error* to, F&& f) noexcept {
  try {
    f();
    return report(to, KVSHARER_OK, "");
  } catch (const error& e) {
    return report(to, static_cast<int>(e.code()), e.what());
  } catch (const std::bad_alloc&) {
    return report(to, KVSHARER_NO_MEMORY, "kvsharer: memory could not be allocated");
  } catch (const std::exception& e) {
    return report(to, KVSHARER_UNEXPECTED, e.what());
  } catch (...) {
    return report(to, KVSHARER_UNEXPECTED, "kvsharer: an exception that is no std::exception");
  }
}

/// A new handle with what `make` returns, or null.
template <class F>
kvsharer_plan* new_plan(kvsharer_error* to, F&& make) noexcept {
  kvsharer_plan* made = nullptr;
  guarded(to, [&] { made = new kvsharer_plan{make()}; });
  return made;
}

inline void require_pointer(const void* given, const char* what) {
  if (!given) throw error(errc::bad_argument, std::string(what) + " is a null pointer");
}

inline const share_map* map_of(const kvsharer_plan* plan, int part) noexcept {
  if (!plan || (part != KVSHARER_KEYS && part != KVSHARER_VALUES)) return nullptr;
  return part == KVSHARER_KEYS ? &plan->plan.keys() : &plan->plan.values();
}

/// f(map, layer), or -1 where there is no such layer.
template <class F>
int of_layer(const kvsharer_plan* plan, int part, int layer, F&& f) noexcept {
  const share_map* const map = map_of(plan, part);
  return map && layer >= 0 && layer < map->layers() ? f(*map, layer_id{layer}) : -1;
}

inline model_identity identity_of(const kvsharer_model* m) {
  require_pointer(m, "a model");
  require_pointer(m->rope, "a model's rope");
  require_pointer(m->fingerprint, "a model's fingerprint");
  return {m->layers, m->kv_heads, m->head_dim, m->rope, m->fingerprint};
}

}  // namespace kvsharer::inline v0::detail::c

extern "C" {

kvsharer_plan* kvsharer_plan_from_owners(const int* keys, const int* values, int layers, kvsharer_error* error) {
  using namespace kvsharer;
  return detail::c::new_plan(error, [&] {
    if (layers < 0) return share_plan(share_map::identity(layers));  // which says what is wrong
    detail::c::require_pointer(keys, "the list of owners of keys");
    const auto map = [&](const int* owners) {
      return share_map::from_owners(std::span(owners, static_cast<std::size_t>(layers))).value();
    };
    return share_plan(map(keys), map(values ? values : keys));
  });
}

kvsharer_plan* kvsharer_plan_identity(int layers, kvsharer_error* error) {
  return kvsharer::detail::c::new_plan(error, [&] { return kvsharer::share_map::identity(layers); });
}

kvsharer_plan* kvsharer_plan_from_text(const char* text, kvsharer_error* error) {
  return kvsharer::detail::c::new_plan(error, [&] {
    kvsharer::detail::c::require_pointer(text, "the line of a plan");
    return kvsharer::plan_from_text(text).value();
  });
}

void kvsharer_plan_free(kvsharer_plan* plan) { delete plan; }

size_t kvsharer_plan_text(const kvsharer_plan* plan, char* text, size_t size) {
  kvsharer::detail::c::copy_text("", text, size);
  std::size_t length = 0;
  if (plan)
    kvsharer::detail::c::guarded(nullptr, [&] {
      const std::string line = kvsharer::plan_text(plan->plan);
      kvsharer::detail::c::copy_text(line, text, size);
      length = line.size();
    });
  return length;
}

int kvsharer_plan_layers(const kvsharer_plan* plan) { return plan ? plan->plan.layers() : 0; }

int kvsharer_plan_owner(const kvsharer_plan* plan, int part, int layer) {
  return kvsharer::detail::c::of_layer(plan, part, layer, [](const auto& map, auto l) { return map.owner(l).value; });
}

int kvsharer_plan_is_reader(const kvsharer_plan* plan, int part, int layer) {
  return kvsharer::detail::c::of_layer(plan, part, layer, [](const auto& map, auto l) { return int{!map.owns(l)}; });
}

int kvsharer_plan_slot(const kvsharer_plan* plan, int part, int layer) {
  return kvsharer::detail::c::of_layer(plan, part, layer, [](const auto& map, auto l) { return map.slot(l); });
}

int kvsharer_plan_owner_count(const kvsharer_plan* plan, int part) {
  const auto* const map = kvsharer::detail::c::map_of(plan, part);
  return map ? map->owner_count() : 0;
}

int kvsharer_plan_planes(const kvsharer_plan* plan) { return plan ? plan->plan.planes() : 0; }

int kvsharer_plan_shared_planes(const kvsharer_plan* plan) { return plan ? plan->plan.shared_planes() : 0; }

int kvsharer_plan_last_owner(const kvsharer_plan* plan) {
  return plan && plan->plan.layers() > 0 ? plan->plan.last_owner().value : -1;
}

size_t kvsharer_plan_kv_bytes(const kvsharer_plan* plan, ptrdiff_t kv_heads, ptrdiff_t head_dim, size_t element_bytes,
                              ptrdiff_t tokens) {
  if (!plan) return 0;
  return kvsharer::kv_bytes(plan->plan, {plan->plan.layers(), kv_heads, head_dim, tokens}, element_bytes, tokens);
}

uint64_t kvsharer_plan_hash(const kvsharer_plan* plan) { return plan ? plan->plan.hash() : 0; }

int kvsharer_same_model(const kvsharer_model* found, const kvsharer_model* running, kvsharer_error* error) {
  using kvsharer::detail::c::identity_of;
  return kvsharer::detail::c::guarded(error,
                                      [&] { kvsharer::check_same_model(identity_of(found), identity_of(running)); });
}

int kvsharer_fingerprint(const kvsharer_extents* model, kvsharer_weight weight, void* engine, char* text, size_t size,
                         kvsharer_error* error) {
  using namespace kvsharer;
  return detail::c::guarded(error, [&] {
    detail::c::require_pointer(model, "the model");
    detail::c::require_pointer(reinterpret_cast<const void*>(weight), "the function that returns weights");
    detail::c::require_pointer(text, "the room for the fingerprint");
    const model_extents m{model->layers, model->hidden,   model->intermediate,
                          model->heads,  model->kv_heads, model->head_dim};
    const std::string made = model_fingerprint(m, [&](const weight_place& at) {
      return weight(engine, {static_cast<int>(at.kind), at.layer, at.row, at.column,
                             stored_row(at, rope_pairing::interleaved, m.head_dim)});
    });
    if (made.size() >= size)
      throw kvsharer::error(errc::bad_argument, "a fingerprint of " + std::to_string(made.size()) +
                                                    " characters does not fit " + std::to_string(size) + " bytes");
    detail::c::copy_text(made, text, size);
  });
}

}  // extern "C"
