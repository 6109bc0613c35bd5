// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kvsharer/core/error.hpp"

/// The number of the error that `f` throws; errc{} if it throws none.
template <class F>
kvsharer::errc thrown(F&& f) {
  try {
    f();
  } catch (const kvsharer::error& e) {
    return e.code();
  }
  return {};
}
