// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "fiber.hpp"
#include "phases.hpp"
#include "warpgroup.hpp"

/// One block of a grid at a time: its threads, their barriers, its shared memory.
namespace simt {

struct index3 {
  unsigned x = 0, y = 0, z = 0;
};

/// Where a thread stands, as the language's built-in names tell it.
struct thread_place {
  index3 thread, block, block_size, grid_size;
  unsigned linear = 0;  ///< the thread's number in its block
};

inline constexpr unsigned warp_size = 32;

/// What threads of a warp hand each other in one collective operation.
struct alignas(16) exchange_slot {
  std::byte bytes[64];
};

enum class waiting : std::uint8_t { no, at_warp, at_block, for_condition };

struct thread_state {
  fiber context;
  thread_place place;
  waiting wait = waiting::no;
  std::function<bool()> condition;  // that it waits for
  const char* unmet = nullptr;      ///< what is wrong if that never holds
  unsigned exchanges = 0;
  std::vector<std::vector<pending_copy>> committed;
  std::vector<pending_copy> open;
  warpgroup_products products;
};

/// Barrier 1 to 15 of a block: opens when as many threads as it is for have arrived.
struct named_barrier {
  unsigned arrived = 0, threads = 0, opened = 0;
};

[[noreturn]] inline void stop(const char* why, const thread_place& p) {
  std::fprintf(stderr, "simt: %s (block %u,%u,%u thread %u)\n", why, p.block.x, p.block.y, p.block.z, p.linear);
  std::abort();
}

/// The multiprocessor. There is one for each thread of the host, and more where a launch waits in its middle for the
/// one in front of it.
class multiprocessor {
 public:
  static multiprocessor& here() { return *all()[depth()]; }

  /// Runs work on another one, from within a thread of this one.
  static void inside(const std::function<void()>& work) {
    if (++depth() == all().size()) all().push_back(std::make_unique<multiprocessor>());
    work();
    --depth();
  }

  /// Changes the order in which threads get their turns. A correct kernel does not notice.
  void seed(unsigned s) { random_.seed(s); }

  thread_state& current() { return *current_; }
  bool running() const { return current_ != nullptr; }
  std::byte* dynamic_shared() { return reinterpret_cast<std::byte*>(shared_.data()); }
  std::size_t dynamic_shared_bytes() const { return shared_.size() * sizeof(line); }
  std::byte* static_shared() { return static_shared_.bytes; }
  static constexpr std::size_t static_shared_bytes = 1024;

  /// Runs one block of `threads` threads of `body` to its end.
  void run(index3 block, index3 block_size, index3 grid_size, std::size_t shared_bytes,
           const std::function<void()>& body) {
    const unsigned threads = block_size.x * block_size.y * block_size.z;
    while (threads_.size() < threads) threads_.push_back(std::make_unique<thread_state>());
    warps_.assign((threads + warp_size - 1) / warp_size, {});
    shared_.resize((shared_bytes + sizeof(line) - 1) / sizeof(line));
    if (!shared_.empty()) std::memset(static_cast<void*>(shared_.data()), 0xff, shared_.size() * sizeof(line));
    std::memset(static_shared_.bytes, 0xff, sizeof static_shared_.bytes);
    named_barriers_.fill({});
    later_.clear();
    favoured_ = 0;
    phases_.clear();
    body_ = &body;
    for (unsigned i = 0; i < threads; ++i) {
      thread_state& t = *threads_[i];
      t.place = {{i % block_size.x, i / block_size.x % block_size.y, i / (block_size.x * block_size.y)},
                 block,
                 block_size,
                 grid_size,
                 i};
      t.wait = waiting::no;
      t.exchanges = 0;
      t.committed.clear();
      t.open.clear();
      t.products.clear();
      t.context.start([](void* self) { (*static_cast<multiprocessor*>(self)->body_)(); }, this);
    }
    while (turn(threads)) {
    }
    current_ = nullptr;
  }

  void sync_block() { pause(waiting::at_block); }
  void sync_warp() { pause(waiting::at_warp); }
  /// The thread goes on once `condition` is true; `unmet` says what is wrong if it never is.
  void wait_until(std::function<bool()> condition, const char* unmet) {
    current().condition = std::move(condition);
    current().unmet = unmet;
    pause(waiting::for_condition);
  }

