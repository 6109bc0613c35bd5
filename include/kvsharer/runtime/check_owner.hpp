// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/share_plan.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0 {

/// Throws errc::not_an_owner if layer l stores nothing, or no keys although `keys` is set, or no values although
/// `values` is set.
inline void check_owner(const share_plan& plan, layer_id l, bool keys, bool values) {
  const auto refuse = [&](const std::string& reads, const std::string& ask) {
    throw error(errc::not_an_owner, "layer " + std::to_string(l.value) + " reads " + reads + "; ask " + ask);
  };
  if (!plan.owns(l)) {
    const std::string of_keys = std::to_string(plan.key_owner(l).value);
    const std::string of_values = std::to_string(plan.value_owner(l).value);
    refuse((of_keys == of_values ? "layer " + of_keys
                                 : "the keys of layer " + of_keys + " and the values of layer " + of_values) +
               " and stores nothing",
           "owns() before projecting keys and values");
  }
  if (keys && !plan.owns_keys(l))
    refuse("the keys of layer " + std::to_string(plan.key_owner(l).value) + " and stores values alone",
           "owns_keys() before projecting keys");
  if (values && !plan.owns_values(l))
    refuse("the values of layer " + std::to_string(plan.value_owner(l).value) + " and stores keys alone",
           "owns_values() before projecting values");
}

}  // namespace kvsharer::inline v0
