// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <system_error>
#include <thread>

#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cpu {

/// Threads that help one caller at a time with the indices of a loop, made for machines that other programs use, too.
///
/// The caller works as well, and waits only for helpers that hold an index: what a helper has not begun, because the
/// system runs another program in its place, the caller does itself. Whoever waits looks for work for some tens of
/// microseconds, which keeps an idle machine fast, and then sleeps, so that its processor is free. A barrier of all
/// threads has neither property: it waits for threads that have nothing to do, and burns the time that they need.
///
/// Threads are made when they are first wanted and stay until the process ends. After a fork the child has none, and
/// its callers work alone.
class worker_team {
 public:
  /// One index of a loop. Must not throw.
  using work = void (*)(void* context, index_t i);

  /// The process's team. It is never destroyed, since its threads may outlive whatever would destroy it.
  static worker_team& of_process() {
    static worker_team& team = *new worker_team;
    return team;
  }

  /// Calls one(context, 0) .. one(context, n - 1), each once, here and on at most `helpers` other threads; each of
  /// those calls `prepare` when it begins. Returns when all are done, and at once and with nothing done (false) while
  /// another thread runs a loop on this team: then there are no helpers to be had. Allocates only while it makes
  /// threads; where the system gives no more of them, fewer help.
  bool run(index_t n, int helpers, work one, void* context, void (*prepare)()) {
    if (busy_.exchange(true, std::memory_order_acquire)) return false;
    while (threads_ < helpers && make_thread(prepare)) ++threads_;
    one_ = one;
    context_ = context;
    n_ = n;
    helpers_ = helpers;
    next_.store(0, std::memory_order_relaxed);
    open_.store(true);
    loops_.fetch_add(1);
    loops_.notify_all();
    take_indices();
    open_.store(false);
    // Order matters here and in `help`: a helper counts itself in before it looks whether the loop is open, and the
    // loop closes before it looks who is in. So either the helper sees it closed, or is waited for.
    for (int in = inside_.load(); in != 0; in = inside_.load())
      if (!changes_soon(inside_, in)) inside_.wait(in);
    busy_.store(false, std::memory_order_release);
    return true;
  }

 private:
  worker_team() = default;

  bool make_thread(void (*prepare)()) {
    try {
      std::thread([this, self = threads_, seen = loops_.load(), prepare] {
        prepare();
        help(self, seen);
      }).detach();
      return true;
    } catch (const std::system_error&) {
      return false;
    }
  }

  [[noreturn]] void help(int self, std::uint32_t seen) {
    for (;;) {
      if (!changes_soon(loops_, seen)) loops_.wait(seen);
      seen = loops_.load();
      inside_.fetch_add(1);
      if (open_.load() && self < helpers_) take_indices();
      if (inside_.fetch_sub(1) == 1) inside_.notify_all();
    }
  }

  void take_indices() {
    for (index_t i = next_.fetch_add(1); i < n_; i = next_.fetch_add(1)) one_(context_, i);
  }

  /// Looks at a number for a while, and returns early when it is no longer `old`.
  template <class T>
  static bool changes_soon(const std::atomic<T>& number, T old) noexcept {
    using clock = std::chrono::steady_clock;
    const clock::time_point end = clock::now() + std::chrono::microseconds(50);
    do {
      if (number.load() != old) return true;
    } while (clock::now() < end);  // the call is the pause between two looks
    return false;
  }

  // Of the caller that set `busy_`, and of helpers that are inside an open loop.
  work one_ = nullptr;
  void* context_ = nullptr;
  index_t n_ = 0;
  int helpers_ = 0;
  int threads_ = 0;

  // Each where the others' changes do not slow it.
  alignas(64) std::atomic<index_t> next_ = 0;         // index that nobody has taken
  alignas(64) std::atomic<int> inside_ = 0;           // helpers that may be in a loop
  alignas(64) std::atomic<std::uint32_t> loops_ = 0;  // begun so far
  std::atomic<bool> open_ = false;                    // may helpers begin?
  std::atomic<bool> busy_ = false;                    // has the team a caller?
};

}  // namespace kvsharer::inline v0::cpu
