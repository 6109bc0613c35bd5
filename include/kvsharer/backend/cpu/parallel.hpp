// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <exception>

#include "kvsharer/core/types.hpp"

#if defined(_OPENMP)
#include <omp.h>
#endif

/// The only header that asks whether the compiler has OpenMP.
namespace kvsharer::inline v0::cpu {

/// How many threads `parallel_for` would use if called here: 1 without OpenMP and inside another parallel region.
inline int thread_count() noexcept {
#if defined(_OPENMP)
  return omp_in_parallel() ? 1 : omp_get_max_threads();
#else
  return 1;
#endif
}

/// Calls f(0) .. f(n - 1), each once, on all threads and in any order; returns when all are done. Indices are handed
/// out one by one, so one call should be worth some microseconds. After an exception no further index is begun, and
/// the first exception caught is rethrown here.
template <class F>
void parallel_for(index_t n, F&& f) {
#if defined(_OPENMP)
  if (n > 1 && thread_count() > 1) {
    std::exception_ptr failure;
    std::atomic<bool> failed = false;
#pragma omp parallel for schedule(dynamic, 1)
    for (index_t i = 0; i < n; ++i) {
      if (failed.load(std::memory_order_relaxed)) continue;
      try {
        f(i);
      } catch (...) {
        if (!failed.exchange(true)) failure = std::current_exception();
      }
    }
    if (failure) std::rethrow_exception(failure);
    return;
  }
#endif
  for (index_t i = 0; i < n; ++i) f(i);
}

}  // namespace kvsharer::inline v0::cpu