  /// Counts the thread at a named barrier for `threads` threads; returns how often that has opened before.
  unsigned arrive(int id, int threads) {
    named_barrier& b = named_barriers_.at(static_cast<std::size_t>(id));
    if (id < 1 || threads % static_cast<int>(warp_size) != 0 || (b.arrived > 0 && b.threads != unsigned(threads)))
      stop("a named barrier is not used as it can be", current().place);
    const unsigned opened = b.opened;
    b.threads = static_cast<unsigned>(threads);
    if (++b.arrived == b.threads) {
      b.arrived = 0;
      ++b.opened;
    }
    return opened;
  }
  void wait_for_opening(int id, unsigned opened_before) {
    const named_barrier& b = named_barriers_.at(static_cast<std::size_t>(id));
    wait_until([&b, opened_before] { return b.opened != opened_before; },
               "a thread waits at a named barrier that does not open");
  }

  /// Something that happens at some time, before the block would wait for ever.
  void do_later(std::function<void()> work) { later_.push_back(std::move(work)); }
  bool toss() { return random_() % 2 == 0; }

  void make_phases(const void* barrier, int arrivals) { phases_.make(barrier, arrivals); }
  phase_barrier& phases_of(const void* barrier) { return phases_.of(barrier); }
  void wait_for_phase(const void* barrier, int parity) {
    wait_until([&b = phases_.of(barrier), parity] { return b.ended(parity); },
               "a thread waits for a phase that does not end");
  }

  /// Gives `mine` to the warp and returns what its lanes gave, [32], once all have.
  template <class T>
  const exchange_slot* exchange(const T& mine) {
    static_assert(sizeof(T) <= sizeof(exchange_slot));
    thread_state& t = current();
    // Two sets in turns: a lane that is one operation ahead does not overwrite what a slower one still reads.
    exchange_slot* slots = warps_[t.place.linear / warp_size].slots[t.exchanges++ % 2];
    std::memcpy(slots[t.place.linear % warp_size].bytes, &mine, sizeof(T));
    sync_warp();
    return slots;
  }

  /// A copy that lands at once or at the wait that asks for it: code must be right either way.
  void begin_copy(const pending_copy& c) {
    if (random_() % 2 == 0)
      c.land();
    else
      current().open.push_back(c);
  }
  void close_copies() {
    thread_state& t = current();
    t.committed.push_back(std::move(t.open));
    t.open.clear();
  }
  /// The thread's copies, closed or not, land at some later time, and then it arrives at the barrier.
  void arrive_after_copies(const void* barrier) {
    thread_state& t = current();
    std::vector<pending_copy> all;
    for (auto& group : t.committed) all.insert(all.end(), group.begin(), group.end());
    all.insert(all.end(), t.open.begin(), t.open.end());
    t.committed.clear();
    t.open.clear();
    do_later([&b = phases_.of(barrier), copies = std::move(all)] {
      for (const pending_copy& c : copies) c.land();
      b.arrive();
    });
  }
  /// Lands at once or at some later time, and then counts at the barrier; until then the destination holds NaN.
  void begin_bulk_copy(const void* barrier, const pending_copy& c) {
    std::memset(c.to, 0xff, c.bytes);
    const auto land = [&b = phases_.of(barrier), c] {
      c.land();
      b.count(c.bytes);
    };
    if (toss())
      land();
    else
      do_later(land);
  }
  void land_copies(std::size_t but_newest) {
    auto& groups = current().committed;
    while (groups.size() > but_newest) {
      for (const pending_copy& c : groups.front()) c.land();
      groups.erase(groups.begin());
    }
  }

 private:
  static std::vector<std::unique_ptr<multiprocessor>>& all() {
    static thread_local std::vector<std::unique_ptr<multiprocessor>> those = [] {
      std::vector<std::unique_ptr<multiprocessor>> one;
      one.push_back(std::make_unique<multiprocessor>());
      return one;
    }();
    return those;
  }
  static std::size_t& depth() {
    static thread_local std::size_t now = 0;
    return now;
  }

  struct line {
    alignas(128) std::byte bytes[128];
  };
  struct warp_state {
    exchange_slot slots[2][warp_size];
  };

