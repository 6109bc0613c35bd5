// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <exception>

#include "kvsharer/backend/cpu/worker_team.hpp"
#include "kvsharer/core/types.hpp"

#if defined(_OPENMP)
#include <omp.h>
#endif

/// The only header that asks whether the compiler has OpenMP, which says how many threads there may be.
namespace kvsharer::inline v0::cpu {

/// How many threads `parallel_for` would use if called here: 1 without OpenMP, inside another parallel region, and
/// inside `parallel_for`.
inline int thread_count() noexcept {
#if defined(_OPENMP)
  return omp_in_parallel() ? 1 : omp_get_max_threads();
#else
  return 1;
#endif
}

namespace detail {

/// How many threads loops have that this thread begins: those of parallel_for, of OpenMP and Eigen's.
inline void use_threads([[maybe_unused]] int threads) noexcept {
#if defined(_OPENMP)
  omp_set_num_threads(threads);
#endif
}

/// One, while it lives.
class one_thread_here {
 public:
  one_thread_here() noexcept : before_(thread_count()) { use_threads(1); }
  ~one_thread_here() { use_threads(before_); }
  one_thread_here(const one_thread_here&) = delete;
  one_thread_here& operator=(const one_thread_here&) = delete;

 private:
  int before_;
};

/// Does the user bind OpenMP's threads to processors (OMP_PROC_BIND)? Then the loops are OpenMP's: other threads would
/// inherit the caller's one processor.
inline bool threads_are_bound() noexcept {
#if defined(_OPENMP)
  return omp_get_proc_bind() != omp_proc_bind_false;
#else
  return false;
#endif
}

template <class F>
void openmp_loop(index_t n, const F& one) {
#if defined(_OPENMP)
#pragma omp parallel for schedule(dynamic, 1)
#endif
  for (index_t i = 0; i < n; ++i) one(i);
}

}  // namespace detail

/// Calls f(0) .. f(n - 1), each once, on all threads and in any order; returns when all are done. Indices are handed
/// out one by one, so one call should be worth some microseconds. After an exception no further index is begun, and
/// the first exception caught is rethrown here. While another thread is in such a loop, all is done on this one.
/// Waiting threads sleep: see worker_team.
template <class F>
void parallel_for(index_t n, F&& f) {
  const int threads = thread_count();
  if (n > 1 && threads > 1) {
    std::exception_ptr failure;
    std::atomic<bool> failed = false;
    const auto one = [&](index_t i) {
      if (failed.load(std::memory_order_relaxed)) return;
      try {
        f(i);
      } catch (...) {
        if (!failed.exchange(true)) failure = std::current_exception();
      }
    };
    bool done = detail::threads_are_bound();
    if (done) {
      detail::openmp_loop(n, one);
    } else {
      const detail::one_thread_here inside;
      const auto call = [](void* context, index_t i) { (*static_cast<decltype(&one)>(context))(i); };
      const int helpers = static_cast<int>(n < threads ? n : threads) - 1;
      done = worker_team::of_process().run(n, helpers, call, const_cast<void*>(static_cast<const void*>(&one)),
                                           [] { detail::use_threads(1); });
    }
    if (failure) std::rethrow_exception(failure);
    if (done) return;
  }
  for (index_t i = 0; i < n; ++i) f(i);
}

}  // namespace kvsharer::inline v0::cpu