  void pause(waiting w) {
    thread_state& t = current();
    t.wait = w;
    t.context.pause();
  }

  /// Lets one warp run until its threads wait for each other or for other warps, and opens the barriers at which all
  /// have arrived. Mostly the same warp as before, so that warps run far ahead of each other where nothing holds them.
  /// False at the end of the block.
  bool turn(unsigned threads) {
    if (!later_.empty() && random_() % 128 == 0) do_one_of_later();
    if (random_() % 64 == 0 || !can_run(favoured_, threads)) {
      const unsigned warps = static_cast<unsigned>(warps_.size()), begin = static_cast<unsigned>(random_() % warps);
      unsigned i = 0;
      while (i < warps && !can_run((begin + i) % warps, threads)) ++i;
      if (i == warps) return open_block(threads);
      favoured_ = (begin + i) % warps;
    }
    const unsigned begin = favoured_ * warp_size, end = std::min(begin + warp_size, threads);
    order_.resize(end - begin);
    std::iota(order_.begin(), order_.end(), begin);
    std::shuffle(order_.begin(), order_.end(), random_);
    for (const unsigned i : order_) {
      thread_state& t = *threads_[i];
      if (!can_run(t)) continue;
      t.wait = waiting::no;
      current_ = &t;
      t.context.resume();
    }
    open(begin, end, waiting::at_warp);
    return true;
  }

  /// Has the warp a thread that is ready?
  bool can_run(unsigned warp, unsigned threads) const {
    for (unsigned i = warp * warp_size; i < std::min((warp + 1) * warp_size, threads); ++i)
      if (can_run(*threads_[i])) return true;
    return false;
  }
  /// Does it wait for nothing, or for a condition that holds?
  bool can_run(const thread_state& t) const {
    if (t.context.ended()) return false;
    return t.wait == waiting::no || (t.wait == waiting::for_condition && t.condition());
  }

  void do_one_of_later() {
    const auto which = later_.begin() + static_cast<std::ptrdiff_t>(random_() % later_.size());
    const std::function<void()> work = std::move(*which);
    later_.erase(which);
    work();
  }

  /// No thread can run: all have ended, or all wait for the block, or never go on.
  bool open_block(unsigned threads) {
    bool ended = true;
    for (unsigned i = 0; i < threads; ++i) ended = ended && threads_[i]->context.ended();
    if (ended) return false;
    if (!later_.empty()) {
      do_one_of_later();
      return true;
    }
    if (open(0, threads, waiting::at_block)) {
      favoured_ = static_cast<unsigned>(random_() % warps_.size());  // any warp may be the first behind the barrier
      return true;
    }
    for (unsigned i = 0; i < threads; ++i)
      if (!threads_[i]->context.ended() && threads_[i]->wait == waiting::for_condition)
        stop(threads_[i]->unmet, threads_[i]->place);
    stop("threads wait at different barriers", first_waiting(threads));
  }

  bool open(unsigned begin, unsigned end, waiting at) {
    bool any = false;
    for (unsigned i = begin; i < end; ++i) {
      const thread_state& t = *threads_[i];
      if (t.context.ended()) continue;
      if (t.wait != at) return false;
      any = true;
    }
    for (unsigned i = begin; i < end; ++i) threads_[i]->wait = waiting::no;
    return any;
  }

  const thread_place& first_waiting(unsigned threads) const {
    for (unsigned i = 0; i < threads; ++i)
      if (!threads_[i]->context.ended()) return threads_[i]->place;
    return threads_[0]->place;
  }

  std::vector<std::unique_ptr<thread_state>> threads_;
  std::vector<warp_state> warps_;
  std::vector<line> shared_;
  struct alignas(16) {
    std::byte bytes[static_shared_bytes];
  } static_shared_;
  std::array<named_barrier, 16> named_barriers_{};
  std::vector<std::function<void()>> later_;
  std::vector<unsigned> order_;
  phase_table phases_;
  unsigned favoured_ = 0;  // the warp whose turn it is
  std::mt19937 random_{1};
  const std::function<void()>* body_ = nullptr;
  thread_state* current_ = nullptr;
};

}  // namespace simt
